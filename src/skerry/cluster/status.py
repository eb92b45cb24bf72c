"""What `skerry status` and `skerry list` say, as plain values and as lines for people.

The JSON is a contract: docs/reference/cli.md has its schema, and a test holds it to that.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

from skerry.cluster import lifecycle, state
from skerry.cluster.errors import ClusterError
from skerry.cluster.kubeconfig import context_name
from skerry.cluster.paths import ClusterPaths, cluster_paths

API_SECONDS, NODE_SECONDS = 5.0, 2.0


def summaries() -> list[dict[str, Any]]:
    """One object a cluster, sorted by name: name, state, nodes, api, context, dataDir."""
    rows = []
    for name in state.names():
        paths = cluster_paths(name)
        try:
            found = state.load(paths)
        except ClusterError:
            rows.append(_summary(name, paths, None) | {"state": "damaged"})
            continue
        if found is not None:
            rows.append(_summary(name, paths, found))
    return rows


def describe(name: str) -> dict[str, Any]:
    """All about one cluster. ClusterError if there is none."""
    paths, found = lifecycle.existing(name)
    held = state.holder(paths)
    from skerry.cluster import probes  # what tries the kernel and speaks HTTP is not for `skerry list`

    ranges = None if found.networks.machine else found.networks  # its own routes are the machine's
    limits = [finding._asdict() for finding in probes.findings(str(paths.root), ranges)] if found.nodes else []
    nodes = _nodes(name, paths, held.pid, found.nodes) if held and held.phase == state.READY else []
    balancers = _balancers(name, paths, held.pid) if nodes and held else []
    unserved = _unserved_ingresses(name, paths, held.pid) if nodes and held else ""
    if unserved:
        limits.append({"name": "ingress", "fatal": False, "sentence": unserved})
    lacking = sorted({node.pop("limits") for node in nodes} - {""})
    limits += [{"name": "cgroups", "fatal": False, "sentence": text} for text in lacking]
    proxies = [node.pop("proxy") for node in nodes]
    proxy = next((one for one in proxies if one["mode"]), {"mode": "", "message": ""})
    return _summary(name, paths, found) | {
        "pid": held.pid if held else None,
        "kubeconfigs": list(found.kubeconfigs),
        "ephemeral": found.ephemeral,
        "network": found.network,
        "registryMirrors": dict(found.registry_mirrors),
        "version": found.version,
        "nodeStatus": nodes,
        "loadBalancers": balancers,
        "proxy": {"asked": found.proxy_mode, **proxy},
        "internet": "none" if found.network == "contained" else "host",
        "limits": [{"name": one["name"], "fatal": one["fatal"], "message": one["sentence"]} for one in limits],
    }


def _summary(name: str, paths: ClusterPaths, found: state.State | None) -> dict[str, Any]:
    held = state.holder(paths)
    phase = "stopped" if held is None else "running" if held.phase == state.READY else "starting"
    return {
        "name": name,
        "state": phase,
        "nodes": found.nodes if found else 0,
        "api": f"https://127.0.0.1:{found.api_port}" if found else "",
        "context": context_name(name),
        "dataDir": str(paths.root),
    }


def lines(found: dict[str, Any]) -> list[str]:
    """`describe`'s answer for people."""
    pid = f" (process {found['pid']})" if found["pid"] else ""
    text = [
        f"Cluster   {found['name']}: {found['state']}{pid}",
        f"API       {found['api']}, kubectl context {found['context']}",
        f"Data      {found['dataDir']}" + (" (objects in memory only)" if found["ephemeral"] else ""),
    ]
    if found["state"] == "running":
        text += [f"Node      {node['name']}: {_readiness(node)}" for node in found["nodeStatus"]]
        text += [
            f"Balancer  {one['namespace']}/{one['name']}: {one['message'] or one['address']}"
            for one in found["loadBalancers"]
        ]
        if found["nodes"] == 0:
            text.append("Nodes     none: the API and the controllers run alone")
    elif found["nodes"]:
        text.append(f"Nodes     {found['nodes']}")
    if found["proxy"]["mode"]:
        text.append(f"Proxy     {found['proxy']['mode']}: {found['proxy']['message']}")
    if found["nodes"] and found["internet"] == "none":
        text.append("Internet  pods cannot reach it; images and DNS go through the control plane")
    if found["network"] == "host":
        text.append("Network   this machine's own: it is the node")
    for host, url in found["registryMirrors"].items():
        text.append(f"Mirror    {host} from {url}")
    text += [f"{'Missing ' if limit['fatal'] else 'Note    '}  {limit['message']}" for limit in found["limits"]]
    return text


def _readiness(node: dict[str, Any]) -> str:
    if not node["ready"]:
        return f"not ready: {node['message']}"
    count = node["connections"]
    return "ready" if count is None else f"ready, {count} connection{'' if count == 1 else 's'} to Services"


def _items(name: str, paths: ClusterPaths, pid: int, path: str) -> list[dict[str, Any]]:
    """What the API server lists there. ClusterError if it does not."""
    import http.client

    try:
        items: list[dict[str, Any]] = _get(paths, path, API_SECONDS)["items"]
    except (OSError, http.client.HTTPException) as error:
        raise lifecycle.silent(name, paths, pid, error) from None
    return items


def _get(paths: ClusterPaths, path: str, seconds: float) -> dict[str, Any]:
    """What the API server answers to a GET. ClusterError if that is no 200; OSError and HTTPException."""
    from skerry.cluster import tokens
    from skerry.cluster.unixhttp import UnixConnection

    token = tokens.token_of(tokens.read(paths.tokens), tokens.ADMIN)
    connection = UnixConnection(str(paths.api_socket), seconds)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise ClusterError(f"The API server answered {answer.status} when asked for {path}.")
    found: dict[str, Any] = json.loads(body)
    return found


def _nodes(name: str, paths: ClusterPaths, pid: int, count: int) -> list[dict[str, Any]]:
    """Name, readiness and the reason for it as the API has them, and whether the node's processes run."""
    from skerry.cluster import entrance

    items = _items(name, paths, pid, "/api/v1/nodes")
    running = entrance.node_processes(paths)
    own = [f"node-{index}" for index in range(1, count + 1)]
    known = {item["metadata"]["name"]: item for item in items}
    found = [_node(name, known.get(name), name in running, own=name in own) for name in dict.fromkeys([*own, *known])]
    for node in found:
        node["connections"] = _connections(paths, node["name"]) if node["ready"] and node["running"] else None
    return found


def _connections(paths: ClusterPaths, node: str) -> int | None:
    """How many connections the node's proxy gave to the endpoints that there are; None if it does not say."""
    import http.client

    with contextlib.suppress(OSError, http.client.HTTPException, ClusterError, ValueError, KeyError):
        total = _get(paths, f"/api/v1/nodes/{node}/proxy/connections", NODE_SECONDS)["total"]
        return int(total)
    return None


def _balancers(name: str, paths: ClusterPaths, pid: int) -> list[dict[str, Any]]:
    """The Services of type LoadBalancer: their addresses, and which ports are open under which number."""
    rows = []
    for item in _items(name, paths, pid, "/api/v1/services"):
        ingress = item.get("status", {}).get("loadBalancer", {}).get("ingress") or []
        if item["spec"].get("type") != "LoadBalancer":
            continue
        conditions = item.get("status", {}).get("conditions", [])
        told: dict[str, Any] = next((one for one in conditions if one["type"] == "LoadBalancerPorts"), {})
        rows.append(
            {
                "namespace": item["metadata"]["namespace"],
                "name": item["metadata"]["name"],
                "address": ingress[0].get("ip", "") if ingress else "",
                "message": told.get("message", "") or ("" if ingress else _without_address(item["spec"])),
            }
        )
    return rows


def _without_address(spec: dict[str, Any]) -> str:
    if other := spec.get("loadBalancerClass"):
        return f"it has no address: it is of class {other}, which another controller serves"
    return "it has no address: where one was refused, an event of the Service says why"


def _unserved_ingresses(name: str, paths: ClusterPaths, pid: int) -> str:
    """Why Ingresses of ours are served by nobody; "" if there are none, or all is well."""
    from skerry.gateway.program import MISSING, program

    if program():
        return ""
    from skerry.gateway.model import CONTROLLER

    group = "/apis/networking.k8s.io/v1"
    classes = _items(name, paths, pid, f"{group}/ingressclasses")
    ours = {one["metadata"]["name"] for one in classes if one["spec"].get("controller") == CONTROLLER}
    ingresses = _items(name, paths, pid, f"{group}/ingresses")
    return MISSING if any(one["spec"].get("ingressClassName") in ours for one in ingresses) else ""


def _node(name: str, item: dict[str, Any] | None, running: bool, *, own: bool) -> dict[str, Any]:
    """`own`: one of this machine's; the others are Node objects that somebody made."""
    conditions = item.get("status", {}).get("conditions", []) if item else []
    ready = next((one for one in conditions if one["type"] == "Ready"), {"status": "Unknown"})
    limits = next((one for one in conditions if one["type"] == "LimitsNotEnforced"), {"status": "Unknown"})
    userspace = next((one for one in conditions if one["type"] == "ServicesInUserspace"), {"status": "Unknown"})
    message = ready.get("message", "") or ready.get("reason", "")
    if own and not running:
        message = "its processes have ended: `skerry up` starts it again"
    elif own and item is None:
        message = "its Node object was deleted: `skerry up` starts it anew"
    return {
        "name": name,
        "ready": ready["status"] == "True" and (running or not own),
        "running": running,
        "message": message,
        "limits": limits["message"] if limits["status"] == "True" else "",
        "proxy": {
            "mode": {"True": "userspace", "False": "nftables"}.get(userspace["status"], ""),
            "message": userspace.get("message", ""),
        },
    }
