"""Plays every transcript beside it and compares. `pytest tests/scenarios --record` stores the answers instead."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.scenarios import transcript
from tests.scenarios.world import World

_FOLDER = Path(__file__).parent


@pytest.mark.parametrize("path", sorted(_FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_transcript(path: Path, request: pytest.FixtureRequest) -> None:
    before = path.read_text()
    after = transcript.run(before, World())
    if request.config.getoption("--record", default=False) or os.environ.get("SKERRY_RECORD"):
        path.write_text(after)
        return
    assert before.splitlines() == after.splitlines()


def test_the_course_has_every_transcript_in_its_order() -> None:
    named = re.findall(r"^\| \[[^]]*\]\(([^)]+)\) \| \S", (_FOLDER / "README.md").read_text(), re.MULTILINE)
    found = sorted(path.name for path in _FOLDER.glob("*.txt"))
    assert named == found and len(found) > 25
    assert [int(name[:2]) for name in found] == list(range(1, len(found) + 1))
    for name in found:
        first = (_FOLDER / name).read_text().splitlines()[0]
        assert first.startswith("# "), f"{name} says at its head what it teaches"


def test_the_form_of_a_transcript() -> None:
    given = "# why\n\n# more\nsay a b\nline\n\nline\n----\nold\nanswer\n\nsay\n----\n\n# the end\n"
    heard: list[tuple[list[str], str]] = []

    def interpreter(words: list[str], text: str) -> str:
        heard.append((words, text))
        return "new"

    after = transcript.run(given, interpreter)
    assert heard == [(["say", "a", "b"], "line\n\nline"), (["say"], "")]
    assert after == "# why\n\n# more\nsay a b\nline\n\nline\n----\nnew\n\nsay\n----\nnew\n\n# the end\n"
    assert transcript.run(after, interpreter) == after
