"""The ConfigMap kube-system/kube-dns: what it may ask for, and what bad content gets. Rules D8, D9, D16."""

from __future__ import annotations

import pytest

from skerry.dns.custom import Custom, CustomError, parse

ZONE = "cluster.local."


def test_nothing_asked_for_is_the_default():
    assert parse({}, ZONE) == Custom()
    assert Custom().ttl == 5  # D9: the plug-in's default


def test_everything_at_once():
    found = parse(
        {
            "stubDomains": '{"Corp.example": ["192.0.2.53", "[2001:db8::1]:5353"]}',
            "upstreamNameservers": '["192.0.2.54:5353"]',
            "hosts": "# ours\n192.0.2.7 db.corp.example DB2.corp.example # two\n2001:db8::7 db.corp.example\n",
            "records": 'm.corp.example. 60 IN MX 10 mail.corp.example.\n; a note\nt.corp.example 5 TXT "a b" c\n'
            "_h._tcp.corp.example. 5 SRV 0 5 80 db.corp.example.\nw.corp.example. 5 CNAME db.corp.example.\n",
            "ttl": "30",
            "pods": "verified",
            "ignoreEmptyServices": "true",
            "searchWalk": "false",
        },
        ZONE,
    )
    assert (found.ttl, found.pods, found.ignore_empty, found.walk) == (30, "verified", True, False)
    assert found.stubs == {"corp.example.": ("192.0.2.53", "[2001:db8::1]:5353")}
    assert found.servers == ("192.0.2.54:5353",)
    assert [(one.name, one.type, one.data) for one in found.records] == [
        ("db.corp.example.", "A", "192.0.2.7"),
        ("db2.corp.example.", "A", "192.0.2.7"),
        ("7.2.0.192.in-addr.arpa.", "PTR", "db.corp.example."),
        ("db.corp.example.", "AAAA", "2001:db8::7"),
        (f"7{'.0' * 23}.8.b.d.0.1.0.0.2.ip6.arpa.", "PTR", "db.corp.example."),
        ("m.corp.example.", "MX", (10, "mail.corp.example.")),
        ("t.corp.example.", "TXT", ("a b", "c")),
        ("_h._tcp.corp.example.", "SRV", (0, 5, 80, "db.corp.example.")),
        ("w.corp.example.", "CNAME", "db.corp.example."),
    ]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"stubdomains": "{}"}, '"stubdomains" is not known here; keys are hosts'),
        ({"stubDomains": "{"}, "stubDomains is not JSON"),
        ({"stubDomains": "[]"}, "stubDomains must be an object"),
        ({"stubDomains": '{"a.b": "1.2.3.4"}'}, "must be a list of addresses"),
        ({"stubDomains": '{"a.b": []}'}, "a.b has no server"),
        ({"stubDomains": '{"a.b": ["dns.example"]}'}, '"dns.example" is no address of a server'),
        ({"stubDomains": '{"a.b": ["1.2.3.4:99999"]}'}, "is no address of a server"),
        ({"stubDomains": '{"cluster.local": ["1.2.3.4"]}'}, "is in the cluster's own zone"),
        ({"upstreamNameservers": '{"a": 1}'}, "upstreamNameservers must be a list"),
        ({"hosts": "a.corp.example 192.0.2.7"}, 'hosts, line 1: "a.corp.example" is no address'),
        ({"hosts": "\n192.0.2.7"}, "hosts, line 2: 192.0.2.7 has no name"),
        ({"hosts": "192.0.2.7 web.default.svc.cluster.local"}, "which Services alone fill"),
        ({"records": "x.corp.example. 5 NAPTR foo"}, "records, line 1"),
        ({"records": "x.corp.example. 5 IN A 1.2.3.4.5"}, "is no record"),
        ({"records": "x.e. 5 A 192.0.2.1\nx.e. 5 CNAME y.e."}, "x.e. is an alias (CNAME) and can have no other"),
        ({"records": f"{'x' * 64}.e. 5 A 192.0.2.1"}, "is no"),
        ({"ttl": "3601"}, "from 0 to 3600"),
        ({"ttl": "-1"}, "from 0 to 3600"),
        ({"pods": "maybe"}, "must be one of insecure, verified, disabled"),
        ({"searchWalk": "no"}, "must be one of true, false"),
    ],
)
def test_bad_content_is_refused_in_a_sentence(data, says):
    with pytest.raises(CustomError) as error:
        parse(data, ZONE)
    assert says in str(error.value)
