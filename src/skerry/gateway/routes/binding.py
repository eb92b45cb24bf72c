"""Which listeners of a Gateway are good, and which routes hang on them. Pure. Called by desired.py."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from skerry.api import labels as selectors
from skerry.api.unstructured import Unstructured
from skerry.gateway.certificates import Certificates
from skerry.gateway.routes import hosts, objects
from skerry.gateway.routes.model import Condition, Entrance, GatewayVerdict, ListenerVerdict, Rule

Permits = Callable[[str, str, str, str, str], bool]
"""(kind, its namespace, the other's namespace, kind, name): may one refer to the other?"""

_PROTOCOLS = ("HTTP", "HTTPS")
_KIND = "HTTPRoute"


class Parent(NamedTuple):
    """A parentRef to a Gateway. `said`: the ref as its status repeats it, as JSON."""

    gateway: str
    section: str
    port: int | None
    said: str


def parents(route: Unstructured) -> Iterator[Parent]:
    """The Gateways that a route names, each parentRef once; what cannot be read names none."""
    found = (route.content.get("spec") or {}).get("parentRefs") or ()
    known: set[str] = set()
    for one in found if isinstance(found, list) else ():
        try:
            ref = msgspec.convert(one, objects.ParentRef)
        except msgspec.ValidationError:
            continue
        if (ref.group, ref.kind) == (objects.GROUP, "Gateway"):
            whole: dict[str, Any] = {"group": ref.group, "kind": ref.kind, **one}
            said = json.dumps(whole, sort_keys=True)
            if said not in known:
                known.add(said)
                namespace = ref.namespace or route.metadata.namespace
                yield Parent(f"{namespace}/{ref.name}", ref.section_name, ref.port, said)


@dataclass(slots=True)
class _Listener:
    """One listener, and what hangs on it. `wrong`: why nothing comes in by it."""

    spec: objects.Listener
    kinds: tuple[str, ...]
    accepted: Condition
    resolved: Condition
    conflicted: Condition
    secrets: tuple[str, ...] = ()
    routes: set[str] = field(default_factory=set)
    rules: dict[str, list[Rule]] = field(default_factory=dict)
    closed: bool = False
    """Has it nothing to show to those who come by HTTPS?"""

    @property
    def valid(self) -> bool:
        return self.accepted.holds and not self.conflicted.holds and not self.closed

    def verdict(self) -> ListenerVerdict:
        found = (self.accepted, self.resolved, self.conflicted)
        return ListenerVerdict(self.spec.name, len(self.routes), found, self.kinds, self.valid)


def bind(one: Unstructured, certificates: Certificates, permits: Permits, inside: Callable[[int], int]) -> Bound:
    """A Gateway with its listeners, on which nothing hangs yet. `inside`: Envoy's port for one of its, 0 for none."""
    key = f"{one.metadata.namespace}/{one.metadata.name}"
    try:
        spec = objects.spec(objects.GatewaySpec, one)
    except objects.Unreadable as error:
        return Bound(key, one.metadata.namespace, [], {}, Condition("Accepted", False, "Invalid", f"It {error}."))
    if spec.addresses:
        why = "Addresses cannot be asked for: a Gateway gets one of its own."
        return Bound(key, one.metadata.namespace, [], {}, Condition("Accepted", False, "UnsupportedAddress", why))
    conflicts = _conflicts(spec.listeners)
    listeners = [_listener(each, one.metadata.namespace, certificates, permits, conflicts) for each in spec.listeners]
    ports = {}
    for each in listeners:
        if each.valid and each.spec.port not in ports:
            found = inside(each.spec.port)
            if found:
                ports[each.spec.port] = found
        if each.valid and each.spec.port not in ports:
            why = "This machine's Gateways have as many ports as they can."
            each.accepted = Condition("Accepted", False, "PortUnavailable", why)
    good = sum(each.valid for each in listeners)
    message = "" if good == len(listeners) else "Some listeners are not valid." if good else "No listener is valid."
    reason = "ListenersNotValid" if message else "Accepted"
    return Bound(key, one.metadata.namespace, listeners, ports, Condition("Accepted", good > 0, reason, message))


def _conflicts(found: tuple[objects.Listener, ...]) -> Callable[[objects.Listener], Condition]:
    known = [one for one in found if one.protocol in _PROTOCOLS]
    protocols = Counter(port for port, _ in {(one.port, one.protocol) for one in known})
    names = Counter((one.port, one.protocol, one.hostname.lower()) for one in known)

    def conflict(one: objects.Listener) -> Condition:
        if one.protocol in _PROTOCOLS and protocols[one.port] > 1:
            why = f"Port {one.port} has listeners of several protocols."
            return Condition("Conflicted", True, "ProtocolConflict", why)
        if names[one.port, one.protocol, one.hostname.lower()] > 1:
            why = f"Port {one.port} has several listeners for {one.hostname or 'every host'}."
            return Condition("Conflicted", True, "HostnameConflict", why)
        return Condition("Conflicted", False, "NoConflicts")

    return conflict


def _listener(
    one: objects.Listener,
    namespace: str,
    certificates: Certificates,
    permits: Permits,
    conflict: Callable[[objects.Listener], Condition],
) -> _Listener:
    asked = one.allowed_routes.kinds
    wrong = [each.kind for each in asked if (each.group, each.kind) != (objects.GROUP, _KIND)]
    kinds = (_KIND,) if not asked or len(wrong) < len(asked) else ()
    resolved = Condition("ResolvedRefs", True, "ResolvedRefs")
    if wrong:
        why = f"Routes of kind {', '.join(wrong)} are not supported."
        resolved = Condition("ResolvedRefs", False, "InvalidRouteKinds", why)
    accepted = Condition("Accepted", True, "Accepted")
    if one.protocol not in _PROTOCOLS:
        kinds = ()
        why = f"The protocol {one.protocol} is not supported: HTTP and HTTPS are."
        accepted = Condition("Accepted", False, "UnsupportedProtocol", why)
    elif not 0 < one.port < 65536:
        accepted = Condition("Accepted", False, "PortUnavailable", f"{one.port} is no port.")
    elif not hosts.sound(one.hostname.lower()):
        accepted = Condition("Accepted", False, "UnsupportedValue", f'"{one.hostname}" is no host name.')
    elif one.protocol == "HTTPS" and one.tls is not None and one.tls.mode != "Terminate":
        why = f"TLS of mode {one.tls.mode} is not supported for HTTPS."
        accepted = Condition("Accepted", False, "UnsupportedValue", why)
    made = _Listener(one, kinds, accepted, resolved, conflict(one))
    if one.protocol == "HTTPS" and accepted.holds:
        _certificates(made, namespace, certificates, permits)
    return made


def _certificates(made: _Listener, namespace: str, certificates: Certificates, permits: Permits) -> None:
    """Whatever is wrong with one certificate, the others are shown."""

    def problem(reason: str, message: str) -> None:
        made.resolved = Condition("ResolvedRefs", False, reason, message)

    refs = made.spec.tls.certificate_refs if made.spec.tls is not None else ()
    if not refs:
        problem("InvalidCertificateRef", "A listener of HTTPS needs tls.certificateRefs.")
    found: list[str] = []
    for ref in refs:
        key = f"{ref.namespace or namespace}/{ref.name}"
        if ref.group not in ("", "core") or ref.kind not in ("", "Secret"):
            problem("InvalidCertificateRef", f"{ref.kind} {ref.name} is no Secret: no other kind is supported.")
        elif not permits("Gateway", namespace, ref.namespace or namespace, "Secret", ref.name):
            problem("RefNotPermitted", f"No ReferenceGrant permits to refer to Secret {key}.")
        else:
            wrong = certificates.problem(key)
            if wrong is not None:
                problem("InvalidCertificateRef", wrong.message)
            if key in certificates.found:
                found.append(key)
    made.secrets = tuple(dict.fromkeys(found))
    made.closed = not found


class Bound:
    """A Gateway while routes are attached to it."""

    def __init__(
        self, key: str, namespace: str, listeners: list[_Listener], ports: dict[int, int], accepted: Condition
    ) -> None:
        self._key, self._namespace, self._listeners = key, namespace, listeners
        self._ports, self._accepted = ports, accepted

    def attach(
        self, route: Unstructured, parent: Parent, labels: Mapping[str, str], names: tuple[str, ...], rules: list[Rule]
    ) -> Condition:
        """Hangs a route on all listeners that it asks for and that take it; the route's condition Accepted.

        `labels`: of its namespace.
        """
        namespace = route.metadata.namespace

        def refused(reason: str, message: str) -> Condition:
            return Condition("Accepted", False, reason, message)

        asked = [
            one
            for one in self._listeners
            if parent.section in ("", one.spec.name) and parent.port in (None, one.spec.port)
        ]
        if not asked:
            return refused("NoMatchingParent", "The Gateway has no such listener.")
        allowed = [one for one in asked if one.kinds and self._takes(one, namespace, labels)]
        if not allowed:
            return refused("NotAllowedByListeners", "No listener takes routes of this kind and namespace.")
        met = False
        for one in allowed:
            own = one.spec.hostname.lower()
            found = [hosts.both(own, each.lower()) for each in names] if names else [own]
            common = {each for each in found if each is not None}
            if not common:
                continue
            met = True
            if f"{namespace}/{route.metadata.name}" in one.routes:
                continue  # by another parentRef
            one.routes.add(f"{namespace}/{route.metadata.name}")
            for host in common:
                one.rules.setdefault(host, []).extend(rules)
        if not met:
            return refused("NoMatchingListenerHostname", "No listener is for any of the route's host names.")
        return Condition("Accepted", True, "Accepted")

    def _takes(self, one: _Listener, namespace: str, labels: Mapping[str, str]) -> bool:
        asked = one.spec.allowed_routes.namespaces
        match asked.from_:
            case "All":
                return True
            case "Selector":
                try:
                    return asked.selector is not None and selectors.from_selector(asked.selector).matches(labels)
                except ValueError:
                    return False
            case "Same":
                return namespace == self._namespace
        return False

    def verdict(self) -> GatewayVerdict:
        ports = {one.spec.port: one.spec.protocol == "HTTPS" for one in self._listeners if one.spec.port in self._ports}
        listeners = tuple(one.verdict() for one in self._listeners)
        return GatewayVerdict(self._accepted, listeners, tuple(sorted(ports.items())))

    def entrances(self, ordered: Callable[[list[Rule]], tuple[Rule, ...]]) -> Iterator[Entrance]:
        """One a port. A host is the listener's that says most about it, whether that has routes or not."""
        for port, inside in sorted(self._ports.items()):
            here = [one for one in self._listeners if one.valid and one.spec.port == port]
            own = [one.spec.hostname.lower() for one in here]
            table: dict[str, tuple[Rule, ...]] = dict.fromkeys(own, ())
            for one in here:
                for host, rules in one.rules.items():
                    if hosts.closest(own, host) == one.spec.hostname.lower():
                        table[host] = ordered(rules)
            shown = tuple((one.spec.hostname.lower(), one.secrets) for one in here if one.secrets)
            tls = here[0].spec.protocol == "HTTPS"
            yield Entrance(self._key, port, inside, tls, dict(sorted(table.items())), tuple(sorted(shown)))
