"""What upstream said, kept for as long as it holds."""

from __future__ import annotations

import dnslib
import pytest

from skerry.dns.cache import NEGATIVE_MOST, POSITIVE_MOST, UpstreamCache


def question(name="www.example.org", qtype="A", ident=1):
    return bytes(
        dnslib.DNSRecord(
            dnslib.DNSHeader(id=ident, rd=1), q=dnslib.DNSQuestion(name, dnslib.QTYPE.reverse[qtype])
        ).pack()
    )


def reply(asked, *ttls, rcode=0, soa=None, tc=0):
    made = dnslib.DNSRecord.parse(asked).reply(aa=0)
    made.header.rcode, made.header.tc = rcode, tc
    for ttl in ttls:
        made.add_answer(dnslib.RR(made.q.qname, rdata=dnslib.A("192.0.2.1"), ttl=ttl))
    if soa is not None:
        made.add_auth(
            dnslib.RR("example.org", dnslib.QTYPE.SOA, rdata=dnslib.SOA("a.b", "c.d", (1, 2, 3, 4, soa[1])), ttl=soa[0])
        )
    return bytes(made.pack())


def test_kept_for_the_shortest_time_to_live_and_it_runs_down():
    cache, asked = UpstreamCache(), question()
    cache.put(asked, reply(asked, 60, 30), 1000.0)
    again = question("WWW.example.ORG", ident=7)
    found = cache.get(again, 1012.5)
    parsed = dnslib.DNSRecord.parse(found)
    assert ([r.ttl for r in parsed.rr], parsed.header.id, str(parsed.q.qname)) == ([48, 18], 7, "WWW.example.ORG.")
    assert cache.get(asked, 1030.0) is None
    assert (cache.hits["success"], cache.misses) == (1, 1)


@pytest.mark.parametrize(
    ("rcode", "soa", "seconds"), [(3, (900, 20), 20), (0, (10, 900), 10), (3, (9000, 9000), NEGATIVE_MOST)]
)
def test_that_something_is_not_there_holds_as_long_as_its_soa_says(rcode, soa, seconds):
    cache, asked = UpstreamCache(), question()
    cache.put(asked, reply(asked, rcode=rcode, soa=soa), 0.0)
    assert cache.get(asked, seconds - 1) is not None
    assert cache.get(asked, seconds) is None
    assert cache.hits["denial"] == 1


@pytest.mark.parametrize(
    "made",
    [
        {"rcode": 3},  # no SOA
        {"rcode": 2},
        {"rcode": 5},
        {"tc": 1},
        {"soa": (0, 60)},
    ],
)
def test_what_is_not_kept(made):
    cache, asked = UpstreamCache(), question()
    cache.put(asked, reply(asked, *([60] if "tc" in made else []), **made), 0.0)
    assert cache.get(asked, 0.5) is None


def test_a_time_to_live_of_nought_is_not_kept_and_a_long_one_not_for_ever():
    cache, asked = UpstreamCache(), question()
    cache.put(asked, reply(asked, 60, 0), 0.0)
    assert cache.get(asked, 0.0) is None
    cache.put(asked, reply(asked, 1 << 30), 0.0)
    assert cache.get(asked, POSITIVE_MOST - 1) is not None and cache.get(asked, POSITIVE_MOST) is None


def test_another_type_or_other_edns_is_another_question():
    cache, asked = UpstreamCache(), question()
    cache.put(asked, reply(asked, 60), 0.0)
    assert cache.get(question(qtype="AAAA"), 1.0) is None
    edns = dnslib.DNSRecord.parse(asked)
    edns.add_ar(dnslib.EDNS0(udp_len=1232))
    assert cache.get(bytes(edns.pack()), 1.0) is None


def test_replies_to_other_questions_and_malformed_ones_are_not_kept():
    cache, asked = UpstreamCache(), question()
    cache.put(asked, reply(question("other.example.org"), 60), 0.0)
    whole = reply(asked, 60)
    for end in range(12, len(whole)):
        cache.put(asked, whole[:end], 0.0)
    assert cache.get(asked, 1.0) is None


def test_the_oldest_makes_room():
    cache = UpstreamCache(limit=2)
    for name in ("a.e", "b.e", "c.e"):
        cache.put(question(name), reply(question(name), 60), 0.0)
    assert [cache.get(question(name), 1.0) is not None for name in ("a.e", "b.e", "c.e")] == [False, True, True]
    assert cache.evictions == 1 and cache.sizes() == {"success": 2, "denial": 0}
