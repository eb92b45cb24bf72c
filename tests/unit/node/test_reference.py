"""docs/reference/pods.md has every field that a pod can have, and none besides."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from skerry.api.types._build import fields

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "pods.md"
KINDS = (
    "PodSpec",
    "Container",
    "EnvVarSource",
    "ContainerPort",
    "Probe",
    "Lifecycle",
    "LifecycleHandler",
    "Volume",
    "VolumeProjection",
    "VolumeMount",
    "PodSecurityContext",
    "SecurityContext",
)


def table(kind: str) -> dict[str, str]:
    """The fields of a kind's table, in their order, and what is said to become of each."""
    section = re.split(r"^## v1\.", PAGE.read_text(), flags=re.M)
    (text,) = [one for one in section if one.splitlines()[0] == kind]
    rows = re.findall(r"^\| `(\w+)` \| ([a-z ]+) \|", text, re.M)
    assert len(rows) == len(re.findall(r"^\| `", text, re.M))
    return dict(rows)


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_told_of(kind: str) -> None:
    found = table(kind)
    assert list(found) == sorted(found)
    assert set(found) == {row.json for row in fields("core", kind)}
    assert set(found.values()) <= {"served", "no effect", "refused"}


def test_every_table_is_looked_at() -> None:
    assert re.findall(r"^## v1\.(\w+)$", PAGE.read_text(), re.M) == list(KINDS)
