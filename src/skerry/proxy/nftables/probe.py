"""Does the kernel let us have a service table? Called by modes.py before a back end is chosen."""

from __future__ import annotations

import contextlib

from skerry.netlink import nft
from skerry.netlink.wire import NetlinkError
from skerry.proxy.nftables import schema
from skerry.proxy.table import Node

_TRIAL = f"{schema.TABLE}-trial"


def try_out(node: Node) -> None:
    """Makes a whole table, hooks and all, and takes it away in the same transaction, so that no packet ever meets it.

    NetlinkError if the kernel refuses: no right to, no nf_tables, or without one of the expressions that rules need.
    """
    for family in node.families:
        shape = schema.Shape.of(node, family)
        with nft.Nft(shape.kernel_family) as kernel:
            if schema.TABLE not in kernel.tables():  # an earlier proxy's says that it works
                made = [*shape.skeleton(_TRIAL, dormant=True), *shape.lb_rules(_TRIAL, 1), *shape.keep_rules(_TRIAL, 1)]
                kernel.commit([*made, *shape.hooks(_TRIAL), nft.delete_table(_TRIAL)])


def clear(node: Node) -> None:
    """Takes the tables of an earlier proxy away, where the kernel lets us: they would be first to get the packets."""
    for family in node.families:
        shape = schema.Shape.of(node, family)
        with contextlib.suppress(NetlinkError), nft.Nft(shape.kernel_family) as kernel:
            if schema.TABLE in kernel.tables():
                kernel.commit([nft.delete_table(schema.TABLE)])
