"""ResourceQuotas: a ledger of what each namespace that has one uses. Called by verbs.py and by the assembly.

It follows the store, so a write that was answered is in it, and a write on its way is counted before it is there: two
that race never pass the limit together. A namespace without a quota costs a look into an index. Statuses are written
from the same ledger, a moment after something changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from skerry.api import codec, quotas, resources, status
from skerry.api.quotas import Account
from skerry.api.types import core
from skerry.apiserver import known
from skerry.apiserver.access.follow import Follow
from skerry.apiserver.routes import Target
from skerry.store.base import Compacted

if TYPE_CHECKING:
    from skerry.api.resources import Resource
    from skerry.apiserver.strategies import Transaction
    from skerry.apiserver.verbs import Server
    from skerry.clock import Clock
    from skerry.store.base import Record, Store

_PAUSE = 0.02
"""Seconds in which changes gather before a status is written."""


class Ledger:
    """`await admit(...)` before a write."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._row = resources.of(core.ResourceQuota)
        self._quotas = Follow(store, self._row, self)
        self._followed: dict[Resource, Follow] = {}
        self._accounts: defaultdict[str, dict[str, Account]] = defaultdict(dict)
        self._fresh: list[tuple[str, Account]] = []

    def reset(self, row: Resource) -> None:
        """All objects of a kind come anew (Follow)."""
        if row is self._row:
            self._accounts.clear()
        for account in self._all():
            account.drop(row.prefix)

    def changed(self, row: Resource, record: Record, *, gone: bool) -> None:
        """An object is another one, or gone (Follow)."""
        namespace, name = record.key[len(row.prefix) :].split("/", 1)
        if row is self._row:
            self._quota(namespace, name, None if gone else known.typed(row, record))
        for account in self._accounts.get(namespace, {}).values():
            self._count(account, row, record, gone=gone)

    def _quota(self, namespace: str, name: str, quota: core.ResourceQuota | None) -> None:
        there = self._accounts[namespace].get(name)
        if quota is None:
            self._accounts[namespace].pop(name, None)
            if not self._accounts[namespace]:
                del self._accounts[namespace]
        elif there is None or there.spec != quota.spec:
            account = self._accounts[namespace][name] = Account(quota.spec)
            self._fresh.append((namespace, account))

    @staticmethod
    def _count(account: Account, row: Resource, record: Record, *, gone: bool) -> None:
        if quotas.counts(row.plural, row.group, account.hard):
            account.put(record.key, {} if gone else account.cost(known.typed(row, record), row.plural, row.group))

    def _all(self) -> list[Account]:
        return [account for every in self._accounts.values() for account in every.values()]

    async def catch_up(self) -> None:
        """Returns when all that has been written is in the accounts."""
        await self._quotas.catch_up()
        for follow in self._followed.values():
            await follow.catch_up()
        fresh, self._fresh = self._fresh, []
        for namespace, account in fresh:
            for row in self._rows(account):
                if row not in self._followed:
                    self._followed[row] = Follow(self._store, row, self)
                    await self._followed[row].catch_up()
                    continue
                records, _ = await self._store.range(f"{row.prefix}{namespace}/")
                for record in records:
                    self._count(account, row, record, gone=False)

    def _rows(self, account: Account) -> list[Resource]:
        kinds = {quotas.kind_of(name) for name in account.hard}
        return [one for one in resources.RESOURCES if one.namespaced and (one.plural, one.group) in kinds]

    async def admit_change(self, row: Resource, obj: Any, part: str, transaction: Transaction) -> None:
        """As `admit`, of an object that is there: few kinds can cost more than when they were made."""
        if not part and isinstance(obj, core.Service | core.PersistentVolumeClaim):
            await self.admit(row, obj, transaction)

    async def admit(self, row: Resource, obj: Any, transaction: Transaction) -> None:
        """Counts what an object will cost, unless the transaction fails. ApiError 403 if that is too much."""
        if not row.namespaced:
            return
        await self._quotas.catch_up()
        namespace = obj.metadata.namespace
        if namespace not in self._accounts:
            return
        await self.catch_up()
        key, held = row.key(namespace, obj.metadata.name), list[tuple[Account, quotas.Amounts, quotas.Amounts]]()
        for name, account in sorted(self._accounts.get(namespace, {}).items()):
            cost = account.cost(obj, row.plural, row.group)
            before = account.costs(key)
            more = {one: number - before.get(one, 0) for one, number in cost.items()}
            if isinstance(obj, core.Pod) and not before and quotas.covers(account.spec, obj):
                missing = quotas.unsaid(obj, account.hard)
                if missing:
                    raise self._refused(row, obj, f"failed quota: {name}: {missing}")
            more = {one: number for one, number in more.items() if number > 0}
            refusal = account.refusal(name, more)
            if refusal:
                raise self._refused(row, obj, refusal)
            held.append((account, cost, before))
        for account, cost, before in held:
            account.put(key, cost)  # as the store will tell it, too
            transaction.on_failure(functools.partial(account.put, key, before))

    @staticmethod
    def _refused(row: Resource, obj: Any, why: str) -> status.ApiError:
        return status.forbidden(row.group, row.plural, obj.metadata.name, why)

    def statuses(self) -> dict[tuple[str, str], core.ResourceQuotaStatus]:
        """What every quota should say, by namespace and name."""
        return {
            (namespace, name): core.ResourceQuotaStatus(
                hard=dict(account.spec.hard),
                used={one: quotas.text(one, number) for one, number in account.used.items()},
            )
            for namespace, every in self._accounts.items()
            for name, account in every.items()
        }

    def followed(self) -> list[Resource]:
        """Kinds whose changes may change a status."""
        return [self._row, *self._followed]


async def report(server: Server, clock: Clock) -> None:
    """Writes the statuses of quotas, whenever something changed, until cancelled."""
    changed = asyncio.Event()
    ledger, row = server.ledger, resources.of(core.ResourceQuota)
    tasks: dict[Resource, asyncio.Task[None]] = {}
    written: dict[tuple[str, str], core.ResourceQuotaStatus] = {}
    try:
        while True:
            changed.clear()
            await ledger.catch_up()
            for one in ledger.followed():
                if one not in tasks:
                    tasks[one] = asyncio.create_task(_tell(server.store, one, changed))
                    changed.set()  # what came before it watched
            wanted = ledger.statuses()
            for key, value in wanted.items():
                if written.get(key) != value:
                    await _write(server, row, key, value)
            written = wanted
            await changed.wait()
            await clock.sleep(_PAUSE)
    finally:
        for task in tasks.values():
            task.cancel()


async def _tell(store: Store, row: Resource, changed: asyncio.Event) -> None:
    watcher = store.watch(row.prefix, store.revision)
    while True:
        try:
            await watcher.next()
        except Compacted:
            watcher = store.watch(row.prefix, store.revision)
        changed.set()


async def _write(server: Server, row: Resource, key: tuple[str, str], wanted: core.ResourceQuotaStatus) -> None:
    from skerry.apiserver import verbs  # which calls this module

    def make(old: core.ResourceQuota) -> core.ResourceQuota:
        made = codec.copy(old)
        if made.spec.hard == wanted.hard:
            made.status = wanted
        return made

    with contextlib.suppress(status.ApiError):  # it is gone, or the disk is full: the next change tries again
        await verbs.change(server, Target(row, *key, "status"), make)
