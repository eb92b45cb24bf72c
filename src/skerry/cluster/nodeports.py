"""On which of a machine's addresses node ports answer. Pure. Called by kubeproxy.py."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from skerry.api.types import core

PRIMARY, ALL = "primary", "all"
"""What may stand for prefixes: the addresses that the Node tells of itself, and those of all links."""


def family(cidr: str) -> str:
    """IPv4 or IPv6, of an address or prefix in text."""
    return "IPv6" if ":" in cidr else "IPv4"


def primary(node: core.Node) -> tuple[str, ...]:
    """The first address of each family that the Node has: internal ones before external ones."""
    found: dict[str, str] = {}
    for kind in ("InternalIP", "ExternalIP"):
        for one in node.status.addresses:
            if one.type == kind:
                found.setdefault(family(one.address), one.address)
    return tuple(found.values())


def choose(wanted: Sequence[str], primary: Iterable[str], own: Iterable[str]) -> tuple[str, ...]:
    """The addresses that `wanted` means: PRIMARY, ALL or prefixes. `own`: addresses of the links, as "10.0.0.1/24".

    Never loopback (P22): the kernel does not route what comes from there.
    """
    found: dict[str, None] = {}
    links = [ipaddress.ip_interface(one).ip for one in own]
    for one in wanted:
        if one == PRIMARY:
            found.update(dict.fromkeys(primary))
            continue
        prefixes = ["0.0.0.0/0", "::/0"] if one == ALL else [one]
        networks = [ipaddress.ip_network(each, strict=False) for each in prefixes]
        for address in links:
            if not address.is_loopback and not address.is_link_local and any(address in each for each in networks):
                found[str(address)] = None
    return tuple(found)
