"""Roles, which upstream prints with the time of their creation, and their bindings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skerry.api.tables.column import AGE, NAME, column
from skerry.api.tables.duration import since

if TYPE_CHECKING:
    from skerry.api.types import rbac

ROLE_COLUMNS = CLUSTERROLE_COLUMNS = (NAME, column("Created At", "When it was created.", type="date"))
ROLEBINDING_COLUMNS = CLUSTERROLEBINDING_COLUMNS = (
    NAME,
    column("Role", "The role that it gives."),
    AGE,
    column("Users", "The users that it is for.", wide=True),
    column("Groups", "The groups that it is for.", wide=True),
    column("ServiceAccounts", "The service accounts that it is for.", wide=True),
)


def role_cells(obj: rbac.Role | rbac.ClusterRole, now: float) -> list[Any]:  # noqa: ARG001
    return [obj.metadata.name, obj.metadata.creation_timestamp]


def rolebinding_cells(obj: rbac.RoleBinding | rbac.ClusterRoleBinding, now: float) -> list[Any]:
    def named(kind: str) -> str:
        return ", ".join(one.name for one in obj.subjects if one.kind == kind)

    accounts = ", ".join(f"{one.namespace}/{one.name}" for one in obj.subjects if one.kind == "ServiceAccount")
    role = f"{obj.role_ref.kind}/{obj.role_ref.name}"
    age = since(obj.metadata.creation_timestamp, now)
    return [obj.metadata.name, role, age, named("User"), named("Group"), accounts]


clusterrole_cells, clusterrolebinding_cells = role_cells, rolebinding_cells
