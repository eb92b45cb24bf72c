"""Envoy's stream of endpoints and certificates (delta xDS), as messages: what it asks for and what it is sent. Pure.

Called by gateway/server.py, which carries the messages over gRPC. Only what has changed is sent, and Envoy says of each
response whether it has applied it: that is how the drain barrier knows that a pod gets no new requests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from skerry.api import protowire
from skerry.api.protowire import counted, sized
from skerry.gateway.model import Endpoint
from skerry.gateway.xds.wire import ENDPOINTS, SECRET

KINDS = (ENDPOINTS, SECRET)


class Resource(NamedTuple):
    """A message of Envoy's, encoded. `version`: of its content."""

    version: str
    content: bytes

    @classmethod
    def of(cls, content: bytes) -> Resource:
        return cls(hashlib.sha256(content).hexdigest()[:16], content)


def endpoints(name: str, found: Iterable[Endpoint]) -> Resource:
    """Where the pods of a cluster are (ClusterLoadAssignment); `name` is the one that the cluster asks for."""
    places = b"".join(sized(2, _endpoint(one)) for one in found)
    return Resource.of(sized(1, name.encode()) + (sized(2, places) if places else b""))


def _endpoint(one: Endpoint) -> bytes:
    place = sized(1, sized(2, one.address.encode()) + counted(3, one.port))
    return sized(1, sized(1, place)) + sized(4, counted(1, one.weight))


def certificate(name: str, chain: str, key: str) -> Resource:
    """A certificate with its key, both PEM (Secret)."""
    pair = sized(1, sized(3, chain.encode())) + sized(2, sized(3, key.encode()))
    return Resource.of(sized(1, name.encode()) + sized(2, pair))


@dataclass(slots=True)
class Request:
    """A DeltaDiscoveryRequest."""

    kind: str = ""
    subscribe: list[str] = field(default_factory=list)
    unsubscribe: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    """What Envoy has from an earlier stream."""
    nonce: str = ""
    """Of the response that this one answers."""
    error: str = ""
    """Why Envoy did not apply that response."""


def read(message: bytes) -> Request:
    """ValueError if it is none."""
    found = Request()
    for number, value in protowire.pairs(memoryview(message)):
        if number in (2, 3, 4, 6):
            text = bytes(protowire.message(value)).decode()
            if number == 2:
                found.kind = text
            elif number == 6:
                found.nonce = text
            else:
                (found.subscribe if number == 3 else found.unsubscribe).append(text)
        elif number == 5:
            pair = {key: bytes(protowire.message(each)).decode() for key, each in protowire.pairs(value)}
            found.versions[pair.get(1, "")] = pair.get(2, "")
        elif number == 7:
            status = dict(protowire.pairs(protowire.message(value)))
            found.error = bytes(status.get(2, b"")).decode(errors="replace") or "no reason given"
    return found


def write(kind: str, nonce: str, found: Mapping[str, Resource]) -> bytes:
    """A DeltaDiscoveryResponse."""
    parts = [sized(4, kind.encode()), sized(5, nonce.encode())]
    for name, one in found.items():
        any_of_it = sized(1, kind.encode()) + sized(2, one.content)
        parts.append(sized(2, sized(1, one.version.encode()) + sized(2, any_of_it) + sized(3, name.encode())))
    return b"".join(parts)


class Book:
    """All resources by kind and name: what every stream is to have."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, Resource]] = {kind: {} for kind in KINDS}

    def put(self, kind: str, name: str, one: Resource) -> bool:
        """Whether it is new or another than before."""
        changed = self._found[kind].get(name) != one
        self._found[kind][name] = one
        return changed

    def get(self, kind: str, name: str) -> Resource | None:
        return self._found[kind].get(name)

    def keep(self, kind: str, names: Iterable[str]) -> None:
        """Forgets all of a kind but these. Envoy has unsubscribed from them, or is about to."""
        kept = set(names)
        self._found[kind] = {name: one for name, one in self._found[kind].items() if name in kept}


class Stream:
    """One stream, from its first request on.

    `sent` and `applied` are the numbers of the newest response and of the newest one that Envoy has applied: everything
    that was in the book up to response n is in force once `applied` >= n. `refused(kind, names, why)` is called when
    Envoy does not take a response; what was before stays in force there. `known`: the names, by kind, of what it has.
    """

    def __init__(self, book: Book, refused: Callable[[str, list[str], str], None]) -> None:
        self._book, self._refused = book, refused
        self._wanted: dict[str, set[str]] = {kind: set() for kind in KINDS}
        self._waiting: dict[str, tuple[str, list[str]]] = {}
        self.known: dict[str, set[str]] = {kind: set() for kind in KINDS}
        self.sent = self.applied = 0

    def receive(self, message: bytes) -> list[bytes]:
        """The responses to a request, none or one. ValueError if it is no request."""
        asked = read(message)
        if asked.kind not in self._wanted:
            return []
        if asked.nonce in self._waiting:
            kind, names = self._waiting.pop(asked.nonce)
            if asked.error:
                self._refused(kind, names, asked.error)
            else:
                self.known[kind].update(names)
            self.applied = max(self.applied, int(asked.nonce))
        wanted = self._wanted[asked.kind]
        wanted.difference_update(asked.unsubscribe)
        self.known[asked.kind].difference_update(asked.unsubscribe)
        wanted.update(asked.subscribe)
        new = [name for name in asked.subscribe if asked.versions.get(name) != self._version(asked.kind, name)]
        return self._respond(asked.kind, new)

    def changed(self, kind: str, names: Iterable[str]) -> list[bytes]:
        """The responses, none or one, that tell of resources that have changed in the book."""
        return self._respond(kind, [name for name in names if name in self._wanted[kind]])

    def _version(self, kind: str, name: str) -> str | None:
        found = self._book.get(kind, name)
        return found.version if found is not None else None

    def _respond(self, kind: str, names: Iterable[str]) -> list[bytes]:
        found = {name: one for name in names if (one := self._book.get(kind, name)) is not None}
        if not found:
            return []
        self.sent += 1
        self._waiting[str(self.sent)] = (kind, list(found))
        return [write(kind, str(self.sent), found)]
