"""The smallest world for every reason of `skerry why`: one in which it is the nearest miss. Called by test_why.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tests.unit.controllers.endpoints.build import pod, port, service, slice_of

from skerry.api.types import apps, core, discovery, meta
from skerry.clock import parse_rfc3339
from skerry.controllers.endpoints import endpoints, members, placement, slices
from skerry.explain.seen import Seen

NOW = parse_rfc3339("2026-01-01T00:10:00Z")


def node(name: str = "node-1", ready: bool = True, message: str = "") -> core.Node:
    status = "True" if ready else "False"
    return core.Node(
        metadata=meta.ObjectMeta(name=name),
        status=core.NodeStatus(conditions=[core.NodeCondition(type="Ready", status=status, message=message)]),
    )


def event(of: core.Pod, reason: str, message: str, count: int = 1, container: str = "") -> core.Event:
    about = core.ObjectReference(
        kind="Pod",
        namespace="default",
        name=of.metadata.name,
        uid=of.metadata.uid,
        field_path=f"spec.containers{{{container}}}" if container else "",
    )
    return core.Event(involved_object=about, reason=reason, message=message, count=count,
                      last_timestamp="2026-01-01T00:09:57Z", type="Warning")  # fmt: skip


def world(of: core.Service, pods: Sequence[core.Pod] = (), **more: Any) -> Seen:
    """Everything the controllers would have written for these pods, unless `more` says otherwise."""
    nodes = more.pop("nodes", {"node-1": node()})
    matching = members.wants_selector(of, pods) if of.spec.selector else []
    if members.wants_endpoints(of):
        more.setdefault("endpoints", endpoints.decide(of, matching, None))
        plan = placement.reconcile(of, matching, (nodes or {"node-1": node()}).get, ())
        for at, one in enumerate(plan.create):
            one.metadata.name = f"{of.metadata.name}-{at}"
        more.setdefault("slices", plan.create)
    return Seen(service=of, now=NOW, pods=pods, nodes=nodes, **more)


def with_status(one: core.Pod, *statuses: core.ContainerStatus, init: Sequence[core.ContainerStatus] = ()) -> core.Pod:
    one.status.container_statuses, one.status.init_container_statuses = list(statuses), list(init)
    return one


def waiting(reason: str, message: str = "", **more: Any) -> core.ContainerStatus:
    state = core.ContainerState(waiting=core.ContainerStateWaiting(reason=reason, message=message))
    return core.ContainerStatus(name=more.pop("name", "c"), state=state, **more)


def running(**more: Any) -> core.ContainerStatus:
    state = core.ContainerState(running=core.ContainerStateRunning(started_at="2026-01-01T00:00:10Z"))
    return core.ContainerStatus(name=more.pop("name", "c"), state=state, **more)


def ended(code: int, reason: str = "Error", **more: Any) -> core.ContainerStatus:
    done = core.ContainerStateTerminated(exit_code=code, reason=reason, finished_at="2026-01-01T00:09:00Z")
    return core.ContainerStatus(name="c", state=core.ContainerState(terminated=done), **more)


def unready(*ips: str, **more: Any) -> core.Pod:
    return pod("web-1", *(ips or ("10.244.0.1",)), ready=False, **more)


def probed(kind: str, probe: core.Probe, status: core.ContainerStatus) -> core.Pod:
    one = with_status(unready(), status)
    setattr(one.spec.containers[0], kind, probe)
    return one


HTTP = core.Probe(http_get=core.HTTPGetAction(path="/healthz", port=8080), period_seconds=5)
READY = pod("web-1", "10.244.0.1")


def _edited_endpoints() -> Seen:
    wrong = core.Endpoints(
        metadata=meta.ObjectMeta(name="web", namespace="default"),
        subsets=[
            core.EndpointSubset(addresses=[core.EndpointAddress(ip="192.0.2.1")], ports=[core.EndpointPort(port=8080)])
        ],
    )
    return world(service(), [READY], endpoints=wrong)


def readiness_failing() -> Seen:
    one = probed("readiness_probe", HTTP, running(ready=False))
    told = [event(one, "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503", 14, "c"),
            event(one, "Unhealthy", "Liveness probe failed: no", 99, "c"),
            event(one, "Unhealthy", "Readiness probe failed: another's", 99, "d")]  # fmt: skip
    return world(service(), [one], events=told)


def _startup() -> Seen:
    probe = core.Probe(exec=core.ExecAction(command=["cat", "/tmp/up"]))
    one = probed("startup_probe", probe, running(started=False))
    one.spec.containers[0].readiness_probe = HTTP
    return world(service(), [one], events=[event(one, "Unhealthy", "Startup probe failed: ", 3, "c")])


def gate(status: str | None) -> Seen:
    one = with_status(
        unready(readiness_gates=[core.PodReadinessGate(condition_type="example.com/ok")]), running(ready=True)
    )
    if status is not None:
        one.status.conditions.append(core.PodCondition(type="example.com/ok", status=status, message="not yet."))
    return world(service(), [one])


def _unscheduled(**condition: Any) -> Seen:
    one = pod("web-1", ready=None, node="", phase="Pending")
    if condition:
        one.status.conditions.append(core.PodCondition(type="PodScheduled", status="False", **condition))
    if condition.get("reason") == "SchedulingGated":
        one.spec.scheduling_gates = [core.PodSchedulingGate(name="example.com/wait")]
    return world(service(), [one])


def _init(status: core.ContainerStatus) -> Seen:
    one = with_status(unready(phase="Pending"), waiting("PodInitializing"), init=[status])
    one.spec.init_containers = [core.Container(name="c")]
    return world(service(), [one])


def _creating() -> Seen:
    one = with_status(pod("web-1", ready=False, phase="Pending"), waiting("ContainerCreating"))
    return world(service(), [one], events=[event(one, "FailedMount", 'configmap "nope" not found', 6)])


def _conditioned(**condition: Any) -> Seen:
    of = service()
    of.status.conditions = [meta.Condition(type="Programmed", **condition)]
    return world(of, [READY])


def _manual(**more: Any) -> Seen:
    of = service(selector={})
    made = slice_of(of, "web-1", [], labels={slices.SERVICE_NAME: "web"}, owners=[])
    made.endpoints = [discovery.Endpoint(addresses=["192.0.2.1"], conditions=discovery.EndpointConditions(**more))]
    return world(of, slices=[made])


def _truncated() -> Seen:
    many = [pod(f"web-{n}", f"10.{n // 62500}.{n // 250 % 250}.{n % 250}") for n in range(1001)]
    return world(service(), many)


def labelled(namespace: str = "default", **labels: str) -> core.Pod:
    one = pod("web-7f", "10.244.0.9", labels=labels)
    one.metadata.namespace = namespace
    return one


def _foreign() -> Seen:
    seen = world(service(), [READY])
    other = slice_of(seen.service, "mine", [], labels={slices.SERVICE_NAME: "web", slices.MANAGED_BY: "me"})
    other.endpoints = [discovery.Endpoint(addresses=["192.0.2.9"])]
    return world(seen.service, [READY], slices=[*seen.slices, other])


def _orphaned() -> Seen:
    seen = world(service(), [READY])
    return world(seen.service, [READY], slices=[*seen.slices, slice_of(service(uid="earlier"), "old", [READY])])


def local(**spec: Any) -> Seen:
    nodes = {name: node(name, ready=name != "node-3") for name in ("node-1", "node-2", "node-3")}
    return world(service(**spec), [READY], nodes=nodes)


def _deleting() -> Seen:
    of = service()
    of.metadata.deletion_timestamp, of.metadata.finalizers = "2026-01-01T00:09:00Z", ["example.com/keep"]
    return world(of, [READY])


def deployment(replicas: int | None, failure: str = "", *, paused: bool = False) -> apps.Deployment:
    """One that makes pods labelled app=web."""
    template = core.PodTemplateSpec(metadata=meta.ObjectMeta(labels={"app": "web", "x": "y"}))
    told = [apps.DeploymentCondition(type="ReplicaFailure", status="True", message=failure)] if failure else []
    return apps.Deployment(
        metadata=meta.ObjectMeta(name="web", namespace="default"),
        spec=apps.DeploymentSpec(replicas=replicas, template=template, paused=paused),
        status=apps.DeploymentStatus(conditions=told),
    )


def maker(kind: type[Any], **status: int) -> Any:
    """A StatefulSet or DaemonSet that makes pods labelled app=web."""
    made = kind(metadata=meta.ObjectMeta(name="db", namespace="default"))
    made.spec.template.metadata.labels = {"app": "web"}
    for name, value in status.items():
        setattr(made.status, name, value)
    return made


WORLDS: dict[str, Callable[[], Seen]] = {
    "EndpointsEdited": _edited_endpoints,
    "EndpointsMissing": lambda: world(service(), [READY], endpoints=None),
    "SliceEdited": lambda: world(service(), [READY], slices=[slice_of(service(), "web-x", [unready("10.244.0.1")])]),
    "SlicesMissing": lambda: world(service(), [READY], slices=[]),
    "SliceOrphaned": _orphaned,
    "SliceForeign": _foreign,
    "NoReadyNode": lambda: world(service(), [READY], nodes={"node-1": node(ready=False)}),
    "ProxyBehind": lambda: _conditioned(status="False", reason="ProxyBehind", message="The proxies of node-3 do not."),
    "NothingListens": lambda: world(
        service(), [pod("web-1", "10.244.0.1", ports={"http": 8000})], listening={("web-1", 8080): "refused"}
    ),
    "NoLocalEndpoint": lambda: local(internal_traffic_policy="Local"),
    "NamedPortProtocol": lambda: world(
        service(ports=[port(target="dns", protocol="UDP")]), [pod("web-1", "10.244.0.1", ports={"dns": 53})]
    ),
    "NamedPortMissing": lambda: world(
        service(ports=[port(target="htpp")]), [pod("web-1", "10.244.0.1", ports={"http": 8080, "x": 1})]
    ),
    "ProtocolMismatch": lambda: world(
        service(ports=[port(target=53, protocol="UDP")]), [pod("web-1", "10.244.0.1", ports={"dns": 53})]
    ),
    "PortNotDeclared": lambda: world(service(), [pod("web-1", "10.244.0.1", ports={"http": 8000})]),
    "NodeMissing": lambda: world(service(), [pod("web-1", "10.244.0.1", node="gone")]),
    "ReadinessGate": lambda: gate("False"),
    "ReadinessProbeFailing": readiness_failing,
    "ReadinessProbePending": lambda: world(service(), [probed("readiness_probe", HTTP, running(ready=False))]),
    "StartupProbeNotDone": _startup,
    "NotReady": lambda: world(service(), [with_status(unready(), running(ready=True))]),
    "NodeNotReady": lambda: world(
        service(), [unready()], nodes={"node-1": node(ready=False, message="gone."), "node-2": node()}
    ),
    "CrashLooping": lambda: world(
        service(), [with_status(unready(), waiting("CrashLoopBackOff", last_state=ended(3).state))]
    ),
    "ContainerTerminated": lambda: world(
        service(), [with_status(unready(restart_policy="OnFailure"), ended(0, "Completed"))]
    ),
    "NoAddressOfFamily": lambda: world(service(ip_families=["IPv6"], cluster_ip="fd00::1"), [READY]),
    "NoAddress": lambda: world(service(), [pod("web-1")]),
    "ImagePull": lambda: world(
        service(),
        [
            with_status(
                unready(),
                waiting(
                    "ImagePullBackOff",
                    'Back-off pulling image "nginx:nope": ErrImagePull: manifest unknown',
                    image="nginx:nope",
                ),
            )
        ],
    ),
    "ContainerCannotStart": lambda: world(
        service(), [with_status(unready(), waiting("CreateContainerConfigError", 'secret "x" not found'))]
    ),
    "ContainerCreating": _creating,
    "InitContainerFailing": lambda: _init(ended(1)),
    "InitContainerRunning": lambda: _init(running()),
    "Unschedulable": lambda: _unscheduled(
        reason="Unschedulable", message="0/2 nodes are available: 2 Insufficient cpu."
    ),
    "NotScheduled": lambda: _unscheduled(),
    "PodTerminating": lambda: world(service(), [pod("web-1", "10.244.0.1", deleting=True)]),
    "PodFailed": lambda: world(service(), [pod("web-1", "10.244.0.1", ready=False, phase="Failed")]),
    "PodSucceeded": lambda: world(service(), [pod("web-1", "10.244.0.1", ready=False, phase="Succeeded")]),
    "ScaledToZero": lambda: world(service(), workloads=[deployment(0)]),
    "NoPodsMade": lambda: world(service(), workloads=[deployment(2, failure='pods "web-" is forbidden: no quota')]),
    "SelectorMismatch": lambda: world(
        service(), [labelled(app="wep"), pod("other", "10.244.0.8", labels={"app": "redis"})]
    ),
    "OtherNamespace": lambda: world(service(), elsewhere=[labelled("shop", app="web")]),
    "NoPodMatches": lambda: world(service()),
    "NoSelector": lambda: world(service(selector={})),
    "NoReadyEndpoint": lambda: _manual(ready=False),
    "ExternalNameIsAddress": lambda: world(service(type="ExternalName", external_name="10.1.2.3", selector={})),
    "EndpointNodeNotReady": lambda: world(
        service(), [READY], nodes={"node-1": node(ready=False), "node-2": node("node-2")}
    ),
    "EndpointsTruncated": _truncated,
    "ExternalName": lambda: world(service(type="ExternalName", external_name="db.example.com", selector={})),
    "ManualEndpoints": lambda: _manual(ready=True),
    "ServiceTerminating": lambda: _deleting(),
    "OtherProxy": lambda: world(service(labels={"service.kubernetes.io/service-proxy-name": "mesh"}), [READY]),
    "NotReadyPublished": lambda: world(service(publish_not_ready_addresses=True), [READY]),
    "HeadlessWithoutPorts": lambda: world(service(cluster_ip="None", ports=[]), [READY]),
    "ExternalTrafficLocal": lambda: local(type="NodePort", external_traffic_policy="Local"),
    "SessionAffinity": lambda: world(service(session_affinity="ClientIP"), [READY]),
    "NotLookedAt": lambda: world(
        service(), [READY], nodes=None, unread={"nodes": "Nodes were not looked at: forbidden."}
    ),
}
