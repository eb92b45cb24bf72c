"""Requests that nobody sane would send, made by hypothesis from the OpenAPI documents that the server itself serves.

Called by tests/long/test_hostile.py. Half of each body follows the schema, so that it comes past the first check; the
rest has wrong types, strange texts and numbers, fields that nobody knows, and nesting.
"""

# ruff: noqa: E501 - one object a line
from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from typing import Any

import yaml
from hypothesis import strategies as st

SCHEMAS = "#/components/schemas/"
PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
MEDIA = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "text/plain", "")
WORDS = (
    "", "a", "default", "kube-system", "x" * 300, "..", "%2e%2e", "a/b", "-", "~1", "A_B", "\x00", "\U0001f600", "日本",
    "a=b", "!a", "a in (b,c", "None", "null", "true", "0", "-1", "1e400", "99999999999999999999", "٣", "²", "1.5", "1Gi",
    "10.0.0.1", "::1", "10.0.0.0/99", "2026-01-01T00:00:00Z", "0000-00-00T00:00:00Z", "app", "http", "TCP", "ClusterIP",
    "metadata.name=a", "spec.nodeName", "a,b,,", "=", "==", "(", "All", "Foreground", "Strict", "* * * * *", "0%", "101%",
    "kubernetes", "node", "view", "system:masters", "*", "AAAA", "{}", "[", "9" * 5000,
)  # fmt: skip
NUMBERS = (0, 1, -1, 80, 65536, 2**31, -(2**31), 2**63, -(2**63) - 1, 2**64, 10**400, 0.5, -0.0, 1e308, 5e-324)
NAMES = ("a", "a", "a", "a", "a", "kubernetes", "default", "system:node", "cluster-admin", "kube-root-ca.crt", "b")
QUERY = (
    "labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "resourceVersionMatch", "timeoutSeconds",
    "sendInitialEvents", "allowWatchBookmarks", "dryRun", "fieldManager", "fieldValidation", "force", "pretty",
    "gracePeriodSeconds", "propagationPolicy", "orphanDependents", "includeObject", "container", "tailLines",
    "sinceSeconds", "sinceTime", "limitBytes", "follow", "previous", "command", "ports", "path", "stream",
)  # fmt: skip

FORMATS = {
    "date-time": (
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.000001Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
    ),
    "byte": ("", "AAAA", "//8="),
    "int-or-string": (0, 1, "50%", "http", 2**31),
    "quantity": ("0", "1Gi", "100m", "1e100", "-1", "0.000000000000001", "9" * 400),
}

words = st.one_of(st.sampled_from(WORDS), st.text(max_size=20))
scalars = st.one_of(st.none(), st.booleans(), st.sampled_from(NUMBERS), st.integers(), st.floats(), words)
junk = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=8,
)


@dataclass
class Asked:
    """One request, as hypothesis shows it when it fails."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Operation:
    """A verb of a path, the schema of its object, and all schemas of the document."""

    method: str
    path: str
    schema: str
    kind: dict[str, str]
    schemas: dict[str, Any] = field(repr=False)


BESIDE = """
/api/v1/namespaces/{namespace}/pods/{name}/log GET
/api/v1/namespaces/{namespace}/pods/{name}/exec GET POST
/api/v1/namespaces/{namespace}/pods/{name}/attach GET POST
/api/v1/namespaces/{namespace}/pods/{name}/portforward GET POST
/api/v1/namespaces/{namespace}/pods/{name}/proxy/{path} GET PUT
/api/v1/namespaces/{namespace}/services/{name}/proxy GET POST
/api/v1/nodes/{name}/proxy/{path} GET
/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token POST
/apis/authentication.k8s.io/v1/tokenreviews POST
/apis/authentication.k8s.io/v1/selfsubjectreviews POST
/apis/authorization.k8s.io/v1/subjectaccessreviews POST
/apis/authorization.k8s.io/v1/selfsubjectaccessreviews POST
/apis/authorization.k8s.io/v1/selfsubjectrulesreviews POST
/apis/authorization.k8s.io/v1/namespaces/{namespace}/localsubjectaccessreviews POST
/ GET
/api GET
/apis GET POST
/apis/{name} GET
/apis/{name}/{name} GET
/openapi/v2 GET
/openapi/v3/apis/{name}/{name} GET
/version GET
/metrics GET DELETE
/readyz GET
"""
"""What is served and is in no OpenAPI document of ours: streams, questions, discovery."""


def operations(documents: list[dict[str, Any]]) -> list[Operation]:
    """Every verb of every path of OpenAPI v3 documents, and of those beside them."""
    out: list[Operation] = []
    for one in documents:
        schemas = one["components"]["schemas"]
        of_kind = {
            (kind["group"], kind["version"], kind["kind"]): name
            for name, schema in schemas.items()
            for kind in schema.get("x-kubernetes-group-version-kind", ())
        }
        for path, verbs in one["paths"].items():
            for method, operation in verbs.items():
                if not isinstance(operation, dict):
                    continue
                kind = operation.get("x-kubernetes-group-version-kind", {})
                name = of_kind.get((kind.get("group"), kind.get("version"), kind.get("kind")), "")
                out.append(Operation(method.upper(), path, name, kind, schemas))
    for line in BESIDE.strip().splitlines():
        path, *methods = line.split()
        out += [Operation(method, path, "", {}, out[0].schemas) for method in methods]
    return out


class Draw:
    """Values of one request. `sane`: of ten values, how many follow the schema."""

    def __init__(self, draw: Any, sane: int) -> None:
        self.draw, self.sane = draw, sane

    def value(self, schema: dict[str, Any], schemas: dict[str, Any], depth: int = 0) -> Any:
        draw = self.draw
        if draw(st.integers(0, 9)) >= self.sane:
            return draw(junk)
        whole = schema
        for one in schema.get("allOf", ()):
            whole = {**whole, **one}
        if "$ref" in whole:
            whole = schemas.get(whole["$ref"].removeprefix(SCHEMAS), {})
        kind = whole.get("type")
        properties = whole.get("properties")
        if properties:
            if depth > 6:
                return {}
            wanted = draw(st.lists(st.sampled_from(sorted(properties)), max_size=5, unique=True))
            wanted += [name for name in whole.get("required", ()) if name in properties and name not in wanted]
            if depth == 0:
                wanted = sorted({*wanted, *({"spec", "metadata", "rules", "subsets", "data"} & set(properties))})
            return {name: self.value(properties[name], schemas, depth + 1) for name in wanted}
        if kind == "array":
            if depth > 6:
                return []
            return [self.value(whole.get("items", {}), schemas, depth + 1) for _ in range(draw(st.integers(0, 3)))]
        if kind == "object":
            inner = whole.get("additionalProperties")
            if not isinstance(inner, dict):
                return draw(st.dictionaries(words, junk, max_size=3))
            keys = draw(st.lists(words, max_size=3))
            return {key: self.value(inner, schemas, depth + 1) for key in keys}
        if kind == "integer":
            return draw(st.one_of(st.integers(0, 70000), st.sampled_from(NUMBERS)))
        if kind == "boolean":
            return draw(st.booleans())
        if kind == "number":
            return draw(st.one_of(st.floats(), st.integers()))
        good = FORMATS.get(whole.get("format", ""))
        return draw(st.sampled_from(good)) if good and draw(st.integers(0, 4)) else draw(words)

    def resolved(self, schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
        for one in schema.get("allOf", ()):
            schema = {**schema, **one}
        return schemas.get(schema["$ref"].removeprefix(SCHEMAS), {}) if "$ref" in schema else schema

    def disturb(self, value: Any, schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
        """A good value with one place of it made anew."""
        schema = self.resolved(schema, schemas)
        properties = schema.get("properties")
        if isinstance(value, dict) and properties:
            there = sorted(set(value) & set(properties))
            into = there and self.draw(st.integers(0, 3))
            key = self.draw(st.sampled_from(there if into else sorted(properties)))
            made = (
                self.disturb(value[key], properties[key], schemas) if into else self.value(properties[key], schemas, 3)
            )
            return {**value, key: made}
        if isinstance(value, list) and value and self.draw(st.integers(0, 3)):
            items = schema.get("items", {})
            at = self.draw(st.integers(0, len(value) - 1))
            changed = self.disturb(value[at], items, schemas)
            return [*value[:at], changed, *value[at + (self.draw(st.integers(0, 3)) > 0) :]]
        return self.value(schema, schemas, 3)

    def object(self, operation: Operation, named: str = "") -> Any:
        """`named`: what the URL says."""
        draw, kind = self.draw, operation.kind
        schema = {"$ref": SCHEMAS + operation.schema}
        good = GOOD.get((kind.get("group", ""), kind.get("kind", "")))
        if good is not None and draw(st.integers(0, 3)):
            value: Any = copy.deepcopy(good)
            for _ in range(draw(st.integers(0, 3))):
                value = self.disturb(value, schema, operation.schemas)
        else:
            value = self.value(schema, operation.schemas)
        if isinstance(value, dict) and draw(st.integers(0, 9)):
            version = f"{kind.get('group')}/{kind.get('version')}" if kind.get("group") else kind.get("version", "")
            value["apiVersion"], value["kind"] = version, kind.get("kind", "")
            if draw(st.integers(0, 9)):
                metadata = value.get("metadata")
                metadata = metadata if isinstance(metadata, dict) else {}
                name = named if named and draw(st.integers(0, 9)) else draw(st.sampled_from(NAMES))
                value["metadata"] = {**(metadata if draw(st.booleans()) else {}), "name": name}
        return value

    def pointer(self, value: Any) -> str:
        """A path into an object of that shape."""
        parts = []
        while isinstance(value, dict | list) and value and self.draw(st.integers(0, 4)):
            keys = sorted(value) if isinstance(value, dict) else [str(at) for at in range(len(value))]
            key = self.draw(st.sampled_from(keys))
            parts.append(key)
            value = value[key] if isinstance(value, dict) else value[int(key)]
        if not self.draw(st.integers(0, 3)):
            parts.append(self.draw(words))
        return "".join(f"/{one.replace('~', '~0').replace('/', '~1')}" for one in parts)

    def patch(self, operation: Operation, media: str, named: str) -> Any:
        draw = self.draw
        value = self.object(operation, named)
        if media == PATCHES[0]:
            verbs = st.sampled_from(("add", "remove", "replace", "move", "copy", "test", "x"))
            return [
                {"op": draw(verbs), "path": self.pointer(value), "from": self.pointer(value), "value": draw(junk)}
                for _ in range(draw(st.integers(0, 4)))
            ]
        if media == PATCHES[2]:
            self.direct(value)
        return value

    def direct(self, value: Any, depth: int = 0) -> None:
        """Puts directives of strategic patches in."""
        draw = self.draw
        if depth > 5:
            return
        if isinstance(value, dict):
            for inner in list(value.values()):
                self.direct(inner, depth + 1)
            for name in draw(st.lists(st.sampled_from(sorted({*value, "containers", "x"})), max_size=1)):
                start = draw(st.sampled_from(("$setElementOrder/", "$deleteFromPrimitiveList/", "$patch/")))
                value[start + name] = draw(junk)
            if not draw(st.integers(0, 3)):
                value["$patch"] = draw(st.one_of(st.sampled_from(("replace", "delete", "merge")), junk))
            if not draw(st.integers(0, 5)):
                value["$retainKeys"] = draw(junk)
        elif isinstance(value, list):
            for inner in value:
                self.direct(inner, depth + 1)


@st.composite
def requests(draw: Any, operation: Operation) -> Asked:
    """Any request to one verb of a path."""
    maker = Draw(draw, draw(st.sampled_from((10, 9, 5))))
    path, named = operation.path, ""
    while "{" in path:
        before, _, rest = path.partition("{")
        name, _, rest = rest.partition("}")
        text = "default" if name == "namespace" else draw(st.sampled_from(NAMES))
        if not draw(st.integers(0, 9)):
            text = draw(words)
        named = text if name == "name" else named
        path = before + text + rest
    asked = Asked(operation.method, path)
    if not draw(st.integers(0, 19)):
        asked.method = draw(
            st.sampled_from(("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO", "HEAD"))
        )
    for name in draw(st.lists(st.sampled_from(QUERY), max_size=3)):
        asked.query[name] = draw(words)
    if asked.method == "GET" and not draw(st.integers(0, 4)):
        asked.query |= {"watch": draw(st.sampled_from(("true", "1"))), "timeoutSeconds": "1"}
    accept = (
        "application/json;as=Table;g=meta.k8s.io;v=v1",
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
    )
    asked.headers["accept"] = draw(st.sampled_from(("", "*/*", *accept)))
    if asked.method == "PATCH":
        media = draw(st.sampled_from(PATCHES))
        asked.headers["content-type"] = media
        if "apply" in media:
            asked.query |= {"fieldManager": draw(st.sampled_from(("a", "b"))), "force": "true"}
        else:
            asked.query.pop("force", None)
        asked.body = _encoded(maker.patch(operation, media, named))
    elif asked.method in ("POST", "PUT"):
        asked.body = _encoded(maker.object(operation, named))
        asked.headers["content-type"] = draw(st.sampled_from(MEDIA)) if not draw(st.integers(0, 5)) else ""
    elif asked.method == "DELETE":
        options = SCHEMAS + "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
        if draw(st.booleans()):
            asked.body = _encoded(maker.value({"$ref": options}, operation.schemas))
    if asked.body and not draw(st.integers(0, 29)):
        at = draw(st.integers(0, len(asked.body)))
        asked.body = asked.body[:at] + draw(st.binary(max_size=4)) + asked.body[at:]
    return asked


SEEDS = """
/api/v1/namespaces {metadata: {name: a}}
/api/v1/nodes {metadata: {name: a}}
/api/v1/namespaces/default/pods {metadata: {name: a, labels: {app: a}}, spec: {containers: [{name: a, image: host, ports: [{containerPort: 80}], env: [{name: A, value: b}]}]}}
/api/v1/namespaces/default/services {metadata: {name: a}, spec: {selector: {app: a}, ports: [{name: a, port: 80}]}}
/api/v1/namespaces/default/endpoints {metadata: {name: b}, subsets: [{addresses: [{ip: 10.9.9.9}], ports: [{port: 80}]}]}
/api/v1/namespaces/default/configmaps {metadata: {name: a, finalizers: [a.b/c]}, data: {a: b}}
/api/v1/namespaces/default/secrets {metadata: {name: a}, data: {a: AAAA}}
/api/v1/namespaces/default/serviceaccounts {metadata: {name: a}}
/api/v1/namespaces/default/persistentvolumeclaims {metadata: {name: a}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}
/api/v1/namespaces/default/limitranges {metadata: {name: b}, spec: {limits: [{type: Container, default: {cpu: 1}}]}}
/api/v1/namespaces/default/resourcequotas {metadata: {name: b}, spec: {hard: {pods: 9999}}}
/api/v1/namespaces/default/events {metadata: {name: a}, involvedObject: {kind: Pod, namespace: default, name: a}}
/apis/apps/v1/namespaces/default/deployments {metadata: {name: a}, spec: {selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a}}, spec: {containers: [{name: a, image: host}]}}}}
/apis/apps/v1/namespaces/default/replicasets {metadata: {name: a}, spec: {selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a}}, spec: {containers: [{name: a, image: host}]}}}}
/apis/apps/v1/namespaces/default/daemonsets {metadata: {name: a}, spec: {selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a}}, spec: {containers: [{name: a, image: host}]}}}}
/apis/apps/v1/namespaces/default/statefulsets {metadata: {name: a}, spec: {serviceName: a, selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a}}, spec: {containers: [{name: a, image: host}]}}}}
/apis/apps/v1/namespaces/default/controllerrevisions {metadata: {name: a}, revision: 1, data: {a: b}}
/apis/batch/v1/namespaces/default/jobs {metadata: {name: a}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: host}]}}}}
/apis/batch/v1/namespaces/default/cronjobs {metadata: {name: a}, spec: {schedule: "* * * * *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: host}]}}}}}}
/apis/discovery.k8s.io/v1/namespaces/default/endpointslices {metadata: {name: a}, addressType: IPv4, endpoints: [{addresses: [10.9.9.9]}], ports: [{port: 80}]}
/apis/coordination.k8s.io/v1/namespaces/default/leases {metadata: {name: a}, spec: {holderIdentity: a}}
/apis/policy/v1/namespaces/default/poddisruptionbudgets {metadata: {name: a}, spec: {minAvailable: 1, selector: {matchLabels: {app: a}}}}
/apis/scheduling.k8s.io/v1/priorityclasses {metadata: {name: a}, value: 5}
/apis/networking.k8s.io/v1/namespaces/default/ingresses {metadata: {name: a}, spec: {defaultBackend: {service: {name: a, port: {number: 80}}}}}
/apis/networking.k8s.io/v1/namespaces/default/networkpolicies {metadata: {name: a}, spec: {podSelector: {}}}
/apis/networking.k8s.io/v1/ingressclasses {metadata: {name: a}, spec: {controller: a.b/c}}
/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles {metadata: {name: a}, rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]}
/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings {metadata: {name: a}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: a}, subjects: [{kind: User, name: a}]}
/apis/rbac.authorization.k8s.io/v1/clusterroles {metadata: {name: a}, aggregationRule: {clusterRoleSelectors: [{matchLabels: {a: b}}]}}
/apis/rbac.authorization.k8s.io/v1/clusterrolebindings {metadata: {name: a}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: a}, subjects: [{kind: User, name: a}]}
/apis/storage.k8s.io/v1/storageclasses {metadata: {name: a}, provisioner: a.b/c}
/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers {metadata: {name: a}, spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: a}}}
/apis/apiextensions.k8s.io/v1/customresourcedefinitions {metadata: {name: things.a.b}, spec: {group: a.b, scope: Namespaced, names: {plural: things, kind: Thing}, versions: [{name: v1, served: true, storage: true, subresources: {status: {}, scale: {specReplicasPath: .spec.count, statusReplicasPath: .status.count}}, additionalPrinterColumns: [{name: Count, type: integer, jsonPath: ".spec.count"}], schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {count: {type: integer, minimum: 0}, s: {type: string, pattern: "^a+$"}, l: {type: array, x-kubernetes-list-type: set, items: {type: string}}, m: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [k], items: {type: object, required: [k], properties: {k: {type: string}}}}, any: {x-kubernetes-preserve-unknown-fields: true, type: object}}}, status: {type: object, properties: {count: {type: integer}}}}}}}]}}
/apis/a.b/v1/namespaces/default/things {metadata: {name: a}, spec: {count: 1, s: aa, l: [x], m: [{k: v}], any: {b: c}}}
"""
"""Where one good object of each kind goes, so that requests find something: a path and what to POST there, a line."""


def _good() -> dict[tuple[str, str], Any]:
    """The same by group and kind."""
    out = {}
    for line in SEEDS.strip().splitlines():
        path, text = line.split(" ", 1)
        parts = path.split("/")
        group = parts[2] if parts[1] == "apis" else ""
        out[group, parts[-1]] = yaml.safe_load(text)
    return {(group, KINDS.get(plural, "")): value for (group, plural), value in out.items()}


KINDS = {
    one.lower() + ("es" if one[-1] == "s" and one != "Endpoints" else "s" * (one != "Endpoints")): one
    for one in (
        "Namespace", "Node", "Pod", "Service", "Endpoints", "ConfigMap", "Secret", "ServiceAccount", "Deployment",
        "PersistentVolumeClaim", "LimitRange", "ResourceQuota", "Event", "ReplicaSet", "DaemonSet", "StatefulSet",
        "ControllerRevision", "Job", "CronJob", "EndpointSlice", "Lease", "PodDisruptionBudget", "PriorityClass",
        "Ingress", "IngressClass", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "StorageClass",
        "HorizontalPodAutoscaler", "CustomResourceDefinition", "Thing",
    )
} | {"networkpolicies": "NetworkPolicy"}  # fmt: skip
GOOD = _good()


def seeds() -> list[Asked]:
    """The requests that make them."""
    lines = (line.split(" ", 1) for line in SEEDS.strip().splitlines())
    return [Asked("POST", path, {}, {"content-type": "application/yaml"}, text.encode()) for path, text in lines]


def _encoded(value: Any) -> bytes:
    # NaN and Infinity are written as JavaScript writes them, which is no JSON; lone surrogates as what is no UTF-8.
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
