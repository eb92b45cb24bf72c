"""Who may speak to the API server: bearer tokens, made once a cluster and kept in `tokens.json` (mode 0600).

The file is {token: {"user": name, "groups": [names]}}. `skerry up` writes it; the API server reads it to authenticate;
the command line takes the administrator's token out of it for the kubeconfig.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

from skerry.cluster.errors import ClusterError
from skerry.cluster.files import write_private

ADMIN = "kubernetes-admin"
"""The user of the kubeconfig; the group system:masters may do everything."""


INGRESS = "system:skerry-ingress"
"""The user of the gateway, which is no node's: it reads Secrets."""


class User(NamedTuple):
    """Whom a token stands for."""

    name: str
    groups: tuple[str, ...]


def node_user(node: str) -> User:
    """The user that a node's agent is, named as Kubernetes names them."""
    return User(f"system:node:{node}", ("system:nodes",))


def ensure(path: Path, nodes: list[str]) -> dict[str, User]:
    """The tokens of the cluster, with new ones for whoever has none yet. Written only when something was added."""
    users = read(path) if path.exists() else {}
    have = {user.name for user in users.values()}
    wanted = [User(ADMIN, ("system:masters",)), User(INGRESS, ()), *(node_user(node) for node in nodes)]
    missing = [user for user in wanted if user.name not in have]
    if missing:
        users |= {os.urandom(32).hex(): user for user in missing}
        table = {token: {"user": user.name, "groups": list(user.groups)} for token, user in users.items()}
        write_private(path, json.dumps(table, indent=1).encode())
    return users


def read(path: Path) -> dict[str, User]:
    """Every token and whom it stands for. ClusterError if the file is not what we wrote."""
    try:
        table = json.loads(path.read_bytes())
        return {str(token): User(str(row["user"]), tuple(row["groups"])) for token, row in table.items()}
    except FileNotFoundError:
        raise ClusterError(f"{path} is missing: the cluster's data is damaged; `skerry delete` removes it.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ClusterError(f"{path} is damaged ({error}); `skerry delete` removes the cluster.") from None


def account_key(path: Path) -> bytes:
    """The key that service accounts' tokens are signed with, made when first asked for."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        key = os.urandom(32)
        write_private(path, key)
        return key


def token_of(users: dict[str, User], name: str) -> str:
    """The token of user `name`. ClusterError if there is none."""
    for token, user in users.items():
        if user.name == name:
            return token
    raise ClusterError(f"tokens.json has no token for {name}: the cluster's data is damaged.")
