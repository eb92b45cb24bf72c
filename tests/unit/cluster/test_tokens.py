"""tokens.json: who may speak to the API server."""

from __future__ import annotations

from pathlib import Path

import pytest

from skerry.cluster import tokens
from skerry.cluster.errors import ClusterError


def test_one_administrator_and_one_user_a_node(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    users = tokens.ensure(path, ["node-1", "node-2"])
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(user.name for user in users.values()) == [
        "kubernetes-admin",
        "system:node:node-1",
        "system:node:node-2",
        "system:skerry-ingress",
    ]
    assert users[tokens.token_of(users, tokens.ADMIN)].groups == ("system:masters",)
    assert all(len(token) == 64 for token in users)
    assert tokens.read(path) == users


def test_tokens_stay_and_new_nodes_get_theirs(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    before = tokens.ensure(path, ["node-1"])
    after = tokens.ensure(path, ["node-1", "node-2"])
    assert before.items() <= after.items() and len(after) == len(before) + 1


@pytest.mark.parametrize("text", ["", "[]", '{"t": {}}', '{"t": 1}'])
def test_damaged(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(text)
    with pytest.raises(ClusterError, match="damaged"):
        tokens.read(path)
    with pytest.raises(ClusterError, match="missing"):
        tokens.read(tmp_path / "none")
