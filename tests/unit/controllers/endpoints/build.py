"""Short ways to make the objects that the endpoints tests talk about."""

from __future__ import annotations

from typing import Any

from skerry.api.types import core, discovery, meta
from skerry.controllers.endpoints import members, slices
from skerry.controllers.endpoints.plan import Plan

CREATED = "2026-01-01T00:00:00Z"


def service(name: str = "web", **spec: Any) -> core.Service:
    """A ClusterIP Service that selects app=<name> on port 80 -> 8080."""
    labels, uid, annotations = spec.pop("labels", {}), spec.pop("uid", f"uid-{name}"), spec.pop("annotations", {})
    spec.setdefault("selector", {"app": name})
    spec.setdefault("cluster_ip", "10.96.0.20")
    spec.setdefault("ip_families", ["IPv4"])
    spec.setdefault("ports", [port()])
    metadata = meta.ObjectMeta(
        name=name,
        namespace="default",
        uid=uid,
        labels=labels,
        annotations=annotations,
        creation_timestamp=CREATED,
        resource_version="1",
    )
    return core.Service(metadata=metadata, spec=core.ServiceSpec(type=spec.pop("type", "ClusterIP"), **spec))


def port(name: str = "", number: int = 80, target: int | str = 8080, protocol: str = "TCP", **more: Any) -> Any:
    return core.ServicePort(name=name, port=number, target_port=target, protocol=protocol, **more)


def pod(
    name: str = "web-1",
    *ips: str,
    ready: bool | None = True,
    deleting: bool = False,
    phase: str = "Running",
    node: str = "node-1",
    labels: dict[str, str] | None = None,
    since: str = "2026-01-01T00:00:05Z",
    version: str = "1",
    ports: dict[str, int] | None = None,
    **spec: Any,
) -> core.Pod:
    """A pod with label app=web; `ready` None leaves the condition out; `ports` names its TCP container ports."""
    conditions = [] if ready is None else [
        core.PodCondition(type="Ready", status="True" if ready else "False", last_transition_time=since)
    ]  # fmt: skip
    declared = [core.ContainerPort(name=key, container_port=value) for key, value in (ports or {}).items()]
    return core.Pod(
        metadata=meta.ObjectMeta(
            name=name,
            namespace="default",
            uid=f"uid-{name}",
            labels={"app": "web"} if labels is None else labels,
            deletion_timestamp="2026-01-01T00:01:00Z" if deleting else None,
            resource_version=version,
        ),
        spec=core.PodSpec(node_name=node, containers=[core.Container(name="c", ports=declared)], **spec),
        status=core.PodStatus(
            phase=phase,
            pod_ip=ips[0] if ips else "",
            pod_i_ps=[core.PodIP(ip=one) for one in ips],
            conditions=conditions,
        ),
    )


def pods(count: int, first: int = 0, **more: Any) -> list[core.Pod]:
    return [pod(f"web-{n}", f"10.244.{n // 250}.{n % 250}", **more) for n in range(first, first + count)]


NODE = core.Node(metadata=meta.ObjectMeta(name="node-1"))


def any_node(_: str) -> core.Node:
    return NODE


def endpoint(of: core.Service, one: core.Pod) -> discovery.Endpoint:
    return slices.endpoint(of, one, members.family_addresses(one, "IPv4"), NODE)


def slice_of(of: core.Service, name: str, members_: list[core.Pod], **more: Any) -> discovery.EndpointSlice:
    """A slice as the controller has written it earlier."""
    return discovery.EndpointSlice(
        metadata=meta.ObjectMeta(
            name=name,
            namespace="default",
            uid=f"uid-{name}",
            resource_version="5",
            labels=more.pop("labels", slices.service_labels(of)),
            owner_references=more.pop("owners", [slices.owner(of)]),
        ),
        address_type=more.pop("address_type", "IPv4"),
        endpoints=[endpoint(of, one) for one in members_],
        ports=more.pop("ports", [discovery.EndpointPort(name="", protocol="TCP", port=8080)]),
    )


def placeholder(of: core.Service, name: str) -> discovery.EndpointSlice:
    return slice_of(of, name, [], ports=[])


class Store:
    """Carries out plans as the API server would, so that a test can reconcile again and again."""

    def __init__(self, *existing: discovery.EndpointSlice) -> None:
        self.slices = {one.metadata.name: one for one in existing}
        self.made = 0

    def apply(self, plan: Plan) -> None:
        for one in plan.create:
            self.made += 1
            one.metadata.name = f"{one.metadata.generate_name}{self.made:03}"
            one.metadata.uid = f"uid-{one.metadata.name}"
            self.slices[one.metadata.name] = one
        for one in plan.update:
            assert one.metadata.name in self.slices
            self.slices[one.metadata.name] = one
        for one in plan.delete:
            del self.slices[one.metadata.name]

    def sizes(self) -> list[int]:
        return sorted((len(one.endpoints) for one in self.slices.values()), reverse=True)
