"""What a Service says of itself, in words."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.api.types import core, discovery, meta
from skerry.controllers.serviceconditions import conditions
from skerry.controllers.serviceconditions.conditions import DNS, PROXY


def service(*known: meta.Condition, labels: dict[str, str] | None = None, **spec: Any) -> core.Service:
    spec.setdefault("cluster_ip", "10.96.0.1")
    return core.Service(
        metadata=meta.ObjectMeta(name="web", namespace="default", labels=labels or {}),
        spec=core.ServiceSpec(**spec),
        status=core.ServiceStatus(conditions=list(known)),
    )


WEB = {"selector": {"tier": "front", "app": "web"}}


@pytest.mark.parametrize(
    ("spec", "ready", "total", "status", "reason", "message"),
    [
        (WEB, 3, 5, "True", "EndpointsAvailable", "3 of 5 endpoints are ready."),
        (WEB, 1, 1, "True", "EndpointsAvailable", "The only endpoint is ready."),
        (WEB, 1, 5, "True", "EndpointsAvailable", "1 of 5 endpoints is ready."),
        (WEB, 0, 2, "False", "NoReadyEndpoints", "None of the 2 endpoints is ready."),
        (WEB, 0, 0, "False", "NoEndpoints", "No pod that has an address matches the selector app=web,tier=front."),
        ({}, 0, 0, "False", "NoSelector", "The Service has no selector, and nobody has written endpoints for it."),
        ({}, 1, 1, "True", "EndpointsAvailable", "The only endpoint is ready."),
        ({"type": "ExternalName", "external_name": "a.example"}, 0, 0, "True", "ExternalName",
         "The Service is a name for a.example and needs no endpoints."),
    ],
)  # fmt: skip
def test_endpoints_ready(spec: dict[str, Any], ready: int, total: int, status: str, reason: str, message: str) -> None:
    told = conditions.endpoints_ready(service(**spec), ready, total)
    assert told == conditions.Told("EndpointsReady", status, reason, message)


@pytest.mark.parametrize(
    ("who", "behind", "nodes", "status", "reason", "message"),
    [
        (PROXY, [], 3, "True", "Programmed", "The proxies of all Ready nodes know the Service."),
        (DNS, [], 3, "True", "Programmed", "The DNS servers of all Ready nodes know the Service."),
        (PROXY, ["n2", "n1"], 3, "False", "ProxyBehind",
         "The proxies of these nodes do not know the newest state of the Service yet: n1, n2."),
        (DNS, [f"n{i}" for i in range(8)], 9, "False", "DNSBehind",
         ("The DNS servers of these nodes do not know the newest state of the Service yet: "
          "n0, n1, n2, n3, n4 and 3 more.")),
        (PROXY, [], 0, "False", "NoReadyNodes", "No node is Ready."),
    ],
)  # fmt: skip
def test_programmed(who: str, behind: list[str], nodes: int, status: str, reason: str, message: str) -> None:
    told = conditions.programmed(who, behind, nodes)
    assert (told.status, told.reason, told.message) == (status, reason, message)


@pytest.mark.parametrize(
    ("one", "who"),
    [
        (service(), PROXY),
        (service(type="NodePort"), PROXY),
        (service(cluster_ip="None"), DNS),
        (service(type="ExternalName", cluster_ip=""), DNS),
        (service(labels={"service.kubernetes.io/service-proxy-name": "x"}), DNS),
        (service(labels={"service.kubernetes.io/headless": ""}), DNS),
    ],
)
def test_who_makes_it_work(one: core.Service, who: str) -> None:
    assert conditions.component(one) == who


def test_endpoints_of_a_slice_are_counted() -> None:
    """Unset means ready; an endpoint that goes is not."""
    values: list[bool | None] = [True, None, False]
    made = discovery.EndpointSlice(
        endpoints=[discovery.Endpoint(conditions=discovery.EndpointConditions(ready=one)) for one in values]
    )
    assert conditions.count(made) == (2, 3)


def test_what_is_written_and_since_when() -> None:
    told = conditions.Told("EndpointsReady", "True", "EndpointsAvailable", "The only endpoint is ready.")
    [made] = conditions.written(service(), [told], "2026-01-01T00:00:09Z")
    assert (made.last_transition_time, made.observed_generation) == ("2026-01-01T00:00:09Z", 0)
    one = service(made)
    assert conditions.differs(one, told) == (False, False)
    more = conditions.Told("EndpointsReady", "True", "EndpointsAvailable", "2 of 2 endpoints are ready.")
    assert conditions.differs(one, more) == (True, False)
    [kept] = conditions.written(one, [more], "2026-01-01T00:00:30Z")
    assert (kept.message, kept.last_transition_time) == (more.message, "2026-01-01T00:00:09Z")
    none = conditions.Told("EndpointsReady", "False", "NoReadyEndpoints", "The only endpoint is not ready.")
    assert conditions.differs(one, none) == (True, True)
    [turned] = conditions.written(one, [none], "2026-01-01T00:00:30Z")
    assert turned.last_transition_time == "2026-01-01T00:00:30Z"
    one.metadata.generation = 2
    assert conditions.differs(one, told) == (True, True)
