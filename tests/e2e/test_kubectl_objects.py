"""kubectl against the API server alone: the everyday verbs, with an older and a newest kubectl."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from tests.helpers.cluster import Cluster
from tests.helpers.kubectl import Kubectl

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

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
      containers:
        - {name: web, image: nginx, ports: [{containerPort: 80}]}
"""


def test_version_and_api_resources(api: Cluster, minor: str) -> None:
    kubectl = api.kubectl(minor)
    server = kubectl.json("version")["serverVersion"]
    assert (server["major"], server["minor"]) == ("1", "36")
    assert server["gitVersion"].startswith("v1.36.") and "skerry" in server["gitVersion"]
    rows = {line.split()[0]: line.split() for line in kubectl("api-resources").splitlines()[1:]}
    assert rows["services"] == ["services", "svc", "v1", "true", "Service"]
    assert rows["deployments"] == ["deployments", "deploy", "apps/v1", "true", "Deployment"]
    assert rows["endpointslices"][-1] == "EndpointSlice"
    assert rows["namespaces"][-2:] == ["false", "Namespace"]
    assert "apps/v1" in kubectl("api-versions").split()


def test_nothing_answers_without_a_token_but_health_and_version(api: Cluster, minor: str) -> None:
    kubectl = api.kubectl(minor)
    for path in ("/healthz", "/livez", "/readyz", "/version"):
        assert kubectl.run("get", "--raw", path).code == 0
    done = kubectl.run("get", "pods", "--token=nonsense")
    assert done.code == 1 and "Unauthorized" in done.err


def test_the_kubernetes_service(api: Cluster, minor: str) -> None:
    kubectl = api.kubectl(minor)
    service = kubectl.json("get", "service", "kubernetes", "-n", "default")
    assert service["spec"]["clusterIP"] == "10.96.0.1"
    assert service["spec"]["ports"] == [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]
    line = kubectl("get", "svc", "kubernetes").splitlines()[1].split()
    assert line[:5] == ["kubernetes", "ClusterIP", "10.96.0.1", "<none>", "443/TCP"]


def test_namespaces_of_a_new_cluster(api: Cluster, minor: str) -> None:
    names = api.kubectl(minor)("get", "ns", "-o", "name").split()
    assert {"namespace/default", "namespace/kube-system", "namespace/kube-public", "namespace/kube-node-lease"} <= set(
        names
    )


@pytest.mark.parametrize(
    "command",
    [
        ("create", "deployment", "web", "--image=nginx", "--replicas=2", "--port=80"),
        ("create", "service", "clusterip", "web", "--tcp=80:8080"),
        ("create", "service", "nodeport", "web", "--tcp=80:8080"),
        ("create", "service", "externalname", "web", "--external-name=example.test"),
        ("create", "configmap", "web", "--from-literal=a=b"),
        ("create", "secret", "generic", "web", "--from-literal=a=b"),
        ("create", "serviceaccount", "web"),
        ("run", "web", "--image=nginx", "--labels=a=b", "--restart=Never"),
    ],
    ids=lambda command: "-".join(command[:3]),
)
def test_create_by_command(kubectl: Kubectl, command: tuple[str, ...]) -> None:
    """These post protobuf bodies."""
    out = kubectl(*command)
    assert out.endswith(" created\n")
    name = out.split()[0]
    assert kubectl.json("get", name)["metadata"]["name"] == "web"
    again = kubectl.run(*command)
    assert again.code == 1 and '"web" already exists' in again.err
    assert kubectl.run("delete", name, "--wait=false", "--now").code == 0


def test_apply_create_change_and_nothing(kubectl: Kubectl) -> None:
    files = ("-f", str(EXAMPLES / "my-service.yaml"), "-f", str(EXAMPLES / "nginx-deployment.yaml"))
    assert kubectl("apply", *files).splitlines() == [
        "service/my-service created",
        "deployment.apps/nginx-deployment created",
    ]
    assert kubectl("apply", *files).splitlines() == [
        "service/my-service unchanged",
        "deployment.apps/nginx-deployment unchanged",
    ]
    changed = (EXAMPLES / "nginx-deployment.yaml").read_text().replace("replicas: 3", "replicas: 4")
    assert kubectl("apply", "-f", "-", stdin=changed) == "deployment.apps/nginx-deployment configured\n"
    assert kubectl.json("get", "deploy", "nginx-deployment")["spec"]["replicas"] == 4
    assert kubectl.run("diff", *files[:2]).code == 0
    assert kubectl.run("diff", *files[2:]).code == 1


@pytest.mark.parametrize("name", ["exposed", "headless", "no-selector", "readiness"])
def test_apply_every_example(kubectl: Kubectl, name: str) -> None:
    if name == "exposed":  # its node port is the cluster's: the other kubectl's test would find it taken
        kubectl("apply", "--dry-run=server", "-f", str(EXAMPLES / "exposed.yaml"))
        return
    out = kubectl("apply", "-f", str(EXAMPLES / f"{name}.yaml"))
    assert all(line.endswith(" created") for line in out.splitlines())


def test_get_in_every_format(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", str(EXAMPLES / "my-service.yaml"))
    header = kubectl("get", "svc").splitlines()[0]
    assert header.split() == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    wide = kubectl("get", "svc", "-o", "wide").splitlines()
    assert wide[0].split()[-1] == "SELECTOR" and wide[1].split()[-1] == "app=my-app"
    ip = kubectl("get", "svc", "my-service", "-o", "jsonpath={.spec.clusterIP}")
    assert ip.startswith("10.")
    assert kubectl("get", "svc", "-o", "name") == "service/my-service\n"
    assert kubectl("get", "svc", "-o", "custom-columns=:spec.clusterIP", "--no-headers").strip() == ip
    assert "clusterIP: " + ip in kubectl("get", "svc", "my-service", "-o", "yaml")
    assert kubectl("get", "svc", "--field-selector=metadata.name=other", "-o", "name") == ""
    assert kubectl.run("get", "svc", "-l", "a=b").err.startswith("No resources found")
    assert kubectl("get", "svc", "-A", "--show-labels").count("my-service") >= 1


def test_describe_a_service(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", str(EXAMPLES / "my-service.yaml"))
    lines = dict(line.split(":", 1) for line in kubectl("describe", "svc", "my-service").splitlines() if ":" in line)
    shown = {key: value.strip() for key, value in lines.items()}
    assert shown["Name"] == "my-service" and shown["Selector"] == "app=my-app" and shown["Type"] == "ClusterIP"
    assert shown["IP Family Policy"] == "SingleStack" and shown["IP Families"] == "IPv4"
    assert shown["Port"] == "<unset>  80/TCP" and shown["TargetPort"] == "80/TCP"
    assert shown["Session Affinity"] == "None" and shown["Internal Traffic Policy"] == "Cluster"
    assert shown["IP"] == shown["IPs"] and shown["IP"].startswith("10.")


@pytest.mark.parametrize(
    "what", ["deployment/web", "configmap/settings", "secret/key", "serviceaccount/robot", "namespace"]
)
def test_describe_others(kubectl: Kubectl, what: str, namespace: str) -> None:
    kubectl("apply", "-f", "-", stdin=WEB)
    kubectl("create", "configmap", "settings", "--from-literal=a=b")
    kubectl("create", "secret", "generic", "key", "--from-literal=a=b")
    kubectl("create", "serviceaccount", "robot")
    what = f"namespace/{namespace}" if what == "namespace" else what
    assert kubectl("describe", what).startswith("Name:")


def test_edit(kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl("apply", "-f", "-", stdin=WEB)
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/replicas: 2/replicas: 5/' \"$1\"\n")
    editor.chmod(editor.stat().st_mode | stat.S_IXUSR)
    kubectl = Kubectl(kubectl.minor, kubectl.kubeconfig, {"KUBE_EDITOR": str(editor)})
    assert kubectl("edit", "deployment", "web") == "deployment.apps/web edited\n"
    assert kubectl.json("get", "deployment", "web")["spec"]["replicas"] == 5


def test_patch_of_every_type(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=WEB)
    strategic = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "nginx:2"}]}}}}
    assert kubectl("patch", "deploy", "web", "-p", json.dumps(strategic)) == "deployment.apps/web patched\n"
    merge = {"metadata": {"annotations": {"a": "b"}}}
    kubectl("patch", "deploy", "web", "--type=merge", "-p", json.dumps(merge))
    steps = [
        {"op": "test", "path": "/spec/replicas", "value": 2},
        {"op": "replace", "path": "/spec/replicas", "value": 7},
    ]
    kubectl("patch", "deploy", "web", "--type=json", "-p", json.dumps(steps))
    found = kubectl.json("get", "deploy", "web")
    (container,) = found["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "nginx:2" and container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert found["metadata"]["annotations"]["a"] == "b" and found["spec"]["replicas"] == 7
    failed = kubectl.run("patch", "deploy", "web", "--type=json", "-p", json.dumps(steps))
    assert failed.code == 1 and "The request is invalid" in failed.err
    nothing = kubectl("patch", "deploy", "web", "-p", '{"spec":{"replicas":7}}')
    assert nothing == "deployment.apps/web patched (no change)\n"


def test_label_and_annotate(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "c")
    assert kubectl("label", "cm", "c", "a=b") == "configmap/c labeled\n"
    refused = kubectl.run("label", "cm", "c", "a=c")
    assert refused.code == 1 and "--overwrite is false" in refused.err
    kubectl("label", "cm", "c", "a=c", "--overwrite")
    assert kubectl("get", "cm", "-l", "a=c", "-o", "name") == "configmap/c\n"
    assert kubectl("get", "cm", "-l", "a in (b,c),!z", "-o", "name") == "configmap/c\n"
    assert kubectl("label", "cm", "c", "a-") == "configmap/c unlabeled\n"
    assert kubectl("annotate", "cm", "c", "note=hi") == "configmap/c annotated\n"
    metadata = kubectl.json("get", "cm", "c")["metadata"]
    assert "labels" not in metadata and metadata["annotations"] == {"note": "hi"}


def test_scale(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=WEB)
    assert kubectl("scale", "deploy", "web", "--replicas=4") == "deployment.apps/web scaled\n"
    assert kubectl.json("get", "deploy", "web")["spec"]["replicas"] == 4
    wrong = kubectl.run("scale", "deploy", "web", "--current-replicas=9", "--replicas=1")
    assert wrong.code == 1 and "Expected replicas to be 9, was 4" in wrong.err


def test_expose(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=WEB)
    assert kubectl("expose", "deploy", "web", "--port=80", "--target-port=8080") == "service/web exposed\n"
    spec = kubectl.json("get", "svc", "web")["spec"]
    assert spec["selector"] == {"app": "web"}
    assert spec["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 8080}]


def test_set_image_and_replace(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=WEB)
    assert kubectl("set", "image", "deploy/web", "web=nginx:3") == "deployment.apps/web image updated\n"
    found = kubectl.json("get", "deploy", "web")
    found["spec"]["replicas"] = 6
    assert kubectl("replace", "-f", "-", stdin=json.dumps(found)) == "deployment.apps/web replaced\n"
    assert kubectl.json("get", "deploy", "web")["spec"]["replicas"] == 6


def test_delete_and_wait(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "c")
    kubectl("label", "cm", "c", "a=b")
    kubectl("wait", "cm/c", "--for=jsonpath={.metadata.labels.a}=b", "--timeout=10s")
    assert kubectl("delete", "cm", "c").startswith('configmap "c" deleted')
    kubectl("wait", "cm/c", "--for=delete", "--timeout=10s")
    for name in ("d", "e"):
        kubectl("create", "configmap", name)
        kubectl("label", "cm", name, "group=1")
    kubectl("delete", "cm", "-l", "group=1")
    assert kubectl("get", "cm", "-l", "group=1", "-o", "name") == ""


def test_a_finalizer_holds_the_object(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "c")
    kubectl("patch", "cm", "c", "-p", '{"metadata":{"finalizers":["example.test/hold"]}}')
    kubectl("delete", "cm", "c", "--wait=false")
    assert "deletionTimestamp" in kubectl.json("get", "cm", "c")["metadata"]
    kubectl("patch", "cm", "c", "--type=json", "-p", '[{"op":"remove","path":"/metadata/finalizers"}]')
    kubectl("wait", "cm/c", "--for=delete", "--timeout=10s")


def test_generate_name(kubectl: Kubectl) -> None:
    body = "apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: c-}\n"
    names = {kubectl("create", "-o", "name", "-f", "-", stdin=body) for _ in range(3)}
    assert len(names) == 3 and all(name.startswith("configmap/c-") for name in names)


def test_a_watch_sees_what_happens(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "c")
    watching = kubectl.start("get", "cm", "c", "-w", "-o", 'jsonpath={.data.n}{"\\n"}')
    try:
        assert watching.stdout is not None
        assert watching.stdout.readline() == "\n"  # it is there: later changes come as events
        for number in ("1", "2", "3"):
            kubectl("patch", "cm", "c", "-p", json.dumps({"data": {"n": number}}))
        assert [watching.stdout.readline().strip() for _ in range(3)] == ["1", "2", "3"]
    finally:
        watching.kill()
        watching.communicate()


def test_explain(api: Cluster, minor: str) -> None:
    out = api.kubectl(minor)("explain", "service.spec.ports.nodePort")
    assert "KIND:       Service" in out and "nodePort" in out and "<integer>" in out


def test_big_lists_come_in_chunks(kubectl: Kubectl) -> None:
    items = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c{index}"}} for index in range(25)]
    kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    out = kubectl("get", "cm", "--chunk-size=10", "-o", "name").split()
    assert len([name for name in out if name.startswith("configmap/c")]) == 25


def test_dry_run_changes_nothing(kubectl: Kubectl) -> None:
    assert "(server dry run)" in kubectl("apply", "--dry-run=server", "-f", "-", stdin=WEB)
    assert kubectl("get", "deploy", "-o", "name") == ""
