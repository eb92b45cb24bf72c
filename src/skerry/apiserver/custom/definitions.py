"""Keeps what is served in step with the CustomResourceDefinitions that are stored. Called by verbs and at the start.

After every write of a definition, and before it is answered, `settle` decides on names, serves what has them, and only
then says Established: whoever reads that can use the kind. Nothing else writes these conditions, so there is no
controller to wait for; a server that was killed in between settles when it starts.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from msgspec.structs import replace

from skerry.api import codec, resources, status
from skerry.api.custom import CustomResource
from skerry.api.types import apiextensions
from skerry.apiserver import known
from skerry.apiserver.custom import naming
from skerry.store.base import Conflict, StoreError, unstamp

if TYPE_CHECKING:
    from skerry.apiserver.verbs import Server

_log = logging.getLogger(__name__)
_ATTEMPTS = 20
_ROW = resources.of(apiextensions.CustomResourceDefinition)


async def settle(server: Server) -> None:
    """Brings names, conditions and what is served to what the stored definitions say."""
    async with server.settling:
        for _ in range(_ATTEMPTS):
            if await _pass(server):
                break


async def _pass(server: Server) -> bool:
    """Whether nothing came between."""
    records, _ = await server.store.range(_ROW.prefix)
    found = {one.key: (one, known.typed(_ROW, one)) for one in records}
    # Who has names keeps them; among the others the older one gets them.
    order = sorted(found, key=lambda key: (not _accepted(found[key][1]), found[key][0].created))
    present = {obj.metadata.name for _, obj in found.values()}
    for name in [one for one in server.served.names() if one not in present]:
        server.served.remove(name)
    for key in order:
        record, obj = found[key]
        others = [other for _, other in found.values() if other.metadata.uid != obj.metadata.uid]
        wanted = naming.settled(obj, others, server.clock.now())
        changed = replace(obj, status=wanted, metadata=replace(obj.metadata, resource_version=""))
        if not server.served.serves(changed):
            server.served.put(changed)
        value = codec.encode(changed)
        if value == unstamp(record):
            continue
        try:
            record = await server.store.update(key, value, record.revision)
        except Conflict:
            return False
        except StoreError as error:
            _log.error("the status of %s was not stored: %s", obj.metadata.name, error)
            continue
        server.fresh.add(record, changed)
        found[key] = (record, changed)
    return True


def _accepted(obj: apiextensions.CustomResourceDefinition) -> bool:
    return bool(obj.status.accepted_names.plural)


def refuse_new(row: resources.Resource) -> None:
    """ApiError 405 if a kind is on its way out."""
    if isinstance(row, CustomResource) and row.terminating:
        text = "create not allowed while custom resource definition is terminating"
        raise status.ApiError(405, text)
