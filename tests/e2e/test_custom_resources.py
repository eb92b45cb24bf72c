"""kubectl and an operator with a CustomResourceDefinition: defined, served, checked, scaled, explained, and gone."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.kubectl import MINORS, Kubectl

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def group(api: Cluster) -> Iterator[str]:
    """An API group of the test's own: definitions belong to no namespace, and tests run side by side."""
    name = f"g{uuid.uuid4().hex[:6]}.example.com"
    yield name
    api.kubectl(MINORS[-1]).run("delete", "crd", f"widgets.{name}", "--ignore-not-found", "--wait=false")


def manifest(group: str, name: str) -> str:
    return (EXAMPLES / name).read_text().replace("example.com", group)


def test_a_kind_from_its_definition_to_its_end(kubectl: Kubectl, group: str) -> None:
    told = kubectl("apply", "-f", "-", stdin=manifest(group, "widgets.yaml"))
    assert told == f"customresourcedefinition.apiextensions.k8s.io/widgets.{group} created\n"
    kubectl("wait", "--for=condition=Established", f"crd/widgets.{group}", "--timeout=5s")
    assert f"widget.{group}/big created" in kubectl("apply", "-f", "-", stdin=manifest(group, "widget.yaml"))
    lines = kubectl("get", f"widgets.{group}").splitlines()
    assert [line.split()[:3] for line in lines] == [["NAME", "COLOR", "REPLICAS"], ["big", "red", "2"]]
    assert "Its color" in kubectl("explain", "widgets.spec.color", f"--api-version={group}/v1")

    wrong = manifest(group, "widget.yaml").replace("red", "blue")
    refused = kubectl.run("apply", "-f", "-", stdin=wrong)
    assert 'spec.color: Unsupported value: "blue": supported values: "red", "green"' in refused.err
    strange = manifest(group, "widget.yaml").replace("color:", "colour: red\n  color:")
    refused = kubectl.run("apply", "-f", "-", stdin=strange)
    assert refused.code == 1 and 'unknown field "spec.colour"' in refused.err

    assert "scaled" in kubectl("scale", f"widgets.{group}/big", "--replicas=5")
    patch = json.dumps({"status": {"phase": "Up"}})
    kubectl("patch", f"widgets.{group}", "big", "--subresource=status", "--type=merge", "-p", patch)
    found = kubectl.json("get", f"widgets.{group}", "big")
    assert (found["spec"]["replicas"], found["status"], found["metadata"]["generation"]) == (5, {"phase": "Up"}, 2)

    applied = kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifest(group, "widget.yaml"))
    assert "serverside-applied" in applied

    kubectl("delete", "crd", f"widgets.{group}", "--timeout=10s")
    assert kubectl.run("get", f"widgets.{group}").code == 1


def test_objects_go_with_their_owners_and_their_namespace(api: Cluster, group: str, namespace: str) -> None:
    everywhere = api.kubectl(MINORS[-1])
    everywhere("create", "namespace", namespace)

    def kubectl(*arguments: str, stdin: str | None = None) -> str:
        return everywhere(*arguments, "-n", namespace, stdin=stdin)

    kubectl("apply", "-f", "-", stdin=manifest(group, "widgets.yaml"))
    kubectl("apply", "-f", "-", stdin=manifest(group, "widget.yaml"))
    uid = kubectl("get", f"widgets.{group}", "big", "-o", "jsonpath={.metadata.uid}")
    owner = {"apiVersion": f"{group}/v1", "kind": "Widget", "name": "big", "uid": uid}
    owned = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owned", "ownerReferences": [owner]}}
    kubectl("create", "-f", "-", stdin=json.dumps(owned))
    kubectl("delete", f"widgets.{group}", "big")
    kubectl("wait", "--for=delete", "configmap/owned", "--timeout=10s")

    kubectl("apply", "-f", "-", stdin=manifest(group, "widget.yaml"))
    everywhere("delete", "namespace", namespace, "--timeout=10s")
    assert everywhere("get", f"widgets.{group}", "-A", "-o", "name") == ""


def test_an_operator_follows_its_kind(api: Cluster, group: str, namespace: str) -> None:
    """kopf: its handlers see objects come, change and go; what they return is in the status."""
    kopf = pytest.importorskip("kopf")
    kubectl = api.kubectl(MINORS[-1])
    kubectl("create", "namespace", namespace)
    kubectl("apply", "-f", "-", stdin=manifest(group, "widgets.yaml"))
    seen: list[tuple[str, str, Any]] = []
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)  # type: ignore[untyped-decorator]
    def login(**more: Any) -> Any:
        return kopf.login_with_kubeconfig(**more)

    @kopf.on.create(group, "v1", "widgets", id="made", registry=registry)  # type: ignore[untyped-decorator]
    def made(name: str, spec: Any, **_: Any) -> Any:
        seen.append(("made", name, spec["color"]))
        return {"painted": spec["color"]}

    @kopf.on.update(group, "v1", "widgets", field="spec.color", registry=registry)  # type: ignore[untyped-decorator]
    def changed(name: str, new: Any, **_: Any) -> None:
        seen.append(("changed", name, new))

    @kopf.on.delete(group, "v1", "widgets", registry=registry)  # type: ignore[untyped-decorator]
    def gone(name: str, **_: Any) -> None:
        seen.append(("gone", name, None))

    ready, stop = threading.Event(), threading.Event()

    def operate() -> None:
        kopf.run(
            registry=registry,
            namespaces=[namespace],
            ready_flag=ready,
            stop_flag=stop,
            standalone=True,
            clusterwide=False,
        )

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("KUBECONFIG", str(api.kubeconfig))
        operator = threading.Thread(target=operate, daemon=True)
        operator.start()
        try:
            assert ready.wait(10)
            kubectl("apply", "-n", namespace, "-f", "-", stdin=manifest(group, "widget.yaml"))
            eventually(lambda: ("made", "big", "red") in seen)
            where = (f"widgets.{group}", "big", "-n", namespace)
            eventually(lambda: kubectl.json("get", *where).get("status", {}).get("made") == {"painted": "red"})
            kubectl("patch", *where, "--type=merge", "-p", '{"spec":{"color":"green"}}')
            eventually(lambda: ("changed", "big", "green") in seen)
            kubectl("delete", *where, "--timeout=10s")
            eventually(lambda: ("gone", "big", None) in seen)
        finally:
            stop.set()
            operator.join(10)
            kubectl("delete", "namespace", namespace, "--wait=false")
