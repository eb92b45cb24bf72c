"""One row a kind: what the API serves and under which names. Called by the API server, the client and the CLI.

To serve a new kind, add a row; its fields are in types/, its checks in validation/, its columns in tables/.
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from typing import Any

from skerry.api.unstructured import Unstructured

_ALL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, eq=False)
class Resource:
    """A served kind; of each built-in one there is one object.

    `module` is the module of api.types that holds its Struct; `fields` can be selected by. `returns_deleted`: whether
    the answer to a deletion is the object that is gone, not a Status; typed clients count on the one or the other.
    """

    kind: str
    plural: str
    singular: str
    module: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = _ALL
    subresources: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    generation: bool = False
    create_on_update: bool = False
    returns_deleted: bool = False

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_kind(self) -> str:
        return f"{self.kind}List"

    @functools.cached_property
    def type(self) -> type[Any]:
        """The Struct class of the kind."""
        made: type[Any] = getattr(importlib.import_module(f"skerry.api.types.{self.module}"), self.kind)
        return made

    @property
    def prefix(self) -> str:
        """Where the store keeps its objects."""
        return f"/{self.group or 'core'}/{self.plural}/"

    def key(self, namespace: str, name: str) -> str:
        """The store's key of one object."""
        return f"{self.prefix}{namespace}/{name}" if self.namespaced else f"{self.prefix}{name}"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of the collection or of one object."""
        out = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        if self.namespaced and namespace:
            out += f"/namespaces/{namespace}"
        out += f"/{self.plural}"
        if name:
            out += f"/{name}"
        return f"{out}/{subresource}" if subresource else out


RESOURCES: tuple[Resource, ...] = (
    Resource("Namespace", "namespaces", "namespace", "core", namespaced=False, short_names=("ns",),
             verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
             subresources=("status", "finalize"), fields=("status.phase",)),
    Resource("Node", "nodes", "node", "core", namespaced=False, short_names=("no",), subresources=("status", "proxy"),
             fields=("spec.unschedulable",)),
    Resource("Pod", "pods", "pod", "core", short_names=("po",), categories=("all",),
             subresources=("status", "binding", "log", "eviction", "exec", "attach", "portforward", "proxy",
                           "ephemeralcontainers"),
             generation=True, returns_deleted=True,
             fields=("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
                     "spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName")),
    Resource("Service", "services", "service", "core", short_names=("svc",), categories=("all",),
             subresources=("status", "proxy"), fields=("spec.clusterIP", "spec.type"), create_on_update=True,
             returns_deleted=True),
    Resource("Endpoints", "endpoints", "endpoints", "core", short_names=("ep",), create_on_update=True),
    Resource("Event", "events", "event", "core", short_names=("ev",), create_on_update=True,
             fields=("involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
                     "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
                     "reason", "reportingComponent", "source", "type")),
    Resource("ConfigMap", "configmaps", "configmap", "core", short_names=("cm",)),
    Resource("Secret", "secrets", "secret", "core", fields=("type",)),
    Resource("ServiceAccount", "serviceaccounts", "serviceaccount", "core", short_names=("sa",), returns_deleted=True,
             subresources=("token",)),
    Resource("ResourceQuota", "resourcequotas", "resourcequota", "core", short_names=("quota",),
             subresources=("status",), returns_deleted=True),
    Resource("LimitRange", "limitranges", "limitrange", "core", short_names=("limits",)),
    Resource("PersistentVolumeClaim", "persistentvolumeclaims", "persistentvolumeclaim", "core", short_names=("pvc",),
             subresources=("status",), returns_deleted=True),
    Resource("PersistentVolume", "persistentvolumes", "persistentvolume", "core", namespaced=False,
             short_names=("pv",), subresources=("status",), returns_deleted=True),
    Resource("StorageClass", "storageclasses", "storageclass", "storage", "storage.k8s.io", namespaced=False,
             short_names=("sc",), returns_deleted=True),
    Resource("Deployment", "deployments", "deployment", "apps", "apps", short_names=("deploy",), categories=("all",),
             subresources=("status", "scale"), generation=True),
    Resource("ReplicaSet", "replicasets", "replicaset", "apps", "apps", short_names=("rs",), categories=("all",),
             subresources=("status", "scale"), generation=True, fields=("status.replicas",)),
    Resource("StatefulSet", "statefulsets", "statefulset", "apps", "apps", short_names=("sts",), categories=("all",),
             subresources=("status", "scale"), generation=True),
    Resource("DaemonSet", "daemonsets", "daemonset", "apps", "apps", short_names=("ds",), categories=("all",),
             subresources=("status",), generation=True),
    Resource("ControllerRevision", "controllerrevisions", "controllerrevision", "apps", "apps"),
    Resource("Job", "jobs", "job", "batch", "batch", categories=("all",), subresources=("status",), generation=True,
             fields=("status.successful",)),
    Resource("CronJob", "cronjobs", "cronjob", "batch", "batch", short_names=("cj",), categories=("all",),
             subresources=("status",), generation=True),
    Resource("EndpointSlice", "endpointslices", "endpointslice", "discovery", "discovery.k8s.io", generation=True),
    Resource("Lease", "leases", "lease", "coordination", "coordination.k8s.io", create_on_update=True),
    Resource("PodDisruptionBudget", "poddisruptionbudgets", "poddisruptionbudget", "policy", "policy",
             short_names=("pdb",), subresources=("status",), generation=True),
    Resource("PriorityClass", "priorityclasses", "priorityclass", "scheduling", "scheduling.k8s.io", namespaced=False,
             short_names=("pc",), generation=True),
    Resource("Ingress", "ingresses", "ingress", "networking", "networking.k8s.io", short_names=("ing",),
             subresources=("status",), generation=True),
    Resource("IngressClass", "ingressclasses", "ingressclass", "networking", "networking.k8s.io", namespaced=False,
             generation=True),
    Resource("NetworkPolicy", "networkpolicies", "networkpolicy", "networking", "networking.k8s.io",
             short_names=("netpol",), generation=True),
    Resource("ServiceCIDR", "servicecidrs", "servicecidr", "networking", "networking.k8s.io", namespaced=False,
             subresources=("status",)),
    Resource("IPAddress", "ipaddresses", "ipaddress", "networking", "networking.k8s.io", namespaced=False,
             short_names=("ip",)),
    Resource("RuntimeClass", "runtimeclasses", "runtimeclass", "node", "node.k8s.io", namespaced=False),
    Resource("HorizontalPodAutoscaler", "horizontalpodautoscalers", "horizontalpodautoscaler", "autoscalingv2",
             "autoscaling", "v2", short_names=("hpa",), categories=("all",), subresources=("status",)),
    Resource("Role", "roles", "role", "rbac", "rbac.authorization.k8s.io", create_on_update=True),
    Resource("RoleBinding", "rolebindings", "rolebinding", "rbac", "rbac.authorization.k8s.io", create_on_update=True),
    Resource("ClusterRole", "clusterroles", "clusterrole", "rbac", "rbac.authorization.k8s.io", namespaced=False,
             create_on_update=True),
    Resource("ClusterRoleBinding", "clusterrolebindings", "clusterrolebinding", "rbac", "rbac.authorization.k8s.io",
             namespaced=False, create_on_update=True),
    Resource("CustomResourceDefinition", "customresourcedefinitions", "customresourcedefinition", "apiextensions",
             "apiextensions.k8s.io", namespaced=False, short_names=("crd", "crds"), categories=("api-extensions",),
             subresources=("status",), generation=True, returns_deleted=True),
    Resource("MutatingWebhookConfiguration", "mutatingwebhookconfigurations", "mutatingwebhookconfiguration",
             "admissionregistration", "admissionregistration.k8s.io", namespaced=False, categories=("api-extensions",),
             generation=True),
    Resource("ValidatingWebhookConfiguration", "validatingwebhookconfigurations", "validatingwebhookconfiguration",
             "admissionregistration", "admissionregistration.k8s.io", namespaced=False, categories=("api-extensions",),
             generation=True),
    Resource("Acknowledgement", "acknowledgements", "acknowledgement", "skerry", "skerry.dev", "v1alpha1",
             namespaced=False, short_names=("ack",)),
)  # fmt: skip

QUESTIONS: tuple[Resource, ...] = (
    Resource("SelfSubjectReview", "selfsubjectreviews", "selfsubjectreview", "authentication", "authentication.k8s.io",
             namespaced=False, verbs=("create",)),
    Resource("TokenReview", "tokenreviews", "tokenreview", "authentication", "authentication.k8s.io",
             namespaced=False, verbs=("create",)),
    Resource("LocalSubjectAccessReview", "localsubjectaccessreviews", "localsubjectaccessreview", "authorization",
             "authorization.k8s.io", verbs=("create",)),
    Resource("SelfSubjectAccessReview", "selfsubjectaccessreviews", "selfsubjectaccessreview", "authorization",
             "authorization.k8s.io", namespaced=False, verbs=("create",)),
    Resource("SelfSubjectRulesReview", "selfsubjectrulesreviews", "selfsubjectrulesreview", "authorization",
             "authorization.k8s.io", namespaced=False, verbs=("create",)),
    Resource("SubjectAccessReview", "subjectaccessreviews", "subjectaccessreview", "authorization",
             "authorization.k8s.io", namespaced=False, verbs=("create",)),
)  # fmt: skip
"""Kinds that are answered, not stored (apiserver/reviews.py)."""


@functools.cache
def _by_kind() -> dict[tuple[str, str], Resource]:
    return {(one.api_version, one.kind): one for one in RESOURCES}


@functools.cache
def _by_path() -> dict[tuple[str, str, str], Resource]:
    return {(one.group, one.version, one.plural): one for one in RESOURCES}


def by_kind(api_version: str, kind: str) -> Resource | None:
    """The row of a kind, or None if it is not served."""
    return _by_kind().get((api_version, kind))


def by_path(group: str, version: str, plural: str) -> Resource | None:
    """The row of a URL's group, version and plural name, or None if it is not served."""
    return _by_path().get((group, version, plural))


def question(group: str, version: str, plural: str) -> Resource | None:
    """As `by_path`, among QUESTIONS."""
    return next((one for one in QUESTIONS if (one.group, one.version, one.plural) == (group, version, plural)), None)


def of(kind: type[Any]) -> Resource:
    """The row of a class of objects. KeyError if it is not served."""
    if issubclass(kind, Unstructured):
        return kind.row
    found = _known.get(kind)
    if found is None:
        found = _known[kind] = _by_name()[kind.__module__.rpartition(".")[2], kind.__name__]
    return found


_known: dict[type[Any], Resource] = {}


@functools.cache
def _by_name() -> dict[tuple[str, str], Resource]:
    return {(one.module, one.kind): one for one in RESOURCES}
