"""Follows the Gateway API's objects while a cluster serves them: users install their definitions, or never do.

Called by gateway/runner.py and gateway/follow.py. Until there are definitions, these alone are watched.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from skerry.api import custom
from skerry.api.types import apiextensions, core
from skerry.api.unstructured import Unstructured
from skerry.client.informer import Informer, Informers
from skerry.gateway.routes import desired, objects
from skerry.gateway.routes.desired import Sources

_KINDS = (objects.GATEWAY_CLASS, objects.GATEWAY, objects.HTTP_ROUTE, objects.REFERENCE_GRANT)


class Following:
    """`await run()` until cancelled; `subscribe` to be called after every change."""

    def __init__(self, informers: Informers) -> None:
        self._informers = informers
        self._definitions = {kind: self._definition(kind.row.plural) for kind in _KINDS}
        self._found: dict[type[Unstructured], Informer[Unstructured]] = {}
        self._namespaces: Informer[core.Namespace] | None = None
        self._subscribers: list[Callable[[], None]] = []
        self._changed = asyncio.Event()
        self._known = asyncio.Event()
        self._last = Sources()  # while it is not known

    def _definition(self, plural: str) -> Informer[apiextensions.CustomResourceDefinition]:
        name = f"{plural}.{objects.GROUP}"
        return self._informers.of(apiextensions.CustomResourceDefinition, field_selector=f"metadata.name={name}")

    def subscribe(self, call: Callable[[], None]) -> None:
        self._subscribers.append(call)

    @property
    def known(self) -> bool:
        """Is `sources` what the API has?"""
        return self._known.is_set()

    def sources(self) -> Sources:
        """Everything that is there, nothing if it is not served; while it is not known, what was there before."""
        if not self._known.is_set():
            return self._last
        if not self._found or self._namespaces is None:
            return Sources()
        classes, gateways, routes, grants = (self._found[kind].list() if kind in self._found else [] for kind in _KINDS)
        labels = {one.metadata.name: one.metadata.labels for one in self._namespaces.list()}
        return Sources(classes, gateways, routes, grants, labels)

    def ours(self) -> list[Unstructured]:
        """The Gateways of ours, the oldest first."""
        return desired.ours(self.sources())

    def get(self, kind: type[Unstructured], key: str) -> Unstructured | None:
        """An object by its key."""
        return self._found[kind].get(key) if kind in self._found else None

    async def run(self) -> None:
        for each in self._definitions.values():
            await each.synced()
            each.subscribe(lambda _old, _new: self._changed.set())
        waiting: asyncio.Task[None] | None = None
        try:
            while True:
                self._changed.clear()
                if self._take({kind for kind, one in self._definitions.items() if _served(one)}):
                    if waiting is not None:
                        waiting.cancel()
                    waiting = asyncio.create_task(self._synced())
                await self._changed.wait()
        finally:
            if waiting is not None:
                waiting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await waiting

    def _take(self, kinds: set[type[Unstructured]]) -> bool:
        """Follows just these; whether anything is new with that."""
        if kinds == self._found.keys() and (kinds or self._known.is_set()):
            return False
        self._last = self.sources()
        self._known.clear()
        for gone in self._found.keys() - kinds:
            del self._found[gone]
            self._informers.forget(gone)
        for kind in kinds:
            if kind not in self._found:
                self._found[kind] = self._informers.of(kind)
                self._found[kind].subscribe(self._any)
        if kinds and self._namespaces is None:
            self._namespaces = self._informers.of(core.Namespace)
            self._namespaces.subscribe(self._any)
        return True

    async def _synced(self) -> None:
        for each in (*self._found.values(), *([self._namespaces] if self._namespaces is not None else ())):
            await each.synced()
        self._known.set()
        self._tell()

    def _any(self, _old: object, _new: object) -> None:
        if self._known.is_set():
            self._tell()

    def _tell(self) -> None:
        for call in self._subscribers:
            call()


def _served(definition: Informer[apiextensions.CustomResourceDefinition]) -> bool:
    return any(custom.established(one) and not one.metadata.deletion_timestamp for one in definition.list())
