"""A CustomResourceDefinition that is being deleted: its objects go first. Started by controllers.manager.

Names and conditions of definitions are the API server's own affair (apiserver/custom/definitions.py).
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

from msgspec.structs import replace

from skerry.api import custom, status
from skerry.api.custom import CustomResource
from skerry.api.types import apiextensions
from skerry.client import controller
from skerry.client.client import Client
from skerry.client.informer import Informer, Informers
from skerry.client.workqueue import Queue
from skerry.clock import Clock, rfc3339
from skerry.controllers.kinds import Kinds
from skerry.controllers.refusals import was_behind

_log = logging.getLogger(__name__)
_TOGETHER = 20


class DefinitionController:
    """Empties definitions that end. `await run()` until cancelled."""

    def __init__(self, client: Client, clock: Clock, informers: Informers, kinds: Kinds | None = None) -> None:
        self._client, self._clock = client, clock
        self._queue = Queue(clock)
        self._kinds = kinds or Kinds(informers)
        self._definitions = self._kinds.definitions
        self._definitions.subscribe(self._definition)
        self._kinds.subscribe(self._added, lambda _row, _informer: None)

    async def run(self) -> None:
        await self._definitions.synced()
        await controller.run(self._queue, self._sync, workers=2)

    def _definition(
        self, _: apiextensions.CustomResourceDefinition | None, new: apiextensions.CustomResourceDefinition | None
    ) -> None:
        if new is not None and new.metadata.deletion_timestamp is not None:
            self._queue.add(new.metadata.name)

    def _added(self, row: CustomResource, informer: Informer[Any]) -> None:
        informer.subscribe(partial(self._object, row.definition.metadata.name))

    def _object(self, definition: str, _: Any, new: Any) -> None:
        """An object that is gone may have been the last one."""
        found = self._definitions.get(definition)
        if new is None and found is not None and found.metadata.deletion_timestamp is not None:
            self._queue.add(definition)

    async def _sync(self, name: str) -> None:
        found = self._definitions.get(name)
        if found is None or found.metadata.deletion_timestamp is None:
            return
        if custom.FINALIZER not in found.metadata.finalizers:
            return
        left = await self._empty(found)
        if left:
            words = ("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress")
            await self._tell(found, *words)
            return
        kept = [one for one in found.metadata.finalizers if one != custom.FINALIZER]
        try:
            await self._client.update(replace(found, metadata=replace(found.metadata, finalizers=kept)))
        except status.ApiError as error:
            if status.is_conflict(error):
                raise
            if not status.is_not_found(error):
                raise

    async def _empty(self, definition: apiextensions.CustomResourceDefinition) -> int:
        """Asks for the deletion of every object; how many are still there."""
        if not custom.established(definition):
            return 0
        known = self._kinds.of(definition.metadata.name)
        rows = custom.rows(definition)
        if known is None and not rows:
            return 0  # served in no version: what is stored goes unseen
        kind = known[0].type if known is not None else rows[0].type
        try:
            items = (await self._client.list(kind)).items
        except status.ApiError as error:
            if status.is_not_found(error):
                return 0  # the definition has gone meanwhile
            raise
        turns = asyncio.Semaphore(_TOGETHER)

        async def one(obj: Any) -> None:
            if obj.metadata.deletion_timestamp is None:
                async with turns:
                    await self._delete(kind, obj)

        await asyncio.gather(*map(one, items))
        return len((await self._client.list(kind)).items) if items else 0

    async def _delete(self, kind: type[Any], obj: Any) -> None:
        found = obj.metadata
        try:
            await self._client.delete(kind, found.name, found.namespace, uid=found.uid)
        except status.ApiError as error:
            if not was_behind(error):
                raise

    async def _tell(
        self, definition: apiextensions.CustomResourceDefinition, truth: str, reason: str, message: str
    ) -> None:
        known = next((one for one in definition.status.conditions if one.type == "Terminating"), None)
        if known is not None and (known.status, known.reason) == (truth, reason):
            return
        made = apiextensions.CustomResourceDefinitionCondition(
            type="Terminating",
            status=truth,
            reason=reason,
            message=message,
            last_transition_time=rfc3339(self._clock.now()),
        )
        rest = [one for one in definition.status.conditions if one.type != "Terminating"]
        changed = replace(definition, status=replace(definition.status, conditions=[*rest, made]))
        try:
            await self._client.update(changed, subresource="status")
        except status.ApiError as error:
            if not was_behind(error):
                raise
