"""What kubectl learns from the API before and while it writes: field checks, patches computed from OpenAPI, explain."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.kubectl import Kubectl

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "labels": {"app": "my-app"}},
    "spec": {
        "replicas": 3,
        "selector": {"matchLabels": {"app": "my-app"}},
        "template": {
            "metadata": {"labels": {"app": "my-app"}},
            "spec": {"containers": [{"name": "nginx", "image": "nginx:1.14.2", "ports": [{"containerPort": 80}]}]},
        },
    },
}
SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "my-service"},
    "spec": {"selector": {"app": "my-app"}, "ports": [{"protocol": "TCP", "port": 80, "targetPort": 80}]},
}


@pytest.fixture
def manifest(tmp_path: Path) -> Any:
    """Writes a value to a file of its own and gives its path."""

    def write(value: Any) -> str:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.json"
        path.write_text(json.dumps(value))
        return str(path)

    return write


def test_a_list_is_applied_and_a_change_shown_before_it_is_made(kubectl: Kubectl, manifest: Any) -> None:
    both = manifest({"apiVersion": "v1", "kind": "List", "items": [DEPLOYMENT, SERVICE]})
    assert kubectl("apply", "-f", both).splitlines() == ["deployment.apps/web created", "service/my-service created"]
    changed = copy.deepcopy(DEPLOYMENT)
    containers = changed["spec"]["template"]["spec"]["containers"]
    containers[0]["ports"] = []
    containers.append({"name": "side", "image": "busybox"})
    path = manifest(changed)
    difference = kubectl.run("diff", "-f", path)
    assert difference.code == 1
    assert "+      - image: busybox" in difference.out
    assert kubectl("apply", "-f", path) == "deployment.apps/web configured\n"
    after = kubectl.json("get", "deployment", "web")["spec"]["template"]["spec"]["containers"]
    assert [one["name"] for one in after] == ["nginx", "side"]
    assert "ports" not in after[0]


def test_the_server_checks_fields(kubectl: Kubectl, manifest: Any) -> None:
    bad = copy.deepcopy(DEPLOYMENT)
    bad["spec"]["replicaz"] = 4
    path = manifest(bad)
    refused = kubectl.run("create", "-f", path)
    assert refused.code == 1
    assert 'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: ' in refused.err
    assert 'unknown field "spec.replicaz"' in refused.err
    warned = kubectl.run("apply", "--validate=warn", "-f", path)
    assert warned.code == 0
    assert 'Warning: unknown field "spec.replicaz"' in warned.err
    bad["spec"]["replicas"] = 4
    refused = kubectl.run("apply", "-f", manifest(bad))
    assert 'The request is invalid: patch: Invalid value: "map[' in refused.err
    assert 'strict decoding error: unknown field "spec.replicaz"' in refused.err
    assert kubectl.json("get", "deployment", "web")["spec"]["replicas"] == 3


def test_the_server_checks_types(kubectl: Kubectl, manifest: Any) -> None:
    bad = copy.deepcopy(DEPLOYMENT)
    bad["spec"]["replicas"] = "three"
    refused = kubectl.run("create", "-f", manifest(bad))
    text = "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
    assert text in refused.err


def test_kubectl_itself_checks_a_list(kubectl: Kubectl, manifest: Any) -> None:
    """It reads OpenAPI 2 as protobuf for that."""
    bad = {**SERVICE, "spec": {"portz": [], "ports": [{"port": "eighty"}]}}
    refused = kubectl.run("create", "-f", manifest({"apiVersion": "v1", "kind": "List", "items": [bad]}))
    assert refused.code == 1
    assert 'unknown field "portz" in io.k8s.api.core.v1.ServiceSpec' in refused.err
    assert 'invalid type for io.k8s.api.core.v1.ServicePort.port: got "string", expected "integer"' in refused.err


def test_a_patch_that_does_not_apply(kubectl: Kubectl, manifest: Any) -> None:
    kubectl("create", "-f", manifest(DEPLOYMENT))
    failed = kubectl.run(
        "patch", "deployment", "web", "--type=json", "-p", '[{"op":"test","path":"/spec/replicas","value":9}]'
    )
    assert failed.code == 1
    assert "The request is invalid: the server rejected our request due to an error in our request" in failed.err
    assert "testing value /spec/replicas failed" in failed.err


def test_explain_fields_and_types(kubectl: Kubectl) -> None:
    said = kubectl("explain", "deployment.spec.strategy")
    assert said.startswith("GROUP:      apps\nKIND:       Deployment\nVERSION:    v1\n\n")
    assert "FIELD: strategy <DeploymentStrategy>" in said
    assert "rollingUpdate\t<RollingUpdateDeployment>" in said
    assert "containerPort\t<integer> -required-" in kubectl("explain", "pod.spec.containers.ports")
    assert "matchLabels\t<map[string]string>" in kubectl("explain", "deployments", "--recursive")
    wrong = kubectl.run("explain", "service.spec.nonsense")
    assert wrong.code == 1
    assert 'field "nonsense" does not exist' in wrong.err
