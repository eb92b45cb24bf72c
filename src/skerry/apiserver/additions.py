"""What the server gives a new object that did not say it, and whether there is room for it. Called by verbs.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skerry.api import defaults, resources, status
from skerry.api.types import core, networking, scheduling
from skerry.apiserver import ingressclasses, known, limits, priorities, storageclasses

if TYPE_CHECKING:
    from skerry.apiserver.routes import Target
    from skerry.apiserver.verbs import Server
    from skerry.store.base import Store


async def namespace_open(store: Store, target: Target, name: str) -> None:
    """ApiError 404 if the namespace is not there, 403 if it is being deleted."""
    row = resources.of(core.Namespace)
    record = await store.get(row.key("", target.namespace))
    if record is None:
        raise status.not_found("", "namespaces", target.namespace)
    if b'"deletionTimestamp"' in record.value and known.typed(row, record).metadata.deletion_timestamp:
        why = f"unable to create new content in namespace {target.namespace} because it is being terminated"
        cause = {
            "reason": "NamespaceTerminating",
            "message": f"namespace {target.namespace} is being terminated",
            "field": "metadata.namespace",
        }
        raise status.forbidden(target.resource.group, target.resource.plural, name, why, [cause])


async def add(server: Server, obj: Any) -> None:
    """Gives a new object, with its defaults, what other objects say for it; that is not its creator's. ApiError 403."""
    if isinstance(obj, core.Pod):
        if server.accounts is not None:
            await server.accounts.admit(obj)
        await priorities.admit_pod(server.store, obj)
    elif isinstance(obj, scheduling.PriorityClass):
        await priorities.admit_class(server.store, obj)
    elif isinstance(obj, networking.Ingress):
        await ingressclasses.admit(server.store, obj)
    elif isinstance(obj, core.PersistentVolumeClaim):
        await storageclasses.admit(server.store, obj)
    await limits.admit(server.store, obj)


async def again(server: Server, obj: Any) -> None:
    """Gives a new object that a webhook has changed its defaults, and what `add` gives."""
    defaults.apply(obj)
    await add(server, obj)
