"""Checks of Pod, and of the pod templates of workloads."""

from __future__ import annotations

from skerry.api import codec
from skerry.api.status import FieldError, field_forbidden, field_invalid, field_not_supported, field_required
from skerry.api.types import core
from skerry.api.validation import ip, meta, names
from skerry.api.validation.amounts import resources
from skerry.api.validation.containers import containers, ephemeral_containers, image, user
from skerry.api.validation.difference import difference
from skerry.api.validation.errors import checked, one_of
from skerry.api.validation.scheduling import scheduling, tolerations
from skerry.api.validation.volumes import volumes

RESTART_POLICIES = ("Always", "Never", "OnFailure")
DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
_DEADLINE_LIMIT = 2**31 - 1
_NAMESERVERS, _SEARCHES, _SEARCH_LENGTH = 3, 32, 2048
_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_CHANGEABLE = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def create_pod(obj: core.Pod) -> list[FieldError]:
    """A new Pod."""
    out = known_pod(obj)
    out += spec(obj.spec, "spec", is_pod=True)
    if obj.spec.ephemeral_containers:
        out.append(field_forbidden("spec.ephemeralContainers", "cannot be set on create"))
    if obj.spec.node_name and obj.spec.scheduling_gates:
        why = "cannot be set until all schedulingGates have been cleared"
        out.append(field_forbidden("spec.nodeName", why))
    return out


def known_pod(obj: core.Pod) -> list[FieldError]:
    """A new Pod whose spec is known to be good."""
    return _annotations(obj.metadata.annotations, "metadata.annotations")


def template(one: core.PodTemplateSpec, path: str) -> list[FieldError]:
    """The template of a workload."""
    out = meta.labels(f"{path}.labels", one.metadata.labels)
    out += meta.annotation_map(f"{path}.annotations", one.metadata.annotations)
    out += _annotations(one.metadata.annotations, f"{path}.annotations")
    out += spec(one.spec, f"{path}.spec")
    if one.spec.ephemeral_containers:
        why = "ephemeral containers not allowed in pod template"
        out.append(field_forbidden(f"{path}.spec.ephemeralContainers", why))
    return out


def _annotations(values: dict[str, str], path: str) -> list[FieldError]:
    cost = values.get(_DELETION_COST)
    if cost is None:
        return []
    try:
        if -(2**31) <= int(cost) < 2**31 and cost == str(int(cost)):
            return []
    except ValueError:
        pass
    return [field_invalid(f"{path}[{_DELETION_COST}]", cost, "must be a 32bit integer")]


def spec(one: core.PodSpec, path: str, *, is_pod: bool = False) -> list[FieldError]:
    """A pod's spec, in a Pod or in a template."""
    out = volumes(one.volumes, f"{path}.volumes")
    out += containers(one, path)
    if not one.restart_policy:
        out.append(field_required(f"{path}.restartPolicy"))
    else:
        out += one_of(f"{path}.restartPolicy", one.restart_policy, RESTART_POLICIES)
    out += _host(one, path, is_pod=is_pod)
    out += scheduling(one, path)
    out += _dns(one, path)
    for i, gate in enumerate(one.readiness_gates):
        out += checked(f"{path}.readinessGates[{i}].conditionType", gate.condition_type, names.qualified_name)
    for name, value, check in (
        ("serviceAccountName", one.service_account_name, names.dns1123_subdomain),
        ("nodeName", one.node_name, names.dns1123_subdomain),
        ("hostname", one.hostname, names.dns1123_label),
        ("subdomain", one.subdomain, names.dns1123_label),
        ("priorityClassName", one.priority_class_name, names.dns1123_subdomain),
        ("runtimeClassName", one.runtime_class_name or "", names.dns1123_subdomain),
    ):
        if value:
            out += checked(f"{path}.{name}", value, check)
    deadline = one.active_deadline_seconds
    if deadline is not None and not 1 <= deadline <= _DEADLINE_LIMIT:
        why = names.range_text(1, _DEADLINE_LIMIT)
        out.append(field_invalid(f"{path}.activeDeadlineSeconds", deadline, why))
    for i, alias in enumerate(one.host_aliases):
        out += ip.address(f"{path}.hostAliases[{i}].ip", alias.ip)
        for name in alias.hostnames:
            out += checked(f"{path}.hostAliases[{i}].hostnames", name, names.dns1123_subdomain)
    if one.preemption_policy is not None:
        out += one_of(f"{path}.preemptionPolicy", one.preemption_policy, ("Never", "PreemptLowerPriority"))
    if one.os is not None:
        if not one.os.name:
            out.append(field_required(f"{path}.os.name"))
        elif one.os.name not in ("linux", "windows"):
            out.append(field_not_supported(f"{path}.os", one.os.name, ("linux", "windows")))
    if one.resources is not None:
        out += resources(one.resources, f"{path}.resources")
    return out


def _host(one: core.PodSpec, path: str, *, is_pod: bool) -> list[FieldError]:
    """Namespaces shared with the host, and users."""
    out: list[FieldError] = []
    if one.host_network:
        for name, group in (("containers", one.containers), ("initContainers", one.init_containers)):
            for i, container in enumerate(group):
                for j, port in enumerate(container.ports):
                    if (is_pod or port.host_port) and port.host_port != port.container_port:
                        why = "must match `containerPort` when `hostNetwork` is true"
                        at = f"{path}.{name}[{i}].ports[{j}].hostPort"
                        out.append(field_invalid(at, port.host_port, why))
    if one.share_process_namespace and one.host_pid:
        why = "ShareProcessNamespace and HostPID cannot both be enabled"
        out.append(field_invalid(f"{path}.shareProcessNamespace", one.share_process_namespace, why))
    context = one.security_context
    if context is not None:
        at = f"{path}.securityContext"
        out += user(f"{at}.runAsUser", context.run_as_user) + user(f"{at}.runAsGroup", context.run_as_group)
        out += user(f"{at}.fsGroup", context.fs_group)
        for i, number in enumerate(context.supplemental_groups):
            out += user(f"{at}.supplementalGroups[{i}]", number)
    return out


def _dns(one: core.PodSpec, path: str) -> list[FieldError]:
    if not one.dns_policy:
        return [field_required(f"{path}.dnsPolicy")]
    out = one_of(f"{path}.dnsPolicy", one.dns_policy, DNS_POLICIES)
    at, config = f"{path}.dnsConfig", one.dns_config
    if one.dns_policy == "None":
        if config is None:
            return [*out, field_required(at, "must provide `dnsConfig` when `dnsPolicy` is None")]
        if not config.nameservers:
            why = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            return [*out, field_required(f"{at}.nameservers", why)]
    if config is None:
        return out
    if len(config.nameservers) > _NAMESERVERS:
        why = f"must not have more than {_NAMESERVERS} nameservers"
        out.append(field_invalid(f"{at}.nameservers", config.nameservers, why))
    for i, text in enumerate(config.nameservers):
        out += ip.address(f"{at}.nameservers[{i}]", text)
    if len(config.searches) > _SEARCHES:
        why = f"must not have more than {_SEARCHES} search paths"
        out.append(field_invalid(f"{at}.searches", config.searches, why))
    if len(" ".join(config.searches)) > _SEARCH_LENGTH:
        why = f"must not have more than {_SEARCH_LENGTH} characters (including spaces) in the search list"
        out.append(field_invalid(f"{at}.searches", config.searches, why))
    for i, text in enumerate(config.searches):
        if text != ".":
            out += checked(f"{at}.searches[{i}]", text.removesuffix("."), names.dns1123_subdomain_underscored)
    for i, option in enumerate(config.options):
        if not option.name:
            out.append(field_required(f"{at}.options[{i}]", "must not be empty"))
    return out


def update_pod(new: core.Pod, old: core.Pod) -> list[FieldError]:
    """A Pod that exists: images, deadline, grace and added tolerations may change, and nothing else."""
    out = _annotations(new.metadata.annotations, "metadata.annotations")
    for name, now, was in (
        ("containers", new.spec.containers, old.spec.containers),
        ("initContainers", new.spec.init_containers, old.spec.init_containers),
    ):
        if len(now) != len(was):
            out.append(field_forbidden(f"spec.{name}", "pod updates may not add or remove containers"))
            continue
        for i, one in enumerate(now):
            out += image(f"spec.{name}[{i}].image", one.image)
    if len(new.spec.containers) != len(old.spec.containers):
        return out
    if len(new.spec.init_containers) != len(old.spec.init_containers):
        return out
    out += _deadline(new.spec.active_deadline_seconds, old.spec.active_deadline_seconds)
    out += _added(new.spec, old.spec)
    allowed = _with_changes(old.spec, new.spec)
    if allowed != new.spec:
        found = difference(codec.plain(old.spec), codec.plain(new.spec), "spec", codec.plain(allowed))
        why = f"pod updates may not change fields other than {_CHANGEABLE}\n{found}"
        out.append(field_forbidden("spec", why))
    return out


def debug_pod(new: core.Pod, old: core.Pod) -> list[FieldError]:
    """A write of a Pod's ephemeral containers: those that are there stay as they are, new ones must be good."""
    path, out = "spec.ephemeralContainers", []
    now = {one.name: one for one in new.spec.ephemeral_containers}
    for one in old.spec.ephemeral_containers:
        if one.name not in now:
            out.append(field_forbidden(path, f'existing ephemeral containers "{one.name}" may not be removed\n'))
        elif now[one.name] != one:
            out.append(field_forbidden(path, f'existing ephemeral containers "{one.name}" may not be changed\n'))
    return out + ephemeral_containers(new.spec, path)


def status_pod(new: core.Pod, old: core.Pod) -> list[FieldError]:  # noqa: ARG001
    """A write of a Pod's status."""
    out: list[FieldError] = []
    for i, one in enumerate(new.status.conditions):
        out += checked(f"status.conditions[{i}].type", one.type, names.qualified_name)
    for i, address in enumerate(new.status.pod_i_ps):
        out += ip.address(f"status.podIPs[{i}]", address.ip)
    for i, host in enumerate(new.status.host_i_ps):
        out += ip.address(f"status.hostIPs[{i}]", host.ip)
    return out


def _deadline(new: int | None, old: int | None) -> list[FieldError]:
    path = "spec.activeDeadlineSeconds"
    if new is not None:
        if not 0 <= new <= _DEADLINE_LIMIT:
            return [field_invalid(path, new, names.range_text(0, _DEADLINE_LIMIT))]
        if old is not None and old < new:
            return [field_invalid(path, new, "must be less than or equal to previous value")]
    elif old is not None:
        return [field_invalid(path, None, "must not update from a positive integer to nil value")]
    return []


def _key(one: core.Toleration) -> tuple[str, str, str, str]:
    return one.key, one.operator, one.value, one.effect


def _added(new: core.PodSpec, old: core.PodSpec) -> list[FieldError]:
    """Old tolerations stay (their seconds may change); new ones must be good."""
    kept = {_key(one) for one in new.tolerations}
    out: list[FieldError] = []
    if any(_key(one) not in kept for one in old.tolerations):
        why = "existing toleration can not be modified except its tolerationSeconds"
        out.append(field_forbidden("spec.tolerations", why))
    return out + tolerations(new.tolerations, "spec.tolerations")


def _with_changes(old: core.PodSpec, new: core.PodSpec) -> core.PodSpec:
    """The old spec with every change of the new one that is allowed."""
    out = codec.copy(old)
    for mine, theirs in ((out.containers, new.containers), (out.init_containers, new.init_containers)):
        for one, other in zip(mine, theirs, strict=True):
            one.image = other.image
    out.active_deadline_seconds = new.active_deadline_seconds
    out.tolerations = new.tolerations
    if (old.termination_grace_period_seconds or 0) < 0 and new.termination_grace_period_seconds == 1:
        out.termination_grace_period_seconds = 1
    kept = {one.name for one in new.scheduling_gates}
    out.scheduling_gates = [one for one in out.scheduling_gates if one.name in kept]
    if old.scheduling_gates:
        # A pod that the scheduler may not look at yet can still be told where to go.
        out.node_selector = {**new.node_selector, **old.node_selector}
    return out
