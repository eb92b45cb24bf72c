"""The kernel table of one family: sends what the planner planned to the network namespace it runs in.

Called by backend.py. A table that is in the kernel already is adopted: read, compared, and changed where it differs, so
connections, clients' records and counters live on. Only one whose chains, rules or maps are not ours is replaced, by
one that is filled beside it and takes its place in one transaction. The same mends what somebody else damaged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from skerry.clock import Clock, Timer
from skerry.netlink import nft
from skerry.netlink.wire import NetlinkError
from skerry.proxy.backend import Connections
from skerry.proxy.nftables import carry, encode, read, schema
from skerry.proxy.nftables.plan import Planner
from skerry.proxy.nftables.schema import Shape
from skerry.proxy.nftables.steps import Step
from skerry.proxy.nftables.totals import Totals
from skerry.proxy.table import Change, ServiceTable

log = logging.getLogger(__name__)

LISTS_A_PART = 500
"""How many lists are planned before the kernel gets them, where a whole table is filled."""

_NEXT = f"{schema.TABLE}-next"


class FamilyTable:
    """Carries out one family's part of service tables.

    Calls block for as long as the kernel works, usually some tens of microseconds.
    """

    def __init__(self, shape: Shape, kernel: nft.Nft, reader: nft.Nft, clock: Clock, linger: float) -> None:
        """`reader`: what counts are read with, also while a thread is in `take_over` with `kernel`."""
        self._shape, self._nft, self._reader, self._clock, self._linger = shape, kernel, reader, clock, linger
        self._busy = False
        self._planner = Planner()
        self._totals = Totals()
        self._sweep: Timer | None = None
        self._others: int | None = None
        self.changed = 0
        """Elements in which the table that was adopted last differed from what it should be."""
        self.repairs = 0
        """How often somebody else's damage was found."""
        self.unswept = 0
        """How often the kernel refused to take away what was stale."""
        self.rebuilds = 0
        """How often it could only be mended by building the table anew."""

    def prepare(self) -> None:
        """Nothing else is done with the table from now on, until `finish`."""
        self._cancel_sweep()
        self._busy = True

    def finish(self) -> None:
        """What `take_over` left for later is planned."""
        self._busy = False
        self._plan_sweep()

    def take_over(self, table: ServiceTable) -> None:
        """Makes the kernel's table this one, whatever is there. NetlinkError if the kernel refuses.

        Between `prepare` and `finish`; may be called in a thread.
        """
        self._others = self._transactions_of_others()
        there = self._nft.tables()
        if _NEXT in there:
            self._nft.commit([nft.delete_table(_NEXT)])
        if schema.TABLE not in there:
            self._planner = self._build(schema.TABLE, table)
        elif there[schema.TABLE] != self._shape.comment():
            log.info("replacing a service table of another version: %s", there[schema.TABLE] or "no comment")
            self._replace(table)
        else:
            self._adopt(table)

    def _adopt(self, table: ServiceTable) -> None:
        """Goes on from what the kernel holds."""
        try:
            held = read.maps(self._nft, schema.TABLE)
            if not read.intact(self._nft, schema.TABLE, self._shape, held):
                raise ValueError("its rules are not ours")
            last = read.last_place(self._nft, schema.TABLE)
            self._planner, steps = Planner.adopt(held, table, self._shape.family, last)
            for step in steps:
                self._send(step)
            self.changed = sum(map(len, steps))
        except (ValueError, NetlinkError) as error:
            log.warning("the service table in the kernel cannot be mended, building it anew: %s", error)
            self.rebuilds += 1
            self._replace(table)

    def _replace(self, table: ServiceTable) -> None:
        self._build(_NEXT, table, replaces=schema.TABLE)
        self._planner = self._build(schema.TABLE, table, replaces=_NEXT)

    def _build(self, name: str, table: ServiceTable, replaces: str = "") -> Planner:
        """Fills the maps first and hooks the chains last, in the transaction in which the table replaced goes.

        While the kernel works on a transaction, in a thread, the next one is made: it takes about as long.
        """
        planner = Planner()
        self._nft.commit(list(self._shape.skeleton(name)))
        with ThreadPoolExecutor(1) as sender:
            sent: Future[None] | None = None
            for one in self._filling(planner, name, table):
                if sent is not None:
                    sent.result()
                sent = sender.submit(self._nft.commit, one)
            if sent is not None:
                sent.result()
        last = list(self._shape.hooks(name))
        if replaces:
            self._carry(replaces, name, planner, table)
            last.append(nft.delete_table(replaces))
        self._nft.commit(last)
        return planner

    def _carry(self, old: str, new: str, planner: Planner, table: ServiceTable) -> None:
        """What packets wrote into the old table since it was read is lost: that of microseconds."""
        try:
            for one in carry.carried(self._nft, old, new, planner, table):
                self._nft.commit(one)
        except (ValueError, NetlinkError) as error:
            log.warning("clients choose their backends anew, since the table before cannot be read: %s", error)

    def _filling(self, planner: Planner, name: str, table: ServiceTable) -> Iterator[list[nft.Request]]:
        """The transactions that fill an empty table; some lists at a time, so that the kernel has work early."""
        whole = table.everything().of(self._shape.family)
        lists = list(whole.lists)
        parts = [Change(lists=set(lists[at : at + LISTS_A_PART])) for at in range(0, len(lists), LISTS_A_PART)]
        whole.lists.clear()
        for part in (*parts, whole):
            for step in planner.plan(table, part):
                yield from encode.transactions(self._shape, name, step)

    def program(self, table: ServiceTable, change: Change) -> None:
        """Makes the kernel follow a change of this family. NetlinkError if it refuses: the table was damaged."""
        try:
            for step in self._planner.plan(table, change):
                self._send(step)
        except NetlinkError as error:
            self._damaged(f"it refused a change: {error}")
            raise
        self._plan_sweep()

    async def intact(self) -> bool:
        """Does the kernel hold what was written? Other work may go on meanwhile, on the same event loop.

        While nobody else touches any table it costs one question to the kernel; else the elements are compared, some at
        a time.
        """
        others = self._transactions_of_others()
        if others == self._others:
            return True
        planner = self._planner
        for differ in self._compare():
            if differ:
                self._damaged("it does not hold what was written")
                return False
            await asyncio.sleep(0)
            if self._busy or self._planner is not planner:  # somebody takes it over: that compares, too
                return True
        self._others = others
        return True

    def _compare(self) -> Iterator[bool]:
        held = self._planner.maps
        yield schema.TABLE not in self._nft.tables()
        yield not read.intact(self._nft, schema.TABLE, self._shape, held)
        yield from read.differences(self._nft, schema.TABLE, held)

    def _damaged(self, reason: str) -> None:
        log.warning("somebody else changed the kernel's service table, it has to be put right: %s", reason)
        self.repairs += 1

    def _transactions_of_others(self) -> int:
        """Counts, from anywhere, the transactions that others made in this network namespace."""
        return (self._nft.generation() - self._nft.commits - self._reader.commits) & 0xFFFFFFFF

    def _plan_sweep(self) -> None:
        if self._planner.stale and self._sweep is None:
            stamp = self._planner.stamp
            self._sweep = self._clock.call_later(self._linger, lambda: self._do_sweep(stamp))

    def _do_sweep(self, stamp: int) -> None:
        self._sweep = None
        try:
            self._send(self._planner.sweep(stamp))
        except NetlinkError as error:
            self.unswept += 1
            log.warning("the kernel refused to sweep the service table: %s", error)  # the next check finds out
        self._plan_sweep()

    def _cancel_sweep(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    def _send(self, step: Step) -> None:
        for one in encode.transactions(self._shape, schema.TABLE, step):
            self._nft.commit(one)
        self._totals.follow(step)
        if not self._busy and self._totals.crowded(self._planner):
            self.connections()

    def misses(self) -> int:
        """Connections that left the end of a balancing chain: 0, or there is a bug."""
        return sum(self._reader.rule_counters(schema.TABLE).values())

    def connections(self) -> list[Connections]:
        """How many connections each backend has been given since the table was made."""
        return list(self._totals.connections(self._reader, self._planner))

    def close(self) -> None:
        """Forgets what is planned; the table stays, and so do its connections."""
        self._cancel_sweep()

    def remove(self) -> None:
        """Takes the table out of the kernel."""
        self._cancel_sweep()
        if schema.TABLE in self._nft.tables():
            self._nft.commit([nft.delete_table(schema.TABLE)])
