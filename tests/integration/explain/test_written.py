"""Faults in what is written, played on the real API server with the real controllers: nodes, slices, Endpoints, rights.

The test plays the nodes, and holds the controllers back where they would mend at once what it breaks.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.integration.controllers import world
from tests.integration.controllers.world import Lagging, World

from skerry.api import status
from skerry.api.types import core, discovery, meta
from skerry.api.wire import Request, Response
from skerry.client.client import Client
from skerry.controllers.endpoints import slices
from skerry.explain.findings import Report
from skerry.explain.read import Reader
from skerry.explain.why import explain


async def why(here: World, name: str = "web", client: Client | None = None) -> Report:
    return explain(await Reader(client or here.client, here.clock, "default", name).seen())


def reasons(report: Report) -> list[str]:
    return [one.reason for one in report.findings]


async def running(here: World, name: str = "web-1", node: str = "node-1", **more: Any) -> core.Pod:
    made = await here.client.create(world.pod(name, node_name=node))
    return await here.runs(made, **more)


def said(here: World, ready: int, unready: int, name: str = "web") -> bool:
    """Whether both have heard: Endpoints and slices are written side by side."""
    counts = (ready, unready)
    return tuple(map(len, here.sliced(name))) == counts == tuple(map(len, here.addresses(name)))


async def not_ready(here: World, node: core.Node) -> None:
    node = msgspec.structs.replace(
        await here.client.get(core.Node, node.metadata.name),
        status=core.NodeStatus(conditions=[core.NodeCondition(type="Ready", status="Unknown", message="silent.")]),
    )
    await here.client.update(node, subresource="status")


async def test_nodes_that_are_lost_or_gone() -> None:
    async with world.world() as here:
        nodes = [await here.node(f"node-{number}") for number in (1, 2)]
        await here.client.create(world.service())
        await running(here)
        await here.until(lambda: said(here, 1, 0))
        assert reasons(await why(here)) == []
        await not_ready(here, nodes[0])
        found = (await why(here)).findings
        told = "Node node-1 is not Ready, and still web-1 on it counts as ready."
        assert [(one.reason, one.message) for one in found] == [("EndpointNodeNotReady", told)]
        pod = await here.client.get(core.Pod, "web-1", "default")
        await here.runs(pod, ready=False)
        await here.until(lambda: said(here, 0, 1))
        found = (await why(here)).findings
        assert found[0].message == "Pod web-1 is on node node-1, which is not Ready: silent."
        await not_ready(here, nodes[1])
        assert reasons(await why(here)) == ["NoReadyNode", "NodeNotReady"]
        await here.client.create(world.service("lost"))
        await here.runs(await here.client.create(world.pod("lost-1", {"app": "lost"}, node_name="gone")))
        await here.until(lambda: here.addresses("lost")[0] and here.slices("lost"))
        report = await why(here, "lost")
        assert report.findings[1].reason == "NodeMissing" and report.endpoints == []


async def test_addresses_and_conditions_that_are_missing() -> None:
    async with world.world() as here:
        await here.node()
        await here.client.create(world.service())
        pod = await running(here, ready=False)
        await here.until(lambda: said(here, 0, 1))
        (found,) = (await why(here)).findings
        assert (found.reason, found.message) == ("NotReady", "The Ready condition of pod web-1 is False.")
        for ips, reason in ((["fd00::1"], "NoAddressOfFamily"), ([], "NoAddress")):
            pod = await here.client.get(core.Pod, "web-1", "default")
            ready = [core.PodCondition(type="Ready", status="True")]
            told = msgspec.structs.replace(
                pod.status, pod_ip=ips[0] if ips else "", pod_i_ps=[core.PodIP(ip=one) for one in ips], conditions=ready
            )
            await here.client.update(msgspec.structs.replace(pod, status=told), subresource="status")
            await here.until(lambda: said(here, 0, 0))
            assert reasons(await why(here)) == [reason]


async def test_slices_and_endpoints_that_the_rules_do_not_give() -> None:
    async with world.world(lagging=True) as here:
        controllers = here.controllers
        assert isinstance(controllers, Lagging)
        await here.node()
        of = await here.client.create(world.service())
        await running(here)
        await here.until(lambda: here.sliced("web")[0] and here.addresses("web")[0])
        controllers.hold(discovery.EndpointSlice, core.Endpoints)
        (one,) = here.slices("web")
        one = await here.client.get(discovery.EndpointSlice, one.metadata.name, "default")
        one.endpoints[0].conditions.ready = False
        one = await here.client.update(one)
        (found,) = (await why(here)).findings
        assert found.reason == "SliceEdited" and "10.244.0.1:8080 is not ready" in found.message
        other = slices.new_slice(of, "IPv4", ())
        other.metadata.owner_references[0].uid = "another"
        await here.client.create(other)
        assert set(reasons(await why(here))) == {"SliceEdited", "SliceOrphaned"}
        await here.client.delete(discovery.EndpointSlice, one.metadata.name, "default")
        assert set(reasons(await why(here))) == {"SlicesMissing", "SliceOrphaned"}
        await here.client.delete(core.Endpoints, "web", "default")
        assert set(reasons(await why(here))) == {"SlicesMissing", "SliceOrphaned", "EndpointsMissing"}
        controllers.release()
        await here.until(lambda: here.sliced("web")[0] and here.addresses("web")[0] and len(here.slices("web")) == 1)
        assert reasons(await why(here)) == [], "the controllers have mended all of it"


@pytest.mark.long
async def test_more_than_a_thousand() -> None:
    async with world.world() as here:
        await here.client.create(world.service(publish_not_ready_addresses=True))
        for number in range(1001):
            await running(here, f"web-{number}")
        await here.until(lambda: len(here.sliced("web")[0]) == 1001 and len(here.addresses("web")[0]) == 1000)
        report = await why(here)
        (found,) = [one for one in report.findings if one.reason == "EndpointsTruncated"]
        assert (found.details, found.severity, len(report.endpoints)) == (
            {"addresses": 1000, "pods": 1001},
            "note",
            1001,
        )
        assert "EndpointsEdited" not in reasons(report)


async def test_what_is_only_to_be_known() -> None:
    async with world.world() as here:
        await here.node()
        made = world.service()
        made.metadata.finalizers = ["example.com/keep"]
        made.metadata.labels = {"service.kubernetes.io/service-proxy-name": "mesh"}
        await here.client.create(made)
        await running(here)
        await here.until(lambda: said(here, 1, 0))
        await here.client.delete(core.Service, "web", "default")
        report = await why(here)
        assert reasons(report) == ["ServiceTerminating", "OtherProxy"] and report.healthy


class Narrow:
    """A transport that may read some kinds only, as the API server says it to a user without rights."""

    def __init__(self, here: World, *allowed: str) -> None:
        self._next, self._allowed = here.client._transport, allowed
        self.asked: list[str] = []

    async def __call__(self, request: Request) -> Response:
        kind = next(part for part in reversed(request.path.split("/")) if part.endswith("s") and part != "default")
        self.asked.append(f"{request.method} {kind}")
        if kind not in self._allowed:
            raise status.forbidden("", kind, "", 'User "somebody" cannot list it')
        return await self._next(request)


@pytest.mark.parametrize("denied", ["events", "nodes", "endpointslices", "endpoints", "pods"])
async def test_missing_rights_are_tolerated_and_said(denied: str) -> None:
    kinds = {"services", "pods", "events", "nodes", "endpoints", "endpointslices"}
    async with world.world() as here:
        await here.node()
        await here.client.create(world.service())
        await running(here, ready=False)
        await here.until(lambda: said(here, 0, 1))
        narrow = Narrow(here, *(kinds - {denied}))
        report = await why(here, client=Client(narrow))
        found = [one.message for one in report.findings if one.reason == "NotLookedAt"]
        assert found == [f"{denied.capitalize()} were not looked at: this user may not read them."]
        assert ("NotReady" in reasons(report)) == (denied != "pods")
        assert {one.split()[0] for one in narrow.asked} == {"GET"}, "it changes nothing"
        with pytest.raises(status.ApiError, match="forbidden"):
            await why(here, client=Client(Narrow(here, "pods")))


async def test_pods_of_other_namespaces_that_may_not_be_listed() -> None:
    async with world.world() as here:
        await here.client.create(world.service())
        await here.client.create(core.Namespace(metadata=meta.ObjectMeta(name="shop")))
        await here.until(lambda: bool(here.slices("web") and here.get(core.Endpoints, "web")))
        assert reasons(await why(here))[0] == "NoPodMatches"
        await here.client.create(world.pod("web-9", namespace="shop"))
        assert reasons(await why(here))[0] == "OtherNamespace"
