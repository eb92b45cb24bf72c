"""Who may do what, as people and programs meet it: kubectl auth, service accounts in pods, certificates, nodes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import in_namespace
from tests.helpers.cluster import Cluster
from tests.helpers.kubectl import MINORS, Kubectl

pytestmark = pytest.mark.rootless

ASK = """
token=$(cat /var/run/secrets/kubernetes.io/serviceaccount/token)
namespace=$(cat /var/run/secrets/kubernetes.io/serviceaccount/namespace)
curl -s --cacert /var/run/secrets/kubernetes.io/serviceaccount/ca.crt -H "Authorization: Bearer $token" \
    https://kubernetes.default/api/v1/namespaces/$namespace/pods | grep -E '"(kind|message)"' | head -2
"""


@pytest.fixture
def kubectl(api: Cluster, namespace: str) -> Iterator[Kubectl]:
    """The newest alone: tests/long has the others."""
    yield from in_namespace(api, MINORS[-1], namespace)


def test_roles_and_bindings_made_by_kubectl(kubectl: Kubectl) -> None:
    kubectl("create", "role", "reads", "--verb=get,list", "--resource=pods,pods/log,deployments.apps/scale")
    kubectl("create", "rolebinding", "reads", "--role=reads", "--user=alice", "--group=devs",
            f"--serviceaccount={kubectl.namespace}:robot")  # fmt: skip
    assert kubectl("get", "role", "reads").split()[:3] == ["NAME", "CREATED", "AT"]
    line = kubectl("get", "rolebinding", "reads", "-o", "wide").splitlines()[1].split()
    assert line[:2] + line[3:] == ["reads", "Role/reads", "alice", "devs", f"{kubectl.namespace}/robot"]

    def may(*asked: str) -> str:
        return kubectl.run("auth", "can-i", *asked).out.strip()

    for who in (
        ["--as=alice"],
        ["--as=eve", "--as-group=devs"],
        [f"--as=system:serviceaccount:{kubectl.namespace}:robot"],
    ):
        assert may("list", "pods", *who) == may("get", "pods", "--subresource=log", *who) == "yes"
        assert may("list", "pods", "-A", *who) == may("delete", "pods", *who) == "no"
        assert may("get", "deployments.apps", "--subresource=scale", *who) == "yes"
    refused = kubectl.run("get", "secrets", "--as=alice")
    assert refused.err == (
        'Error from server (Forbidden): secrets is forbidden: User "alice" cannot list resource "secrets" in API group '
        f'"" in the namespace "{kubectl.namespace}"\n'
    )
    rows = [line.split() for line in kubectl("auth", "can-i", "--list", "--as=alice").splitlines()]
    assert ["pods", "[]", "[]", "[get", "list]"] in rows and ["[/healthz]", "[]", "[get]"] in rows
    changed = kubectl.run("patch", "rolebinding", "reads", "-p", '{"roleRef":{"name":"other"}}')
    assert "roleRef: Invalid value" in changed.err and "cannot change roleRef" in changed.err


def test_nobody_raises_themselves(kubectl: Kubectl) -> None:
    kubectl("create", "rolebinding", "own", "--clusterrole=admin", "--user=alice")
    alice = ("--as=alice",)
    kubectl("create", "role", "fine", "--verb=get", "--resource=secrets", *alice)
    raised = kubectl.run("create", "role", "more", "--verb=get", "--resource=nodes", *alice)
    assert "is attempting to grant RBAC permissions not currently held" in raised.err
    raised = kubectl.run("create", "rolebinding", "all", "--clusterrole=cluster-admin", "--user=alice", *alice)
    assert '{APIGroups:["*"], Resources:["*"], Verbs:["*"]}' in raised.err
    assert 'cannot create resource "clusterroles"' in kubectl.run(
        "create", "clusterrole", "x", "--verb=get", "--resource=pods", *alice
    ).err  # fmt: skip
    missing = kubectl.run("get", "nodes", "--as=bob")
    assert (
        'nodes is forbidden: User "bob" cannot list resource "nodes" in API group "" at the cluster scope'
        in missing.err
    )


def test_reconcile_adds_what_is_missing(kubectl: Kubectl, namespace: str, tmp_path: Path) -> None:
    kubectl("create", "role", "r", "--verb=get", "--resource=pods")
    file = tmp_path / "role.yaml"
    file.write_text(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\n"
        f"metadata: {{name: r, namespace: {namespace}}}\n"
        "rules: [{apiGroups: [''], resources: [pods], verbs: [list]}]\n"
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n"
        f"metadata: {{name: r, namespace: {namespace}}}\n"
        "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: r}\n"
        "subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: alice}]\n"
    )
    assert "reconciled" in kubectl("auth", "reconcile", "-f", str(file))
    for verb in ("get", "list"):
        assert kubectl.run("auth", "can-i", verb, "pods", "--as=alice").out == "yes\n"


def test_roles_are_made_of_others_by_their_labels(kubectl: Kubectl, namespace: str) -> None:
    kubectl("create", "rolebinding", "views", "--clusterrole=view", "--user=alice")
    widgets = (
        f"apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {namespace}}}\n"
        "rules: [{apiGroups: [shop.example], resources: [widgets], verbs: [list]}]\n"
    )
    kubectl("create", "-f", "-", stdin=widgets)
    ask = ("get", "--raw", f"/apis/shop.example/v1/namespaces/{namespace}/widgets", "--as=alice")
    assert "is forbidden" in kubectl.run(*ask).err
    try:
        kubectl("label", "clusterrole", namespace, "rbac.authorization.k8s.io/aggregate-to-view=true")
        kubectl("wait", "clusterrole/admin", "--for=jsonpath={.rules[?(@.apiGroups[0]=='shop.example')].verbs[0]}=list",
                "--timeout=10s")  # fmt: skip
        assert "could not find the requested resource" in kubectl.run(*ask).err
    finally:
        kubectl("delete", "clusterrole", namespace)


def test_tokens_of_accounts(kubectl: Kubectl, namespace: str) -> None:
    kubectl("create", "serviceaccount", "robot")
    token = kubectl("create", "token", "robot", "--duration=10m").strip()
    bare = json.loads(kubectl("auth", "whoami", f"--token={token}", "-o", "json"))["status"]["userInfo"]
    assert bare["username"] == f"system:serviceaccount:{namespace}:robot"
    assert bare["groups"] == ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
    assert bare["extra"]["authentication.kubernetes.io/credential-id"][0].startswith("JTI=")
    assert "is forbidden: User" in kubectl.run("get", "pods", f"--token={token}").err

    def reviewed(**spec: object) -> dict[str, object]:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        found: dict[str, object] = json.loads(
            kubectl("create", "-f", "-", "-o", "json", "--validate=false", stdin=json.dumps(body))
        )["status"]
        return found

    assert reviewed(token=token)["user"] == bare
    assert reviewed(token=token, audiences=["vault"]).get("authenticated", False) is False
    vault = kubectl("create", "token", "robot", "--audience=vault").strip()
    assert reviewed(token=vault, audiences=["vault", "x"])["audiences"] == ["vault"]
    assert "Unauthorized" in kubectl.run("get", "pods", f"--token={vault}").err
    assert (
        "may not specify a duration less than 10 minutes"
        in kubectl.run("create", "token", "robot", "--duration=1m").err
    )
    kubectl("delete", "serviceaccount", "robot")
    assert "Unauthorized" in kubectl.run("get", "pods", f"--token={token}").err


def test_a_certificate_for_somebody_else(api: Cluster, kubectl: Kubectl, tmp_path: Path) -> None:
    file = tmp_path / "alice.kubeconfig"
    file.write_text(api.skerry("kubeconfig", "--user", "alice", "--group", "devs").out)
    alice = Kubectl(MINORS[-1], file, {})
    assert "[devs system:authenticated]" in alice("auth", "whoami")
    namespace = f"--namespace={kubectl.namespace}"
    assert "forbidden" in alice.run("get", "pods", namespace).err
    kubectl("create", "rolebinding", "devs", "--clusterrole=edit", "--group=devs")
    alice("create", "configmap", "hers", namespace)
    assert api.skerry("kubeconfig", "--group", "devs").err == "skerry: --group is for a --user.\n"
    assert "no certificate for this user" in api.skerry("kubeconfig", "--user", "a" * 70).err


def test_programs_in_pods_have_the_rights_of_their_accounts(pods: Kubectl, namespace: str) -> None:
    pods("create", "serviceaccount", "looks")
    pods("create", "rolebinding", "looks", "--clusterrole=view", f"--serviceaccount={namespace}:looks")
    for name, account in (("may", "looks"), ("may-not", "default")):
        box = {"name": name, "image": "host", "command": ["/bin/sh", "-c", ASK]}
        spec = {"containers": [box], "restartPolicy": "Never", "serviceAccountName": account}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        pods("create", "-f", "-", stdin=json.dumps(pod))
    pods("wait", "pod/may", "pod/may-not", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s")
    assert "PodList" in pods("logs", "may")
    assert (
        f'pods is forbidden: User \\"system:serviceaccount:{namespace}:default\\" cannot list resource \\"pods\\" in '
        f'API group \\"\\" in the namespace \\"{namespace}\\"'
    ) in pods("logs", "may-not")


def test_a_node_with_its_own_credentials_is_confined(cluster: Cluster, pods: Kubectl, namespace: str) -> None:
    table = json.loads((cluster.data / "tokens.json").read_text())
    (token,) = [one for one, user in table.items() if user["user"] == "system:node:node-1"]
    own = f"--token={token}"
    pods("create", "secret", "generic", "used", "--from-literal=a=b")
    pods("create", "secret", "generic", "other", "--from-literal=a=b")
    box = {"name": "c", "image": "host", "command": ["sleep", "600"], "envFrom": [{"secretRef": {"name": "used"}}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [box]}}
    pods("create", "-f", "-", stdin=json.dumps(pod))
    pods("wait", "pod/p", "--for=condition=Ready", "--timeout=30s")
    assert "system:nodes" in pods("auth", "whoami", own)
    assert pods("get", "secret", "used", own, "-o", "name") == "secret/used\n"
    for words, said in (
        (("get", "secret", "other"), "no relationship found between node 'node-1' and this object"),
        (("get", "secrets"), "No Object name found"),
        (("create", "token", "default"), "node requested token not bound to a pod"),
        (("label", "node", "node-1", "node-role.kubernetes.io/control-plane="), "is not allowed to modify labels"),
        (("taint", "node", "node-1", "a=b:NoSchedule"), "is not allowed to modify taints"),
        (("delete", "node", "node-1"), "cannot delete resource"),
        (("create", "configmap", "c"), 'cannot create resource "configmaps"'),
        (("run", "x", "--image=host"), 'cannot create resource "pods"'),
    ):
        assert said in pods.run(*words, own).err, words
