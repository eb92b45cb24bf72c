"""kubectl rollout, set, scale and delete --cascade: what Deployments and ReplicaSets do when people change them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.e2e.conftest import in_namespace
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.kubectl import MINORS, Kubectl

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - {name: web, image: host, command: [sleep, "1000000"], ports: [{name: http, containerPort: 8080}]}
"""
CAUSE = "kubernetes.io/change-cause"


@pytest.fixture
def kubectl(api: Cluster, namespace: str) -> Iterator[Kubectl]:
    """The newest alone: tests/long has the others."""
    yield from in_namespace(api, MINORS[-1], namespace)


def history(kubectl: Kubectl) -> list[list[str]]:
    lines = kubectl("rollout", "history", "deploy/web").splitlines()
    assert lines[:2] == ["deployment.apps/web ", "REVISION  CHANGE-CAUSE"]
    return [line.split(maxsplit=1) for line in lines[2:] if line]


def has_history(kubectl: Kubectl, *rows: list[str]) -> None:
    eventually(lambda: history(kubectl) == list(rows), what=f"the history {rows}")


@pytest.mark.rootless
def test_history_undo_pause_resume_and_restart(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=WEB)
    kubectl("annotate", "deploy/web", f"{CAUSE}=first")
    has_history(kubectl, ["1", "first"])
    kubectl("set", "env", "deploy/web", "A=1")
    kubectl("annotate", "deploy/web", f"{CAUSE}=second", "--overwrite")
    has_history(kubectl, ["1", "first"], ["2", "second"])
    shown = kubectl("rollout", "history", "deploy/web", "--revision=2")
    assert shown.startswith("deployment.apps/web with revision #2\nPod Template:\n  Labels:\tapp=web\n")
    assert f"Annotations:\t{CAUSE}: second" in shown and "A:\t1" in shown
    unknown = kubectl.run("rollout", "history", "deploy/web", "--revision=9")
    assert unknown.code == 1 and "unable to find the specified revision" in unknown.err

    assert kubectl("rollout", "undo", "deploy/web") == "deployment.apps/web rolled back\n"
    has_history(kubectl, ["2", "second"], ["3", "first"])
    assert "skipped rollback (current template already matches revision 3)" in kubectl(
        "rollout", "undo", "deploy/web", "--to-revision=3"
    )
    assert kubectl("rollout", "undo", "deploy/web", "--to-revision=2") == "deployment.apps/web rolled back\n"
    has_history(kubectl, ["3", "first"], ["4", "second"])
    assert kubectl.json("get", "deploy", "web")["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "4"
    refused = kubectl.run("rollout", "undo", "deploy/web", "--to-revision=7")
    assert refused.code == 1 and "unable to find specified revision 7 in history" in refused.err

    assert kubectl("rollout", "pause", "deploy/web") == "deployment.apps/web paused\n"
    assert 'deployments.apps "web" is already paused' in kubectl.run("rollout", "pause", "deploy/web").err
    kubectl("set", "image", "deploy/web", "web=host:other")
    progressing = "{.status.conditions[?(@.type=='Progressing')].reason}"
    kubectl("wait", "deploy/web", f"--for=jsonpath={progressing}=DeploymentPaused", "--timeout=10s")
    refused = kubectl.run("rollout", "undo", "deploy/web")
    assert refused.code == 1 and "you cannot rollback a paused deployment; resume it first" in refused.err
    has_history(kubectl, ["3", "first"], ["4", "second"])
    assert kubectl("rollout", "resume", "deploy/web") == "deployment.apps/web resumed\n"
    assert 'deployments.apps "web" is not paused' in kubectl.run("rollout", "resume", "deploy/web").err
    has_history(kubectl, ["3", "first"], ["4", "second"], ["5", "second"])
    assert kubectl("rollout", "restart", "deploy/web") == "deployment.apps/web restarted\n"
    has_history(kubectl, ["3", "first"], ["4", "second"], ["5", "second"], ["6", "second"])


@pytest.mark.rootless
def test_set_expose_and_scale(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=WEB)
    kubectl("create", "serviceaccount", "robot")
    assert "resource requirements updated" in kubectl("set", "resources", "deploy/web", "--limits=cpu=1,memory=64Mi")
    assert "serviceaccount updated" in kubectl("set", "serviceaccount", "deploy/web", "robot")
    kubectl("set", "env", "deploy/web", "A=1", "B=2")
    assert kubectl("set", "env", "deploy/web", "--list") == "# Deployment web, container web\nA=1\nB=2\n"
    spec = kubectl.json("get", "deploy", "web")["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == "robot"
    assert spec["containers"][0]["resources"]["limits"] == {"cpu": "1", "memory": "64Mi"}
    kubectl("expose", "deploy", "web", "--port=80", "--target-port=http")
    assert kubectl("set", "selector", "svc", "web", "app=other") == "service/web selector updated\n"
    assert kubectl.json("get", "svc", "web")["spec"]["selector"] == {"app": "other"}

    assert kubectl("scale", "deploy/web", "--replicas=3", "--current-replicas=2") == "deployment.apps/web scaled\n"
    wrong = kubectl.run("scale", "deploy/web", "--replicas=3", "--current-replicas=2")
    assert wrong.code == 1 and "Expected replicas to be 2, was 3" in wrong.err
    head, row = kubectl("get", "deploy", "web", "--subresource=scale").splitlines()
    assert (head.split(), row.split()[:2]) == (["NAME", "DESIRED", "AVAILABLE", "AGE"], ["web", "3"])
    kubectl("patch", "deploy", "web", "--subresource=scale", "--type=merge", "-p", '{"spec":{"replicas":0}}')
    kubectl("patch", "deploy", "web", "--subresource=status", "--type=merge", "-p", '{"status":{"collisionCount":1}}')
    found = kubectl.json("get", "deploy", "web")
    assert found["spec"]["replicas"] == 0 and found["status"]["collisionCount"] == 1


@pytest.mark.rootless
def test_delete_in_three_ways_and_adoption(kubectl: Kubectl) -> None:
    """A4, A7: what is left over is taken over by the next owner that it matches."""
    kubectl("create", "-f", "-", stdin=WEB)

    def owners(kind: str) -> list[str]:
        items = kubectl.json("get", kind, "-l", "app=web")["items"]
        return [owner["kind"] for item in items for owner in item["metadata"].get("ownerReferences", [{"kind": ""}])]

    eventually(lambda: owners("pods") == ["ReplicaSet"] * 2, what="two pods")
    kubectl("delete", "deploy", "web", "--cascade=orphan")
    assert owners("rs") == [""] and owners("pods") == ["ReplicaSet"] * 2
    pods = kubectl("get", "pods", "-o", "name")
    kubectl("create", "-f", "-", stdin=WEB)
    eventually(lambda: owners("rs") == ["Deployment"], what="the ReplicaSet to be taken over")
    kubectl("delete", "rs", "-l", "app=web", "--cascade=orphan")
    eventually(lambda: owners("pods") == ["ReplicaSet"] * 2, what="the pods to be taken over")
    assert kubectl("get", "pods", "-o", "name") == pods
    kubectl("delete", "deploy", "web", "--cascade=foreground")
    assert kubectl("get", "rs,pods", "-o", "name") == ""
    kubectl("create", "-f", "-", stdin=WEB)
    eventually(lambda: owners("pods") == ["ReplicaSet"] * 2, what="two pods")
    kubectl("delete", "deploy", "web", "--cascade=background")
    kubectl("wait", "--for=delete", "rs,pods", "-l", "app=web", "--timeout=10s")


def test_rollouts_to_their_end_and_not(pods: Kubectl) -> None:
    pods("create", "-f", "-", stdin=WEB)
    assert pods("rollout", "status", "deploy/web").endswith('deployment "web" successfully rolled out\n')
    pods("rollout", "pause", "deploy/web")  # or it might be through before it is watched
    pods("set", "env", "deploy/web", "A=1")
    with pods.start("rollout", "status", "deploy/web") as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline().startswith('Waiting for deployment "web" rollout to finish: ')
        pods("rollout", "resume", "deploy/web")
        assert watching.communicate(timeout=60)[0].endswith('deployment "web" successfully rolled out\n')
    pods("patch", "deploy", "web", "-p", '{"spec":{"progressDeadlineSeconds":1}}')
    pods("set", "image", "deploy/web", "web=localhost:1/nothing:1")
    late = pods.run("rollout", "status", "deploy/web", timeout=30)
    assert late.code == 1 and 'error: deployment "web" exceeded its progress deadline' in late.err
    (line,) = [one for one in pods("describe", "deploy", "web").splitlines() if one.startswith("  Progressing ")]
    assert line.split() == ["Progressing", "False", "ProgressDeadlineExceeded"]
    pods("patch", "deploy", "web", "-p", '{"spec":{"progressDeadlineSeconds":60}}')
    pods("rollout", "undo", "deploy/web")
    assert pods("rollout", "status", "deploy/web", "--timeout=20s").endswith("successfully rolled out\n")
    recreate = '{"spec":{"strategy":{"type":"Recreate","rollingUpdate":null}}}'
    pods("patch", "deploy", "web", "-p", recreate)
    pods("set", "env", "deploy/web", "A=2")
    assert pods("rollout", "status", "deploy/web", "--timeout=20s").endswith("successfully rolled out\n")
