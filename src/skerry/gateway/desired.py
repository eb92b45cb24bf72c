"""From Ingresses to what is wanted: which host and path goes where, with which certificate, and what is wrong. Pure.

Called by the gateway's shell when an Ingress, an IngressClass, or one of the Services and Secrets that `Desired` names
has changed. Rules I1-I5, I9; what upstream leaves open is decided in docs/explanation/ingress.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from skerry.api.types import core, networking
from skerry.gateway.backends import Backends
from skerry.gateway.certificates import Certificates
from skerry.gateway.model import (
    ANY_HOST,
    CONTROLLER,
    NOT_FOUND,
    Action,
    Answer,
    Certificate,
    Desired,
    Problem,
    Route,
)
from skerry.gateway.paths import normal, unmatchable

CLASS_ANNOTATION = "kubernetes.io/ingress.class"

_NO_CERTIFICATE = Answer(503, "The certificate of this host is missing.")


def desired(
    ingresses: Iterable[networking.Ingress],
    classes: Iterable[networking.IngressClass],
    services: Mapping[str, core.Service],
    secrets: Mapping[str, core.Secret],
    last_good: Mapping[str, Certificate] | None = None,
) -> Desired:
    """What all Ingresses ask for together; never raises for what is in an object.

    `services` and `secrets` are looked up by namespace/name and may hold any others. `last_good` is `certificates` of
    the last Desired: what a Secret keeps that no longer holds a certificate with its key; it also saves reading again.
    """
    named = {one.metadata.name for one in classes if one.spec.controller == CONTROLLER}
    ours = sorted((one for one in ingresses if class_of(one) in named), key=_age)
    plan = _Plan(services, secrets, last_good or {})
    for one in ours:
        plan.add(one)
    return plan.result(tuple(sorted(map(_key, ours))))


def class_of(one: networking.Ingress) -> str:
    """The name of an Ingress's class, "" for none; the old annotation goes before the field."""
    return one.metadata.annotations.get(CLASS_ANNOTATION) or one.spec.ingress_class_name or ""


def _key(one: networking.Ingress) -> str:
    return f"{one.metadata.namespace}/{one.metadata.name}"


def _age(one: networking.Ingress) -> tuple[str, str, str]:
    return (one.metadata.creation_timestamp or "", one.metadata.namespace, one.metadata.name)


def covers(pattern: str, host: str) -> bool:
    """Is a host meant by a name or wildcard (of exactly one label, I2)? Both lower case, without a port."""
    return pattern == host or (pattern.startswith("*.") and host.partition(".")[2] == pattern[2:])


class _Plan:
    """What the Ingresses so far, oldest first, have asked for: what is taken stays taken."""

    def __init__(
        self,
        services: Mapping[str, core.Service],
        secrets: Mapping[str, core.Secret],
        last_good: Mapping[str, Certificate],
    ) -> None:
        self._certificates = Certificates(secrets, last_good)
        self._backends = Backends(services)
        self._routes: dict[str, dict[tuple[bool, str], tuple[Route, str]]] = {}
        self._defaults: dict[str, Action] = {}
        self._fallback: Action | None = None
        self._sni: dict[str, str] = {}
        self._default_certificate = ""
        self._problems: dict[str, list[Problem]] = {}

    def add(self, one: networking.Ingress) -> None:
        key, namespace = _key(one), one.metadata.namespace
        problems: list[Problem] = []
        without = self._tls(one, problems)

        def action(backend: networking.IngressBackend, host: str) -> Action:
            found = self._backends.action(namespace, backend, problems)
            return _NO_CERTIFICATE if any(not each or covers(each, host) for each in without) else found

        for rule in one.spec.rules:
            routes = self._routes.setdefault(rule.host, {})
            for path in rule.http.paths if rule.http is not None else ():
                if unmatchable(path.path):
                    why = f'No request has the path "{path.path}": it ends before "?" and "#".'
                    problems.append(Problem("PathNeverMatches", why))
                    continue
                exact, text = path.path_type == "Exact", normal(path.path, path.path_type)
                route = Route(exact, text, action(path.backend, rule.host))
                taken, by = routes.setdefault((exact, text), (route, key))
                if taken.action != route.action:
                    which = "the same Ingress" if by == key else f"Ingress {by}, which is older"
                    why = f"{rule.host or '*'}{path.path or '/'} already belongs to {which}."
                    problems.append(Problem("PathConflict", why))
        if one.spec.default_backend is not None:
            for host in {rule.host: None for rule in one.spec.rules}:
                self._defaults.setdefault(host, action(one.spec.default_backend, host))
            if self._fallback is None:
                self._fallback = action(one.spec.default_backend, ANY_HOST)
        if problems:
            self._problems[key] = list(dict.fromkeys(problems))

    def _tls(self, one: networking.Ingress, problems: list[Problem]) -> list[str]:
        """Takes the names that the Ingress has certificates for; the hosts whose certificate is missing ("": all)."""
        missing: list[str] = []
        for tls in one.spec.tls:
            if not tls.secret_name:
                continue
            secret = f"{one.metadata.namespace}/{tls.secret_name}"
            problem = self._certificates.problem(secret)
            if problem is not None:
                problems.append(problem)
            hosts = tls.hosts or [rule.host for rule in one.spec.rules if rule.host]
            if secret not in self._certificates.found:
                missing += tls.hosts or [ANY_HOST]
                continue
            for host in hosts:
                taken = self._sni.setdefault(host, secret)
                if taken != secret:
                    why = f"{host} already shows the certificate of Secret {taken}, for an older Ingress."
                    problems.append(Problem("CertificateConflict", why))
            if not tls.hosts and not (hosts and all(rule.host for rule in one.spec.rules)):
                self._default_certificate = self._default_certificate or secret
        return missing

    def result(self, ours: tuple[str, ...]) -> Desired:
        return Desired(
            hosts={host: tuple(self._sorted(host)) for host in sorted(self._routes)},
            fallback=self._fallback or NOT_FOUND,
            clusters=dict(sorted(self._backends.clusters.items())),
            certificates=dict(sorted(self._certificates.found.items())),
            sni=dict(sorted(self._sni.items())),
            default_certificate=self._default_certificate,
            ours=ours,
            problems={key: tuple(found) for key, found in sorted(self._problems.items())},
            services=frozenset(self._backends.looked_up),
            secrets=self._certificates.looked_up,
        )

    def _sorted(self, host: str) -> Iterator[Route]:
        """The longest path first (I4). What is matched exactly is longer than any prefix of it, or as long."""
        routes = sorted((route for route, _ in self._routes[host].values()), key=_precedence)
        yield from routes
        if host in self._defaults and not (routes and routes[-1][:2] == (False, "")):
            yield Route(False, "", self._defaults[host])


def _precedence(route: Route) -> tuple[bool, int, str]:
    return (not route.exact, -len(route.path), route.path)
