"""Packets in and out: EDNS, truncation, and what hostile packets get."""

from __future__ import annotations

import random
import struct

import dnslib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.dns import wire
from skerry.dns.answer import Answer, Record
from skerry.dns.forward import upstreams
from skerry.dns.records import Records


def packet(name="web.default.svc.cluster.local", qtype="A", edns=None, **header):
    record = dnslib.DNSRecord(
        dnslib.DNSHeader(id=77, rd=1, **header), q=dnslib.DNSQuestion(name, getattr(dnslib.QTYPE, qtype))
    )
    if edns is not None:
        record.add_ar(dnslib.EDNS0(udp_len=edns))
    return bytes(record.pack())


def many(count):
    return Answer(
        answers=[Record("web.default.svc.cluster.local.", "A", 5, f"10.0.{i >> 8}.{i & 255}") for i in range(count)]
    )


def test_reply_repeats_the_question_as_it_was_written():
    query = wire.read(packet("WeB.default.svc.cluster.local"))
    reply = dnslib.DNSRecord.parse(wire.write(query, Answer(answers=[Record(query.name, "A", 5, "10.1.1.1")])))
    assert (reply.header.id, reply.header.qr, reply.header.aa, reply.header.rd) == (77, 1, 1, 1)
    assert str(reply.q.qname) == "WeB.default.svc.cluster.local." and str(reply.rr[0].rname) == str(reply.q.qname)
    assert str(reply.rr[0].rdata) == "10.1.1.1" and not reply.ar


@pytest.mark.parametrize(("edns", "limit"), [(None, 512), (100, 512), (1232, 1232), (60000, 4096)])
def test_truncation_keeps_to_what_the_client_takes(edns, limit):
    query = wire.read(packet(edns=edns))
    reply = wire.write(query, many(1000), limit=query.limit)
    parsed = dnslib.DNSRecord.parse(reply)
    assert len(reply) <= limit and parsed.header.tc == 1
    assert limit - len(reply) < 16  # as many as fit: one more would take 16 bytes
    assert len(parsed.ar) == (edns is not None)
    whole = dnslib.DNSRecord.parse(wire.write(query, many(1000), limit=None))
    assert len(whole.rr) == 1000 and whole.header.tc == 0


def test_additional_goes_before_anything_is_truncated():
    query = wire.read(packet(qtype="SRV"))
    answer = Answer(
        answers=[Record(query.name, "SRV", 5, (0, 100, 80, "a.b.")), *many(5).answers], additional=many(60).answers
    )
    reply = dnslib.DNSRecord.parse(wire.write(query, answer, limit=512))
    assert (len(reply.rr), len(reply.ar), reply.header.tc) == (6, 0, 0)


def test_addresses_come_in_random_order_and_cnames_first():
    query = wire.read(packet())
    firsts = set()
    for seed in range(30):
        answer = Answer(answers=[Record(query.name, "CNAME", 5, "x.y."), *many(3).answers])
        reply = dnslib.DNSRecord.parse(wire.write(query, answer, shuffle=random.Random(seed)))
        assert reply.rr[0].rtype == dnslib.QTYPE.CNAME
        firsts.add(str(reply.rr[1].rdata))
    assert firsts == {"10.0.0.0", "10.0.0.1", "10.0.0.2"}


def test_every_type_survives_the_wire():
    records = Records()
    records.synced = True
    for name, qtype in [("cluster.local", "SOA"), ("cluster.local", "NS"), ("dns-version.cluster.local", "TXT")]:
        query = wire.read(packet(name, qtype))
        reply = dnslib.DNSRecord.parse(wire.write(query, records.answer(name, qtype)))
        assert dnslib.QTYPE.forward[reply.rr[0].rtype] == qtype


def rcode(reply):
    return reply[3] & 15


def test_what_bad_packets_get():
    good = packet()
    assert wire.read(b"") is None and wire.read(good[:11]) is None
    assert wire.read(packet(qr=1)) is None  # a reply
    assert rcode(wire.read(packet(opcode=5))) == wire.NOTIMP
    assert rcode(wire.read(good[:12])) == wire.FORMERR  # counts say one question
    assert rcode(wire.read(good[:4] + struct.pack("!H", 2) + good[6:])) == wire.FORMERR
    assert rcode(wire.read(good[:6] + struct.pack("!H", 60000) + good[8:])) == wire.FORMERR
    loop = good[:12] + b"\xc0\x0c" + b"\0\1\0\1"
    assert rcode(wire.read(loop)) == wire.FORMERR
    chaos = good[:-1] + b"\3"
    assert rcode(wire.read(chaos)) == wire.REFUSED
    version = dnslib.DNSRecord.parse(packet(edns=1232))
    version.ar[0].ttl = 1 << 16
    bad = dnslib.DNSRecord.parse(wire.read(bytes(version.pack())))
    assert (bad.ar[0].ttl >> 24, bad.header.rcode) == (1, 0)  # BADVERS is 16: one above, nought below


@given(st.binary(max_size=600))
@settings(max_examples=300, deadline=None)
def test_no_packet_crashes_the_reader(data):
    found = wire.read(data)
    if isinstance(found, wire.Query):
        assert wire.write(found, Answer("NXDOMAIN"), limit=512)
    elif found is not None:
        assert len(found) <= max(len(data), 12)  # no amplification


@given(st.integers(0, 60), st.binary(min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_no_mutation_of_a_good_packet_crashes_the_reader(at, piece):
    data = packet(edns=1232)
    found = wire.read(data[:at] + piece + data[at + len(piece) :])
    if isinstance(found, wire.Query):
        Records().answer(found.name, found.type)
        assert wire.write(found, Answer("NXDOMAIN"), limit=512)


def test_forwarded_replies_are_checked_and_cut():
    asked = packet("example.org")
    reply = dnslib.DNSRecord.parse(asked).reply()
    for i in range(60):
        reply.add_answer(dnslib.RR("example.org", rdata=dnslib.A(f"10.0.0.{i}")))
    data = bytes(reply.pack())
    section = wire.question_section(asked)
    assert wire.is_reply_to(data, 77, section)
    assert not wire.is_reply_to(data, 78, section) and not wire.is_reply_to(asked, 77, section)
    assert not wire.is_reply_to(data, 77, wire.question_section(packet("example.net")))
    short = dnslib.DNSRecord.parse(wire.cut(data, 512))
    assert short.header.tc == 1 and not short.rr and str(short.q.qname) == "example.org."


def test_upstreams_of_the_host():
    text = "nameserver 127.0.0.53\n# nameserver 1.1.1.1\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\nnameserver x\n"
    assert upstreams(text) == ["127.0.0.53", "fe80::1%eth0"]
