"""The roles and bindings that every cluster has, as upstream names them, as far as there is something to allow here.

Called by reconcile.py, which puts them into the store at every start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api.rbac import GROUP
from skerry.api.types import meta, rbac
from skerry.apiserver.access import nodes
from skerry.apiserver.access.nodes import rule

if TYPE_CHECKING:
    from skerry.api.types.rbac import PolicyRule

DEFAULTS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
_TO = "rbac.authorization.k8s.io/aggregate-to-"
_EVERYBODY = ("system:authenticated",)
_STRANGERS_TOO = ("system:authenticated", "system:unauthenticated")
_READ, _WRITE = "get list watch", "create delete deletecollection patch update"
_ALL = "create delete deletecollection get list patch update watch"


def _paths(*paths: str) -> PolicyRule:
    return rbac.PolicyRule(verbs=["get"], non_resource_ur_ls=list(paths))


def _role(name: str, *rules: PolicyRule, to: str = "", of: str = "") -> rbac.ClusterRole:
    """`to`: the role that takes these rules in; `of`: whose rules it takes in itself."""
    labels = {**DEFAULTS, **({f"{_TO}{to}": "true"} if to else {})}
    made = rbac.ClusterRole(
        metadata=meta.ObjectMeta(name=name, labels=labels, annotations={AUTOUPDATE: "true"}), rules=list(rules)
    )
    if of:
        selector = meta.LabelSelector(match_labels={f"{_TO}{of}": "true"})
        made.aggregation_rule = rbac.AggregationRule(cluster_role_selectors=[selector])
    return made


_VIEW = (
    rule(
        "",
        "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers "
        "replicationcontrollers/scale serviceaccounts services services/status",
        _READ,
    ),
    rule(
        "",
        "bindings events limitranges namespaces namespaces/status pods/log pods/status replicationcontrollers/status "
        "resourcequotas resourcequotas/status",
        _READ,
    ),
    rule("discovery.k8s.io", "endpointslices", _READ),
    rule(
        "apps",
        "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets "
        "replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
        _READ,
    ),
    rule("autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status", _READ),
    rule("batch", "cronjobs cronjobs/status jobs jobs/status", _READ),
    rule("policy", "poddisruptionbudgets poddisruptionbudgets/status", _READ),
    rule("networking.k8s.io", "ingresses ingresses/status networkpolicies", _READ),
)
_EDIT = (
    rule("", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy", _READ),
    rule("", "serviceaccounts", "impersonate"),
    rule("", "pods pods/attach pods/exec pods/portforward pods/proxy", _WRITE),
    rule("", "pods/eviction serviceaccounts/token", "create"),
    rule(
        "",
        "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets "
        "serviceaccounts services services/proxy",
        _WRITE,
    ),
    rule(
        "apps",
        "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets "
        "statefulsets/scale",
        _WRITE,
    ),
    rule("autoscaling", "horizontalpodautoscalers", _WRITE),
    rule("batch", "cronjobs jobs", _WRITE),
    rule("policy", "poddisruptionbudgets", _WRITE),
    rule("networking.k8s.io", "ingresses networkpolicies", _WRITE),
    rule("coordination.k8s.io", "leases", _ALL),
)
_ADMIN = (
    rule("authorization.k8s.io", "localsubjectaccessreviews", "create"),
    rule(GROUP, "rolebindings roles", _ALL),
)
_PROXY = (
    rule("", "services", "list watch"),
    rule("", "nodes", _READ),
    rule("", "events", "create patch update"),
    rule("events.k8s.io", "events", "create patch update"),
    rule("discovery.k8s.io", "endpointslices", "list watch"),
    rule("networking.k8s.io", "servicecidrs", "list watch"),
)
_SCHEDULER = (
    rule("", "events", "create patch update"),
    rule("events.k8s.io", "events", "create patch update"),
    rule("coordination.k8s.io", "leases", "create get list update watch"),
    rule("", "nodes namespaces persistentvolumes replicationcontrollers services", _READ),
    rule("", "pods", f"delete {_READ}"),
    rule("", "bindings pods/binding", "create"),
    rule("", "pods/status", "patch update"),
    rule("", "persistentvolumeclaims", f"{_READ} patch update"),
    rule("apps", "replicasets statefulsets", _READ),
    rule("policy", "poddisruptionbudgets", _READ),
    rule("storage.k8s.io", "storageclasses csidrivers csinodes csistoragecapacities volumeattachments", _READ),
    rule("authentication.k8s.io", "tokenreviews", "create"),
    rule("authorization.k8s.io", "subjectaccessreviews", "create"),
)
_NODE_PARTS = (
    rule("", "namespaces nodes services endpoints", _READ),
    rule("", "services/status", "patch update"),
    rule("", "configmaps", _READ, "kube-dns"),
    rule("networking.k8s.io", "servicecidrs", _READ),
    rule("", "persistentvolumes", f"{_READ} delete"),
)
"""What the parts of our nodes need beside what a kubelet may: proxy, DNS, drains, balancers' ports."""

_INGRESS = (
    rule("", "secrets", _READ),
    rule("", "services", f"{_READ} create delete patch"),
    rule("", "namespaces", _READ),
    rule("discovery.k8s.io", "endpointslices", f"{_READ} create update delete"),
    rule("networking.k8s.io", "ingresses ingressclasses", _READ),
    rule("networking.k8s.io", "ingresses/status", "patch update"),
    rule("apiextensions.k8s.io", "customresourcedefinitions", _READ),
    rule("gateway.networking.k8s.io", "gatewayclasses gateways httproutes referencegrants", _READ),
    rule("gateway.networking.k8s.io", "gatewayclasses/status gateways/status httproutes/status", "patch update"),
    rule("", "events", "create patch update"),
)
"""What the gateway needs: it shows certificates, and has Services."""

CLUSTER_ROLES = (
    _role(
        "cluster-admin",
        rbac.PolicyRule(verbs=["*"], api_groups=["*"], resources=["*"]),
        rbac.PolicyRule(verbs=["*"], non_resource_ur_ls=["*"]),
    ),
    _role("admin", of="admin"),
    _role("edit", of="edit", to="admin"),
    _role("view", of="view", to="edit"),
    _role("system:aggregate-to-admin", *_ADMIN, to="admin"),
    _role("system:aggregate-to-edit", *_EDIT, to="edit"),
    _role("system:aggregate-to-view", *_VIEW, to="view"),
    _role(
        "system:discovery",
        _paths(
            "/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version",
            "/version/",
        ),
    ),
    _role(
        "system:basic-user",
        rule("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", "create"),
        rule("authentication.k8s.io", "selfsubjectreviews", "create"),
    ),
    _role("system:public-info-viewer", _paths("/healthz", "/livez", "/readyz", "/version", "/version/")),
    _role(
        "system:monitoring",
        _paths("/healthz", "/healthz/*", "/livez", "/livez/*", "/metrics", "/metrics/slis", "/readyz", "/readyz/*"),
    ),
    _role(
        "system:auth-delegator",
        rule("authentication.k8s.io", "tokenreviews", "create"),
        rule("authorization.k8s.io", "subjectaccessreviews", "create"),
    ),
    _role("system:node", *nodes.RULES),
    _role("system:node-proxier", *_PROXY),
    _role("system:kube-scheduler", *_SCHEDULER),
    _role("system:kube-dns", rule("", "endpoints services", "list watch")),
    _role("system:skerry-node", *_NODE_PARTS),
    _role("system:skerry-ingress", *_INGRESS),
)  # fmt: skip


def _binding(role: str, *, groups: tuple[str, ...] = (), user: str = "") -> rbac.ClusterRoleBinding:
    subjects = [rbac.Subject(kind="Group", api_group=GROUP, name=one) for one in groups]
    if user:
        subjects.append(rbac.Subject(kind="User", api_group=GROUP, name=user))
    return rbac.ClusterRoleBinding(
        metadata=meta.ObjectMeta(name=role, labels=dict(DEFAULTS), annotations={AUTOUPDATE: "true"}),
        subjects=subjects,
        role_ref=rbac.RoleRef(api_group=GROUP, kind="ClusterRole", name=role),
    )


CLUSTER_ROLE_BINDINGS = (
    _binding("cluster-admin", groups=("system:masters",)),
    _binding("system:discovery", groups=_EVERYBODY),
    _binding("system:basic-user", groups=_EVERYBODY),
    _binding("system:public-info-viewer", groups=_STRANGERS_TOO),
    _binding("system:monitoring", groups=("system:monitoring",)),
    _binding("system:node-proxier", user="system:kube-proxy"),
    _binding("system:kube-scheduler", user="system:kube-scheduler"),
    _binding("system:skerry-node", groups=(nodes.GROUP,)),
    _binding("system:skerry-ingress", user="system:skerry-ingress"),
    _binding("system:node"),
)
