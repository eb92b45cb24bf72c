"""One flow of everyday work with every kubectl that can be had, against pods that run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import _started, skip_without_namespaces
from tests.helpers import look
from tests.helpers.cluster import Cluster
from tests.helpers.kubectl import Kubectl

pytestmark = pytest.mark.long

SHOP = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, labels: {app: shop}}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: shop
          image: host
          command: [sh, -c, "exec python3 -m http.server 8080 --directory /sys/class/net"]
          ports: [{name: http, containerPort: 8080}]
          readinessProbe: {httpGet: {path: /, port: http}}
---
apiVersion: v1
kind: Service
metadata: {name: shop, labels: {app: shop}}
spec:
  selector: {app: shop}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    skip_without_namespaces()
    yield from _started("--nodes", "1", "--ephemeral")


def test_a_day_with_kubectl(each_kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl = each_kubectl
    version = kubectl.json("version")
    assert version["clientVersion"]["gitVersion"].startswith(f"v{kubectl.minor}.")
    create(kubectl)
    apply(kubectl, tmp_path)
    get(kubectl)
    describe(kubectl)
    label_and_annotate(kubectl)
    patch(kubectl)
    rollout(kubectl)
    scale_and_expose(kubectl)
    edit(kubectl, tmp_path)
    watch_and_logs(kubectl)
    discovery(kubectl)
    rights(kubectl)
    debug(kubectl)
    delete(kubectl)


def rights(kubectl: Kubectl) -> None:
    assert "[system:masters system:authenticated]" in kubectl("auth", "whoami")
    assert kubectl.run("auth", "can-i", "create", "pods", "--as=alice").out == "no\n"
    assert ["*.*", "[]", "[]", "[*]"] in [line.split() for line in kubectl("auth", "can-i", "--list").splitlines()]
    jobs(kubectl)
    assert "Metrics API not available" in kubectl.run("top", "nodes").err
    assert '"kind": "DaemonSetList"' in kubectl("cluster-info", "dump", "--namespaces=default")


def jobs(kubectl: Kubectl) -> None:
    """What each kubectl sends to create them differs: protobuf, and other fields."""
    kubectl("create", "cronjob", "tick", "--image=host", "--schedule=@yearly", "--", "echo", "tick")
    kubectl("create", "job", "now", "--from=cronjob/tick")
    kubectl("wait", "--for=condition=complete", "job/now", "--timeout=30s")
    assert kubectl("logs", "job/now") == "tick\n"
    kubectl("delete", "cronjob/tick")  # its jobs go with it
    kubectl("wait", "job/now", "--for=delete", "--timeout=30s")


def debug(kubectl: Kubectl) -> None:
    name = kubectl("get", "pods", "-l", "app=plain", "-o", "jsonpath={.items[0].metadata.name}")
    kubectl("debug", name, "--image=host", "--target=host", "-c", "look", "--", "sh", "-c", "ps -eo args; sleep 100000")
    running = "--for=jsonpath={.status.ephemeralContainerStatuses[0].state.running}"
    kubectl("wait", f"pod/{name}", running, "--timeout=20s")
    with look.lines(kubectl, "logs", "-f", name, "-c", "look") as log:
        log.until(lambda line: line == "sleep 100000")


def create(kubectl: Kubectl) -> None:
    """kubectl's generators send protobuf."""
    assert kubectl("create", "deployment", "plain", "--image=host", "--replicas=1", "--", "sleep", "100000") == (
        "deployment.apps/plain created\n"
    )
    assert kubectl("create", "service", "clusterip", "plain", "--tcp=80:8080") == "service/plain created\n"
    assert kubectl("create", "service", "nodeport", "plain-np", "--tcp=80:8080") == "service/plain-np created\n"
    assert kubectl("create", "configmap", "words", "--from-literal=a=b") == "configmap/words created\n"
    assert kubectl("create", "secret", "generic", "secret", "--from-literal=a=b") == "secret/secret created\n"
    kubectl("create", "serviceaccount", "worker")
    kubectl("wait", "--for=condition=Available", "deployment/plain", "--timeout=30s")
    again = kubectl.run("create", "deployment", "plain", "--image=host")
    assert again.code == 1
    assert again.err == 'error: failed to create deployment: deployments.apps "plain" already exists\n'


def apply(kubectl: Kubectl, directory: Path) -> None:
    manifest = directory / "shop.yaml"
    manifest.write_text(SHOP)
    names = ("deployment.apps/shop", "service/shop", "configmap/settings")
    assert kubectl("diff", "-f", "-", stdin=kubectl("get", "configmap", "words", "-o", "yaml")) == ""
    assert kubectl("apply", "-f", str(manifest)).splitlines() == [f"{name} created" for name in names]
    assert kubectl("apply", "-f", str(manifest)).splitlines() == [f"{name} unchanged" for name in names]
    manifest.write_text(SHOP.replace("blue", "green"))
    assert "configmap/settings configured" in kubectl("apply", "-f", str(manifest))
    assert kubectl("get", "cm", "settings", "-o", "jsonpath={.data.colour}") == "green"
    kubectl("rollout", "status", "deployment/shop", "--timeout=60s")


def get(kubectl: Kubectl) -> None:
    header, *rows = kubectl("get", "pods", "-l", "app=shop", "-o", "wide").splitlines()
    assert header.split()[:5] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert len(rows) == 2 and all(" 1/1 " in row and " Running " in row and " node-1 " in row for row in rows)
    assert kubectl("get", "deploy", "shop", "-o", "wide").splitlines()[1].split()[:4] == ["shop", "2/2", "2", "2"]
    assert kubectl("get", "deploy,svc", "shop", "-o", "name") == "deployment.apps/shop\nservice/shop\n"
    assert "clusterIP: 10." in kubectl("get", "svc", "shop", "-o", "yaml")
    assert kubectl.json("get", "endpointslices", "-l", "kubernetes.io/service-name=shop")["items"]
    columns = kubectl("get", "svc", "shop", "-o", "custom-columns=N:.metadata.name,P:.spec.ports[*].port")
    assert [line.split() for line in columns.splitlines()] == [["N", "P"], ["shop", "80"]]
    jsonpath = "jsonpath={range .items[*]}{.status.phase}{' '}{end}"
    assert kubectl("get", "pods", "-l", "app=shop", "-o", jsonpath).split() == ["Running", "Running"]
    assert kubectl("get", "pods", "-l", "app=shop", "--field-selector=status.phase!=Running", "-o", "name") == ""
    template = kubectl("get", "svc", "shop", "-o", "go-template={{.metadata.name}}")
    assert template == "shop"
    missing = kubectl.run("get", "pod", "nobody")
    assert (missing.code, missing.err) == (1, 'Error from server (NotFound): pods "nobody" not found\n')


def describe(kubectl: Kubectl) -> None:
    said = kubectl("describe", "service", "shop")
    for field in ("Name:", "Selector:", "Type:", "IP:", "Port:", "TargetPort:", "Endpoints:", "Session Affinity:"):
        assert field in said, said
    assert said.split("Endpoints:")[1].splitlines()[0].count(":8080") == 2, said
    said = kubectl("describe", "deployment", "shop")
    assert "Replicas:" in said and "2 desired | 2 updated | 2 total | 2 available | 0 unavailable" in said, said
    assert "ScalingReplicaSet" in said
    assert "Liveness" not in said and "Readiness:" in said
    assert "Ready             True" in kubectl("describe", "pods", "-l", "app=shop")
    assert "node-1" in kubectl("describe", "node", "node-1")


def label_and_annotate(kubectl: Kubectl) -> None:
    assert kubectl("label", "cm", "words", "tier=front") == "configmap/words labeled\n"
    refused = kubectl.run("label", "cm", "words", "tier=back")
    assert refused.code == 1 and "--overwrite is false" in refused.err
    kubectl("label", "cm", "words", "tier=back", "--overwrite")
    assert kubectl("get", "cm", "-l", "tier=back", "-o", "name") == "configmap/words\n"
    kubectl("label", "cm", "words", "tier-")
    assert kubectl("get", "cm", "-l", "tier", "-o", "name") == ""
    assert kubectl("annotate", "cm", "words", "note=kept") == "configmap/words annotated\n"
    assert kubectl("get", "cm", "words", "-o", "jsonpath={.metadata.annotations.note}") == "kept"


def patch(kubectl: Kubectl) -> None:
    kubectl("patch", "cm", "words", "--type=merge", "-p", '{"data":{"b":"1","a":null}}')
    kubectl("patch", "cm", "words", "--type=json", "-p", '[{"op":"add","path":"/data/c","value":"2"}]')
    assert kubectl.json("get", "cm", "words")["data"] == {"b": "1", "c": "2"}
    # Strategic: ports are merged by their number.
    kubectl("patch", "svc", "shop", "-p", '{"spec":{"ports":[{"name":"more","port":81,"targetPort":8081}]}}')
    assert sorted(one["port"] for one in kubectl.json("get", "svc", "shop")["spec"]["ports"]) == [80, 81]
    wrong = kubectl.run("patch", "svc", "shop", "-p", '{"spec":{"ports":[{"port":70000}]}}')
    assert wrong.code == 1 and "must be between 1 and 65535, inclusive" in wrong.err


def rollout(kubectl: Kubectl) -> None:
    before = names(kubectl)
    kubectl("rollout", "restart", "deployment/shop")
    kubectl("rollout", "status", "deployment/shop", "--timeout=60s")
    kubectl("wait", "--for=delete", *sorted(before), "--timeout=30s")
    assert len(names(kubectl)) == 2
    kubectl("set", "env", "deployment/shop", "COLOUR=red")
    kubectl("rollout", "status", "deployment/shop", "--timeout=60s")
    history = kubectl("rollout", "history", "deployment/shop")
    assert [line.split()[0] for line in history.splitlines() if line[:1].isdigit()] == ["1", "2", "3"], history
    assert "COLOUR" in kubectl("rollout", "history", "deployment/shop", "--revision=3")
    kubectl("rollout", "undo", "deployment/shop")
    kubectl("rollout", "status", "deployment/shop", "--timeout=60s")
    assert "COLOUR" not in kubectl("get", "deployment", "shop", "-o", "yaml")
    kubectl("rollout", "pause", "deployment/shop")
    assert "paused: true" in kubectl("get", "deployment", "shop", "-o", "yaml")
    kubectl("rollout", "resume", "deployment/shop")


def names(kubectl: Kubectl) -> set[str]:
    return set(kubectl("get", "pods", "-l", "app=shop", "-o", "name").split())


def scale_and_expose(kubectl: Kubectl) -> None:
    assert kubectl("scale", "deployment/shop", "--replicas=3") == "deployment.apps/shop scaled\n"
    kubectl("wait", "deployment/shop", "--for=jsonpath={.status.readyReplicas}=3", "--timeout=60s")
    kubectl("scale", "deployment/shop", "--replicas=1", "--current-replicas=3")
    kubectl("wait", "deployment/shop", "--for=jsonpath={.status.replicas}=1", "--timeout=60s")
    refused = kubectl.run("scale", "deployment/shop", "--replicas=2", "--current-replicas=7")
    assert refused.code == 1 and "Expected replicas to be 7, was 1" in refused.err
    said = kubectl("expose", "deployment", "shop", "--name=exposed", "--port=8080", "--type=NodePort")
    assert said == "service/exposed exposed\n"
    spec = kubectl.json("get", "svc", "exposed")["spec"]
    assert spec["selector"] == {"app": "shop"} and 30000 <= spec["ports"][0]["nodePort"] <= 32767


def edit(kubectl: Kubectl, directory: Path) -> None:
    editor = directory / "editor"
    editor.write_text('#!/bin/sh\nsed -i s/green/yellow/ "$1"\n')
    editor.chmod(0o755)
    editing = Kubectl(kubectl.minor, kubectl.kubeconfig, {"KUBE_EDITOR": str(editor)})
    assert editing("edit", "cm", "settings") == "configmap/settings edited\n"
    assert kubectl("get", "cm", "settings", "-o", "jsonpath={.data.colour}") == "yellow"
    done = editing.run("edit", "cm", "settings")  # there is nothing green any more
    assert "Edit cancelled, no changes made" in done.out + done.err


def watch_and_logs(kubectl: Kubectl) -> None:
    watching = kubectl.start("get", "cm", "settings", "-w", "-o", "jsonpath={.data.colour}{'\\n'}")
    try:
        assert watching.stdout
        assert watching.stdout.readline() == "yellow\n"
        kubectl("patch", "cm", "settings", "--type=merge", "-p", '{"data":{"colour":"grey"}}')
        assert watching.stdout.readline() == "grey\n"
    finally:
        watching.terminate()
        watching.communicate(timeout=10)
    kubectl("run", "once", "--image=host", "--restart=Never", "--command", "--", "echo", "hello")
    kubectl("wait", "pod/once", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s")
    assert kubectl("logs", "once") == "hello\n"
    assert kubectl("get", "events", "--field-selector=involvedObject.name=once", "-o", "name")


def discovery(kubectl: Kubectl) -> None:
    resources = {line.split()[0] for line in kubectl("api-resources", "--no-headers").splitlines()}
    assert {"pods", "services", "endpoints", "endpointslices", "deployments", "replicasets"} <= resources
    assert "apps/v1" in kubectl("api-versions").split()
    assert "FIELD: clusterIP <string>" in kubectl("explain", "service.spec.clusterIP")
    assert "readinessProbe" in kubectl("explain", "pod.spec.containers", "--recursive")
    assert json.loads(kubectl("get", "--raw", "/version"))["major"] == "1"


def delete(kubectl: Kubectl) -> None:
    assert "deleted" in kubectl("delete", "svc", "exposed", "plain", "plain-np")
    assert "deleted" in kubectl("delete", "deployment", "shop", "--cascade=foreground", "--timeout=60s", timeout=90)
    assert names(kubectl) == set()
    kubectl("delete", "pod", "once", "--now")
    kubectl("delete", "deployment", "plain", "--wait=false")
    assert "deleted" in kubectl("delete", "cm,secret", "words", "secret", "--ignore-not-found")
    assert kubectl("get", "deploy,svc", "-o", "name").split() == ["service/shop"]
