"""Steps of a plan as netlink transactions. Pure.

Called by family.py. Elements are grouped by map: a transaction first makes chains, then deletes, then adds, so that an
element that is replaced never misses.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from skerry.netlink import nft_set
from skerry.netlink.nft import Request
from skerry.netlink.nft_expr import Code
from skerry.proxy.nftables import plan, schema
from skerry.proxy.nftables.numbers import SLOT_SHIFT
from skerry.proxy.nftables.plan import Keep, Op, Put, Remove, Size, Step
from skerry.proxy.nftables.schema import Shape
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
    plan.COUNTS: frontend,
    plan.LISTS: frontend,
    plan.NEAR_COUNTS: frontend,
    plan.NEAR_LISTS: frontend,
    plan.ENDPOINTS: index,
    plan.DISPATCH: WORD.pack,
    plan.ADDRESSES: packed,
    plan.REFUSED: frontend,
    plan.DROPPED: frontend,
    plan.MASQUERADED: frontend,
    plan.HAIRPIN: _pair,
    plan.GUARDED: frontend,
    plan.IDS: identity,
    plan.PLACES: index,
}
_VALUES: dict[str, Callable[[Any], bytes]] = {
    plan.COUNTS: WORD.pack,
    plan.LISTS: WORD.pack,
    plan.NEAR_COUNTS: WORD.pack,
    plan.NEAR_LISTS: WORD.pack,
    plan.ENDPOINTS: backend,
    plan.IDS: WORD.pack,
    plan.PLACES: backend,
}


def key(name: str, value: Any) -> bytes:
    """The key of an element of a map."""
    return _KEYS[name](value)


def transactions(shape: Shape, table: str, step: Step) -> Iterator[list[Request]]:
    """The transactions that carry out a step, in order; cut between ops, each of which is safe to see done alone."""
    start, weight = 0, 0
    for at, op in enumerate(step):
        need = 20 if isinstance(op, Size | Keep) else 2 if isinstance(op, Put) and op.replaces else 1
        if weight + need > ELEMENTS_A_BATCH:
            yield _transaction(shape, table, step[start:at])
            start, weight = at, 0
        weight += need
    if start < len(step):
        yield _transaction(shape, table, step[start:])


def _transaction(shape: Shape, table: str, ops: Sequence[Op]) -> list[Request]:
    requests: list[Request] = []
    late: list[Request] = []
    added: dict[str, list[bytes]] = {}
    gone: dict[str, list[bytes]] = {}
    for op in ops:
        if isinstance(op, Size):
            requests += shape.lb_rules(table, op.backends)
            element = nft_set.verdict_element(WORD.pack(op.backends), Code.GOTO, schema.lb_chain(op.backends))
            added.setdefault(plan.DISPATCH, []).append(element)
        elif isinstance(op, Keep):
            requests += shape.keep_rules(table, op.seconds)
            added.setdefault(plan.KEEPERS, []).append(_keeper(op))
        elif op.map == plan.KEEPERS:
            keep = Keep(*_slot_and_seconds(op))
            gone.setdefault(plan.KEEPERS, []).append(_keeper(keep))
            late += schema.remove_keep_rules(table, keep.seconds)
        else:
            if isinstance(op, Remove) or op.replaces:
                gone.setdefault(op.map, []).append(_element(op.map, op.key))
            if isinstance(op, Put):
                data = _VALUES[op.map](op.value) if op.value is not None else b""
                added.setdefault(op.map, []).append(_element(op.map, op.key, data))
    for name, elements in gone.items():
        requests += nft_set.delete_elements(table, name, elements)
    for name, elements in added.items():
        requests += nft_set.add_elements(table, name, elements)
    return requests + late


def _element(name: str, value: Any, data: bytes = b"") -> bytes:
    if name == plan.ALLOWED:
        return nft_set.range_element(*_allowed(value))
    return nft_set.element(_KEYS[name](value), data)


def _slot_and_seconds(op: Put | Remove) -> tuple[int, int]:
    found: Any = op.key
    return found[0], found[1]


def _keeper(keep: Keep) -> bytes:
    key = WORD.pack(keep.slot << SLOT_SHIFT)
    return nft_set.verdict_element(key, Code.GOTO, schema.keep_chain(keep.seconds))
