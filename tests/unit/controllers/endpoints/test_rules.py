"""Every rule of the specification about endpoints is cited by a test, or listed here with the reason why not."""

from __future__ import annotations

import functools
import re
from pathlib import Path

ROOT = Path(__file__).parents[4]
SPEC = ROOT / "docs" / "spec" / "services.md"
_SECTIONS = ("1.", "2.", "3.8 ", "8.2 ", "8.3 ", "9. ")
_RULE = re.compile(r"^(?:- \*\*|\| )([ELXVUG]\d+)\b", re.MULTILINE)
_CITED = re.compile(r"(?<![a-z0-9])([elxvug])(\d{1,2})(?![a-z0-9])", re.IGNORECASE)
_RANGE = re.compile(r"\b[ELXVUG]\d+-[ELXVUG]\d+\b")
_CONFORMANCE = ("test_endpoints_conformance.py", "test_hand_written_endpoints.py")

WITHOUT_A_TEST = {
    "E7": "how upstream arranges its queues; nothing of it can be seen from outside",
    "L5": "a rule for those who read slices: the proxy's tests and DNS's prove it",
    "L7": "upstream's pauses between attempts; ours are shorter, and it never gives up (see Where Skerry differs)",
    "L8": "upstream waits a second for its own writes to come back; ours need no wait (see Where Skerry differs)",
    "L30": "an order of work inside one decision",
    "U9": "an empty selector selects nothing here, as over upstream's own API (E11)",
    "G7": "about the proxy's health server",
}


def rules() -> list[str]:
    """The numbers of the rules in those sections, in order."""
    found: list[str] = []
    for heading, text in re.findall(r"^#+ (.*)\n((?:(?!#+ ).*\n)*)", SPEC.read_text(), re.MULTILINE):
        if heading.startswith(_SECTIONS):
            found += _RULE.findall(text)
    return found


@functools.cache
def cited() -> set[str]:
    """What tests and scenarios cite one by one; a range of numbers proves nothing."""
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("*"):
        if path.suffix in (".py", ".txt") and path != Path(__file__):
            text = _RANGE.sub("", path.read_text()).replace("_", " ")
            found |= {f"{letter.upper()}{int(number)}" for letter, number in _CITED.findall(text)}
    return found


def test_every_conformance_test_of_endpoints_is_one_of_ours() -> None:
    rows = re.findall(r"^\| (C\d+) \| ([^|]*) \|", SPEC.read_text(), re.MULTILINE)
    wanted = {number for number, name in rows if "endpoint" in name.lower()}
    assert len(wanted) > 12, "the specification is read as it is written"
    ours = " ".join((ROOT / "tests" / "e2e" / name).read_text().replace("_", " ") for name in _CONFORMANCE)
    assert wanted <= {one.upper() for one in re.findall(r"\bc\d+\b", ours, re.IGNORECASE)}


def test_every_rule_is_proven_somewhere() -> None:
    wanted = rules()
    assert len(wanted) > 150, "the specification is read as it is written"
    missing = [one for one in wanted if one not in cited() and one not in WITHOUT_A_TEST]
    assert missing == []


def test_what_is_listed_is_a_rule_and_has_no_test() -> None:
    listed = set(WITHOUT_A_TEST)
    assert listed <= set(rules())
    assert listed.isdisjoint(cited())
