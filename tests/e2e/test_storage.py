"""Volumes that outlive pods, limits and quotas, as people use them with kubectl; with real pods."""

from __future__ import annotations

import pytest
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.kubectl import Kubectl

pytestmark = pytest.mark.rootless

SET = """\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: c
        image: host
        command: [sh, -c, 'date +%N >> /data/starts; sleep 1000000']
        volumeMounts:
        - {name: data, mountPath: /data}
        - {name: data, mountPath: /sub, subPath: part, readOnly: true}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""


def test_what_a_pod_writes_is_there_for_the_next_one(pods3: Kubectl, nodes3: Cluster) -> None:
    pods3("apply", "-f", "-", stdin=SET)
    pods3("wait", "--for=condition=Ready", "pod/db-0", "--timeout=20s")
    node = pods3("get", "pod", "db-0", "-o", "jsonpath={.spec.nodeName}")
    pods3("delete", "pod", "db-0", "--now")
    eventually(lambda: pods3.run("exec", "db-0", "--", "sh", "-c", "[ $(wc -l < /data/starts) = 2 ]").code == 0)
    assert pods3("get", "pod", "db-0", "-o", "jsonpath={.spec.nodeName}") == node
    refused = pods3.run("exec", "db-0", "--", "touch", "/sub/x")
    assert "Read-only file system" in refused.err
    shown = pods3("get", "pvc").split()
    name = shown[shown.index("Bound") + 1]
    assert "standard" in shown and "1Gi" in shown and "RWO" in shown
    assert "Used By:       db-0" in pods3("describe", "pvc", "data-db-0")
    directory = pods3("get", "pv", name, "-o", "jsonpath={.spec.hostPath.path}")
    assert directory.startswith(f"{nodes3.data}/nodes/{node}/volumes/pvc-")
    assert "standard (default)" in pods3("get", "sc")
    pods3("delete", "statefulset", "db")
    eventually(lambda: "NotFound" in pods3.run("get", "pv", name).err)
    looks = pods3("get", "pvc")
    assert looks == ""


def test_limits_and_quotas(pods: Kubectl, namespace: str) -> None:
    pods("create", "quota", "q", "--hard=pods=1,count/configmaps=2")
    pods(
        "apply",
        "-f",
        "-",
        stdin="apiVersion: v1\nkind: LimitRange\nmetadata: {name: l}\nspec:\n  limits:\n"
        "  - {type: Container, max: {memory: 64Mi}, defaultRequest: {cpu: 1m}}\n",
    )
    pods("run", "a", "--image=host", "--command", "--", "sleep", "1000000")
    refused = pods.run("run", "b", "--image=host", "--command", "--", "sleep", "1000000")
    assert "exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1" in refused.err
    assert "cpu:        1m" in pods("describe", "pod", "a")
    eventually(lambda: pods("describe", "quota", "q").split()[-3:] == ["pods", "1", "1"])
    assert "Container memory - 64Mi 64Mi 64Mi -" in " ".join(pods("describe", "limits", "l").split())
    described = pods("describe", "ns", namespace)
    assert "Resource Quotas" in described and "Resource Limits" in described
