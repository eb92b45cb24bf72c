"""A rolling update without failed requests, and what pods' events say of it; weights. The long test has more."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.helpers.clients import client_pod, clients, deployment, python_server
from tests.helpers.cluster import eventually
from tests.helpers.kubectl import Kubectl

pytestmark = pytest.mark.rootless


def apply(kubectl: Kubectl, *objects: dict[str, Any]) -> None:
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def test_no_request_fails_in_a_rolling_update(pods: Kubectl) -> None:
    apply(pods, client_pod("clients", "node-1"), *deployment("web", python_server(), 3))
    pods("rollout", "status", "deployment/web", "--timeout=30s")
    pods("wait", "pod", "clients", "--for=condition=Ready", "--timeout=30s")
    address = pods.json("get", "service", "web")["spec"]["clusterIP"]
    with clients(pods, ["clients"], address, 32) as asking:
        asking.until(200)
        old = pods("get", "pods", "-l", "app=web", "-o", "name").split()
        pods("set", "env", "deployment/web", "VERSION=2")
        pods("rollout", "status", "deployment/web", "--timeout=30s")
        name = next(one for one in pods("get", "pods", "-l", "app=web", "-o", "name").split() if one not in old)
        pods("delete", name)
        pods("rollout", "status", "deployment/web", "--timeout=30s")
        asking.until(1500)
        found = asking.finish()
    assert found.failed == 0, found

    def drained() -> bool:
        said = pods.json("get", "events", "--field-selector", "reason=Drained")["items"]
        return any(f"pod/{one['involvedObject']['name']}" == name and MESSAGE in one["message"] for one in said)

    eventually(drained, 5, f"the event of {name}")


MESSAGE = "1 proxy stopped sending new connections after "


def test_weights_reach_the_slice_and_bad_ones_are_told(pods: Kubectl) -> None:
    apply(pods, *deployment("web", {"name": "web", "image": "host", "command": ["sleep", "1000"]}, 2))

    def slices() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = pods.json("get", "endpointslices", "-l", "kubernetes.io/service-name=web")[
            "items"
        ]
        return found

    eventually(lambda: sum(len(one["endpoints"]) for one in slices()) == 2, 20, "two endpoints")
    light, wrong = [one["targetRef"]["name"] for part in slices() for one in part["endpoints"]]
    pods("annotate", "pod", light, "skerry.dev/weight=10")
    pods("annotate", "pod", wrong, "skerry.dev/weight=heavy")
    address = pods.json("get", "pod", light)["status"]["podIP"]
    expected = {"skerry.dev/weights": json.dumps({address: 10}, separators=(",", ":"))}
    eventually(lambda: expected.items() <= slices()[0]["metadata"].get("annotations", {}).items(), 10, str(expected))

    def told() -> bool:
        said = pods.json("get", "events", "--field-selector", f"reason=InvalidWeight,involvedObject.name={wrong}")
        text = 'annotation skerry.dev/weight: "heavy" is no whole number from 0 to 100; it is ignored'
        return any(one["type"] == "Warning" and one["message"] == text for one in said["items"])

    eventually(told, 10, "the warning")
