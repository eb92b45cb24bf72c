"""From Gateways and HTTPRoutes to what is wanted: entrances with rules by host, and a verdict on each object. Pure.

Called by gateway/follow.py with everything that there is, whenever something of it has changed. What goes where is
decided by binding.py and rules.py; what wins over what, as the Gateway API has it, is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from skerry.api.types import core
from skerry.api.unstructured import Unstructured
from skerry.gateway.backends import Backends
from skerry.gateway.certificates import Certificates
from skerry.gateway.model import Certificate
from skerry.gateway.routes import hosts, objects
from skerry.gateway.routes.binding import bind, parents
from skerry.gateway.routes.model import (
    Condition,
    ParentVerdict,
    Rule,
    Wanted,
)
from skerry.gateway.routes.rules import Permitted, Unsupported, translated

FIRST, LAST = 12000, 12031
"""Ports on which Envoy listens for Gateways: few, as each has a table, whose file costs Envoy an inotify instance."""


@dataclass(frozen=True, slots=True)
class Sources:
    """All objects of a cluster that may matter. `namespaces`: their labels by name."""

    classes: Iterable[Unstructured] = ()
    gateways: Iterable[Unstructured] = ()
    routes: Iterable[Unstructured] = ()
    grants: Iterable[Unstructured] = ()
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def age(one: Unstructured) -> tuple[str, str, str]:
    """For sorting: the oldest first."""
    return (one.metadata.creation_timestamp or "", one.metadata.namespace, one.metadata.name)


def key_of(one: Unstructured) -> str:
    return f"{one.metadata.namespace}/{one.metadata.name}"


def class_accepted(one: Unstructured) -> Condition | None:
    """The verdict on a class, None if it is another controller's."""
    try:
        spec = objects.spec(objects.ClassSpec, one)
    except objects.Unreadable:
        return None
    if spec.controller_name != objects.CONTROLLER:
        return None
    if spec.parameters_ref is not None:
        return Condition("Accepted", False, "InvalidParameters", "This controller takes no parameters.")
    return Condition("Accepted", True, "Accepted", "")


def ours(sources: Sources) -> list[Unstructured]:
    """The Gateways of accepted classes of ours, the oldest first."""
    verdicts = {one.metadata.name: class_accepted(one) for one in sources.classes}
    named = {name for name, one in verdicts.items() if one is not None and one.holds}
    found = [one for one in sources.gateways if one.content.get("spec", {}).get("gatewayClassName") in named]
    return sorted(found, key=age)


def wanted(
    sources: Sources,
    services: Mapping[str, core.Service],
    secrets: Mapping[str, core.Secret],
    last_good: Mapping[str, Certificate] | None = None,
    inside: Mapping[tuple[str, int], int] | None = None,
) -> Wanted:
    """What all Gateways ask for together; never raises for what is in an object.

    `services`, `secrets` and `last_good` are as in gateway.desired. `inside`: the ports that Envoy listened on for
    (Gateway, port) before, which stay as they were.
    """
    plan = _Plan(sources, services, Certificates(secrets, last_good or {}), inside or {})
    return plan.result()


class _Plan:
    def __init__(
        self,
        sources: Sources,
        services: Mapping[str, core.Service],
        certificates: Certificates,
        inside: Mapping[tuple[str, int], int],
    ) -> None:
        self._certificates, self._backends = certificates, Backends(services)
        self._classes = {one.metadata.name: class_accepted(one) for one in sources.classes}
        self._grants = _Grants(sources.grants)
        self._free = [port for port in range(FIRST, LAST + 1) if port not in inside.values()]
        self._inside = inside
        self._bound = {
            key_of(one): bind(one, certificates, self._grants.permits, self._port(key_of(one))) for one in ours(sources)
        }
        self._labels = sources.namespaces
        self._verdicts: dict[str, tuple[ParentVerdict, ...]] = {}
        for one in sorted(sources.routes, key=age):
            self._route(one)

    def _port(self, gateway: str) -> Callable[[int], int]:
        """Of a Gateway's port: the one inside, 0 if there is none left."""

        def inside(port: int) -> int:
            known = self._inside.get((gateway, port))
            return known if known is not None else self._free.pop(0) if self._free else 0

        return inside

    def _route(self, one: Unstructured) -> None:
        """Takes a route into all of its parents that are ours, which then say what became of it."""
        namespace = one.metadata.namespace
        found = [parent for parent in parents(one) if parent.gateway in self._bound]
        if not found:
            return
        try:
            spec = objects.spec(objects.RouteSpec, one)
            for name in spec.hostnames:
                if not hosts.sound(name.lower()):
                    raise Unsupported(f'"{name}" is no host name.')
            rules, unresolved = translated(
                namespace, spec.rules, self._backends, self._grants.of("HTTPRoute", namespace)
            )
        except (objects.Unreadable, Unsupported) as error:
            refused = Condition("Accepted", False, "UnsupportedValue", str(error))
            resolved = Condition("ResolvedRefs", True, "ResolvedRefs")
            self._verdicts[key_of(one)] = tuple(ParentVerdict(each.said, (refused, resolved)) for each in found)
            return
        resolved = unresolved[0] if unresolved else Condition("ResolvedRefs", True, "ResolvedRefs")
        labels = self._labels.get(namespace, {})
        self._verdicts[key_of(one)] = tuple(
            ParentVerdict(
                parent.said,
                (self._bound[parent.gateway].attach(one, parent, labels, spec.hostnames, rules), resolved),
            )
            for parent in found
        )

    def result(self) -> Wanted:
        entrances = tuple(each for one in self._bound.values() for each in one.entrances(_sorted))
        return Wanted(
            entrances=entrances,
            clusters=dict(sorted(self._backends.clusters.items())),
            certificates=dict(sorted(self._certificates.found.items())),
            services=frozenset(self._backends.looked_up),
            secrets=self._certificates.looked_up,
            classes={name: one for name, one in sorted(self._classes.items()) if one is not None},
            gateways={key: one.verdict() for key, one in sorted(self._bound.items())},
            routes=dict(sorted(self._verdicts.items())),
        )


def _sorted(rules: list[Rule]) -> tuple[Rule, ...]:
    """What says more about a path goes first, then about the method, headers, the query; then older routes' rules,
    in whose order they are given, and sorting keeps it.
    """

    def rank(one: Rule) -> tuple[bool, int, bool, int, int]:
        match = one.match
        return (not match.exact, -len(match.path), not match.method, -len(match.headers), -len(match.query))

    return tuple(sorted(rules, key=rank))


class _Grants:
    """ReferenceGrants: who may refer into a namespace. What cannot be read grants nothing."""

    def __init__(self, grants: Iterable[Unstructured]) -> None:
        self._given: set[tuple[str, str, str, str, str]] = set()
        for one in grants:
            try:
                spec = objects.spec(objects.GrantSpec, one)
            except objects.Unreadable:
                continue
            for source in spec.from_:
                if source.group == objects.GROUP:
                    self._given |= {
                        (source.kind, source.namespace, one.metadata.namespace, to.kind, to.name)
                        for to in spec.to
                        if to.group == ""
                    }

    def permits(self, kind: str, namespace: str, target: str, target_kind: str, name: str) -> bool:
        """May a `kind` of `namespace` refer to this object of the namespace `target`?"""
        where = (kind, namespace, target, target_kind)
        return namespace == target or (*where, name) in self._given or (*where, "") in self._given

    def of(self, kind: str, namespace: str) -> Permitted:
        """As `permits`, for the references of a namespace."""
        return lambda target, target_kind, name: self.permits(kind, namespace, target, target_kind, name)
