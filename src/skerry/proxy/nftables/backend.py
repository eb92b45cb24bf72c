"""The nftables back end: sends what the planner planned to the kernel of the network namespace it runs in.

Called by server.py. Nothing here decides anything but what to do when the kernel refuses: then the whole table is built
anew beside the old one and takes its place in one transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from skerry.clock import Clock, Timer
from skerry.netlink import nft, nft_set
from skerry.netlink.wire import NetlinkError
from skerry.proxy.nftables import encode, plan, schema
from skerry.proxy.nftables.plan import Planner, Step
from skerry.proxy.table import Backend, Change, Node, ServiceTable

log = logging.getLogger(__name__)

LINGER = 0.05
"""Seconds for which a stale element stays: longer than a packet takes through the hooks, also on a stalled CPU."""

_NEXT = f"{schema.TABLE}-next"


class Nftables:
    """Carries out service tables. Calls block for as long as the kernel works, usually some tens of microseconds."""

    def __init__(self, node: Node, clock: Clock, *, linger: float = LINGER) -> None:
        self._node, self._clock, self._linger = node, clock, linger
        self._nft = nft.Nft()
        self._planner = Planner()
        self._sweep: Timer | None = None
        self.rebuilds = 0

    def start(self, table: ServiceTable) -> None:
        """Puts a whole table into the kernel; one that is there already is replaced without a gap."""
        self._cancel_sweep()
        there = self._nft.tables()
        if _NEXT in there:
            self._nft.commit([nft.delete_table(_NEXT)])
        if schema.TABLE in there:
            self._build(_NEXT, table, replaces=schema.TABLE)
            self._planner = self._build(schema.TABLE, table, replaces=_NEXT)
        else:
            self._planner = self._build(schema.TABLE, table)

    def _build(self, name: str, table: ServiceTable, replaces: str = "") -> Planner:
        """Fills the maps first and hooks the chains last, in the transaction in which the table replaced goes."""
        planner = Planner()
        self._nft.commit(list(schema.skeleton(name, self._node.service_cidr, self._node.pod_cidr)))
        for step in planner.plan(table, table.everything()):
            self._send(name, step)
        last = list(schema.hooks(name))
        if replaces:
            last.append(nft.delete_table(replaces))
        self._nft.commit(last)
        return planner

    def program(self, table: ServiceTable, change: Change) -> None:
        """Makes the kernel follow a change. NetlinkError if it cannot be made to."""
        try:
            for step in self._planner.plan(table, change):
                self._send(schema.TABLE, step)
        except NetlinkError as error:
            log.warning("the kernel refused a change of the service table, building it anew: %s", error)
            self.rebuilds += 1
            self.start(table)
        if self._planner.stale and self._sweep is None:
            self._plan_sweep()

    def _plan_sweep(self) -> None:
        stamp = self._planner.stamp
        self._sweep = self._clock.call_later(self._linger, lambda: self._do_sweep(stamp))

    def _do_sweep(self, stamp: int) -> None:
        self._sweep = None
        try:
            self._send(schema.TABLE, self._planner.sweep(stamp))
        except NetlinkError as error:
            log.warning("the kernel refused to sweep the service table: %s", error)  # the next change finds out
        if self._planner.stale:
            self._plan_sweep()

    def _cancel_sweep(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    def _send(self, name: str, step: Step) -> None:
        for requests in encode.transactions(name, step):
            self._nft.commit(requests)

    def misses(self) -> int:
        """Connections that left the end of a balancing chain: 0, or there is a bug."""
        return sum(self._nft.rule_counters(schema.TABLE).values())

    def connections(self) -> Iterator[tuple[Backend, int]]:
        """How often each backend was chosen since its element was put where it is."""
        endpoints = self._planner.maps[plan.ENDPOINTS]
        places = {encode.index(key): backend for key, backend in endpoints.items()}
        for element in nft_set.dump_elements(self._nft, schema.TABLE, plan.ENDPOINTS):
            if element.key in places:
                yield places[element.key], element.packets

    def close(self) -> None:
        """Lets go of the kernel; the table stays, and so do its connections."""
        self._cancel_sweep()
        self._nft.close()

    def remove(self) -> None:
        """Takes the table out of the kernel."""
        self._cancel_sweep()
        if schema.TABLE in self._nft.tables():
            self._nft.commit([nft.delete_table(schema.TABLE)])
