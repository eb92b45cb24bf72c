"""kubectl get, events, wait, auth, cluster-info and api-resources: reading in all the ways that people read."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.e2e.conftest import in_namespace
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.kubectl import MINORS, Kubectl

pytestmark = pytest.mark.rootless


@pytest.fixture
def kubectl(api: Cluster, namespace: str) -> Iterator[Kubectl]:
    """The newest alone: tests/long has the others."""
    yield from in_namespace(api, MINORS[-1], namespace)


def lines(process: subprocess.Popen[str], count: int) -> list[list[str]]:
    assert process.stdout is not None
    return [process.stdout.readline().split() for _ in range(count)]


def test_watches_in_every_form(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "a")
    started = {
        "events": kubectl.start("get", "cm", "-l", "w=1", "-w", "--output-watch-events"),
        "only": kubectl.start("get", "cm", "a", "--watch-only", "-o", "name"),
        "json": kubectl.start("get", "cm", "a", "-w", "-o", "json"),
    }
    try:
        json_out = started["json"].stdout
        assert json_out is not None
        first = ""
        while not first.endswith("\n}\n"):
            first += json_out.readline()
        assert json.loads(first)["metadata"]["name"] == "a"

        # The other two say nothing before something happens: it happens until they have heard of it.
        def heard() -> str:
            kubectl("label", "cm", "a", "w=1", "--overwrite")
            return kubectl("label", "cm", "a", "w-", "x=1", "--overwrite")

        for _ in range(3):
            heard()
        assert lines(started["only"], 2) == [["configmap/a"], ["configmap/a"]]
        head, added, deleted = lines(started["events"], 3)
        assert head == ["EVENT", "NAME", "DATA", "AGE"]
        assert added[:3] == ["ADDED", "a", "0"] and deleted[:3] == ["DELETED", "a", "0"]
    finally:
        for process in started.values():
            process.kill()
            process.communicate()


FIELDS = [
    ("pods", "spec.nodeName=", True), ("pods", "spec.nodeName!=", False), ("pods", "status.phase=Pending", True),
    ("pods", "status.phase!=Pending", False), ("pods", "metadata.name=p", True), ("pods", "status.podIP=", True),
    ("pods", "spec.restartPolicy=Always", True), ("pods", "spec.schedulerName=default-scheduler", True),
    ("pods", "spec.serviceAccountName=default", True), ("pods", "spec.hostNetwork=false", True),
    ("services", "spec.type=NodePort", False), ("services", "spec.clusterIP!=None", True),
    ("secrets", "type=Opaque", True), ("secrets", "type=other", False),
    ("events", "involvedObject.name=p,type=Warning,reason=FailedScheduling", True),
    ("events", "involvedObject.kind=Service", False), ("events", "involvedObject.name=p,type!=Warning", False),
    ("configmaps", "metadata.name!=kube-root-ca.crt", False),
]  # fmt: skip


def test_field_selectors_of_every_kind(kubectl: Kubectl, namespace: str) -> None:
    kubectl("run", "p", "--image=i")
    kubectl("create", "service", "clusterip", "s", "--tcp=80")
    kubectl("create", "secret", "generic", "g")
    eventually(lambda: kubectl("get", "events", "-o", "name"), what="an event")
    wrong = []
    for kind, fields, expected in FIELDS:
        path = f"/api/v1/namespaces/{namespace}/{kind}?fieldSelector={quote(fields)}"
        if bool(json.loads(kubectl("get", "--raw", path))["items"]) is not expected:
            wrong.append((kind, fields))
    assert wrong == []
    assert kubectl("get", "ns", f"--field-selector=status.phase=Active,metadata.name={namespace}", "-o", "name")
    for kind, said in (
        ("cm", '"data.a" is not a known field selector: only "metadata.name", "metadata.namespace"'),
        ("pods", "field label not supported: data.a"),
    ):
        refused = kubectl.run("get", kind, "--field-selector=data.a=b")
        assert refused.code == 1 and said in refused.err


def test_output_in_many_forms(kubectl: Kubectl, namespace: str) -> None:
    for name, tier in (("b", "x"), ("a", "y")):
        kubectl("create", "configmap", name, f"--from-literal=k={name}")
        kubectl("label", "cm", name, f"tier={tier}")
    two = ("get", "cm", "-l", "tier in (x,y),!z")
    assert kubectl(*two, "--sort-by=.metadata.labels.tier", "-o", "name").split() == ["configmap/b", "configmap/a"]
    assert kubectl(*two, "-o", "jsonpath={range .items[*]}{.metadata.name}={.data.k} {end}") == "a=a b=b "
    assert kubectl(*two, "-o", "go-template={{range .items}}{{.metadata.name}},{{end}}") == "a,b,"
    assert kubectl(*two, "-o", "custom-columns=N:.metadata.name,K:.data.k").split() == ["N", "K", "a", "a", "b", "b"]
    assert [line.split()[-1] for line in kubectl(*two, "-L", "tier").splitlines()] == ["TIER", "y", "x"]
    assert [line.split()[-1] for line in kubectl(*two, "--show-labels").splitlines()] == ["LABELS", "tier=y", "tier=x"]
    assert kubectl(*two, "--no-headers", "--chunk-size=1").count("\n") == 2
    row = next(line for line in kubectl("get", "cm", "-A").splitlines() if line.startswith(f"{namespace} "))
    assert row.split()[1] in ("a", "b", "kube-root-ca.crt")
    assert "managedFields" not in kubectl(*two, "-o", "yaml", "--show-managed-fields=false")


def test_events_of_one_object_by_type(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "web", "--image=i")
    kubectl("run", "lost", "--image=i")
    eventually(lambda: "FailedScheduling" in kubectl("events", "--for", "pod/lost"), what="an event")
    head, *rows = kubectl("events", "--for", "pod/lost", "--types=Warning").splitlines()
    assert head.split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert all("Warning" in row and "Pod/lost" in row for row in rows)
    eventually(lambda: "ScalingReplicaSet" in kubectl("events", "--for", "deploy/web"), what="an event")
    assert kubectl("events", "--for", "pod/lost", "--types=Normal").strip() == ""
    wide = kubectl("get", "events", "-o", "wide").splitlines()[0].split()
    assert wide[-7:] == ["SUBOBJECT", "SOURCE", "MESSAGE", "FIRST", "SEEN", "COUNT", "NAME"]
    row = kubectl("get", "events", "--field-selector=involvedObject.name=web,reason=ScalingReplicaSet").splitlines()[1]
    assert "deployment/web" in row and "Scaled up replica set web-" in row and row.endswith("from 0 to 1")


def test_waiting(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "c")
    waiting = kubectl.start("wait", "cm/later", "--for=create", "--timeout=20s")
    kubectl("create", "configmap", "later")
    out, err = waiting.communicate(timeout=20)
    assert waiting.returncode == 0, err
    assert out == "configmap/later condition met\n"
    never = kubectl.run("wait", "cm/c", "--for=jsonpath={.data.k}=v", "--timeout=1s")
    assert never.code == 1 and "timed out waiting for the condition on configmaps/c" in never.err


def test_who_am_i_and_may_i(kubectl: Kubectl) -> None:
    who = [line.split(maxsplit=1) for line in kubectl("auth", "whoami").splitlines()]
    assert who[1:] == [["Username", "kubernetes-admin"], ["Groups", "[system:masters system:authenticated]"]]
    other = kubectl("auth", "whoami", "--as=alice", "--as-group=devs")
    assert "alice" in other and "[devs system:authenticated]" in other
    assert kubectl("auth", "can-i", "create", "deployments.apps/scale") == "yes\n"
    assert kubectl("auth", "can-i", "get", "/healthz", "--as=alice") == "yes\n"
    rows = [line.split() for line in kubectl("auth", "can-i", "--list").splitlines()]
    assert ["*.*", "[]", "[]", "[*]"] in rows


def test_the_whole_cluster(api: Cluster, kubectl: Kubectl, namespace: str, tmp_path: Path) -> None:
    assert "Kubernetes control plane is running at https://127.0.0.1:" in kubectl("cluster-info")
    kubectl("cluster-info", "dump", f"--namespaces={namespace}", f"--output-directory={tmp_path}")
    assert {one.name for one in (tmp_path / namespace).iterdir()} >= {"pods.json", "deployments.json", "events.json"}
    wide = {line.split()[0]: line for line in kubectl("api-resources", "-o", "wide").splitlines()}
    assert "create,delete,deletecollection,get,list,patch,update,watch" in wide["pods"] and wide["pods"].endswith("all")
    assert set(kubectl("api-resources", "--categories=all", "-o", "name").split()) == {
        "pods", "services", "deployments.apps", "replicasets.apps", "statefulsets.apps", "daemonsets.apps",
        "jobs.batch", "cronjobs.batch", "horizontalpodautoscalers.autoscaling",
    }  # fmt: skip
    with kubectl.start("proxy", "--port=0") as proxy:
        try:
            assert proxy.stdout is not None
            port = proxy.stdout.readline().rpartition(":")[2].strip()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/namespaces/{namespace}", timeout=10) as got:
                assert json.load(got)["metadata"]["name"] == namespace
        finally:
            proxy.kill()
    context = kubectl("config", "current-context").strip()
    assert context == f"skerry-{api.name}"
    assert kubectl("config", "get-contexts").splitlines()[1].split()[:3] == ["*", context, context]


DESCRIBED = """
{"apiVersion": "v1", "kind": "List", "items": [
 {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web"},
  "spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}},
 {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
  "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}},
 {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "web"}, "spec": {}}]}
"""


def test_every_kind_is_described_and_shows_its_events(kubectl: Kubectl) -> None:
    """One object of each, with an event about it where people look for why something does not get on."""
    kubectl("create", "deployment", "web", "--image=i")
    kubectl("expose", "deployment", "web", "--port=80")
    kubectl("create", "secret", "generic", "key", "--from-literal=a=b")
    kubectl("create", "-f", "-", stdin=DESCRIBED)
    kinds = kubectl("api-resources", "--namespaced", "--verbs=list,create", "-o", "name").split()
    for kind in ("pod", "deploy", "rs"):
        eventually(lambda kind=kind: "Events:  <none>" not in kubectl("describe", kind), what=kind)  # type: ignore[misc]
    some = ",".join(one for one in kinds if not one.startswith("events"))
    text = kubectl("describe", some, "--show-events=true")
    described = set(re.findall(r"^Name: +(\S+)$", text, re.M))
    assert {"web", "key", "default", "kube-root-ca.crt"} <= described
    for said in ("FailedScheduling", "ScalingReplicaSet", "SuccessfulCreate"):
        assert re.search(rf"^ +(Normal|Warning) +{said} ", text, re.M), said
    everywhere = kubectl("api-resources", "--namespaced=false", "--verbs=list,create", "-o", "name").split()
    assert {"namespaces", "priorityclasses.scheduling.k8s.io"} <= set(everywhere)
    assert "Name:" in kubectl("describe", ",".join(everywhere))
