"""The shape of the kernel table: its maps, chains and rules, which are the same for one service and for 40,000.

Called by backend.py (to build the table) and encode.py (for names). A new connection runs

    nat (prerouting, output)   balance -> pick -> lb-N -> dnat
    filter, right after nat    refuse or drop what should have been translated and was not
    nat (postrouting)          masquerade where the backend could not answer the client directly

and later packets only conntrack and the two filter rules. Only rules that the nft program 1.0.6 can print: it aborts on
nested lookups, so the packet's mark carries values from one rule to the next.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from skerry.netlink import nft, nft_expr, nft_set
from skerry.netlink.nft_expr import Code, Ct, Meta, register
from skerry.netlink.nft_set import Set, Type

TABLE = "skerry"
COMMENT = "Skerry service proxy, layout 1"
"""A table with another comment was written by another version: it is replaced."""

_FRONTEND = (Type.IPV4, Type.PROTOCOL, Type.SERVICE)

SETS = (
    Set("counts", _FRONTEND, (Type.MARK,), comment="how many backends a frontend has"),
    Set("lists", _FRONTEND, (Type.MARK,), comment="which list of backends it uses"),
    Set("dispatch", (Type.MARK,), verdicts=True, comment="the chain that picks one of so many"),
    Set("endpoints", (Type.MARK, Type.MARK), (Type.IPV4, Type.SERVICE), counters=True, comment="list, index: backend"),
    Set("addresses", (Type.IPV4,), comment="cluster IPs in use"),
    Set("refused", _FRONTEND, comment="external frontends without endpoints"),
    Set("dropped", _FRONTEND, comment="frontends whose endpoints are all elsewhere"),
    Set("masqueraded", _FRONTEND, comment="frontends that hide the client"),
    Set("hairpin", (Type.IPV4, Type.IPV4), comment="backends here, which may be their own clients"),
)

FIRST_LIST = 0x10000
"""Lists are numbered from here, above any count: a count that is left in the mark names no list."""

_R = tuple(register(index) for index in range(8))
_KEY = nft_expr.destination(_R[0]) + nft_expr.meta(Meta.L4PROTO, _R[1]) + nft_expr.destination_port(_R[2])
_ORIGINAL_KEY = (
    nft_expr.ct(Ct.DST_IP, _R[0], original=True)
    + nft_expr.meta(Meta.L4PROTO, _R[1])
    + nft_expr.ct(Ct.PROTO_DST, _R[2], original=True)
)
_TRANSLATED = nft_expr.ct(Ct.STATUS, _R[0]) + nft_expr.flags(_R[0], nft_expr.CT_STATUS_DNAT)
_NEW = nft_expr.ct(Ct.STATE, _R[0]) + nft_expr.flags(_R[0], nft_expr.CT_STATE_NEW)
_MISS = "misses: must stay 0"


def lb_chain(count: int) -> str:
    """The chain that picks one of `count` backends."""
    return f"lb-{count}"


def lb_rules(table: str, count: int) -> Iterator[nft.Request]:
    """That chain and its rules."""
    name = lb_chain(count)
    yield nft.add_chain(table, name)
    yield nft.add_rule(table, name, _KEY, nft_expr.lookup("lists", _R[0], _R[0]), nft_expr.set_meta(Meta.MARK, _R[0]))
    yield nft.add_rule(
        table,
        name,
        nft_expr.meta(Meta.MARK, _R[0]),
        nft_expr.numgen_random(count, _R[1]),
        nft_expr.lookup("endpoints", _R[0], _R[0]),
        nft_expr.dnat(_R[0], _R[1]),
    )
    yield nft.add_rule(table, name, nft_expr.counter(), nft_expr.drop(), comment=_MISS)


def skeleton(table: str, service_cidr: str, pod_cidr: str | None) -> Iterator[nft.Request]:
    """The table without elements and without anything that the kernel would call."""

    def rule(chain: str, *expressions: bytes, comment: str = "") -> nft.Request:
        return nft.add_rule(table, chain, *expressions, comment=comment)

    yield nft.add_table(table, COMMENT)
    for identity, one in enumerate(SETS, 1):
        yield nft_set.define(table, one, identity)
    for chain in ("balance", "pick", "refuse", "check", "cluster-ips", "leave"):
        yield nft.add_chain(table, chain)

    yield rule(
        "balance",
        _KEY,
        nft_expr.lookup("counts", _R[0], _R[0]),
        nft_expr.set_meta(Meta.MARK, _R[0]),
        nft_expr.goto("pick"),
    )
    yield rule("pick", nft_expr.meta(Meta.MARK, _R[0]), nft_expr.lookup("dispatch", _R[0], nft_expr.VERDICT))
    yield rule("pick", nft_expr.counter(), nft_expr.drop(), comment=_MISS)

    # A reset and not ICMP for TCP: ICMP errors are rate-limited to one a second, and a client would wait.
    is_tcp = nft_expr.meta(Meta.L4PROTO, _R[0]) + nft_expr.compare(_R[0], b"\x06")
    yield rule("refuse", is_tcp, nft_expr.reject_reset())
    yield rule("refuse", nft_expr.reject_unreachable())

    # Runs after nat: a packet that still carries a frontend's address here found no backend.
    in_services = nft_expr.destination(_R[0]) + nft_expr.in_prefix(_R[0], service_cidr)
    yield rule("check", in_services, nft_expr.goto("cluster-ips"))
    yield rule("check", _NEW, _KEY, nft_expr.lookup("refused", _R[0]), nft_expr.goto("refuse"))
    yield rule("check", _NEW, _KEY, nft_expr.lookup("dropped", _R[0]), nft_expr.drop())
    # A backend, or a server of this node's own, may have an address out of the service range (DNS servers like to).
    local = nft_expr.fib_daddr_type(_R[0]) + nft_expr.compare(_R[0], struct.pack("=I", nft_expr.LOCAL_ADDRESS))
    yield rule("cluster-ips", _TRANSLATED, nft_expr.accept())
    yield rule("cluster-ips", local, nft_expr.accept())
    yield rule("cluster-ips", _KEY, nft_expr.lookup("dropped", _R[0]), nft_expr.drop())
    yield rule("cluster-ips", nft_expr.destination(_R[0]), nft_expr.lookup("addresses", _R[0]), nft_expr.goto("refuse"))
    yield rule("cluster-ips", nft_expr.drop(), comment="no Service has this address")

    masquerade = nft_expr.masquerade()
    itself = nft_expr.source(_R[0]) + nft_expr.destination(_R[1]) + nft_expr.lookup("hairpin", _R[0])
    yield rule("leave", itself, masquerade, comment="a backend that called itself")
    yield rule("leave", _ORIGINAL_KEY, nft_expr.lookup("masqueraded", _R[0]), masquerade)
    if pod_cidr is not None:
        to_services = nft_expr.ct(Ct.DST_IP, _R[0], original=True) + nft_expr.in_prefix(_R[0], service_cidr)
        foreign = nft_expr.source(_R[0]) + nft_expr.in_prefix(_R[0], pod_cidr, inside=False)
        yield rule("leave", to_services, foreign, masquerade, comment="clients that are no pods of this node")


def hooks(table: str) -> Iterator[nft.Request]:
    """What makes the kernel call the table; comes last, when the maps are full."""
    for name, hook in (("prerouting", nft.Hook.PREROUTING), ("output", nft.Hook.OUTPUT)):
        yield nft.add_base_chain(table, f"nat-{name}", "nat", hook, -100)
        yield nft.add_rule(table, f"nat-{name}", nft_expr.jump("balance"))
        yield nft.add_base_chain(table, f"filter-{name}", "filter", hook, -90)
        yield nft.add_rule(table, f"filter-{name}", nft_expr.jump("check"))
    yield nft.add_base_chain(table, "nat-postrouting", "nat", nft.Hook.POSTROUTING, 100)
    yield nft.add_rule(table, "nat-postrouting", _TRANSLATED, nft_expr.verdict(Code.JUMP, "leave"))
