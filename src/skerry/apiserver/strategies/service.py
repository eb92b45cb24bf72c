"""Service: what is kept, dropped and allocated when one is written (S25-S34, S36-S46).

Allocation comes before the checks, as upstream: a taken address is told before a bad selector.
"""

from __future__ import annotations

from typing import Any

from skerry.api import status
from skerry.api.defaults.service import externally_accessible
from skerry.api.status import ApiError, FieldError, field_invalid
from skerry.api.types import core
from skerry.api.validation import ip
from skerry.api.validation.service import cluster_ips, headless, needs_health_check
from skerry.apiserver.strategies import service_warnings
from skerry.apiserver.strategies.allocator import Full, ServiceAllocator, Taken, ports_of
from skerry.apiserver.strategies.base import Context, Strategy

_OTHER = {"IPv4": "IPv6", "IPv6": "IPv4"}


class ServiceStrategy(Strategy):
    """See the module."""

    def prepare_create(self, obj: core.Service, ctx: Context) -> None:
        super().prepare_create(obj, ctx)
        if obj.spec.cluster_ip and not obj.spec.cluster_i_ps:
            obj.spec.cluster_i_ps = [obj.spec.cluster_ip]
        _Allocation(ctx, obj, None).run()

    def prepare_update(self, new: core.Service, old: core.Service, subresource: str, ctx: Context) -> None:
        super().prepare_update(new, old, subresource, ctx)
        if subresource:
            return
        normalize(new.spec, old.spec)
        carry_over(new.spec, old.spec)
        drop_for_type(new, old)
        _Allocation(ctx, new, old).run()

    def after_delete(self, obj: core.Service, ctx: Context) -> None:
        """S34."""
        for text in obj.spec.cluster_i_ps or [obj.spec.cluster_ip]:
            ctx.ranges.free_ip(text)
        for port in ports_of(obj):
            ctx.ranges.free_port(port)

    def warnings(self, new: core.Service, old: core.Service | None) -> list[str]:  # noqa: ARG002
        """S25."""
        return service_warnings.of(new.spec, new.metadata.annotations)


def needs_cluster_ip(spec: core.ServiceSpec) -> bool:
    """Whether the type has cluster IPs (None counts as one, S36)."""
    return spec.type in ("ClusterIP", "NodePort", "LoadBalancer")


def needs_node_port(spec: core.ServiceSpec) -> bool:
    """Whether node ports may be allocated for it (S44)."""
    return spec.type == "NodePort" or (
        spec.type == "LoadBalancer" and spec.allocate_load_balancer_node_ports is not False
    )


def normalize(new: core.ServiceSpec, old: core.ServiceSpec) -> None:
    """S29: clusterIP is what old clients write; clusterIPs follows it where they left it alone."""
    if new.cluster_ip == old.cluster_ip:
        return
    if new.cluster_i_ps == old.cluster_i_ps:
        new.cluster_i_ps = [new.cluster_ip] if new.cluster_ip else []
    elif new.cluster_ip and not new.cluster_i_ps:
        new.cluster_i_ps = [new.cluster_ip]


def carry_over(new: core.ServiceSpec, old: core.ServiceSpec) -> None:
    """S28: what was allocated stays where the new object leaves it empty."""
    if needs_cluster_ip(old) and needs_cluster_ip(new):
        new.cluster_ip = new.cluster_ip or old.cluster_ip
        new.cluster_i_ps = new.cluster_i_ps or list(old.cluster_i_ps)
    if needs_node_port(old) and needs_node_port(new):
        used = {one.node_port for one in new.ports if one.node_port}
        by_name = {one.name: one.node_port for one in old.ports}
        for port in new.ports:
            kept = by_name.get(port.name, 0)
            if not port.node_port and kept and kept not in used:
                port.node_port = kept
    if needs_health_check(old) and needs_health_check(new):
        new.health_check_node_port = new.health_check_node_port or old.health_check_node_port


def drop_for_type(obj: core.Service, before: core.Service) -> None:
    """S30: values that the old type needed and the new one does not go, unless this very write changed them."""
    new, old = obj.spec, before.spec
    if needs_cluster_ip(old) and not needs_cluster_ip(new):
        if new.cluster_i_ps == old.cluster_i_ps and new.cluster_ip == old.cluster_ip:
            new.cluster_ip, new.cluster_i_ps = "", []
        _reset(new, old, "ip_families", [])
        _reset(new, old, "ip_family_policy", None)
    if _may_have_node_ports(old) and not _may_have_node_ports(new) and _node_ports(new) == _node_ports(old):
        for port in new.ports:
            port.node_port = 0
    if needs_health_check(old) and not needs_health_check(new):
        _reset(new, old, "health_check_node_port", 0)
    if old.type == "LoadBalancer" != new.type:
        _reset(new, old, "allocate_load_balancer_node_ports", None)
        _reset(new, old, "load_balancer_class", None)
    if externally_accessible(old) and not externally_accessible(new):
        _reset(new, old, "external_traffic_policy", "")
    if new.type == "ExternalName":
        _reset(new, old, "internal_traffic_policy", None)
    if new.type != "LoadBalancer":
        obj.status.load_balancer = core.LoadBalancerStatus()


def _reset(new: core.ServiceSpec, old: core.ServiceSpec, name: str, empty: Any) -> None:
    if getattr(new, name) == getattr(old, name):
        setattr(new, name, empty)


def _may_have_node_ports(spec: core.ServiceSpec) -> bool:
    return spec.type in ("NodePort", "LoadBalancer")


def _node_ports(spec: core.ServiceSpec) -> set[int]:
    return {one.node_port for one in spec.ports if one.node_port}


class _Allocation:
    """One write's way through the allocators. `run` raises ApiError, with everything it took given back."""

    def __init__(self, ctx: Context, new: core.Service, old: core.Service | None) -> None:
        self.new, self.old, self.ranges = new, old, ctx.ranges
        self.transaction = ctx.transaction
        self.taken_ips: list[str] = []
        self.taken_ports: list[int] = []

    def run(self) -> None:
        try:
            self._run()
        except ApiError:
            self._give_back()
            raise
        self.transaction.on_failure(self._give_back)

    def _run(self) -> None:
        old = self.old
        families(self.new, old, self.ranges)
        self._ips()
        before, after = (ports_of(old) if old is not None else set()), set[int]()
        self._node_ports(before)
        self._health_check(before)
        after = ports_of(self.new)
        gone_ips = set(_real(old.spec)) - set(_real(self.new.spec)) if old is not None else set[str]()
        for port in before - after:
            self.transaction.on_success(lambda port=port: self.ranges.free_port(port))  # type: ignore[misc]
        for text in gone_ips:
            self.transaction.on_success(lambda text=text: self.ranges.free_ip(text))  # type: ignore[misc]

    def _give_back(self) -> None:
        for text in self.taken_ips:
            self.ranges.free_ip(text)
        for port in self.taken_ports:
            self.ranges.free_port(port)
        self.taken_ips, self.taken_ports = [], []

    def _invalid(self, error: FieldError) -> ApiError:
        return status.invalid("", "Service", self.new.metadata.name, [error])

    def _ips(self) -> None:
        """S36-S40: an address for every family that has none yet."""
        spec = self.new.spec
        if spec.type == "ExternalName" or spec.cluster_ip == "None":
            return
        held = 0
        if self.old is not None and self.old.spec.type != "ExternalName":
            if headless(self.old.spec):
                return  # which cannot change: the checks say so
            held = len(_real(self.old.spec))
        asked = list(spec.cluster_i_ps)
        # What is held already stays; a changed one is refused by the checks (S31).
        for i, family in enumerate(spec.ip_families[held:], held):
            text = asked[i] if i < len(asked) else ""
            try:
                got = self.ranges.take_ip(family, text)
            except Taken as error:
                why = f"failed to allocate IP {text}: {error}"
                raise self._invalid(field_invalid("spec.clusterIPs", asked, why)) from None
            except Full as error:
                raise ApiError(500, f"Internal error occurred: failed to allocate a serviceIP: {error}") from None
            self.taken_ips.append(got)
            spec.cluster_i_ps[i : i + 1] = [got]
        if spec.cluster_i_ps:
            spec.cluster_ip = spec.cluster_i_ps[0]

    def _node_ports(self, held: set[int]) -> None:
        """S42-S45; `held` are the ports that the old object has."""
        spec = self.new.spec
        if not _may_have_node_ports(spec):
            return
        by_port: dict[int, int] = {}
        for port in spec.ports:
            if port.node_port:
                by_port.setdefault(port.port, port.node_port)
        done: dict[int, int] = {}
        taken: set[int] = set()
        for i, port in enumerate(spec.ports):
            wanted = port.node_port or by_port.get(port.port, 0)
            if not wanted and not needs_node_port(spec):
                continue
            # A new Service shares a node port only between equal port numbers; a changed one wherever it says so.
            shared = done.get(port.port) == wanted if self.old is None else wanted in held | taken
            if not wanted or not shared:
                wanted = self._port(wanted, f"spec.ports[{i}].nodePort")
            taken.add(wanted)
            port.node_port = by_port[port.port] = done[port.port] = wanted

    def _port(self, wanted: int, path: str) -> int:
        try:
            got = self.ranges.take_port(wanted)
        except Taken as error:
            raise self._invalid(field_invalid(path, wanted, str(error))) from None
        except Full as error:
            raise ApiError(500, f"Internal error occurred: failed to allocate a nodePort: {error}") from None
        self.taken_ports.append(got)
        return got

    def _health_check(self, held: set[int]) -> None:
        """S46."""
        spec = self.new.spec
        if not needs_health_check(spec) or (spec.health_check_node_port and spec.health_check_node_port in held):
            return
        wanted = spec.health_check_node_port
        try:
            spec.health_check_node_port = self.ranges.take_port(wanted)
        except (Taken, Full) as error:
            which = f"requested HealthCheck NodePort {wanted}" if wanted else "a HealthCheck NodePort 0"
            raise ApiError(500, f"Internal error occurred: failed to allocate {which}: {error}") from None
        self.taken_ports.append(spec.health_check_node_port)


def _real(spec: core.ServiceSpec) -> list[str]:
    return [one for one in spec.cluster_i_ps or [spec.cluster_ip] if one not in ("", "None")]


def families(obj: core.Service, old: core.Service | None, ranges: ServiceAllocator) -> None:
    """Settles ipFamilyPolicy and ipFamilies (S37, S32). ApiError 422 if the cluster cannot give what is asked."""
    spec = obj.spec
    if spec.type == "ExternalName":
        return
    before = old.spec if old is not None and old.spec.type != "ExternalName" else None
    alone = spec.cluster_ip == "None" and not spec.selector
    if spec.ip_family_policy is None:
        kept = before.ip_family_policy if before is not None else None
        spec.ip_family_policy = kept or ("RequireDualStack" if alone else "SingleStack")
    policy = spec.ip_family_policy
    errors = cluster_ips(spec, before.cluster_i_ps if before is not None else ())
    if before is not None:
        errors += _shrink(spec, before)
    if policy == "SingleStack":
        what = "must be 'RequireDualStack' or 'PreferDualStack' when multiple {} are specified"
        if len(spec.cluster_i_ps) == 2:
            errors.append(field_invalid("spec.ipFamilyPolicy", policy, what.format("cluster IPs")))
        if len(spec.ip_families) == 2:
            errors.append(field_invalid("spec.ipFamilyPolicy", policy, what.format("IP families")))
    if not errors:
        errors += _infer(spec, ranges)
    _refuse(obj, errors)
    if alone:
        spec.ip_families = spec.ip_families or ranges.families[:1]
        if len(spec.ip_families) < 2 and policy != "SingleStack":
            spec.ip_families.append(_OTHER[spec.ip_families[0]])
        return
    if policy == "RequireDualStack" and len(ranges.families) < 2:
        why = "this cluster is not configured for dual-stack services"
        errors.append(field_invalid("spec.ipFamilyPolicy", policy, why))
    errors += [
        field_invalid(f"spec.ipFamilies[{i}]", family, "not configured on this cluster")
        for i, family in enumerate(spec.ip_families)
        if family not in ranges.families
    ]
    _refuse(obj, errors)
    spec.ip_families = spec.ip_families or ranges.families[:1]
    if policy != "SingleStack" and len(spec.ip_families) == 1 and len(ranges.families) == 2:
        spec.ip_families.append(_OTHER[spec.ip_families[0]])


def _shrink(spec: core.ServiceSpec, before: core.ServiceSpec) -> list[FieldError]:
    """S32: policy SingleStack trims lists that were left alone; without it they may not shrink."""
    if spec.ip_family_policy == "SingleStack":
        if spec.cluster_i_ps == before.cluster_i_ps:
            spec.cluster_i_ps = spec.cluster_i_ps[:1]
        if spec.ip_families == before.ip_families:
            spec.ip_families = spec.ip_families[:1]
        return []
    out: list[FieldError] = []
    for now, was, what in (
        (spec.cluster_i_ps, before.cluster_i_ps, "cluster IP"),
        (spec.ip_families, before.ip_families, "IP family"),
    ):
        if now and len(now) < len(was):
            why = f"must be 'SingleStack' to release the secondary {what}"
            out.append(field_invalid("spec.ipFamilyPolicy", spec.ip_family_policy, why))
    return out


def _infer(spec: core.ServiceSpec, ranges: ServiceAllocator) -> list[FieldError]:
    out: list[FieldError] = []
    for i, text in enumerate(spec.cluster_i_ps):
        if text == "None":
            break
        family = ip.family(text)
        if i >= len(spec.ip_families):
            if family in ranges.families:
                spec.ip_families.append(family)
            else:
                why = f"{family} is not configured on this cluster"
                out.append(field_invalid(f"spec.clusterIPs[{i}]", spec.cluster_i_ps, why))
    return out


def _refuse(obj: Any, errors: list[FieldError]) -> None:
    if errors:
        raise status.invalid("", "Service", obj.metadata.name, errors)
