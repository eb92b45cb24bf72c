"""The search path walked for a pod, names that never leave the machine, extra records; rules D15, D22."""

from __future__ import annotations

import pytest
from tests.unit.dns.test_records import service

from skerry.dns.answer import Record
from skerry.dns.extra import Extra
from skerry.dns.names import Names, walked
from skerry.dns.records import Records

PATH = ("default.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example")


@pytest.fixture
def names():
    records = Records()
    for name in ("default", "other"):
        records.apply_namespace(name, True)
    records.apply_service("other/web", service(namespace="other"))
    records.synced = True
    own = Extra([Record("host.skerry.internal.", "A", 5, "10.243.0.254")], closed=["skerry.internal"])
    return Names(records, own)


def test_d22_the_steps_are_those_of_a_resolver_with_this_path(names):
    found = names.steps("example.org.Default.svc.cluster.local.", "A", PATH)
    assert found[1:] == [
        *("example.org.svc.cluster.local.", "example.org.cluster.local.", "example.org.corp.example."),
        "example.org.",
    ]
    assert found[0] == "example.org.Default.svc.cluster.local."


@pytest.mark.parametrize(
    ("name", "qtype"),
    [
        ("example.org.other.svc.cluster.local.", "A"),  # not this pod's
        ("example.org.", "A"),
        ("x.default.svc.cluster.local.", "SRV"),
        ("default.svc.cluster.local.", "A"),
    ],
)
def test_what_is_no_beginning_of_a_walk_is_one_step(names, name, qtype):
    assert names.steps(name, qtype, PATH) == [name]


def test_d22_steps_too_long_for_a_name_are_left_out(names):
    base = ".".join(["a" * 60] * 3 + ["b" * 30])
    found = names.steps(f"{base}.default.svc.cluster.local.", "A", ("default.svc.cluster.local", "c" * 60))
    assert found == [f"{base}.default.svc.cluster.local.", base + "."]


def test_what_the_walk_found_is_an_alias(names):
    asked = "web.other.default.svc.cluster.local."
    found = walked(asked, names.answer("web.other.svc.cluster.local.", "A"), "web.other.svc.cluster.local.", 5)
    assert [(r.name, r.type, r.data) for r in found.answers] == [
        (asked, "CNAME", "web.other.svc.cluster.local."),
        ("web.other.svc.cluster.local.", "A", "10.96.1.1"),
    ]


def test_a_name_of_one_label_never_goes_upstream_for_an_address(names):
    assert names.answer("printer.", "A").rcode == "NXDOMAIN"
    assert names.answer("printer.", "AAAA").rcode == "NXDOMAIN"
    assert names.answer("org.", "NS") is None
    assert names.answer("example.org.", "A") is None
    names.routed = lambda name: name == "printer."
    assert names.answer("printer.", "A") is None


def test_localhost_is_this_machine(names):
    assert [r.data for r in names.answer("localhost.", "A").answers] == ["127.0.0.1"]
    assert [r.data for r in names.answer("x.localhost.", "AAAA").answers] == ["::1"]
    assert not names.answer("localhost.", "TXT").answers


def test_own_names_are_answered_and_their_domain_is_closed(names):
    assert [r.data for r in names.answer("HOST.skerry.internal.", "A").answers] == ["10.243.0.254"]
    assert (names.answer("host.skerry.internal.", "AAAA").rcode, names.answer("x.skerry.internal.", "A").rcode) == (
        "NOERROR",
        "NXDOMAIN",
    )


def test_d15_extra_aliases_are_followed_into_the_zone_and_out_of_it(names):
    names.custom = Extra(
        [
            Record("in.corp.example.", "CNAME", 5, "web.other.svc.cluster.local."),
            Record("out.corp.example.", "CNAME", 5, "example.org."),
            Record("loop.corp.example.", "CNAME", 5, "loop.corp.example."),
        ]
    )
    assert [r.data for r in names.answer("in.corp.example.", "A").answers] == [
        "web.other.svc.cluster.local.",
        "10.96.1.1",
    ]
    assert names.answer("out.corp.example.", "A").chase == "example.org."
    assert names.answer("loop.corp.example.", "A").rcode == "SERVFAIL"


def test_extra_ways_back_count_where_the_cluster_has_none(names):
    names.custom = Extra([Record("7.2.0.192.in-addr.arpa.", "PTR", 5, "db.corp.example.")])
    assert [r.data for r in names.answer("7.2.0.192.in-addr.arpa.", "PTR").answers] == ["db.corp.example."]
    assert [r.data for r in names.answer("1.1.96.10.in-addr.arpa.", "PTR").answers] == ["web.other.svc.cluster.local."]
