"""What kubectl is told of kinds and verbs that are not served: one sentence each; and what works all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import in_namespace
from tests.helpers.cluster import Cluster
from tests.helpers.kubectl import MINORS, Kubectl

pytestmark = pytest.mark.rootless


@pytest.fixture
def kubectl(api: Cluster, namespace: str) -> Iterator[Kubectl]:
    """The newest alone: tests/long has the others."""
    yield from in_namespace(api, MINORS[-1], namespace)


def test_kinds_that_are_not_served(kubectl: Kubectl) -> None:
    for what in ("pods", "nodes"):
        done = kubectl.run("top", what)
        assert done.code == 1 and "Metrics API not available" in done.err, done
    assert kubectl.run("get", "rc").err.startswith("No resources found")
    body = "apiVersion: v1\nkind: ReplicationController\nmetadata: {name: s}\n"
    refused = kubectl.run("apply", "-f", "-", stdin=body)
    assert refused.code == 1 and "replicationcontrollers are not served by Skerry: use a Deployment" in refused.err


POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}], ports: [{port: 80}]}]
"""


def test_kinds_that_are_stored_and_no_more(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "web", "--image=i")
    kubectl("autoscale", "deploy", "web", "--min=2", "--max=3", "--cpu=50%")
    shown = kubectl("get", "hpa").split()
    assert shown[7:14] == ["web", "Deployment/web", "cpu:", "<unknown>/50%", "2", "3", "0"]
    assert "Deployment/web" in kubectl("describe", "hpa", "web")
    kubectl("apply", "-f", "-", stdin=POLICY)
    assert kubectl("get", "netpol").split()[3:5] == ["web", "app=web"]
    assert "To Port: 80/TCP" in kubectl("describe", "netpol", "web")
    assert kubectl("get", "netpol", "web", "-o", "jsonpath={.spec.policyTypes}") == '["Ingress"]'
    wrong = kubectl.run("apply", "-f", "-", stdin=POLICY.replace("10.1.0.0", "11.1.0.0"))
    assert 'Invalid value: "11.1.0.0/16": must be a strict subset of `cidr`: 10.0.0.0/8' in wrong.err
    assert "10.96.0.0/12" in kubectl("get", "servicecidr", "kubernetes")
    kubectl("wait", "--for=condition=Ready", "servicecidr/kubernetes", "--timeout=5s")
    assert "services/default/kubernetes" in kubectl("get", "ip", "10.96.0.1")
    made = "apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: a}\nspec: {cidrs: [10.0.0.0/24]}\n"
    assert "skerry up --service-cidr" in kubectl.run("apply", "-f", "-", stdin=made).err
    named = f"apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {{name: r-{kubectl.namespace}}}\nhandler: h\n"
    kubectl("apply", "-f", "-", stdin=named)
    assert kubectl("delete", "runtimeclass", f"r-{kubectl.namespace}")


def config(name: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{set: mine}}}}\n"


def test_apply_prune_and_kustomize(kubectl: Kubectl, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(config(name))
    kubectl("create", "configmap", "other")
    kubectl("label", "cm", "other", "set=mine")
    kubectl("apply", "-f", str(tmp_path), "--prune", "-l", "set=mine")
    (tmp_path / "b.yaml").unlink()
    assert kubectl("apply", "-f", str(tmp_path), "--prune", "-l", "set=mine").splitlines() == [
        "configmap/a unchanged", "configmap/b pruned",
    ]  # fmt: skip
    assert kubectl("get", "cm", "-l", "set=mine", "-o", "name").split() == ["configmap/a", "configmap/other"]
    (tmp_path / "kustomization.yaml").write_text("namePrefix: k-\nresources: [a.yaml]\n")
    assert kubectl("apply", "-k", str(tmp_path)) == "configmap/k-a created\n"
    assert "k-a" in kubectl("get", "-k", str(tmp_path))
    assert kubectl("delete", "-k", str(tmp_path)).startswith('configmap "k-a" deleted')


def test_replace_and_finalizers(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=config("a"))
    uid = kubectl.json("get", "cm", "a")["metadata"]["uid"]
    kubectl("replace", "--force", "-f", "-", stdin=config("a"))
    assert kubectl.json("get", "cm", "a")["metadata"]["uid"] != uid
    kubectl("patch", "cm", "a", "-p", '{"metadata":{"finalizers":["example.test/hold"]}}')
    held = kubectl.run("delete", "cm", "a", "--timeout=1s")
    assert held.code == 1 and "timed out waiting for the condition on configmaps/a" in held.err
    added = kubectl.run("patch", "cm", "a", "-p", '{"metadata":{"finalizers":["example.test/other"]}}')
    assert added.code == 1 and "no new finalizers can be added if the object is being deleted" in added.err
    kubectl("patch", "cm", "a", "-p", '{"metadata":{"finalizers":null}}')
    assert "not found" in kubectl.run("get", "cm", "a").err
