"""Checks of Ingress (I1-I6) and IngressClass (I8)."""

from __future__ import annotations

from skerry.api.status import (
    FieldError,
    field_forbidden,
    field_invalid,
    field_not_supported,
    field_required,
    field_too_long,
)
from skerry.api.types import core, networking
from skerry.api.validation import ip, names
from skerry.api.validation.errors import checked, reference, unchanged

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_IN_PATH = ("//", "/./", "/../", "%2f", "%2F")
_AT_END = ("/..", "/.")
_CONTROLLER_LIMIT = 250


def create_ingress(obj: networking.Ingress) -> list[FieldError]:
    """A new Ingress."""
    annotated, named = obj.metadata.annotations.get(CLASS_ANNOTATION), obj.spec.ingress_class_name
    out: list[FieldError] = []
    if annotated is not None and named is not None and annotated != named:
        why = "must match `ingressClassName` when both are specified"
        out.append(field_invalid(f"annotations.{CLASS_ANNOTATION}", annotated, why))
    return out + _ingress(obj)


def update_ingress(new: networking.Ingress, old: networking.Ingress) -> list[FieldError]:  # noqa: ARG001
    """An Ingress that exists."""
    return _ingress(new)


def status_ingress(new: networking.Ingress, old: networking.Ingress) -> list[FieldError]:  # noqa: ARG001
    """A write of an Ingress's status (I9)."""
    out: list[FieldError] = []
    for i, one in enumerate(new.status.load_balancer.ingress):
        path = f"status.loadBalancer.ingress[{i}]"
        if one.ip:
            out += ip.address(f"{path}.ip", one.ip)
        if one.hostname:
            out += checked(f"{path}.hostname", one.hostname, names.dns1123_subdomain)
            if ip.parse(one.hostname) is not None:
                out.append(field_invalid(f"{path}.hostname", one.hostname, "must be a DNS name, not an IP address"))
    return out


def _ingress(obj: networking.Ingress) -> list[FieldError]:
    spec, out = obj.spec, list[FieldError]()
    if not spec.rules and spec.default_backend is None:
        why = "either `defaultBackend` or `rules` must be specified"
        out.append(field_invalid("spec", None, why))
    if spec.default_backend is not None:
        out += _backend(spec.default_backend, "spec.defaultBackend")
    for i, rule in enumerate(spec.rules):
        out += _rule(rule, f"spec.rules[{i}]")
    for i, tls in enumerate(spec.tls):
        for j, host in enumerate(tls.hosts):
            check = names.wildcard_subdomain if "*" in host else names.dns1123_subdomain
            out += checked(f"spec.tls[{i}].hosts[{j}]", host, check)
        if tls.secret_name:
            out += checked(f"spec.tls[{i}].secretName", tls.secret_name, names.dns1123_subdomain)
    if spec.ingress_class_name is not None:
        out += checked("spec.ingressClassName", spec.ingress_class_name, names.dns1123_subdomain)
    return out


def _rule(rule: networking.IngressRule, path: str) -> list[FieldError]:
    out: list[FieldError] = []
    if rule.host:
        if ip.parse(rule.host) is not None:
            out.append(field_invalid(f"{path}.host", rule.host, "must be a DNS name, not an IP address"))
        check = names.wildcard_subdomain if "*" in rule.host else names.dns1123_subdomain
        out += checked(f"{path}.host", rule.host, check)
    if rule.http is None:
        return out
    if not rule.http.paths:
        out.append(field_required(f"{path}.http.paths"))
    for i, one in enumerate(rule.http.paths):
        out += _path(one, f"{path}.http.paths[{i}]")
    return out


def _path(one: networking.HTTPIngressPath, path: str) -> list[FieldError]:
    """I3."""
    out: list[FieldError] = []
    match one.path_type:
        case None:
            return [field_required(f"{path}.pathType", "pathType must be specified")]
        case "Exact" | "Prefix":
            if not one.path.startswith("/"):
                out.append(field_invalid(f"{path}.path", one.path, "must be an absolute path"))
            bad = [f"must not contain '{part}'" for part in _IN_PATH if part in one.path]
            bad += [f"cannot end with '{part}'" for part in _AT_END if one.path.endswith(part)]
            out += [field_invalid(f"{path}.path", one.path, why) for why in bad]
        case "ImplementationSpecific":
            if one.path and not one.path.startswith("/"):
                out.append(field_invalid(f"{path}.path", one.path, "must be an absolute path"))
        case _:
            out.append(field_not_supported(f"{path}.pathType", one.path_type, PATH_TYPES))
    return out + _backend(one.backend, f"{path}.backend")


def _backend(one: networking.IngressBackend, path: str) -> list[FieldError]:
    """I5."""
    if one.resource is not None and one.service is not None:
        return [field_invalid(path, "", "cannot set both resource and service backends")]
    if one.resource is not None:
        return _reference(one.resource, f"{path}.resource")
    if one.service is None:
        return [field_invalid(path, "", "resource or service backend is required")]
    service, out = one.service, list[FieldError]()
    if not service.name:
        out.append(field_required(f"{path}.service.name"))
    else:
        out += checked(f"{path}.service.name", service.name, names.dns1123_label)
    if service.port.name and service.port.number:
        out.append(field_invalid(path, "", "cannot set both port name & port number"))
    elif service.port.name:
        out += checked(f"{path}.service.port.name", service.port.name, names.port_name)
    elif service.port.number:
        number = service.port.number
        out += [field_invalid(f"{path}.service.port.number", number, why) for why in names.port_number(number)]
    else:
        out.append(field_required(path, "port name or number is required"))
    return out


def _reference(one: core.TypedLocalObjectReference, path: str) -> list[FieldError]:
    out: list[FieldError] = []
    if one.api_group is not None:
        out += checked(f"{path}.apiGroup", one.api_group, names.dns1123_subdomain)
    return out + reference(path, one.kind, one.name)


def create_ingressclass(obj: networking.IngressClass) -> list[FieldError]:
    """A new IngressClass."""
    out: list[FieldError] = []
    if len(obj.spec.controller.encode()) > _CONTROLLER_LIMIT:
        out.append(field_too_long("spec.controller", _CONTROLLER_LIMIT))
    out += _controller(obj.spec.controller)
    if obj.spec.parameters is not None:
        out += _parameters(obj.spec.parameters)
    return out


def update_ingressclass(new: networking.IngressClass, old: networking.IngressClass) -> list[FieldError]:
    """An IngressClass that exists; its controller stays."""
    return create_ingressclass(new) + unchanged("spec.controller", new.spec.controller, old.spec.controller)


def _controller(value: str) -> list[FieldError]:
    path = "spec.controller"
    if not value:
        return [field_required(path)]
    domain, _, rest = value.partition("/")
    if not domain or not rest:
        return [field_invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')]
    return checked(path, domain, names.dns1123_subdomain) + checked(path, rest, names.http_path)


def _parameters(one: networking.IngressClassParametersReference) -> list[FieldError]:
    path, out = "spec.parameters", list[FieldError]()
    if one.api_group is not None:
        out += checked(f"{path}.apiGroup", one.api_group, names.dns1123_subdomain)
    out += reference(path, one.kind, one.name)
    match one.scope:
        case None:
            out.append(field_required(f"{path}.scope"))
        case "Namespace":
            if one.namespace is None:
                out.append(field_required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'"))
            else:
                out += checked(f"{path}.namespace", one.namespace, names.dns1123_label)
        case "Cluster":
            if one.namespace is not None:
                out.append(field_forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'"))
        case _:
            out.append(field_not_supported(f"{path}.scope", one.scope, ("Cluster", "Namespace")))
    return out
