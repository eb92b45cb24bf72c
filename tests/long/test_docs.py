"""The commands of docs/how-to/machines.md: clusters of other kinds, one after the other, each started and deleted."""

from __future__ import annotations

import pytest
from tests.e2e.test_docs import ROOT, Person, blocks, person

__all__ = ["person"]

pytestmark = [pytest.mark.long, pytest.mark.rootless]


def test_machines(person: Person) -> None:
    page = ROOT / "docs" / "how-to" / "machines.md"
    said = {command: person.type(command) for block in blocks(page, "sh") for command in block.splitlines()}
    assert len(said) == 10
    carried = "Proxy     userspace: Services are carried in user space (--proxy-mode userspace asks for it)"
    assert carried in said["skerry status --name plain"]
    assert "ExecStart=" in said["skerry systemd --nodes 2"]
