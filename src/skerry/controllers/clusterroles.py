"""ClusterRoles that are made of others: writes the rules of those that they select into them.

Started by controllers.manager. What a role allows is what is written in it, here as upstream.
"""

from __future__ import annotations

from msgspec.structs import replace

from skerry.api import rbac as rules
from skerry.api.types import rbac
from skerry.client import controller
from skerry.client.client import Client
from skerry.client.informer import Informers
from skerry.client.workqueue import Queue
from skerry.clock import Clock


class ClusterRoleController:
    """A change of any ClusterRole looks at all that are made of others, of which there are few."""

    def __init__(self, client: Client, clock: Clock, informers: Informers) -> None:
        self._client = client
        self._queue = Queue(clock)
        self._roles = informers.of(rbac.ClusterRole)
        self._roles.subscribe(self._changed)

    async def run(self) -> None:
        await self._roles.synced()
        await controller.run(self._queue, self._sync, workers=1)

    def _changed(self, _: rbac.ClusterRole | None, __: rbac.ClusterRole | None) -> None:
        for one in self._roles.list():
            if one.aggregation_rule is not None:
                self._queue.add(one.metadata.name)

    async def _sync(self, name: str) -> None:
        role = self._roles.get(name)
        if role is None or role.aggregation_rule is None or role.metadata.deletion_timestamp is not None:
            return
        wanted = rules.aggregated(role, self._roles.list())
        if wanted != role.rules:
            await self._client.update(replace(role, rules=wanted))
