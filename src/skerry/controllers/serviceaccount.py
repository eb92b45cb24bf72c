"""What every namespace has: the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`.

Started by controllers.manager. Both come back when somebody deletes them.
"""

from __future__ import annotations

import msgspec

from skerry.api import status
from skerry.api.types import core, meta
from skerry.client import controller
from skerry.client.client import Client
from skerry.client.informer import Informers
from skerry.client.workqueue import Queue
from skerry.clock import Clock
from skerry.controllers.refusals import is_namespace_terminating, was_behind

ACCOUNT = "default"
ROOT_CA = "kube-root-ca.crt"
_KEY = "ca.crt"
_SAYS = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints."


class ServiceAccountController:
    """`ca` is the cluster's certificate authority as PEM; without one there is no ConfigMap."""

    def __init__(self, client: Client, clock: Clock, informers: Informers, ca: str = "") -> None:
        self._client, self._ca = client, ca
        self._queue = Queue(clock)
        self._namespaces = informers.of(core.Namespace)
        self._accounts = informers.of(core.ServiceAccount)
        self._maps = informers.of(core.ConfigMap)
        self._namespaces.subscribe(self._namespace)
        self._accounts.subscribe(self._account)
        self._maps.subscribe(self._map)

    async def run(self) -> None:
        for one in (self._namespaces, self._accounts, self._maps):
            await one.synced()
        await controller.run(self._queue, self._sync, workers=2)

    def _namespace(self, old: core.Namespace | None, new: core.Namespace | None) -> None:
        if new is not None and old is None:
            self._queue.add(new.metadata.name)

    def _account(self, old: core.ServiceAccount | None, new: core.ServiceAccount | None) -> None:
        if new is None and old is not None and old.metadata.name == ACCOUNT:
            self._queue.add(old.metadata.namespace)

    def _map(self, old: core.ConfigMap | None, new: core.ConfigMap | None) -> None:
        item = new or old
        assert item is not None
        if item.metadata.name == ROOT_CA and (new is None or new.data.get(_KEY) != self._ca):
            self._queue.add(item.metadata.namespace)

    async def _sync(self, name: str) -> None:
        namespace = self._namespaces.get(name)
        if namespace is None or namespace.metadata.deletion_timestamp is not None:
            return
        try:
            # In this order: a pod may be made as soon as there is an account, and then its volume wants the bundle.
            if self._ca:
                await self._bundle(name)
            if self._accounts.get(f"{name}/{ACCOUNT}") is None:
                await self._create(core.ServiceAccount(metadata=meta.ObjectMeta(name=ACCOUNT, namespace=name)))
        except status.ApiError as error:
            if not is_namespace_terminating(error):
                raise

    async def _bundle(self, namespace: str) -> None:
        known = self._maps.get(f"{namespace}/{ROOT_CA}")
        if known is None:
            metadata = meta.ObjectMeta(
                name=ROOT_CA, namespace=namespace, annotations={"kubernetes.io/description": _SAYS}
            )
            await self._create(core.ConfigMap(metadata=metadata, data={_KEY: self._ca}))
        elif known.data.get(_KEY) != self._ca:
            await self._client.update(msgspec.structs.replace(known, data={_KEY: self._ca}))

    async def _create(self, obj: core.ServiceAccount | core.ConfigMap) -> None:
        try:
            await self._client.create(obj)
        except status.ApiError as error:
            if not was_behind(error):
                raise
