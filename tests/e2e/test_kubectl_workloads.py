"""StatefulSets, DaemonSets, Jobs and CronJobs, as people use them with kubectl; with real pods."""

from __future__ import annotations

import pytest
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.kubectl import Kubectl

pytestmark = pytest.mark.rootless

POD = """\
      terminationGracePeriodSeconds: 0
      containers: [{name: c, image: host, command: [sleep, "1000000"]}]
"""
DB = f"""\
apiVersion: v1
kind: Service
metadata: {{name: db}}
spec: {{clusterIP: None, selector: {{app: db}}, ports: [{{port: 80}}]}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: db}}
spec:
  replicas: 2
  serviceName: db
  selector: {{matchLabels: {{app: db}}}}
  template:
    metadata: {{labels: {{app: db}}}}
    spec:
{POD}"""
AGENT = f"""\
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: agent}}
spec:
  selector: {{matchLabels: {{app: agent}}}}
  template:
    metadata: {{labels: {{app: agent}}}}
    spec:
{POD}"""
INDEXED = """\
apiVersion: batch/v1
kind: Job
metadata: {name: indexed}
spec:
  completions: 2
  parallelism: 2
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: host, command: [sh, -c, 'echo "$JOB_COMPLETION_INDEX $(hostname)"']}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: broken}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: host, command: ["false"]}]
"""


def test_a_statefulset_from_its_names_to_its_history(nodes3: Cluster, pods3: Kubectl) -> None:
    kubectl = pods3
    kubectl("apply", "-f", "-", stdin=DB)
    assert "2 new pods have been updated" in kubectl("rollout", "status", "sts/db", "--timeout=20s")
    assert kubectl("get", "pods", "-o", "name").split() == ["pod/db-0", "pod/db-1"]
    name = f"db-1.db.{kubectl.namespace}.svc.cluster.local"
    ip = kubectl.json("get", "pod", "db-1")["status"]["podIP"]
    found = eventually(
        lambda: nodes3.run("getent", "hosts", "db-1.db", namespace=kubectl.namespace).out, what="db-1.db has an address"
    )
    assert found.split() == [ip, name]
    kubectl("annotate", "sts/db", "kubernetes.io/change-cause=more")
    kubectl("set", "env", "sts/db", "A=1")
    kubectl("rollout", "status", "sts/db", "--timeout=20s")
    history = [line.split() for line in kubectl("rollout", "history", "sts/db").splitlines()[2:] if line]
    assert history == [["1", "<none>"], ["2", "more"]]
    kubectl("rollout", "undo", "sts/db")
    kubectl("scale", "sts/db", "--replicas=1")
    kubectl("rollout", "status", "sts/db", "--timeout=20s")
    kubectl("wait", "pod/db-1", "--for=delete", "--timeout=20s")
    assert "env" not in kubectl.json("get", "pod", "db-0")["spec"]["containers"][0]
    assert kubectl("get", "sts").split()[3:5] == ["db", "1/1"]


def test_a_daemonset_is_on_every_node_and_outlives_a_drain(pods3: Kubectl) -> None:
    kubectl = pods3
    kubectl("apply", "-f", "-", stdin=AGENT)
    assert "successfully rolled out" in kubectl("rollout", "status", "ds/agent", "--timeout=20s")
    nodes = kubectl("get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}").split()
    assert sorted(nodes) == ["node-1", "node-2", "node-3"]
    kubectl("set", "env", "ds/agent", "A=1")
    assert "successfully rolled out" in kubectl("rollout", "status", "ds/agent", "--timeout=20s")
    assert kubectl("get", "ds").splitlines()[1].split()[:6] == ["agent", "3", "3", "3", "3", "3"]
    kubectl("rollout", "undo", "ds/agent")
    assert "successfully rolled out" in kubectl("rollout", "status", "ds/agent", "--timeout=20s")
    refused = kubectl.run("drain", "node-3", "--pod-selector=app=agent", "--dry-run=server")
    assert "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore)" in refused.err


def test_jobs(pods3: Kubectl) -> None:
    kubectl = pods3
    kubectl("create", "job", "hello", "--image=host", "--", "echo", "hello")
    kubectl("apply", "-f", "-", stdin=INDEXED)
    kubectl("create", "cronjob", "tick", "--image=host", "--schedule=0 0 29 2 *", "--", "echo", "tick")
    kubectl("create", "job", "now", "--from=cronjob/tick")
    for name in ("hello", "indexed", "now"):
        kubectl("wait", "--for=condition=complete", f"job/{name}", "--timeout=20s")
    kubectl("wait", "--for=condition=failed", "job/broken", "--timeout=20s")
    assert kubectl("logs", "job/hello") == "hello\n" and kubectl("logs", "job/now") == "tick\n"
    lines = kubectl("logs", "-l", "batch.kubernetes.io/job-name=indexed").splitlines()
    assert sorted(lines) == ["0 indexed-0", "1 indexed-1"]
    shown = {line.split()[0]: line.split()[1:3] for line in kubectl("get", "jobs").splitlines()[1:]}
    assert shown == {
        "hello": ["Complete", "1/1"], "indexed": ["Complete", "2/2"], "now": ["Complete", "1/1"],
        "broken": ["Failed", "0/1"],
    }  # fmt: skip
    assert "BackoffLimitExceeded" in kubectl("describe", "job", "broken")
    assert "0 Active (0 Ready) / 2 Succeeded / 0 Failed" in kubectl("describe", "job", "indexed")
    kubectl("delete", "job", "hello", "indexed", "broken")
    kubectl("wait", "pod", "-l", "batch.kubernetes.io/job-name=indexed", "--for=delete", "--timeout=20s")
    assert kubectl("get", "cronjob").splitlines()[1].split()[:7] == ["tick", "0", "0", "29", "2", "*", "<none>"]
    # A pod that is deleted while it runs is let go, and has a successor.
    kubectl("create", "job", "long", "--image=host", "--", "sleep", "1000000")
    kubectl("wait", "pod", "-l", "job-name=long", "--for=condition=ready", "--timeout=20s")
    kubectl("delete", "pod", "-l", "job-name=long", "--grace-period=1", "--timeout=20s")
    eventually(lambda: kubectl.json("get", "job", "long")["status"].get("failed") == 1, what="the pod is counted")


def test_what_is_refused(kubectl: Kubectl) -> None:
    done = kubectl.run("create", "cronjob", "tick", "--image=i", "--schedule=61 * * * *")
    assert done.code == 1 and 'Invalid value: "61 * * * *": end of range (61) above maximum (59): 61' in done.err
    kubectl("create", "job", "once", "--image=i")
    done = kubectl.run("patch", "job", "once", "-p", '{"spec":{"completions":3}}')
    assert done.code == 1 and "spec.completions: Invalid value: 3: field is immutable" in done.err
    said = kubectl("explain", "sts.spec.updateStrategy")
    assert "rollingUpdate" in said and "KIND:       StatefulSet" in said
