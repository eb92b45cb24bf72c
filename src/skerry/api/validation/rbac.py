"""Checks of roles and their bindings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api.rbac import GROUP
from skerry.api.status import FieldError, field_invalid, field_not_supported, field_required
from skerry.api.validation import meta, names
from skerry.api.validation.errors import checked, shown

if TYPE_CHECKING:
    from skerry.api.types import rbac

    AnyBinding = rbac.RoleBinding | rbac.ClusterRoleBinding


def create_role(obj: rbac.Role) -> list[FieldError]:
    """A Role; its rules are of its namespace, so no paths are in them."""
    return _rules(obj.rules, namespaced=True)


def update_role(new: rbac.Role, old: rbac.Role) -> list[FieldError]:  # noqa: ARG001
    """A Role that exists."""
    return create_role(new)


def create_clusterrole(obj: rbac.ClusterRole) -> list[FieldError]:
    """A ClusterRole, with rules, or selectors of the roles that it is made of."""
    out = _rules(obj.rules, namespaced=False)
    if obj.aggregation_rule is not None:
        path, selectors = "aggregationRule.clusterRoleSelectors", obj.aggregation_rule.cluster_role_selectors
        if not selectors:
            out.append(field_required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil"))
        for i, one in enumerate(selectors):
            out += meta.label_selector(f"{path}[{i}]", one)
    return out


def update_clusterrole(new: rbac.ClusterRole, old: rbac.ClusterRole) -> list[FieldError]:  # noqa: ARG001
    """A ClusterRole that exists."""
    return create_clusterrole(new)


def _rules(rules: list[rbac.PolicyRule], *, namespaced: bool) -> list[FieldError]:
    out: list[FieldError] = []
    for i, rule in enumerate(rules):
        path = f"rules[{i}]"
        if not rule.verbs:
            out.append(field_required(f"{path}.verbs", "verbs must contain at least one value"))
        urls = rule.non_resource_ur_ls
        if urls:
            if namespaced:
                text = "namespaced rules cannot apply to non-resource URLs"
                out.append(field_invalid(f"{path}.nonResourceURLs", urls, text))
            if rule.api_groups or rule.resources or rule.resource_names:
                text = "rules cannot apply to both regular resources and non-resource URLs"
                out.append(field_invalid(f"{path}.nonResourceURLs", urls, text))
            continue
        if not rule.api_groups:
            out.append(field_required(f"{path}.apiGroups", "resource rules must supply at least one api group"))
        if not rule.resources:
            out.append(field_required(f"{path}.resources", "resource rules must supply at least one resource"))
    return out


def create_rolebinding(obj: rbac.RoleBinding) -> list[FieldError]:
    """A RoleBinding."""
    return _binding(obj, ("ClusterRole", "Role"), namespaced=True)


def create_clusterrolebinding(obj: rbac.ClusterRoleBinding) -> list[FieldError]:
    """A ClusterRoleBinding."""
    return _binding(obj, ("ClusterRole",), namespaced=False)


def update_rolebinding(new: rbac.RoleBinding, old: rbac.RoleBinding) -> list[FieldError]:
    """A RoleBinding that exists; it stays with its role."""
    return create_rolebinding(new) + _same_role(new, old)


def update_clusterrolebinding(new: rbac.ClusterRoleBinding, old: rbac.ClusterRoleBinding) -> list[FieldError]:
    """A ClusterRoleBinding that exists; it stays with its role."""
    return create_clusterrolebinding(new) + _same_role(new, old)


def _same_role(new: AnyBinding, old: AnyBinding) -> list[FieldError]:
    if new.role_ref == old.role_ref:
        return []
    return [field_invalid("roleRef", shown(new.role_ref), "cannot change roleRef")]


def _binding(obj: AnyBinding, kinds: tuple[str, ...], *, namespaced: bool) -> list[FieldError]:
    out: list[FieldError] = []
    ref = obj.role_ref
    if ref.api_group != GROUP:
        out.append(field_not_supported("roleRef.apiGroup", ref.api_group, [GROUP]))
    if ref.kind not in kinds:
        out.append(field_not_supported("roleRef.kind", ref.kind, kinds))
    if not ref.name:
        out.append(field_required("roleRef.name"))
    else:
        out += checked("roleRef.name", ref.name, names.path_segment)
    for i, one in enumerate(obj.subjects):
        out += _subject(one, f"subjects[{i}]", namespaced=namespaced)
    return out


def _subject(one: rbac.Subject, path: str, *, namespaced: bool) -> list[FieldError]:
    out: list[FieldError] = []
    if not one.name:
        out.append(field_required(f"{path}.name"))
    match one.kind:
        case "ServiceAccount":
            if one.name:
                out += checked(f"{path}.name", one.name, names.dns1123_subdomain)
            if one.api_group:
                out.append(field_not_supported(f"{path}.apiGroup", one.api_group, [""]))
            if not namespaced and not one.namespace:
                out.append(field_required(f"{path}.namespace"))
        case "User" | "Group":
            if one.api_group != GROUP:
                out.append(field_not_supported(f"{path}.apiGroup", one.api_group, [GROUP]))
        case _:
            out.append(field_not_supported(f"{path}.kind", one.kind, ["Group", "ServiceAccount", "User"]))
    return out
