"""What the kernel's table holds, as the planner's model: encode.py backwards.

Called by family.py when it finds a table and wants to go on from there instead of building it anew.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable, Iterator
from typing import Any

from skerry.netlink import nft, nft_set
from skerry.netlink.nft_set import Element
from skerry.netlink.wire import NetlinkError
from skerry.proxy.nftables import encode, schema, steps
from skerry.proxy.nftables.numbers import SLOT_SHIFT, SLOTS
from skerry.proxy.nftables.schema import Shape
from skerry.proxy.nftables.steps import Keep, Maps, Size, Step
from skerry.proxy.table import Backend, Frontend

REFERENCE = f"{schema.TABLE}-reference"

_PROTOCOLS = {number: name for name, number in encode.PROTOCOLS.items()}


MANY = 100_000
"""Elements of a map from which it is quicker to ask for each: a walk through a map costs by the square of its size."""

A_SLICE = 100
"""Elements that are compared at once: a millisecond."""


def maps(kernel: nft.Nft, table: str) -> Maps:
    """The elements of all maps. ValueError if there is one that we never write."""
    found: Maps = {}
    sizes = kernel.sizes(table)
    for name in steps.MAPS:
        try:
            found[name] = _map(kernel, table, name, found, sizes.get(name))
        except (KeyError, IndexError) as error:
            raise ValueError(f"an element of {name} that is not ours") from error
    return found


def elements(kernel: nft.Nft, table: str, name: str) -> dict[Any, Any]:
    """The elements of one map, of a table that need not be ours."""
    return dict(map(_READERS.get(name, _member), nft_set.dump_elements(kernel, table, name)))


def _map(kernel: nft.Nft, table: str, name: str, found: Maps, size: int | None) -> dict[Any, Any]:
    """A big map is read by the keys that the maps before lead to, if they are as many as it has elements."""
    if size is not None and size > MANY:
        keys = _expected(name, found)
        if len(keys) == size:
            try:
                return dict(map(_READERS.get(name, _member), nft_set.get_elements(kernel, table, name, keys)))
            except NetlinkError as error:
                if error.errno != errno.ENOENT:
                    raise
    return elements(kernel, table, name)


def _expected(name: str, found: Maps) -> list[bytes]:
    """The keys that a map should have by what was found in those before it."""
    if name == steps.ENDPOINTS:
        counts: dict[int, int] = {}
        for in_counts, in_lists in ((steps.COUNTS, steps.LISTS), (steps.NEAR_COUNTS, steps.NEAR_LISTS)):
            for frontend, number in found[in_lists].items():
                counts[number] = max(counts.get(number, 0), found[in_counts].get(frontend, 0))
        return [encode.index((number, at)) for number, count in counts.items() for at in range(count)]
    if name == steps.IDS:
        return [encode.identity((key[0], one)) for key, one in found[steps.ENDPOINTS].items() if key[0] & SLOTS]
    if name == steps.PLACES:
        return [encode.index((number, place)) for (number, _), place in found[steps.IDS].items()]
    return [encode.frontend(one) for one in found[steps.COUNTS]] if name == steps.LISTS else []


def differences(kernel: nft.Nft, table: str, held: Maps) -> Iterator[bool]:
    """Compares the kernel's maps with `held`, some elements a turn: is there a difference?

    What is in `held` may change between two turns, if the kernel's maps do, too.
    """
    for name in steps.MAPS:
        model = held[name]
        if len(model) <= A_SLICE or name in _WHOLE:
            try:
                yield elements(kernel, table, name) != model
            except (ValueError, KeyError, IndexError):
                yield True
            continue
        every = list(model)
        for start in range(0, len(every), A_SLICE):
            yield _differ(kernel, table, name, model, [one for one in every[start : start + A_SLICE] if one in model])
        size = kernel.sizes(table).get(name)
        yield (len(nft_set.dump_elements(kernel, table, name)) if size is None else size) != len(model)


_WHOLE = (steps.DISPATCH, steps.KEEPERS, steps.ALLOWED)
"""Small ones, and ranges, which cannot be asked for by their keys."""


def _differ(kernel: nft.Nft, table: str, name: str, model: dict[Any, Any], some: list[Any]) -> bool:
    keys = [encode.key(name, one) for one in some]
    try:
        found = nft_set.get_elements(kernel, table, name, keys)
    except NetlinkError as error:
        if error.errno != errno.ENOENT:
            raise
        return True
    data = [encode.value(name, model[one]) for one in some]
    return [(one.key, one.data) for one in found] != list(zip(keys, data, strict=True))


def last_place(kernel: nft.Nft, table: str) -> int:
    """The highest place that a client may remember."""
    return max((_word(one.data) for one in nft_set.dump_elements(kernel, table, "affinity")), default=0)


def intact(kernel: nft.Nft, table: str, shape: Shape, held: Maps) -> bool:
    """Are chains, rules and maps exactly those that we write, and called? One that is not is made to compare with."""
    if kernel.dormant(table):
        return False
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
    first, second = one.key[: len(one.key) // 2], one.key[len(one.key) // 2 :]
    if first != second:
        raise KeyError(first)
    return _text(first), None


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
