"""Every rule of the specification about the service proxy is cited by a test of it, or listed here with the reason."""

from __future__ import annotations

import re

from tests.unit.controllers.endpoints.test_rules import ROOT, SPEC

_RULE = re.compile(r"^- \*\*(P\d+)\*\*", re.MULTILINE)
_CITED = re.compile(r"(?<![a-z0-9])p(\d{1,2})(?![a-z0-9])", re.IGNORECASE)
_RANGE = re.compile(r"\bP\d+-P?\d+\b")
_WHERE = ("proxy", "nodeports", "test_connections", "test_dual_stack", "test_ipv6", "test_flood")

_TABLES = "how kube-proxy lays its tables out; ours has maps (docs/explanation/data-plane.md)"
WITHOUT_A_TEST = {
    "P24": "there is no firewall of ours that a health check would have to pass",
    "P26": "not done: as with upstream's nftables mode, nodes set nf_conntrack_tcp_be_liberal instead",
    "P27": _TABLES,
    "P28": _TABLES,
    "P29": _TABLES,
    "P30": _TABLES,
    "P31": _TABLES,
    "P32": "upstream's rounds and pauses: ours follows events; test_server.py has our own windows",
}


def cited() -> set[str]:
    """What tests of the proxy cite one by one; a range of numbers proves nothing."""
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("*.py"):
        if path.name != "test_rules.py" and any(one in str(path.relative_to(ROOT)) for one in _WHERE):
            text = _RANGE.sub("", path.read_text()).replace("_", " ")
            found |= {f"P{int(number)}" for number in _CITED.findall(text)}
    return found


def test_every_rule_is_proven_somewhere() -> None:
    wanted = _RULE.findall(SPEC.read_text())
    assert wanted == [f"P{number}" for number in range(1, 39)], "the specification is read as it is written"
    assert [one for one in wanted if one not in cited() and one not in WITHOUT_A_TEST] == []


def test_what_is_listed_is_a_rule_and_has_no_test() -> None:
    assert set(WITHOUT_A_TEST) <= set(_RULE.findall(SPEC.read_text()))
    assert set(WITHOUT_A_TEST).isdisjoint(cited())
