"""Which back end a node's proxy has: `--proxy-mode`. Called by whoever makes a Proxy, in the network it is for."""

from __future__ import annotations

import logging
from typing import NamedTuple

from skerry import linux
from skerry.clock import Clock
from skerry.proxy.backend import BackEnd
from skerry.proxy.conntrack import Conntrack
from skerry.proxy.table import Node

log = logging.getLogger(__name__)

AUTO, NFTABLES, USERSPACE = "auto", "nftables", "userspace"
"""The kernel's nftables, sockets of our own, or the first of them that works."""

CONDITION = "ServicesInUserspace"
"""The type of the Node's condition that says which one it is, and why."""


class Chosen(NamedTuple):
    """A back end, why it was taken, and connection tracking where packets are translated."""

    back_end: BackEnd
    reason: str
    """A CamelCase word, as conditions have it."""
    message: str
    conntrack: Conntrack | None = None

    def condition(self) -> tuple[str, bool, str, str]:
        """Type, status, reason and message of a condition of the Node."""
        return CONDITION, self.back_end.mode == USERSPACE, self.reason, self.message


def choose(mode: str, node: Node, clock: Clock) -> Chosen:
    """The back end for a mode. NetlinkError if it is to be nftables and the kernel does not let us."""
    if mode == USERSPACE:
        return _userspace(node, clock, "Requested", "--proxy-mode userspace asks for it")
    from skerry.proxy.nftables.backend import Nftables
    from skerry.proxy.nftables.probe import try_out

    try:
        try_out(node)
        found = Nftables(node, clock)
        return Chosen(found, "Nftables", "nftables carries the traffic of Services", Conntrack())
    except OSError as error:
        if mode == NFTABLES:
            raise
        log.warning("Services are carried in user space, since the kernel refuses nftables: %s", error)
        return _userspace(node, clock, "NoNftables", f"the kernel refuses nftables: {linux.reason(error)}")


def _userspace(node: Node, clock: Clock, reason: str, why: str) -> Chosen:
    from skerry.proxy.nftables.probe import clear
    from skerry.proxy.userspace import places
    from skerry.proxy.userspace.backend import Userspace

    clear(node)
    place = places.find(node)
    message = f"Services are carried in user space ({why}); cluster IPs are reached {place.reach}"
    return Chosen(Userspace(node, clock, place), reason, message)
