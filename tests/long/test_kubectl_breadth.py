"""What test_kubectl_matrix.py leaves out: each kubectl's generators, apply in all its ways, nodes, files, ports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import _started, skip_without_namespaces
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.kubectl import WHEELS, Kubectl

pytestmark = pytest.mark.long

SETS = """\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: main, image: host, command: [sleep, "1000005"]}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: main, image: host, command: [sleep, "1000005"]}]
"""
TIDES = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: tides.sea.example}
spec:
  group: sea.example
  names: {kind: Tide, plural: tides, singular: tide}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: {type: object, properties: {height: {type: integer, description: Metres above the chart.}}}
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    skip_without_namespaces()
    yield from _started("--nodes", "2", "--ephemeral")


def test_the_rest_of_kubectl(each_kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl = each_kubectl
    generators(kubectl)
    applying(kubectl, tmp_path)
    sets(kubectl)
    nodes(kubectl)
    reaching_in(kubectl, tmp_path)
    asking(kubectl)


def generators(kubectl: Kubectl) -> None:
    """Of all kinds that it has one for: what is made, and what a dry run of the server says."""
    place = kubectl.namespace
    for made, *arguments in (
        ("role.rbac.authorization.k8s.io/r", "role", "r", "--verb=get,list", "--resource=pods,deployments.apps"),
        ("rolebinding.rbac.authorization.k8s.io/r", "rolebinding", "r", "--role=r", f"--serviceaccount={place}:w"),
        ("serviceaccount/w", "serviceaccount", "w"),
        ("secret/d", "secret", "docker-registry", "d", *(f"--docker-{one}=a" for one in ("username", "password"))),
        ("ingress.networking.k8s.io/i", "ingress", "i", "--rule=a.example/*=svc:80", "--class=none"),
        ("poddisruptionbudget.policy/p", "pdb", "p", "--selector=app=web", "--min-available=1"),
        ("service/away", "service", "externalname", "away", "--external-name=example.org"),
        ("service/lb", "service", "loadbalancer", "lb", "--tcp=80:80"),
        ("deployment.apps/web", "deployment", "web", "--image=host", "--replicas=2", "--", "sleep", "1000005"),
        ("job.batch/j", "job", "j", "--image=host", "--", "true"),
    ):  # fmt: skip
        assert kubectl("create", *arguments) == f"{made} created\n"
    for made, *arguments in (
        ("clusterrole.rbac.authorization.k8s.io/c", "clusterrole", "c", "--verb=get", "--resource=nodes"),
        ("clusterrolebinding.rbac.authorization.k8s.io/c", "clusterrolebinding", "c", "--clusterrole=view", "--user=a"),
        ("priorityclass.scheduling.k8s.io/c", "priorityclass", "c", "--value=5"),
        ("namespace/c", "namespace", "c"),
    ):
        assert kubectl("create", *arguments, "--dry-run=server") == f"{made} created (server dry run)\n"
        assert "NotFound" in kubectl.run("get", *made.split("/")).err
    assert kubectl("create", "token", "w", "--duration=10m").count(".") == 2
    worker = f"--as=system:serviceaccount:{kubectl.namespace}:w"
    assert kubectl("auth", "can-i", "list", "deployments.apps", worker) == "yes\n"
    assert kubectl.run("auth", "can-i", "delete", "pods", worker).out == "no\n"
    for what in (("serviceaccount", "deploy/web", "w"), ("resources", "deploy/web", "--limits=cpu=100m")):
        assert "updated" in kubectl("set", *what)


def applying(kubectl: Kubectl, directory: Path) -> None:
    """On the server's side, with conflicts; diff; kustomize; fields that nobody knows."""
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: b}\n"
    serverside = ("apply", "--server-side", "-f", "-")
    assert kubectl(*serverside, stdin=text) == "configmap/c serverside-applied\n"
    other = text.replace("a: b", "a: c")
    refused = kubectl.run(*serverside, "--field-manager=other", stdin=other)
    assert refused.code == 1 and 'conflict with "kubectl": .data.a' in refused.err
    kubectl(*serverside, "--field-manager=other", "--force-conflicts", stdin=other)
    managers = kubectl.json("get", "cm", "c", "--show-managed-fields")["metadata"]["managedFields"]
    assert [(one["manager"], one["operation"]) for one in managers] == [("other", "Apply")]
    shown = kubectl.run("diff", "-f", "-", stdin=text)
    assert shown.code == 1 and "-  a: c\n+  a: b\n" in shown.out
    assert "a: c" in kubectl("get", "cm", "c", "-o", "yaml")  # diff wrote nothing
    unknown = kubectl.run("apply", "-f", "-", stdin=text + "colour: red\n")
    assert unknown.code == 1 and 'strict decoding error: unknown field "colour"' in unknown.err
    warned = kubectl.run("apply", "--validate=warn", "-f", "-", stdin=text + "colour: red\n")
    assert warned.code == 0 and 'Warning: unknown field "colour"' in warned.err
    (directory / "c.yaml").write_text(text)
    (directory / "kustomization.yaml").write_text("nameSuffix: -k\nlabels: [{pairs: {a: b}}]\nresources: [c.yaml]\n")
    assert kubectl("apply", "-k", str(directory)) == "configmap/c-k created\n"
    assert kubectl("diff", "-k", str(directory)) == ""
    assert "deleted" in kubectl("delete", "-k", str(directory))


def sets(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=SETS)
    for one in ("sts/db", "ds/agent"):
        kubectl("rollout", "status", one, "--timeout=60s")
        kubectl("rollout", "restart", one)
        kubectl("rollout", "status", one, "--timeout=60s")
        history = kubectl("rollout", "history", one)
        assert [line.split()[0] for line in history.splitlines() if line[:1].isdigit()] == ["1", "2"], history
    assert kubectl("get", "ds", "agent", "--no-headers").split()[1:4] == ["2", "2", "2"]
    kubectl("rollout", "undo", "ds/agent")
    kubectl("rollout", "status", "ds/agent", "--timeout=60s")


def nodes(kubectl: Kubectl) -> None:
    """One is drained: its pods go, but those of DaemonSets; the tests' other node has room."""
    assert kubectl("taint", "node", "node-2", "a=b:NoSchedule") == "node/node-2 tainted\n"
    assert kubectl("taint", "node", "node-2", "a-") == "node/node-2 untainted\n"
    try:
        refused = kubectl.run("drain", "node-2", "--pod-selector=app in (web, agent)", "--timeout=30s")
        assert refused.code == 1 and "cannot delete DaemonSet-managed Pods" in refused.err
        kubectl("drain", "node-2", "--ignore-daemonsets", "--pod-selector=app=web", "--grace-period=0", "--timeout=30s")
        assert "SchedulingDisabled" in kubectl("get", "node", "node-2")
        kubectl("rollout", "status", "deploy/web", "--timeout=60s")
        where = "jsonpath={.items[*].spec.nodeName}"
        assert set(kubectl("get", "pods", "-l", "app=web", "-o", where).split()) == {"node-1"}
    finally:
        kubectl("uncordon", "node-2")


def reaching_in(kubectl: Kubectl, directory: Path) -> None:
    """Files go in and come out; a port is forwarded; a copy of a pod is debugged."""
    (directory / "in").write_text("some text\n")
    kubectl("cp", str(directory / "in"), "db-0:/tmp/copied")
    assert kubectl("exec", "db-0", "--", "cat", "/tmp/copied") == "some text\n"
    kubectl("cp", "db-0:/tmp/copied", str(directory / "out"))
    assert (directory / "out").read_text() == "some text\n"
    kubectl(
        "debug", "db-0", "--image=host", "--copy-to=copy", "--container=main", "--attach=false", "--", "echo", "I am it"
    )
    eventually(lambda: kubectl("logs", "copy") == "I am it\n", what="the copy's words")
    forwarding = kubectl.start("port-forward", "svc/kube-dns", "-n", "kube-system", ":9153")
    forwarding.terminate()
    forwarding.communicate(timeout=10)


def asking(kubectl: Kubectl) -> None:
    assert "is running at https://127.0.0.1" in kubectl("cluster-info")
    assert "SuccessfulCreate" in kubectl("events", "--for", "statefulset/db")
    assert "Metrics API not available" in kubectl.run("top", "pods").err
    rows = kubectl("api-resources", "--no-headers", "-o", "name").split()
    if kubectl.minor not in (min(WHEELS), max(WHEELS)):
        rows = ["pods", "statefulsets.apps"]  # all kinds are shown by the oldest and the newest
    for row in rows:
        if "review" not in row and row != "replicationcontrollers":  # only asked, and only listed: they have no schema
            said = kubectl.run("explain", row)
            assert said.code == 0 and "FIELDS:\n" in said.out, (row, said)
    kubectl("apply", "-f", "-", stdin=TIDES)
    kubectl("wait", "crd/tides.sea.example", "--for=condition=Established", "--timeout=10s")
    said = kubectl("explain", "tides.spec.height")
    assert "FIELD: height <integer>" in said and "Metres above the chart." in said
    paged = json.loads(kubectl("get", "--raw", f"/api/v1/namespaces/{kubectl.namespace}/configmaps?limit=1"))
    assert len(paged["items"]) == 1 and paged["metadata"]["continue"]
    watched = kubectl.start("get", "cm", "-w", "-o", "name")
    assert watched.stdout
    assert {watched.stdout.readline(), watched.stdout.readline()} == {"configmap/c\n", "configmap/kube-root-ca.crt\n"}
    kubectl("annotate", "cm", "c", "x=y")
    assert watched.stdout.readline() == "configmap/c\n"
    watched.terminate()
    watched.communicate(timeout=10)
    assert json.loads(kubectl("get", "--raw", "/apis"))["kind"] == "APIGroupList"
