"""Follows the Gateway API's objects while a cluster serves them: users install their definitions, or never do.

Called by gateway/runner.py and gateway/follow.py. Until the definition of GatewayClass is there, it alone is watched.
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

_KINDS = (objects.GATEWAY_CLASS, objects.GATEWAY, objects.HTTP_ROUTE)


class Following:
    """`await run()` until cancelled; `subscribe` to be called after every change."""

    def __init__(self, informers: Informers) -> None:
        self._informers = informers
        self._definition = self._of_definition("gatewayclasses")
        self._grants = self._of_definition("referencegrants")
        self._found: dict[type[Unstructured], Informer[Unstructured]] = {}
        self._namespaces: Informer[core.Namespace] | None = None
        self._subscribers: list[Callable[[], None]] = []
        self._changed = asyncio.Event()
        self._known = asyncio.Event()
        self._last = Sources()  # while it is not known

    def _of_definition(self, plural: str) -> Informer[apiextensions.CustomResourceDefinition]:
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
        found = {kind: informer.list() for kind, informer in self._found.items()}
        return Sources(
            found[objects.GATEWAY_CLASS],
            found[objects.GATEWAY],
            found[objects.HTTP_ROUTE],
            found.get(objects.REFERENCE_GRANT, []),
            {one.metadata.name: one.metadata.labels for one in self._namespaces.list()},
        )

    def ours(self) -> list[Unstructured]:
        """The Gateways of ours, the oldest first."""
        return desired.ours(self.sources())

    def get(self, kind: type[Unstructured], key: str) -> Unstructured | None:
        """An object by its key."""
        return self._found[kind].get(key) if kind in self._found else None

    async def run(self) -> None:
        await self._definition.synced()
        await self._grants.synced()
        for each in (self._definition, self._grants):
            each.subscribe(lambda _old, _new: self._changed.set())
        waiting: asyncio.Task[None] | None = None
        try:
            while True:
                self._changed.clear()
                wanted: tuple[type[Unstructured], ...] = (
                    (*_KINDS, objects.REFERENCE_GRANT) if _served(self._grants) else _KINDS
                )
                if not _served(self._definition):
                    wanted = ()
                if self._take(wanted):
                    if waiting is not None:
                        waiting.cancel()
                    waiting = asyncio.create_task(self._synced())
                await self._changed.wait()
        finally:
            if waiting is not None:
                waiting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await waiting

    def _take(self, kinds: tuple[type[Unstructured], ...]) -> bool:
        """Follows just these; whether anything is new with that."""
        if set(kinds) == self._found.keys() and (kinds or self._known.is_set()):
            return False
        self._last = self.sources()
        self._known.clear()
        for gone in self._found.keys() - set(kinds):
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
