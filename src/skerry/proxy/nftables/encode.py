"""Steps of a plan as netlink transactions. Pure.

Called by family.py. Elements are grouped by map: a transaction first makes chains, then deletes, then adds, so that an
element that is replaced never misses.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, cast

from skerry.netlink import nft_set
from skerry.netlink.nft import Request
from skerry.netlink.nft_expr import Code
from skerry.proxy.nftables import schema, steps
from skerry.proxy.nftables.numbers import SLOT_SHIFT
from skerry.proxy.nftables.schema import Shape
from skerry.proxy.nftables.steps import Fill, Keep, Op, Put, Size, Step, filled
from skerry.proxy.table import Backend, Frontend

ELEMENTS_A_BATCH = 5600
"""Elements of one transaction: what an ordinary user's socket takes, and also the fastest."""

PROTOCOLS = {"TCP": socket.IPPROTO_TCP, "UDP": socket.IPPROTO_UDP, "SCTP": socket.IPPROTO_SCTP}

FRONTEND, FRONTEND6 = struct.Struct("!4sBxxxHxx"), struct.Struct("!16sBxxxHxx")
BACKEND, BACKEND6 = struct.Struct("!4sHxx"), struct.Struct("!16sHxx")
WORD = struct.Struct("=I")
WORDS = struct.Struct("=II")


def packed(address: str) -> bytes:
    """An address of either family: 4 or 16 bytes."""
    return socket.inet_pton(socket.AF_INET6, address) if ":" in address else socket.inet_aton(address)


def frontend(key: Frontend) -> bytes:
    """The key `ip daddr . meta l4proto . th dport`, or with `ip6 daddr`."""
    if ":" in key.address:
        return FRONTEND6.pack(packed(key.address), PROTOCOLS[key.protocol], key.port)
    return FRONTEND.pack(socket.inet_aton(key.address), PROTOCOLS[key.protocol], key.port)


def backend(value: Backend) -> bytes:
    """The data `ip daddr . th dport`, or with `ip6 daddr`."""
    if ":" in value.address:
        return BACKEND6.pack(packed(value.address), value.port)
    return BACKEND.pack(socket.inet_aton(value.address), value.port)


def _pair(address: str) -> bytes:
    """The same address as source and destination."""
    return packed(address) * 2


def index(key: tuple[int, int]) -> bytes:
    """The key `list . index`, both host-endian."""
    return WORDS.pack(*key)


def identity(key: tuple[int, Backend]) -> bytes:
    """The key `list . ip daddr . th dport`."""
    return WORD.pack(key[0]) + backend(key[1])


def _allowed(key: tuple[Frontend, str]) -> tuple[bytes, bytes]:
    """The first and last key `frontend . source` of a prefix."""
    head, prefix = frontend(key[0]), ipaddress.ip_network(key[1])
    return head + prefix.network_address.packed, head + prefix.broadcast_address.packed


_KEYS: dict[str, Callable[[Any], bytes]] = {
    steps.COUNTS: frontend,
    steps.LISTS: frontend,
    steps.NEAR_COUNTS: frontend,
    steps.NEAR_LISTS: frontend,
    steps.ENDPOINTS: index,
    steps.DISPATCH: WORD.pack,
    steps.ADDRESSES: packed,
    steps.REFUSED: frontend,
    steps.DROPPED: frontend,
    steps.MASQUERADED: frontend,
    steps.HAIRPIN: _pair,
    steps.GUARDED: frontend,
    steps.IDS: identity,
    steps.PLACES: index,
}
_VALUES: dict[str, Callable[[Any], bytes]] = {
    steps.COUNTS: WORD.pack,
    steps.LISTS: WORD.pack,
    steps.NEAR_COUNTS: WORD.pack,
    steps.NEAR_LISTS: WORD.pack,
    steps.ENDPOINTS: backend,
    steps.IDS: WORD.pack,
    steps.PLACES: backend,
}


def key(name: str, one: Any) -> bytes:
    """A map's key, as the kernel has it."""
    return _KEYS[name](one)


def value(name: str, one: Any) -> bytes:
    """A map's value, nothing for sets."""
    return _VALUES[name](one) if name in _VALUES else b""


# The elements that come by hundreds of thousands, each made by one call. Fields have the host's byte order.
_TO_NUMBER = struct.Struct("=12s4sB3xH2x8sI")
_TO_BACKEND = struct.Struct("=12sII8s4sH2x")
_NUMBER_HEAD, _NUMBER_MIDDLE = nft_set.frame(12, 4)
_BACKEND_HEAD, _BACKEND_MIDDLE = nft_set.frame(8, 8)


def _to_number(key: Frontend, number: int) -> bytes | None:
    address, protocol, port = key
    if ":" in address:
        return None
    packed = socket.inet_aton(address)
    return _TO_NUMBER.pack(_NUMBER_HEAD, packed, PROTOCOLS[protocol], socket.htons(port), _NUMBER_MIDDLE, number)


def _to_backend(key: tuple[int, int], value: Backend) -> bytes | None:
    address, port = value
    if ":" in address:
        return None
    return _TO_BACKEND.pack(_BACKEND_HEAD, *key, _BACKEND_MIDDLE, socket.inet_aton(address), socket.htons(port))


_QUICK: dict[str, Callable[[Any, Any], bytes | None]] = {
    steps.COUNTS: _to_number,
    steps.LISTS: _to_number,
    steps.ENDPOINTS: _to_backend,
    steps.PLACES: _to_backend,
}


def transactions(shape: Shape, table: str, step: Step) -> Iterator[list[Request]]:
    """The transactions that carry out a step, in order; cut between ops, each of which is safe to see done alone."""
    batch, weight = _Batch(shape, table), 0
    for op in step:
        if type(op) is Put:
            need = 2 if op.replaces else 1
        else:
            need = len(op.backends) if type(op) is Fill else 20 if isinstance(op, Size | Keep) else 1
        weight += need
        if weight > ELEMENTS_A_BATCH:
            yield batch.close()
            batch, weight = _Batch(shape, table), need
        batch.add(op)
    if weight:
        yield batch.close()


class _Batch:
    """One transaction in the making."""

    def __init__(self, shape: Shape, table: str) -> None:
        self._shape, self._table = shape, table
        self._first: list[Request] = []
        self._last: list[Request] = []
        self._added: defaultdict[str, list[bytes]] = defaultdict(list)
        self._gone: defaultdict[str, list[bytes]] = defaultdict(list)

    def add(self, op: Op) -> None:
        if type(op) is Put:
            name, key, value, replaces = op
            if replaces:
                self._delete(name, key)
            quick = _QUICK.get(name)
            made = quick(key, value) if quick is not None else None
            if made is None:
                made = _element(name, key, _VALUES[name](value) if value is not None else b"")
            self._added[name].append(made)
        elif isinstance(op, Fill):
            self._added[steps.ENDPOINTS].append(_filled(op))
        elif isinstance(op, Size):
            self._first += self._shape.lb_rules(self._table, op.backends)
            element = nft_set.verdict_element(WORD.pack(op.backends), Code.GOTO, schema.lb_chain(op.backends))
            self._added[steps.DISPATCH].append(element)
        elif isinstance(op, Keep):
            self._first += self._shape.keep_rules(self._table, op.seconds)
            self._added[steps.KEEPERS].append(_keeper(op))
        elif op.map == steps.KEEPERS:
            slot, seconds = cast("tuple[int, int]", op.key)
            self._gone[steps.KEEPERS].append(_keeper(Keep(slot, seconds)))
            self._last += schema.remove_keep_rules(self._table, seconds)
        else:
            self._delete(op.map, op.key)

    def _delete(self, name: str, key: Any) -> None:
        self._gone[name].append(_element(name, key))

    def close(self) -> list[Request]:
        requests = self._first
        for name, elements in self._gone.items():
            requests += nft_set.delete_elements(self._table, name, elements)
        for name, elements in self._added.items():
            requests += nft_set.add_elements(self._table, name, elements)
        return requests + self._last


def _filled(op: Fill) -> bytes:
    """All elements of a fill, one after the other."""
    if ":" in op.backends[0].address:
        return b"".join(nft_set.element(index(key), backend(one)) for key, one in filled(op))
    pack, aton, htons = _TO_BACKEND.pack, socket.inet_aton, socket.htons
    head, number, middle = _BACKEND_HEAD, op.list, _BACKEND_MIDDLE
    ends = enumerate(op.backends, op.first)
    return b"".join([pack(head, number, at, middle, aton(address), htons(port)) for at, (address, port) in ends])


def _element(name: str, value: Any, data: bytes = b"") -> bytes:
    if name == steps.ALLOWED:
        return nft_set.range_element(*_allowed(value))
    return nft_set.element(_KEYS[name](value), data)


def _keeper(keep: Keep) -> bytes:
    key = WORD.pack(keep.slot << SLOT_SHIFT)
    return nft_set.verdict_element(key, Code.GOTO, schema.keep_chain(keep.seconds))
