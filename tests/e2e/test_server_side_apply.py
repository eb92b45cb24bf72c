"""kubectl apply --server-side and what becomes of fields that others own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import in_namespace
from tests.helpers.cluster import Cluster
from tests.helpers.kubectl import MINORS, Kubectl

pytestmark = pytest.mark.rootless


@pytest.fixture
def kubectl(api: Cluster, namespace: str) -> Iterator[Kubectl]:
    yield from in_namespace(api, MINORS[-1], namespace)


def manifest(replicas: int, image: str = "host") -> str:
    return json.dumps(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web"},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "c", "image": image, "ports": [{"containerPort": 80}]}]},
                },
            },
        }
    )


def test_from_client_side_to_server_side_and_conflicts(kubectl: Kubectl, tmp_path: Path) -> None:
    file = tmp_path / "web.json"
    file.write_text(manifest(0))
    kubectl("apply", "-f", str(file))
    assert "managedFields" not in kubectl("get", "deploy", "web", "-o", "yaml")
    apply = ("apply", "--server-side", "-f", str(file))
    assert "serverside-applied" in kubectl(*apply)
    found = json.loads(kubectl("get", "deploy", "web", "-o", "json", "--show-managed-fields"))
    owners = {(one["manager"], one["operation"]) for one in found["metadata"]["managedFields"]}
    assert ("kubectl", "Apply") in owners
    assert ("kubectl-client-side-apply", "Update") not in owners  # kubectl has moved it over

    file.write_text(manifest(0, image="other"))
    differs = kubectl.run("diff", "--server-side", "-f", str(file)).out
    assert "image: other" in differs
    assert "serverside-applied" in kubectl(*apply)

    kubectl("scale", "deploy", "web", "--replicas", "1")
    refused = kubectl.run(*apply).err
    assert 'conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas' in refused
    assert "serverside-applied" in kubectl(*apply, "--force-conflicts")
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "0"

    file.write_text(manifest(0, image="third"))
    refused = kubectl.run(*apply, "--field-manager", "somebody").err
    field = '.spec.template.spec.containers[name="c"].image'
    assert f'Apply failed with 1 conflict: conflict with "kubectl": {field}' in refused
