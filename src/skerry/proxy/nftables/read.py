"""What the kernel's table holds, as the planner's model: encode.py backwards.

Called by family.py when it finds a table and wants to go on from there instead of building it anew.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

from skerry.netlink import nft, nft_set
from skerry.netlink.nft_set import Element
from skerry.proxy.nftables import encode, schema, steps
from skerry.proxy.nftables.numbers import SLOT_SHIFT
from skerry.proxy.nftables.schema import Shape
from skerry.proxy.nftables.steps import Keep, Maps, Size, Step
from skerry.proxy.table import Backend, Frontend

REFERENCE = f"{schema.TABLE}-reference"

_PROTOCOLS = {number: name for name, number in encode.PROTOCOLS.items()}


def maps(kernel: nft.Nft, table: str) -> Maps:
    """The elements of all maps. ValueError if there is one that we never write."""
    found: Maps = {}
    for name in steps.MAPS:
        read = _READERS.get(name, _member)
        try:
            found[name] = dict(read(one) for one in nft_set.dump_elements(kernel, table, name))
        except (KeyError, IndexError) as error:
            raise ValueError(f"an element of {name} that is not ours") from error
    return found


def last_place(kernel: nft.Nft, table: str) -> int:
    """The highest place that a client may remember."""
    return max((_word(one.data) for one in nft_set.dump_elements(kernel, table, "affinity")), default=0)


def intact(kernel: nft.Nft, table: str, shape: Shape, held: Maps) -> bool:
    """Are chains, rules and maps exactly those that we write? A table that nobody calls is made to compare with."""
    parts = list(shape.skeleton(REFERENCE, dormant=True))
    extra: Step = [Size(count) for count in held[steps.DISPATCH]]
    extra += [Keep(*keeper) for keeper in held[steps.KEEPERS]]
    if REFERENCE in kernel.tables():
        kernel.commit([nft.delete_table(REFERENCE)])
    kernel.commit([*parts, *shape.hooks(REFERENCE)])
    try:
        for one in encode.transactions(shape, REFERENCE, extra):
            kernel.commit(one)
        return kernel.shape(REFERENCE) == kernel.shape(table)
    finally:
        kernel.commit([nft.delete_table(REFERENCE)])


def _word(data: bytes) -> int:
    return int(encode.WORD.unpack(data)[0])


def _text(address: bytes) -> str:
    return socket.inet_ntoa(address) if len(address) == 4 else socket.inet_ntop(socket.AF_INET6, address)


def _frontend(data: bytes) -> Frontend:
    if len(data) == encode.FRONTEND.size:
        address, protocol, port = encode.FRONTEND.unpack(data)
    else:
        address, protocol, port = encode.FRONTEND6.unpack(data)
    return Frontend(_text(address), _PROTOCOLS[protocol], port)


def _backend(data: bytes) -> Backend:
    address, port = (encode.BACKEND if len(data) == encode.BACKEND.size else encode.BACKEND6).unpack(data)
    return Backend(_text(address), port)


def _member(one: Element) -> tuple[Frontend, None]:
    return _frontend(one.key), None


def _allowed(one: Element) -> tuple[Any, None]:
    size = encode.FRONTEND.size if len(one.key) == encode.FRONTEND.size + 4 else encode.FRONTEND6.size
    first, last = (ipaddress.ip_address(each[size:]) for each in (one.key, one.last))
    (prefix,) = ipaddress.summarize_address_range(first, last)
    return (_frontend(one.key[:size]), str(prefix)), None


def _dispatch(one: Element) -> tuple[int, None]:
    count = _word(one.key)
    if one.chain != schema.lb_chain(count):
        raise KeyError(one.chain)
    return count, None


def _keeper(one: Element) -> tuple[Any, None]:
    seconds = int(one.chain.removeprefix("keep-"))
    if one.chain != schema.keep_chain(seconds):
        raise KeyError(one.chain)
    return (_word(one.key) >> SLOT_SHIFT, seconds), None


def _number_of_frontend(one: Element) -> tuple[Frontend, int]:
    return _frontend(one.key), _word(one.data)


def _indexed(one: Element) -> tuple[Any, Backend]:
    """An element of `endpoints` or `places`: its list and index or place, and the backend."""
    return encode.WORDS.unpack(one.key), _backend(one.data)


def identified(key: bytes) -> tuple[int, Backend]:
    """A key of `ids` or `totals`: list and backend."""
    return _word(key[:4]), _backend(key[4:])


def _address(one: Element) -> tuple[str, None]:
    return _text(one.key), None


def _pair(one: Element) -> tuple[str, None]:
    return _text(one.key[: len(one.key) // 2]), None


_READERS: dict[str, Callable[[Element], tuple[Any, Any]]] = {
    steps.COUNTS: _number_of_frontend,
    steps.LISTS: _number_of_frontend,
    steps.NEAR_COUNTS: _number_of_frontend,
    steps.NEAR_LISTS: _number_of_frontend,
    steps.ENDPOINTS: _indexed,
    steps.PLACES: _indexed,
    steps.IDS: lambda one: (identified(one.key), _word(one.data)),
    steps.DISPATCH: _dispatch,
    steps.KEEPERS: _keeper,
    steps.ADDRESSES: _address,
    steps.HAIRPIN: _pair,
    steps.ALLOWED: _allowed,
}
