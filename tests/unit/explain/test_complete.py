"""Whatever the pods are: each that is no ready endpoint is explained, and what controllers wrote is never blamed."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.controllers.endpoints.build import pod, port, service
from tests.unit.explain.worlds import ended, node, running, waiting, with_status, world

from skerry.api.types import core
from skerry.controllers.endpoints import members
from skerry.explain.findings import REASONS
from skerry.explain.seen import Seen
from skerry.explain.why import explain

OBJECTS = {"EndpointsEdited", "EndpointsMissing", "SliceEdited", "SlicesMissing", "SliceOrphaned", "SliceForeign"}

_status = st.one_of(
    st.builds(
        waiting, st.sampled_from(["", "ContainerCreating", "ImagePullBackOff", "CrashLoopBackOff", "RunContainerError"])
    ),
    st.builds(running, ready=st.booleans(), started=st.sampled_from([None, True, False])),
    st.builds(ended, st.integers(0, 2)),
)


@st.composite
def _pods(draw: st.DrawFn, number: int) -> core.Pod:
    families = draw(st.sampled_from([[], ["10.244.0.{}"], ["fd00::{}"], ["10.244.0.{}", "fd00::{}"]]))
    one = pod(
        f"p-{number}",
        *(ip.format(number) for ip in families),
        ready=draw(st.sampled_from([None, True, False])),
        deleting=draw(st.booleans()),
        phase=draw(st.sampled_from(["", "Pending", "Running", "Unknown", "Succeeded", "Failed"])),
        node=draw(st.sampled_from(["", "node-1", "node-2", "gone"])),
        labels=draw(st.sampled_from([{"app": "web"}, {"app": "wep"}, {}])),
        ports=draw(st.sampled_from([None, {"http": 8080}, {"htpp": 80}])),
        restart_policy=draw(st.sampled_from(["Always", "OnFailure", "Never"])),
        readiness_gates=draw(st.sampled_from([[], [core.PodReadinessGate(condition_type="x")]])),
        init_containers=draw(st.sampled_from([[], [core.Container(name="c")]])),
    )
    if draw(st.booleans()):
        one.spec.containers[0].readiness_probe = core.Probe(http_get=core.HTTPGetAction(port=1))
    if draw(st.booleans()):
        one.spec.containers[0].startup_probe = core.Probe(tcp_socket=core.TCPSocketAction(port=1))
    init = [draw(_status)] if draw(st.booleans()) else []
    return with_status(one, *([draw(_status)] if draw(st.booleans()) else []), init=init)


@st.composite
def _worlds(draw: st.DrawFn) -> Seen:
    spec: dict[str, Any] = {
        "publish_not_ready_addresses": draw(st.booleans()),
        "cluster_ip": draw(st.sampled_from(["10.96.0.20", "None"])),
        "ip_families": draw(st.sampled_from([["IPv4"], ["IPv6"], ["IPv4", "IPv6"]])),
        "ports": draw(st.sampled_from([[port()], [port(target="http")], [port("a", 1, "http"), port("b", 2, 3)]])),
        "internal_traffic_policy": draw(st.sampled_from(["Cluster", "Local"])),
    }
    if spec["cluster_ip"] == "None" and draw(st.booleans()):
        spec["ports"] = []
    pods = [draw(_pods(number)) for number in range(draw(st.integers(0, 4)))]
    nodes = {f"node-{at}": node(f"node-{at}", ready=draw(st.booleans())) for at in (1, 2)}
    return world(service(**spec), pods, nodes=nodes)


@settings(max_examples=60)
@given(_worlds())
def test_every_pod_that_is_no_ready_endpoint_is_explained_and_nothing_else_is_blamed(seen: Seen) -> None:
    report = explain(seen)
    found = {one.reason for one in report.findings}
    assert found <= set(REASONS)
    assert not found & OBJECTS
    ready = {one.pod for one in report.endpoints if one.ready}
    told = {one.pod for one in report.findings}
    for each in members.wants_selector(seen.service, seen.pods):
        assert each.metadata.name in ready | told
    assert report.healthy or report.findings[0].severity == "problem"
    assert bool(ready) or not report.healthy
