"""Which webhooks an operation is shown to: rules and selectors. Pure; called by admitting.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from skerry.api import labels
from skerry.api.labels import Selector
from skerry.api.types import admissionregistration as registration
from skerry.api.validation.webhooks import REVIEWS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from skerry.api.wire import User
    from skerry.apiserver.routes import Target

CREATE, UPDATE, DELETE, CONNECT = "CREATE", "UPDATE", "DELETE", "CONNECT"
_OPTIONS = {CREATE: "CreateOptions", UPDATE: "UpdateOptions", DELETE: "DeleteOptions"}
_EXEMPT = ("admissionregistration.k8s.io", "skerry.dev")
"""Groups that no webhook sees: who has locked himself out by a webhook can remove it, and nodes can say how far they
are."""


@dataclass(frozen=True)
class Operation:
    """What is about to happen: to what, by whom.

    `kind` is (group, version, kind) of the object that is sent, where that is not the target's own; `options` what the
    client said besides.
    """

    verb: str
    target: Target
    user: User
    dry: bool = False
    kind: tuple[str, str, str] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        """A Namespace is in itself."""
        return self.target.name if self.of_namespaces else self.target.namespace

    @property
    def of_namespaces(self) -> bool:
        return self.target.resource.plural == "namespaces" and not self.target.resource.group

    def said(self) -> dict[str, Any] | None:
        """The options as an object."""
        kind = _OPTIONS.get(self.verb)
        if kind is None:
            return None
        more = {"dryRun": ["All"]} if self.dry else {}
        return {**self.options, **more, "kind": kind, "apiVersion": "meta.k8s.io/v1"}


def exempt(group: str) -> bool:
    """Whether objects of this group are shown to nobody."""
    return group in _EXEMPT


@dataclass(frozen=True, eq=False)
class Hook:
    """A webhook, ready to be asked."""

    configuration: str
    webhook: registration.MutatingWebhook | registration.ValidatingWebhook
    namespaces: Selector
    objects: Selector
    review: str
    """The version of AdmissionReview that it is sent."""

    @classmethod
    def of(cls, configuration: str, webhook: registration.MutatingWebhook | registration.ValidatingWebhook) -> Hook:
        review = next(one for one in webhook.admission_review_versions if one in REVIEWS)
        namespaces = labels.from_selector(webhook.namespace_selector)
        return cls(configuration, webhook, namespaces, labels.from_selector(webhook.object_selector), review)

    @property
    def name(self) -> str:
        return self.webhook.name

    @property
    def ignores(self) -> bool:
        """Whether nothing is made of it that it cannot be asked."""
        return self.webhook.failure_policy == "Ignore"

    @property
    def again(self) -> bool:
        """Whether it wants to see what others made of the object after it."""
        return getattr(self.webhook, "reinvocation_policy", None) == "IfNeeded"

    def version(self, verb: str, target: Target, others: tuple[str, ...] = ()) -> str | None:
        """The version in which it sees a target, which is served in `others` too; None if its rules do not name it."""
        for version in (target.resource.version, *(others if self.webhook.match_policy == "Equivalent" else ())):
            if any(_rule(one, verb, target, version) for one in self.webhook.rules):
                return version
        return None

    def selects(self, *objects: Mapping[str, Any] | None) -> bool:
        """Whether one of these (plain, None for none) has labels that it selects."""
        if not self.objects:
            return True
        return any(self.objects.matches(labels_of(one)) for one in objects if one is not None and "metadata" in one)


def labels_of(obj: Mapping[str, Any]) -> dict[str, str]:
    """The labels of a plain object."""
    found = obj["metadata"]
    return (found.get("labels") if isinstance(found, dict) else None) or {}


def _rule(rule: registration.RuleWithOperations, verb: str, target: Target, version: str) -> bool:
    row = target.resource
    return (
        _any(rule.operations, verb)
        and _any(rule.api_groups, row.group)
        and _any(rule.api_versions, version)
        and rule.scope in (None, "*", "Namespaced" if row.namespaced else "Cluster")
        and any(_resource(one, row.plural, target.subresource) for one in rule.resources)
    )


def _any(wanted: Iterable[str], value: str) -> bool:
    return any(one in ("*", value) for one in wanted)


def _resource(wanted: str, plural: str, part: str) -> bool:
    """`pods` means the whole alone, `pods/*` it and all of its parts."""
    resource, _, subresource = wanted.partition("/")
    return resource in ("*", plural) and subresource in ("*", part)
