"""Every rule about DNS, LoadBalancers and Ingress is cited by a test, or listed here with a reason."""

from __future__ import annotations

import re

from tests.unit.controllers.endpoints.test_rules import ROOT, SPEC

_RULE = re.compile(r"^- \*\*([DBI]\d+)\*\*", re.MULTILINE)
_CITED = re.compile(r"(?<![a-z0-9])([dbi])(\d{1,2})(?![a-z0-9])", re.IGNORECASE)
_RANGE = re.compile(r"\b[DBI]\d+-[DBI]?\d+\b")
_WHERE = (
    "dns",
    "loadbalancer",
    "balancer",
    "test_pods.py",
    "test_bootstrap",
    "test_names_and_ways",
    "gateway",
    "ingress",
)

WITHOUT_A_TEST = {
    "B2": "upstream's rounds and pauses: ours waits for events, so there are none",
}


def cited() -> set[str]:
    """What tests of DNS and balancers cite one by one; a range of numbers proves nothing."""
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("*.py"):
        if path.name != "test_rules.py" and any(one in str(path.relative_to(ROOT)) for one in _WHERE):
            text = _RANGE.sub("", path.read_text()).replace("_", " ")
            found |= {f"{letter.upper()}{int(number)}" for letter, number in _CITED.findall(text)}
    return found


def test_every_rule_is_proven_somewhere() -> None:
    wanted = _RULE.findall(SPEC.read_text())
    assert len(wanted) == 39, "the specification is read as it is written"
    assert [one for one in wanted if one not in cited() and one not in WITHOUT_A_TEST] == []


def test_what_is_listed_is_a_rule_and_has_no_test() -> None:
    assert set(WITHOUT_A_TEST) <= set(_RULE.findall(SPEC.read_text()))
    assert set(WITHOUT_A_TEST).isdisjoint(cited())
