"""Answers kept as packets: the same as made anew, in changing order, and never older than the records."""

from __future__ import annotations

import random

import dnslib
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.dns.test_records import endpoint, service, slice_of
from tests.unit.dns.test_wire import packet

from skerry.dns import wire
from skerry.dns.answer import Answer, Record
from skerry.dns.names import Names
from skerry.dns.packed import Answers, Packed
from skerry.dns.records import EVERYTHING, Records
from skerry.dns.server import DnsServer

WEB, DB = "web.default.svc.cluster.local", "db.default.svc.cluster.local"


def filled():
    records = Records()
    records.apply_namespace("default", True)
    records.apply_service("default/web", service())
    records.apply_service("default/db", service("db", "None"))
    records.apply_slice("default/db-1", slice_of("db", *(endpoint(f"10.244.1.{n}") for n in range(1, 6))))
    records.synced = True
    return records


def ask(server, name, qtype="A", ident=77, number=0, **options):
    """What a client gets, from a kept packet where there is one."""
    data = packet(name, qtype, **options)
    data = ident.to_bytes(2, "big") + data[2:]
    kept = server.answers.kept.get((number, data[2:]))
    reply = kept.reply(data[:2]) if kept is not None else server._fresh(None, data, ("127.0.0.1", 1), number)[0]
    return kept is not None, dnslib.DNSRecord.parse(reply)


def addresses(reply):
    return [str(one.rdata) for one in reply.rr]


def test_a_kept_answer_is_the_answer_with_the_askers_id():
    server = DnsServer(Names(filled()))
    for edns in (None, 1232):
        first = ask(server, WEB, edns=edns)
        second = ask(server, WEB, ident=4711, edns=edns)
        assert (first[0], second[0], second[1].header.id) == (False, True, 4711)
        second[1].header.id = first[1].header.id
        assert bytes(first[1].pack()) == bytes(second[1].pack())


def test_d13_addresses_of_a_kept_answer_turn_round():
    server = DnsServer(Names(filled()), rng=random.Random(1))
    seen = [addresses(ask(server, DB)[1]) for _ in range(11)]
    assert {one[0] for one in seen[1:]} == {f"10.244.1.{n}" for n in range(1, 6)}
    assert all(sorted(one) == sorted(seen[0]) for one in seen)


def test_every_change_of_what_an_answer_was_made_of_is_seen_at_once():
    records = filled()
    server = DnsServer(Names(records))
    assert ask(server, WEB)[1].header.rcode == 0
    assert ask(server, "x." + WEB)[1].header.rcode == 3
    ask(server, DB)
    records.apply_slice("default/web-1", slice_of("web", endpoint("10.244.1.9", hostname="x")))
    assert ask(server, DB)[0], "what was not touched stays"
    assert addresses(ask(server, "x." + WEB)[1]) == ["10.244.1.9"]
    records.apply_slice("default/db-1", None)
    assert ask(server, DB)[1].header.rcode == 3
    records.apply_namespace("default", False)
    assert ask(server, WEB)[1].header.rcode == 3
    records.apply_namespace("default", True)
    assert addresses(ask(server, WEB)[1]) == ["10.96.1.1"]
    assert ask(server, "1.1.96.10.in-addr.arpa", "PTR")[1].header.rcode == 0
    records.apply_service("default/web", None)
    assert ask(server, WEB)[1].header.rcode == 3
    assert not ask(server, "1.1.96.10.in-addr.arpa", "PTR")[0]


def test_d9_d16_another_configuration_is_seen_at_once():
    records = filled()
    server = DnsServer(Names(records))
    assert ask(server, WEB)[1].rr[0].ttl == 5
    records.configure(ttl=60, pods="insecure", ignore_empty=False)
    assert ask(server, WEB)[1].rr[0].ttl == 60
    records.configure(ttl=60, pods="insecure", ignore_empty=True)
    assert ask(server, WEB)[1].header.rcode == 3


def test_truncated_answers_and_those_of_tcp_are_not_kept():
    records = filled()
    server = DnsServer(Names(records))
    records.apply_slice("default/db-1", slice_of("db", *(endpoint(f"10.244.1.{n}") for n in range(1, 100))))
    assert ask(server, DB)[1].header.tc == 1
    assert not ask(server, DB)[0]


def test_the_oldest_makes_room_and_hits_are_counted():
    left = []
    answers = Answers(lambda one: left.append((one.about, one.hits)), limit=2)
    query = wire.read(packet())
    data = wire.write(query, Answer(answers=[Record(query.name, "A", 5, "10.1.1.1")]))
    for name in ("a", "b"):
        answers.put((0, name.encode()), Packed(data, frozenset([name]), name))
    answers.kept[0, b"a"].reply(b"\0\1")
    answers.put((0, b"c"), Packed(data, frozenset(["b"]), "c"))
    assert left == [("a", 1)] and answers.evictions == 1
    answers.changed("b")
    assert not answers.kept and answers._by == {}
    answers.changed(EVERYTHING)


changes = st.lists(
    st.one_of(
        st.tuples(st.just("slice"), st.integers(0, 2), st.sets(st.integers(1, 4)), st.booleans()),
        st.tuples(st.just("service"), st.integers(0, 2), st.sampled_from(["10.96.1.1", "None", ""]), st.booleans()),
        st.tuples(st.just("namespace"), st.just(0), st.just(0), st.booleans()),
    ),
    max_size=25,
)


@given(changes)
@settings(max_examples=60, deadline=None)
def test_a_server_that_keeps_answers_says_what_one_that_does_not_says(steps):
    records = filled()
    keeping = DnsServer(Names(records))
    asked = [WEB, DB, "10-244-1-2." + DB, "s0.default.svc.cluster.local", "s1.default.svc.cluster.local"]
    for step in steps:
        match step:
            case "slice", which, ends, gone:
                made = slice_of(f"s{which}", *(endpoint(f"10.244.1.{n}") for n in sorted(ends)))
                records.apply_slice(f"default/s{which}-1", None if gone else made)
            case "service", which, ip, gone:
                records.apply_service(f"default/s{which}", None if gone else service(f"s{which}", ip))
            case "namespace", _, _, gone:
                records.apply_namespace("default", not gone)
        for name in asked:
            got = ask(keeping, name)[1]
            fresh = records.answer(name + ".", "A")
            assert (got.header.rcode == 3) == (fresh.rcode == "NXDOMAIN")
            assert sorted(addresses(got)) == sorted(str(one.data) for one in fresh.answers)
