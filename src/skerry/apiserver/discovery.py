"""What is served: /api, /apis (plain and aggregated), resource lists, /version. Called by app.py.

Made from the rows of api.resources, so that a new kind appears by itself, and of those that kubectl cannot do without.
"""

from __future__ import annotations

import functools
import platform
from typing import Any

from skerry import KUBERNETES, REPORTED
from skerry.api import codec, custom, resources
from skerry.apiserver import unserved

_ROWS = (*resources.RESOURCES, *resources.QUESTIONS, *unserved.ROWS)
Rows = tuple[resources.Resource, ...]
_SCALE = ("autoscaling", "v1", "Scale")
_SUBKINDS: dict[str, tuple[str, str, str]] = {
    "scale": _SCALE,
    "binding": ("", "v1", "Binding"),
    "eviction": ("policy", "v1", "Eviction"),
    "exec": ("", "v1", "PodExecOptions"),
    "attach": ("", "v1", "PodAttachOptions"),
    "portforward": ("", "v1", "PodPortForwardOptions"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
}
_SUBVERBS = {
    "binding": ["create"],
    "eviction": ["create"],
    "exec": ["create", "get"],
    "attach": ["create", "get"],
    "portforward": ["create", "get"],
    "log": ["get"],
    "token": ["create"],
    "finalize": ["update"],
    "proxy": ["create", "delete", "get", "patch", "update"],
}


@functools.cache
def version() -> bytes:
    """The body of /version."""
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return codec.encode(
        {
            "major": major,
            "minor": minor,
            "gitVersion": REPORTED,
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "none",
            "compiler": "python",
            "platform": f"linux/{machine}",
        }
    )


def groups(served: Rows = ()) -> dict[str, list[str]]:
    """The named API groups and their versions, in the order of the rows; `served` are the custom ones."""
    out: dict[str, list[str]] = {}
    for row in (*_ROWS, *served):
        if row.group and row.version not in out.setdefault(row.group, []):
            out[row.group].append(row.version)
    for row in served:
        out[row.group].sort(key=custom.priority)
    return out


@custom.kept
def paths(served: Rows = ()) -> bytes:
    """The body of /: where to go on."""
    found = ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]
    for name, versions in groups(served).items():
        found += [f"/apis/{name}", *(f"/apis/{name}/{one}" for one in versions)]
    return codec.encode({"paths": sorted(found)})


@functools.cache
def core_versions() -> bytes:
    return codec.encode({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})


def _group(name: str, versions: list[str]) -> dict[str, Any]:
    found = [{"groupVersion": f"{name}/{one}", "version": one} for one in versions]
    return {"name": name, "versions": found, "preferredVersion": found[0]}


@custom.kept
def group_list(served: Rows = ()) -> bytes:
    found = [_group(name, versions) for name, versions in groups(served).items()]
    return codec.encode({"kind": "APIGroupList", "apiVersion": "v1", "groups": found})


@custom.kept
def group(name: str, served: Rows = ()) -> bytes | None:
    versions = groups(served).get(name)
    if versions is None:
        return None
    return codec.encode({"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)})


@custom.kept
def resource_list(group: str, version: str, served: Rows = ()) -> bytes | None:
    """The APIResourceList of one group and version; None if it is not served."""
    found: list[dict[str, Any]] = []
    for row in (*_ROWS, *served):
        if (row.group, row.version) != (group, version):
            continue
        one: dict[str, Any] = {
            "name": row.plural,
            "singularName": row.singular,
            "namespaced": row.namespaced,
            "kind": row.kind,
            "verbs": list(row.verbs),
        }
        if row.short_names:
            one["shortNames"] = list(row.short_names)
        if row.categories:
            one["categories"] = list(row.categories)
        found.append(one)
        for part in row.subresources:
            of_group, of_version, kind = _SUBKINDS.get(part, ("", "", row.kind))
            one = {
                "name": f"{row.plural}/{part}",
                "singularName": "",
                "namespaced": row.namespaced,
                "kind": kind,
                "verbs": _SUBVERBS.get(part, ["get", "patch", "update"]),
            }
            if of_version and (of_group, of_version) != (row.group, row.version):
                one |= {"group": of_group, "version": of_version}
            found.append(one)
    if not found:
        return None
    name = f"{group}/{version}" if group else version
    return codec.encode({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": found})


@custom.kept
def aggregated(core: bool, served: Rows = ()) -> bytes:
    """APIGroupDiscoveryList v2 of /api (core) or /apis."""
    names = {"": ["v1"]} if core else groups(served)
    items: list[dict[str, Any]] = []
    for name, versions in names.items():
        parts = [
            {"version": one, "resources": _discovered(name, one, served), "freshness": "Current"} for one in versions
        ]
        items.append({"metadata": {"name": name} if name else {}, "versions": parts})
    return codec.encode(
        {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}
    )


def _discovered(group: str, version: str, served: Rows) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for row in (*_ROWS, *served):
        if (row.group, row.version) != (group, version):
            continue
        subresources = []
        for part in row.subresources:
            of_group, of_version, kind = _SUBKINDS.get(part, (row.group, row.version, row.kind))
            subresources.append(
                {
                    "subresource": part,
                    "responseKind": {"group": of_group, "version": of_version, "kind": kind},
                    "verbs": _SUBVERBS.get(part, ["get", "patch", "update"]),
                }
            )
        one: dict[str, Any] = {
            "resource": row.plural,
            "responseKind": {"group": row.group, "version": row.version, "kind": row.kind},
            "scope": "Namespaced" if row.namespaced else "Cluster",
            "singularResource": row.singular,
            "verbs": list(row.verbs),
        }
        if row.short_names:
            one["shortNames"] = list(row.short_names)
        if row.categories:
            one["categories"] = list(row.categories)
        if subresources:
            one["subresources"] = subresources
        found.append(one)
    return found
