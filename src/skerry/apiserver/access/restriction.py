"""What a node may write, where it takes a look at the object: its own Node, Lease, Acknowledgements and pods, and
tokens for its own pods alone. Called by app.py before a node's write, and by admission.py with the Node itself.

As upstream's NodeRestriction; the sentences are its own. There are no static pods, so a node creates none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skerry.api import status
from skerry.apiserver import bodies

if TYPE_CHECKING:
    from skerry.api.rbac import Question
    from skerry.api.types import core
    from skerry.api.wire import Request
    from skerry.apiserver.access.nodes import PodsOfNodes

_KUBELET_LABELS = frozenset(
    {
        "kubernetes.io/hostname",
        "kubernetes.io/arch",
        "kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.kubernetes.io/region",
        "failure-domain.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    }
)
_KUBELET_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
_CLOSED = "node-restriction.kubernetes.io"
_OURS = ("kubernetes.io", "k8s.io")


async def check(node: str, asked: Question, request: Request, pods: PodsOfNodes) -> None:
    """ApiError 403 if the node may not write this object, as far as that can be told without its stored state."""
    match asked.group, asked.resource, asked.verb:
        case "", "pods", "delete":
            await _own_pod(node, asked, pods, "can only delete pods with spec.nodeName set to itself")
        case "", "pods", "deletecollection":
            raise _refusal(asked, "deletes its pods one by one")
        case "", "pods/status", "update" | "patch":
            await _own_pod(node, asked, pods, "can only update pod status for pods with spec.nodeName set to itself")
        case "", "pods/eviction", "create":
            await _own_pod(node, asked, pods, "can only evict pods with spec.nodeName set to itself")
        case "", "serviceaccounts/token", "create":
            await _token(node, asked, _body(request), pods)
        case "", "nodes", "create":
            name = _name(_body(request))
            if name != node:
                raise _refusal(asked, f'node "{node}" is not allowed to modify node "{name}"')
        case "coordination.k8s.io", "leases", "create" if _name(_body(request)) != node:
            raise _refusal(asked, "can only access node lease with the same name as the requesting node")
        case "skerry.dev", "acknowledgements", "create" if _name(_body(request)).rpartition(".")[0] != node:
            name = _name(_body(request))
            why = (
                f'User "system:node:{node}" cannot create resource "acknowledgements" in API group "skerry.dev" at the '
                "cluster scope: a node tells of its own parts, and nobody else does"
            )
            raise status.forbidden(asked.group, asked.resource, name, why)


def _refusal(asked: Question, why: str) -> status.ApiError:
    return status.forbidden(asked.group, asked.resource.partition("/")[0], asked.name, why)


async def _own_pod(node: str, asked: Question, pods: PodsOfNodes, why: str) -> None:
    await pods.catch_up()
    if pods.node_of(asked.namespace, asked.name) != node:
        raise _refusal(asked, f'node "{node}" {why}')


async def _token(node: str, asked: Question, body: dict[str, Any], pods: PodsOfNodes) -> None:
    spec = body.get("spec")
    ref = spec.get("boundObjectRef") if isinstance(spec, dict) else None
    if not isinstance(ref, dict) or ref.get("kind") != "Pod" or not ref.get("name"):
        raise _refusal(asked, "node requested token not bound to a pod")
    if not ref.get("uid"):
        raise _refusal(asked, "node requested token with a pod binding without a uid")
    await pods.catch_up()
    if pods.node_of(asked.namespace, str(ref["name"])) != node:
        raise _refusal(asked, "node requested token bound to a pod scheduled on a different node")


def _body(request: Request) -> dict[str, Any]:
    _, _, value, _ = bodies.read(request)
    return value if isinstance(value, dict) else {}


def _name(value: dict[str, Any]) -> str:
    named = value.get("metadata")
    return str(named.get("name", "")) if isinstance(named, dict) else ""


def check_node(node: str, new: core.Node, old: core.Node | None) -> None:
    """What a node may not change of itself. ApiError 403."""

    def refuse(what: str) -> status.ApiError:
        return status.forbidden("", "nodes", new.metadata.name, f'node "{node}" {what}')

    before = old.metadata.labels if old is not None else {}
    changed = {key for key in {*before, *new.metadata.labels} if before.get(key) != new.metadata.labels.get(key)}
    closed = sorted(filter(_is_closed, changed))
    if closed:
        what = "modify labels" if old is not None else "set the following labels"
        raise refuse(f"is not allowed to {what}: {', '.join(closed)}")
    if old is not None and new.spec.taints != old.spec.taints:
        raise refuse("is not allowed to modify taints")
    owners = old.metadata.owner_references if old is not None else []
    if new.metadata.owner_references != owners:
        raise refuse("is not allowed to modify ownerReferences")


def _is_closed(label: str) -> bool:
    domain = label.partition("/")[0] if "/" in label else ""
    if _within(domain, (_CLOSED,)):
        return True
    if not _within(domain, _OURS):
        return False
    return label not in _KUBELET_LABELS and not _within(domain, _KUBELET_DOMAINS)


def _within(domain: str, wanted: tuple[str, ...]) -> bool:
    return any(domain == one or domain.endswith(f".{one}") for one in wanted)
