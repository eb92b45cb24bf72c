"""What the kernel and the nft program make of our nf_tables messages, in a network namespace of the test's own."""

from __future__ import annotations

import errno
import socket
import struct
import subprocess

import pytest
from tests.helpers.namespaces import in_network_namespace

from skerry.netlink import nft, nft_expr, nft_set
from skerry.netlink.nft_expr import Code, Meta, register
from skerry.netlink.nft_set import Set, Type

COUNTS = Set("counts", (Type.IPV4, Type.PROTOCOL, Type.SERVICE), (Type.MARK,), comment="how many")
BACKENDS = Set("backends", (Type.MARK, Type.MARK), (Type.IPV4, Type.SERVICE), counters=True)
DISPATCH = Set("dispatch", (Type.MARK,), verdicts=True)
LOCAL = struct.pack("=I", nft_expr.LOCAL_ADDRESS)


def frontend(address: str, port: int) -> bytes:
    return socket.inet_aton(address) + b"\x06\0\0\0" + struct.pack("!HH", port, 0)


def build() -> list[nft.Request]:
    first = register(0)
    rules = (
        nft.add_rule("t", "lb", nft_expr.counter(), nft_expr.drop(), comment="the end"),
        nft.add_rule("t", "in", nft_expr.meta(Meta.MARK, first), nft_expr.lookup("dispatch", first, nft_expr.VERDICT)),
        nft.add_rule("t", "in", nft_expr.fib_daddr_type(first), nft_expr.compare(first, LOCAL), nft_expr.accept()),
        nft.add_rule("t", "in", nft_expr.source(first), nft_expr.in_prefix(first, "10.0.0.1/32"), nft_expr.counter()),
        nft.add_rule(
            "t", "in", nft_expr.source(first), nft_expr.in_prefix(first, "10.8.0.0/13", inside=False), nft_expr.drop()
        ),
    )
    return [
        nft.add_table("t", "a test's"),
        *(nft_set.define("t", one, number) for number, one in enumerate((COUNTS, BACKENDS, DISPATCH), 1)),
        nft.add_chain("t", "lb"),
        nft.add_base_chain("t", "in", "filter", nft.Hook.INPUT, 7),
        *rules,
        *nft_set.add_elements("t", "counts", [nft_set.element(frontend("10.96.0.1", 80), struct.pack("=I", 3))]),
        *nft_set.add_elements(
            "t", "backends", [nft_set.element(struct.pack("=II", 9, 0), socket.inet_aton("10.1.1.1") + b"\x1f\x90\0\0")]
        ),
        *nft_set.add_elements("t", "dispatch", [nft_set.verdict_element(struct.pack("=I", 3), Code.GOTO, "lb")]),
    ]


@in_network_namespace
def test_the_kernel_takes_it_and_gives_it_back() -> None:
    with nft.Nft() as kernel:
        kernel.commit(build())
        assert kernel.tables() == {"t": "a test's"}
        assert kernel.chains("t") == ["lb", "in"]
        assert kernel.sets("t") == ["counts", "backends", "dispatch"]
        assert kernel.rule_counters("t") == {"lb": 0, "in": 0}
        (one,) = nft_set.dump_elements(kernel, "t", "counts")
        assert (one.key, one.data) == (frontend("10.96.0.1", 80), struct.pack("=I", 3))
        (one,) = nft_set.dump_elements(kernel, "t", "backends")
        assert (one.data, one.packets) == (socket.inet_aton("10.1.1.1") + b"\x1f\x90\0\0", 0)
        (one,) = nft_set.dump_elements(kernel, "t", "dispatch")
        assert one.chain == "lb"
        assert nft_set.dump_elements(kernel, "t", "nothing") == []
        assert kernel.sets("nothing") == []


@in_network_namespace
def test_the_nft_program_lists_it() -> None:
    with nft.Nft() as kernel:
        kernel.commit(build())
    done = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for line in (
        "10.96.0.1 . tcp . 80 : 0x00000003",
        "0x00000009 . 0x00000000 counter packets 0 bytes 0 : 10.1.1.1 . 8080",
        "0x00000003 : goto lb",
        'counter packets 0 bytes 0 drop comment "the end"',
        "fib daddr type local accept",
        "ip saddr 10.0.0.1 counter",
        "ip saddr != 10.8.0.0/13 drop",
        'comment "how many"',
    ):
        assert line in done.stdout


@in_network_namespace
def test_a_refused_transaction_names_the_message_and_changes_nothing() -> None:
    with nft.Nft() as kernel:
        kernel.commit(build())
        gone = list(nft_set.delete_elements("t", "counts", [nft_set.element(frontend("10.96.0.1", 80))]))
        missing = list(nft_set.delete_elements("t", "counts", [nft_set.element(frontend("10.96.0.9", 80))]))
        with pytest.raises(nft.NftError) as found:
            kernel.commit([*gone, *missing, *missing])
        assert (found.value.errno, found.value.index) == (errno.ENOENT, 1)
        assert "delete from counts" in str(found.value)
        assert len(nft_set.dump_elements(kernel, "t", "counts")) == 1
        kernel.commit(gone)  # the socket holds no answers of the failed one
        assert nft_set.dump_elements(kernel, "t", "counts") == []


@in_network_namespace
def test_a_rule_loop_is_refused_as_a_whole() -> None:
    loop = [nft.add_rule("t", "lb", nft_expr.jump("in2")), nft.add_rule("t", "in2", nft_expr.jump("lb"))]
    with nft.Nft() as kernel:
        with pytest.raises(nft.NftError) as found:
            kernel.commit([*build(), nft.add_chain("t", "in2"), *loop, nft.add_rule("t", "in", nft_expr.jump("lb"))])
        assert found.value.errno in (errno.ELOOP, errno.EMLINK)
        assert kernel.tables() == {}


@in_network_namespace
def test_dumps_are_read_alike_in_one_go_and_element_by_element(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets, maps, counted maps, of IPv4 and IPv6, ranges, verdicts, and elements with time-outs."""
    sets = [
        (
            nft_set.Set("members", (Type.IPV4, Type.SERVICE)),
            [nft_set.element(bytes([10, 0, n, 1, 0, 80, 0, 0])) for n in range(99)],
        ),
        (nft_set.Set("six", (Type.IPV6,)), [nft_set.element(bytes([253] + 14 * [0] + [n])) for n in range(99)]),
        (
            nft_set.Set("numbers", (Type.IPV4, Type.SERVICE), (Type.MARK,)),
            [nft_set.element(bytes([10, 0, n, 1, 0, 80, 0, 0]), bytes([n, 0, 0, 0])) for n in range(99)],
        ),
        (
            nft_set.Set("counted", (Type.MARK, Type.MARK), (Type.IPV6, Type.SERVICE), counters=True),
            [nft_set.element(bytes([n] + 7 * [0]), bytes([253] + 14 * [n] + [1, 0, 80, 0, 0])) for n in range(99)],
        ),
        (
            nft_set.Set("ranges", (Type.IPV4, Type.IPV4), ranges=True),
            [nft_set.range_element(bytes(4) + bytes([10, n, 0, 0]), bytes(4) + bytes([10, n, 0, 9])) for n in range(9)],
        ),
        (
            nft_set.Set("verdicts", (Type.MARK,), verdicts=True),
            [nft_set.verdict_element(bytes([n, 0, 0, 0]), Code.GOTO, f"to-{n}") for n in (5, 6, 70)],
        ),
    ]
    chains = [nft.add_chain("t", f"to-{n}") for n in (5, 6, 70)]
    defined = [nft_set.define("t", one, number) for number, (one, _) in enumerate(sets, 1)]
    added = [request for one, elements in sets for request in nft_set.add_elements("t", one.name, elements)]
    with nft.Nft() as kernel:
        kernel.commit([nft.add_table("t"), *chains, *defined, *added])

        def dumped() -> dict[str, list[nft_set.Element]]:
            """In no order: the kernel makes its tables larger a moment after they were filled."""
            return {one.name: sorted(nft_set.dump_elements(kernel, "t", one.name)) for one, _ in sets}

        quick = dumped()
        monkeypatch.setattr(nft_set, "_alike", lambda _: None)
        assert quick == dumped()
    assert {name: len(found) for name, found in quick.items()} == {one.name: len(elements) for one, elements in sets}
