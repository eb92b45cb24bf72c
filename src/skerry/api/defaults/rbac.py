"""Defaults of role bindings."""

from __future__ import annotations

from skerry.api.rbac import GROUP
from skerry.api.types import rbac


def rolebinding(obj: rbac.RoleBinding | rbac.ClusterRoleBinding) -> None:
    obj.role_ref.api_group = obj.role_ref.api_group or GROUP
    for one in obj.subjects:
        if one.kind in ("User", "Group"):
            one.api_group = one.api_group or GROUP


clusterrolebinding = rolebinding
