"""Checks of webhook configurations. Called through validation.create and validation.update."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from skerry.api.status import (
    FieldError,
    field_duplicate,
    field_forbidden,
    field_invalid,
    field_not_supported,
    field_required,
)
from skerry.api.types import admissionregistration as registration
from skerry.api.validation import meta, names
from skerry.api.validation.errors import one_of

_OPERATIONS = ("*", "CREATE", "UPDATE", "DELETE", "CONNECT")
_SCOPES = ("Cluster", "Namespaced", "*")
_HARMLESS = ("None", "NoneOnDryRun")
REVIEWS = ("v1", "v1beta1")
"""Versions of AdmissionReview that are spoken."""
_FORM = "; desired format: https://host[/path]"
NO_CEL = "match conditions are written in CEL, which Skerry does not evaluate: select by rules and selectors instead"

Webhook = registration.MutatingWebhook | registration.ValidatingWebhook


def create_mutatingwebhookconfiguration(obj: registration.MutatingWebhookConfiguration) -> list[FieldError]:
    out = _webhooks(obj.webhooks)
    for index, one in enumerate(obj.webhooks):
        path = f"webhooks[{index}].reinvocationPolicy"
        out += one_of(path, one.reinvocation_policy or "", ("Never", "IfNeeded"))
    return out


def update_mutatingwebhookconfiguration(
    new: registration.MutatingWebhookConfiguration,
    old: registration.MutatingWebhookConfiguration,  # noqa: ARG001  (the interface)
) -> list[FieldError]:
    return create_mutatingwebhookconfiguration(new)


def create_validatingwebhookconfiguration(obj: registration.ValidatingWebhookConfiguration) -> list[FieldError]:
    return _webhooks(obj.webhooks)


def update_validatingwebhookconfiguration(
    new: registration.ValidatingWebhookConfiguration,
    old: registration.ValidatingWebhookConfiguration,  # noqa: ARG001  (the interface)
) -> list[FieldError]:
    return _webhooks(new.webhooks)


def _webhooks(webhooks: Sequence[Webhook]) -> list[FieldError]:
    out: list[FieldError] = []
    seen: set[str] = set()
    for index, one in enumerate(webhooks):
        path = f"webhooks[{index}]"
        out += _webhook(path, one)
        if one.name and one.name in seen:
            out.append(field_duplicate(f"{path}.name", one.name))
        seen.add(one.name)
    return out


def _webhook(path: str, one: Webhook) -> list[FieldError]:
    out = _name(f"{path}.name", one.name)
    for index, rule in enumerate(one.rules):
        out += _rule(f"{path}.rules[{index}]", rule)
    out += one_of(f"{path}.failurePolicy", one.failure_policy or "", ("Ignore", "Fail"))
    out += one_of(f"{path}.matchPolicy", one.match_policy or "", ("Exact", "Equivalent"))
    if one.side_effects is None:
        out.append(field_required(f"{path}.sideEffects", f"must specify one of {', '.join(_HARMLESS)}"))
    else:
        out += one_of(f"{path}.sideEffects", one.side_effects, _HARMLESS)
    if one.timeout_seconds is not None and not 1 <= one.timeout_seconds <= 30:
        why = "the timeout value must be between 1 and 30 seconds"
        out.append(field_invalid(f"{path}.timeoutSeconds", one.timeout_seconds, why))
    out += meta.label_selector(f"{path}.namespaceSelector", one.namespace_selector)
    out += meta.label_selector(f"{path}.objectSelector", one.object_selector)
    out += _client(f"{path}.clientConfig", one.client_config)
    if one.match_conditions:
        out.append(field_forbidden(f"{path}.matchConditions", NO_CEL))
    return out + _reviews(f"{path}.admissionReviewVersions", one.admission_review_versions)


def _name(path: str, name: str) -> list[FieldError]:
    if not name:
        return [field_required(path)]
    complaints = names.dns1123_subdomain(name)
    if complaints:
        return [field_invalid(path, name, ",".join(complaints))]
    if name.count(".") < 2:
        return [field_invalid(path, name, "should be a domain with at least three segments separated by dots")]
    return []


def _reviews(path: str, versions: list[str]) -> list[FieldError]:
    if not versions:
        return [field_required(path, f"must specify one of {', '.join(REVIEWS)}")]
    out: list[FieldError] = []
    seen: set[str] = set()
    for index, one in enumerate(versions):
        if one in seen:
            out.append(field_invalid(f"{path}[{index}]", one, "duplicate version"))
            continue
        seen.add(one)
        out += [field_invalid(f"{path}[{index}]", one, why) for why in names.dns1035_label(one)]
    if not seen & set(REVIEWS):
        out.append(field_invalid(path, versions, f"must include at least one of {', '.join(REVIEWS)}"))
    return out


def _rule(path: str, rule: registration.RuleWithOperations) -> list[FieldError]:
    out = _wild(f"{path}.operations", rule.operations, "operations")
    for index, one in enumerate(rule.operations):
        if one not in _OPERATIONS:
            out.append(field_not_supported(f"{path}.operations[{index}]", one, _OPERATIONS))
    out += _wild(f"{path}.apiGroups", rule.api_groups, "API groups")
    out += _wild(f"{path}.apiVersions", rule.api_versions, "API versions")
    out += [field_required(f"{path}.apiVersions[{i}]") for i, one in enumerate(rule.api_versions) if not one]
    out += _resources(f"{path}.resources", rule.resources)
    if rule.scope is not None:
        out += one_of(f"{path}.scope", rule.scope, _SCOPES)
    return out


def _wild(path: str, values: list[str], what: str) -> list[FieldError]:
    if not values:
        return [field_required(path)]
    if len(values) > 1 and "*" in values:
        return [field_invalid(path, values, f"if '*' is present, must not specify other {what}")]
    return []


def _resources(path: str, resources: list[str]) -> list[FieldError]:
    out: list[FieldError] = [] if resources else [field_required(path)]
    of_all_parts: set[str] = set()
    part_of_all: set[str] = set()
    for index, one in enumerate(resources):
        if not one:
            out.append(field_required(f"{path}[{index}]"))
            continue
        resource, slash, part = one.partition("/")
        if not slash:
            continue
        if resource in of_all_parts:
            why = f"if '{resource}/*' is present, must not specify {one}"
            out.append(field_invalid(f"{path}[{index}]", one, why))
        if part in part_of_all:
            out.append(field_invalid(f"{path}[{index}]", one, f"if '*/{part}' is present, must not specify {one}"))
        if part == "*":
            of_all_parts.add(resource)
        if resource == "*":
            part_of_all.add(part)
    if len(resources) > 1 and "*/*" in resources:
        out.append(field_invalid(path, resources, "if '*/*' is present, must not specify other resources"))
    if "*" in resources and any(one != "*" and "/" not in one for one in resources):
        why = "if '*' is present, must not specify other resources without subresources"
        out.append(field_invalid(path, resources, why))
    return out


def _client(path: str, config: registration.WebhookClientConfig) -> list[FieldError]:
    if (config.url is None) == (config.service is None):
        return [field_required(path, "exactly one of url or service is required")]
    if config.url is not None:
        return _url(f"{path}.url", config.url)
    assert config.service is not None
    return _service(f"{path}.service", config.service)


def _url(path: str, text: str) -> list[FieldError]:
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError as error:
        return [field_required(path, f"url must be a valid URL: {error}{_FORM}")]
    out: list[FieldError] = []
    if url.scheme != "https":
        out.append(field_invalid(path, url.scheme, f"'https' is the only allowed URL scheme{_FORM}"))
    if not url.netloc:
        out.append(field_invalid(path, url.netloc, f"host must be provided{_FORM}"))
    if "@" in url.netloc:
        user = url.netloc.rpartition("@")[0]
        out.append(field_invalid(path, user, "user information is not permitted in the URL"))
    if url.fragment:
        out.append(field_invalid(path, url.fragment, "fragments are not permitted in the URL"))
    if url.query:
        out.append(field_invalid(path, url.query, "query parameters are not permitted in the URL"))
    return out


def _service(path: str, service: registration.ServiceReference) -> list[FieldError]:
    out: list[FieldError] = []
    if not service.name:
        out.append(field_required(f"{path}.name", "service name is required"))
    if not service.namespace:
        out.append(field_required(f"{path}.namespace", "service namespace is required"))
    if service.port is not None and not 0 < service.port < 65536:
        why = "port is not valid: must be between 1 and 65535, inclusive"
        out.append(field_invalid(f"{path}.port", service.port, why))
    return out + _path(f"{path}.path", service.path or "")


def _path(path: str, text: str) -> list[FieldError]:
    if text in ("", "/"):
        return []
    if text == "//":
        return [field_invalid(path, text, "segment[0] may not be empty")]
    out: list[FieldError] = []
    if not text.startswith("/"):
        out.append(field_invalid(path, text, "must start with a '/'"))
    for index, step in enumerate(text[1:].removesuffix("/").split("/")):
        complaints = names.dns1123_subdomain(step) if step else ["may not be empty"]
        separator = ": " if step else " "
        out += [field_invalid(path, text, f"segment[{index}]{separator}{why}") for why in complaints]
    return out
