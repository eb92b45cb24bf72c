"""Whether anything has changed that decides what a new pod is given. Called by verbs.create, for templates.py.

Beyond what is the same everywhere a pod gets a token of its service account, the priority of a class, the amounts of
LimitRanges, and what a webhook thinks of. As long as none of these was touched, the next pod with the same content in
the same namespace gets the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api import resources
from skerry.api.types import core, scheduling
from skerry.apiserver.access.follow import Follow

if TYPE_CHECKING:
    from skerry.api.resources import Resource
    from skerry.apiserver.verbs import Server
    from skerry.store.base import Record

_KINDS = (core.ServiceAccount, scheduling.PriorityClass, core.LimitRange)
Place = tuple[str, object]
"""A namespace, and what is another thing after every change."""


class Surroundings:
    """Of the new pods of a server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._follows = [Follow(server.store, resources.of(one), self) for one in _KINDS]
        self._state = object()

    def reset(self, row: Resource) -> None:  # noqa: ARG002
        """See follow.Sees."""
        self._state = object()

    def changed(self, row: Resource, record: Record, *, gone: bool) -> None:  # noqa: ARG002
        """See follow.Sees."""
        self._state = object()

    async def of(self, namespace: str) -> Place | None:
        """What two pods must have in common to get the same; None if a webhook may tell them apart."""
        if await self._server.webhooks.any():
            return None
        for one in self._follows:
            await one.catch_up()
        return namespace, self._state
