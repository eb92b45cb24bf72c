"""What a pod may be told of itself: fields and resources, for environment variables and files. Pure.

Called by node/agent/environment.py and node/volumes. `facts` are what the object does not have yet:
its addresses (`addresses`), "cpu" and "memory" of the node.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import TYPE_CHECKING

from skerry.api import quantity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from skerry.api.types import core

_KEYED = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]")


class DownwardError(Exception):
    """There is no such field, or no such container."""


def addresses(pod: Sequence[str], host: Sequence[str]) -> dict[str, str]:
    """What is known of a pod's and its node's addresses, as facts."""
    primary = {"podIP": pod[0] if pod else "", "hostIP": host[0] if host else ""}
    return {**primary, "podIPs": ",".join(pod), "hostIPs": ",".join(host)}


def field_value(pod: core.Pod, path: str, facts: Mapping[str, str]) -> str:
    """A field by its path: `metadata.name`, `metadata.labels['app']`, `status.podIP`, ..."""
    keyed = _KEYED.fullmatch(path)
    if keyed:
        found = pod.metadata.labels if keyed[1] == "labels" else pod.metadata.annotations
        return found.get(keyed[2], "")
    simple = {
        "metadata.name": pod.metadata.name,
        "metadata.namespace": pod.metadata.namespace,
        "metadata.uid": pod.metadata.uid,
        "metadata.labels": _listed(pod.metadata.labels),
        "metadata.annotations": _listed(pod.metadata.annotations),
        "spec.nodeName": pod.spec.node_name,
        "spec.serviceAccountName": pod.spec.service_account_name,
        "status.podIP": facts.get("podIP", ""),
        "status.podIPs": facts.get("podIPs", ""),
        "status.hostIP": facts.get("hostIP", ""),
        "status.hostIPs": facts.get("hostIPs", ""),
    }
    if path not in simple:
        raise DownwardError(f"unsupported fieldPath: {path}")
    return simple[path]


def _listed(values: dict[str, str]) -> str:
    return "\n".join(f"{key}={_quoted(values[key])}" for key in sorted(values))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def resource_value(
    pod: core.Pod, container: core.Container, ref: core.ResourceFieldSelector, facts: Mapping[str, str]
) -> str:
    """A request or limit in units of the divisor, rounded up; a limit that is not set is what the node has."""
    if ref.container_name and ref.container_name != container.name:
        everyone = [*pod.spec.containers, *pod.spec.init_containers]
        named = next((one for one in everyone if one.name == ref.container_name), None)
        if named is None:
            raise DownwardError(f"container {ref.container_name} not found")
        container = named
    kind, _, name = ref.resource.partition(".")
    if kind not in ("limits", "requests"):
        raise DownwardError(f"unsupported container resource : {ref.resource}")
    found = container.resources.limits if kind == "limits" else container.resources.requests
    text = found.get(name) or (facts.get(name, "0") if kind == "limits" else "0")
    divisor = quantity.parse(ref.divisor) if ref.divisor not in ("", "0") else Fraction(1)
    return str(math.ceil(quantity.parse(text) / divisor))
