"""The shape of a family's kernel table: its maps, chains and rules, which are the same for one service and for 40,000.

Called by family.py (to build the table) and encode.py (for names). A new connection runs

    nat (prerouting, output)   guard -> near or balance -> pick -> lb-N [-> stick] -> dnat
    filter, right after nat    remember the client; refuse or drop what should have been translated and was not
    nat (postrouting)          masquerade where the backend could not answer the client directly

and later packets only conntrack and the two filter rules. Only rules that the nft program 1.0.6 can print: it aborts on
nested lookups, so the packet's mark (the list) and priority (first the count, then a place in the list) carry values
from one rule to the next. Both are 0 again when the packet leaves.
"""

from __future__ import annotations

import hashlib
import ipaddress
import struct
from collections.abc import Iterator

from skerry.netlink import nft, nft_expr, nft_set
from skerry.netlink.nft_expr import Code, Ct, Meta, register
from skerry.netlink.nft_set import Set, Type
from skerry.proxy.nftables.numbers import FIRST_LIST, SERVICE_PORT, SLOTS
from skerry.proxy.table import IPV6, Node

TABLE = "skerry"

_CHAINS = (
    *("arrive", "depart", "guard", "admit", "near", "near-list", "balance", "list", "pick", "stick", "stuck"),
    *("settle", "learn", "remember", "refuse", "check", "translated", "cluster-ips", "leave"),
)

_R = tuple(register(index) for index in range(16))
_TRANSLATED = nft_expr.ct(Ct.STATUS, _R[0]) + nft_expr.flags(_R[0], nft_expr.CT_STATUS_DNAT)
_NEW = nft_expr.ct(Ct.STATE, _R[0]) + nft_expr.flags(_R[0], nft_expr.CT_STATE_NEW)
_MISS = "misses: must stay 0"
_HAS_AFFINITY = nft_expr.meta(Meta.MARK, _R[0]) + nft_expr.flags(_R[0], SLOTS)
_OF_A_LIST = nft_expr.meta(Meta.MARK, _R[0]) + nft_expr.flags(_R[0], SERVICE_PORT & -FIRST_LIST)
"""Only the packet that chose a backend still carries its list: later ones of the flow are not counted."""
_LOCAL = nft_expr.compare(_R[0], struct.pack("=I", nft_expr.LOCAL_ADDRESS))


def lb_chain(count: int) -> str:
    """The chain that picks one of `count` backends."""
    return f"lb-{count}"


def keep_chain(seconds: int) -> str:
    """The chain that remembers clients for so long."""
    return f"keep-{seconds}"


def remove_keep_rules(table: str, seconds: int) -> Iterator[nft.Request]:
    """The chain goes, after the element that led to it."""
    yield nft.flush_chain(table, keep_chain(seconds))
    yield nft.delete_chain(table, keep_chain(seconds))


class Shape:
    """The shape for one family, with the ranges that its rules name.

    Each family has a table of its own: an address takes one register or four, so nothing but the chains' names could be
    shared, and packets of one family pay nothing for the other.
    """

    def __init__(self, family: str, service_cidr: str, pod_cidr: str | None) -> None:
        self.family, self.service_cidr, self.pod_cidr = family, service_cidr, pod_cidr
        self._v6 = family == IPV6
        self.kernel_family = nft.IPV6 if self._v6 else nft.IPV4
        self.sets = _sets(Type.IPV6 if self._v6 else Type.IPV4)
        width = 4 if self._v6 else 1
        self._after = _R[width:]
        """The registers behind an address in the first ones."""
        second, third = self._after[:2]
        protocol_port = nft_expr.meta(Meta.L4PROTO, second)
        self._key = self._destination(_R[0]) + protocol_port + nft_expr.destination_port(third)
        self._original = nft_expr.ct(Ct.DST_IP6 if self._v6 else Ct.DST_IP, _R[0], original=True)
        self._original_key = self._original + protocol_port + nft_expr.ct(Ct.PROTO_DST, third, original=True)
        self._client = (
            self._source(_R[0])
            + nft_expr.meta(Meta.MARK, second)
            + nft_expr.bitwise(second, second, struct.pack("=I", SERVICE_PORT), bytes(4))
        )

    @classmethod
    def of(cls, node: Node, family: str) -> Shape:
        """The one for a node."""
        return cls(family, node.service_cidr(family), node.pod_cidr(family))

    def _source(self, target: int) -> bytes:
        return nft_expr.source(target, v6=self._v6)

    def _destination(self, target: int) -> bytes:
        return nft_expr.destination(target, v6=self._v6)

    def _of_services(self, *, inside: bool = True) -> bytes:
        """Is the address in the first register a cluster IP? Where their range is not known, those in use are."""
        if ipaddress.ip_network(self.service_cidr).prefixlen == 0:
            return nft_expr.lookup("addresses", _R[0], inverted=not inside)
        return nft_expr.in_prefix(_R[0], self.service_cidr, inside=inside)

    def _dnat(self) -> bytes:
        return nft_expr.dnat(_R[0], self._after[0], v6=self._v6)

    def lb_rules(self, table: str, count: int) -> Iterator[nft.Request]:
        """That chain and its rules."""
        name = lb_chain(count)
        yield nft.add_chain(table, name)
        yield nft.add_rule(table, name, _HAS_AFFINITY, nft_expr.jump("stick"))
        yield nft.add_rule(
            table,
            name,
            nft_expr.meta(Meta.MARK, _R[0]),
            nft_expr.numgen_random(count, _R[1]),
            nft_expr.lookup("endpoints", _R[0], _R[0]),
            self._dnat(),
        )
        yield nft.add_rule(table, name, nft_expr.counter(), nft_expr.drop(), comment=_MISS)

    def keep_rules(self, table: str, seconds: int) -> Iterator[nft.Request]:
        """That chain and its rule."""
        name = keep_chain(seconds)
        yield nft.add_chain(table, name)
        remember = nft_expr.learn("affinity", _R[0], self._after[1], seconds)
        yield nft.add_rule(table, name, self._client, nft_expr.meta(Meta.PRIORITY, self._after[1]), remember)

    def comment(self) -> str:
        """The comment of a table whose rules are ours; those of another version or for other networks differ."""
        parts = [*self._body(""), *self.hooks(""), *self.lb_rules("", 1), *self.keep_rules("", 1)]
        digest = hashlib.blake2s(b"".join(one.payload for one in parts), digest_size=8).hexdigest()
        return f"Skerry service proxy, layout {digest}"

    def skeleton(self, table: str, *, dormant: bool = False) -> Iterator[nft.Request]:
        """The table without elements and without anything that the kernel would call."""
        yield nft.add_table(table, self.comment(), dormant=dormant)
        yield from self._body(table)

    def _body(self, table: str) -> Iterator[nft.Request]:
        pod_cidr, key, client, after = self.pod_cidr, self._key, self._client, self._after

        def rule(chain: str, *expressions: bytes, comment: str = "") -> nft.Request:
            return nft.add_rule(table, chain, *expressions, comment=comment)

        for identity, one in enumerate(self.sets, 1):
            yield nft_set.define(table, one, identity)
        for chain in _CHAINS:
            yield nft.add_chain(table, chain)

        def numbered(chain: str, counts: str, then: str, lists: str) -> Iterator[nft.Request]:
            """The count first: a list that is longer than what a packet heard of does no harm."""
            yield rule(
                chain,
                key,
                nft_expr.lookup(counts, _R[0], _R[0]),
                nft_expr.set_meta(Meta.PRIORITY, _R[0]),
                nft_expr.goto(then),
            )
            number = nft_expr.lookup(lists, _R[0], _R[0])
            yield rule(then, key, number, nft_expr.set_meta(Meta.MARK, _R[0]), nft_expr.goto("pick"))
            yield rule(then, nft_expr.counter(), nft_expr.drop(), comment=_MISS)

        guarded = nft_expr.lookup("guarded", _R[0])
        if pod_cidr is not None:
            pods = self._source(_R[0]) + nft_expr.in_prefix(_R[0], pod_cidr)
            yield rule("arrive", pods, nft_expr.jump("near"), comment="pods of this node")
        yield rule("arrive", nft_expr.goto("balance"))
        yield rule("depart", nft_expr.jump("near"))
        yield rule("depart", nft_expr.goto("balance"))
        allowed = self._source(after[2]) + nft_expr.lookup("allowed", _R[0])
        yield rule("guard", key, guarded, nft_expr.goto("admit"))
        yield rule("admit", key, allowed, nft_expr.verdict(Code.RETURN))
        yield rule("admit", nft_expr.drop(), comment="not from there")
        yield from numbered("near", "near-counts", "near-list", "near-lists")
        yield from numbered("balance", "counts", "list", "lists")
        by_count = nft_expr.meta(Meta.PRIORITY, _R[0]) + nft_expr.lookup("dispatch", _R[0], nft_expr.VERDICT)
        yield rule("pick", by_count)
        yield rule("pick", nft_expr.counter(), nft_expr.drop(), comment=_MISS)

        to_place = nft_expr.lookup("affinity", _R[0], _R[0]) + nft_expr.set_meta(Meta.PRIORITY, _R[0])
        yield rule("stick", client, to_place, nft_expr.goto("stuck"))
        there = nft_expr.meta(Meta.MARK, _R[0]) + nft_expr.meta(Meta.PRIORITY, _R[1])
        yield rule("stuck", there, nft_expr.lookup("places", _R[0], _R[0]), self._dnat())
        # The record's backend has left: it must go, since learning what is known only winds its clock up.
        forget = nft_expr.unlearn("affinity", _R[0], after[1])
        yield rule("stuck", client, nft_expr.meta(Meta.PRIORITY, after[1]), forget)

        # After nat the destination is the backend and the source still the client.
        its_port = _R[1 + _R.index(after[0])]
        backend = nft_expr.meta(Meta.MARK, _R[0]) + self._destination(_R[1]) + nft_expr.destination_port(its_port)
        its_place = nft_expr.lookup("ids", _R[0], _R[0]) + nft_expr.set_meta(Meta.PRIORITY, _R[0])
        yield rule("settle", _HAS_AFFINITY, nft_expr.jump("learn"))
        # An endpoint's counter is made by its first connection: in `endpoints`, counters were most of a load's work.
        yield rule("settle", _OF_A_LIST, backend, nft_expr.count("totals", _R[0]))
        clean = nft_expr.load(bytes(4), _R[0])
        yield rule("settle", clean, nft_expr.set_meta(Meta.MARK, _R[0]), nft_expr.set_meta(Meta.PRIORITY, _R[0]))
        yield rule("settle", nft_expr.accept())
        yield rule("learn", backend, its_place, nft_expr.goto("remember"))
        by_slot = nft_expr.bitwise(_R[0], _R[0], struct.pack("=I", SLOTS), bytes(4))
        to_keeper = by_slot + nft_expr.lookup("keepers", _R[0], nft_expr.VERDICT)
        yield rule("remember", nft_expr.meta(Meta.MARK, _R[0]), to_keeper)

        # A reset and not ICMP for TCP: ICMP errors are rate-limited to one a second, and a client would wait.
        is_tcp = nft_expr.meta(Meta.L4PROTO, _R[0]) + nft_expr.compare(_R[0], b"\x06")
        yield rule("refuse", is_tcp, nft_expr.reject_reset())
        yield rule("refuse", nft_expr.reject_unreachable(4 if self._v6 else 3))

        # Runs after nat, for every packet. Most are of flows that have their backend: they are through with the first
        # rule. What still carries a frontend's address then found no backend.
        yield rule("check", _TRANSLATED, nft_expr.goto("translated"))
        yield rule("translated", _NEW, nft_expr.goto("settle"))
        in_services = self._destination(_R[0]) + self._of_services()
        yield rule("check", in_services, nft_expr.goto("cluster-ips"))
        yield rule("check", _NEW, key, nft_expr.lookup("refused", _R[0]), nft_expr.goto("refuse"))
        yield rule("check", _NEW, key, nft_expr.lookup("dropped", _R[0]), nft_expr.drop())
        # A server of this node's own may have an address out of the service range (DNS servers like to).
        yield rule("cluster-ips", nft_expr.fib_daddr_type(_R[0]), _LOCAL, nft_expr.accept())
        yield rule("cluster-ips", key, nft_expr.lookup("dropped", _R[0]), nft_expr.drop())
        yield rule(
            "cluster-ips", self._destination(_R[0]), nft_expr.lookup("addresses", _R[0]), nft_expr.goto("refuse")
        )
        yield rule("cluster-ips", nft_expr.drop(), comment="no Service has this address")

        masquerade = nft_expr.masquerade()
        itself = self._source(_R[0]) + self._destination(after[0]) + nft_expr.lookup("hairpin", _R[0])
        yield rule("leave", itself, masquerade, comment="a backend that called itself")
        yield rule("leave", self._original_key, nft_expr.lookup("masqueraded", _R[0]), masquerade)
        original = self._original
        outer = original + self._of_services(inside=False)
        own = nft_expr.fib_saddr_type(_R[0]) + _LOCAL
        yield rule("leave", outer, own, masquerade, comment="the node itself as a client from outside")
        if pod_cidr is not None:
            to_services = original + self._of_services()
            foreign = self._source(_R[0]) + nft_expr.in_prefix(_R[0], pod_cidr, inside=False)
            yield rule("leave", to_services, foreign, masquerade, comment="clients that are no pods of this node")

    def hooks(self, table: str) -> Iterator[nft.Request]:
        """What makes the kernel call the table; comes last, when the maps are full."""
        for name, hook, to in (("prerouting", nft.Hook.PREROUTING, "arrive"), ("output", nft.Hook.OUTPUT, "depart")):
            yield nft.add_base_chain(table, f"nat-{name}", "nat", hook, -100)
            yield nft.add_rule(table, f"nat-{name}", nft_expr.jump("guard"))
            yield nft.add_rule(table, f"nat-{name}", nft_expr.jump(to))
            yield nft.add_base_chain(table, f"filter-{name}", "filter", hook, -90)
            yield nft.add_rule(table, f"filter-{name}", nft_expr.jump("check"))
        yield nft.add_base_chain(table, "nat-postrouting", "nat", nft.Hook.POSTROUTING, 100)
        yield nft.add_rule(table, "nat-postrouting", _TRANSLATED, nft_expr.verdict(Code.JUMP, "leave"))


def _sets(address: Type) -> tuple[Set, ...]:
    frontend = (address, Type.PROTOCOL, Type.SERVICE)
    return (
        Set("counts", frontend, (Type.MARK,), comment="how many backends a frontend has"),
        Set("lists", frontend, (Type.MARK,), comment="which list of backends it uses"),
        Set("dispatch", (Type.MARK,), verdicts=True, comment="the chain that picks one of so many"),
        Set("endpoints", (Type.MARK, Type.MARK), (address, Type.SERVICE), comment="list, index: backend"),
        Set("near-counts", frontend, (Type.MARK,), comment="the same for clients on this node, where that differs"),
        Set("near-lists", frontend, (Type.MARK,), comment="the same for clients on this node"),
        Set("addresses", (address,), comment="cluster IPs in use"),
        Set("refused", frontend, comment="external frontends without endpoints"),
        Set("dropped", frontend, comment="frontends whose endpoints are all elsewhere"),
        Set("masqueraded", frontend, comment="frontends that hide the client"),
        Set("hairpin", (address, address), comment="backends here, which may be their own clients"),
        Set("guarded", frontend, comment="frontends that not everybody may use"),
        Set("allowed", (*frontend, address), ranges=True, comment="who may"),
        Set(
            "affinity",
            (address, Type.MARK),
            (Type.MARK,),
            learns=1 << 20,
            passing=True,
            comment="client, service port: place",
        ),
        Set("ids", (Type.MARK, address, Type.SERVICE), (Type.MARK,), comment="list, backend: place"),
        Set("places", (Type.MARK, Type.MARK), (address, Type.SERVICE), comment="list, place: backend"),
        Set("totals", (Type.MARK, address, Type.SERVICE), counters=True, learns=1 << 20, comment="connections it got"),
        Set("keepers", (Type.MARK,), verdicts=True, comment="the chain that remembers a client for so long"),
    )
