"""helm 4 with a chart of a dozen kinds (tests/charts/harbour), which it applies server-side; tests/long has helm 3."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.e2e.conftest import in_namespace
from tests.helpers.cluster import Cluster
from tests.helpers.helm import CHART, Helm
from tests.helpers.kubectl import HELM, MINORS, Kubectl, KubectlMissing, binary

WAIT = ("--wait", "--timeout=60s")
KINDS = "cm,secret,sa,role,rolebinding,svc,deploy,sts,cronjob,ing,pdb,boats.harbour.example"


@pytest.fixture
def kubectl(nodes3: Cluster, namespace: str) -> Iterator[Kubectl]:
    try:
        binary(HELM, "helm")
    except KubectlMissing as error:
        pytest.skip(str(error))
    yield from in_namespace(nodes3, MINORS[-1], namespace)


def test_a_release_from_install_to_uninstall(kubectl: Kubectl) -> None:
    helm = Helm(kubectl)
    assert "The harbour is blue." in helm("install", "sea", str(CHART), *WAIT)
    assert kubectl("logs", "job/sea-pre-install") == "pre-install blue\n"  # a hook: it went before the rest
    settings = kubectl.json("get", "cm", "sea-settings")
    assert settings["data"] == {"colour": "blue", "pdb": "true", "metrics": "false", "seen": "kube-system"}
    assert {one["manager"] for one in settings["metadata"].get("managedFields", [])} <= {"helm"}
    assert kubectl("get", "deploy/sea", "sts/sea-set", "--no-headers").split()[1] == "1/1"  # --wait did wait
    made = set(kubectl("get", KINDS, "-l", "!app", "-o", "name").split())
    assert {"serviceaccount/sea", "boat.harbour.example/sea", "ingress.networking.k8s.io/sea"} <= made
    assert len([one for one in made if one.partition("/")[2].startswith("sea")]) == 14

    helm("upgrade", "sea", str(CHART), "--set", "colour=red,extra=false,replicas=2", *WAIT)
    assert kubectl("logs", "job/sea-post-upgrade") == "post-upgrade red\n"
    assert "not found" in kubectl.run("get", "cm", "sea-extra").err  # it is not in the chart any more
    assert "the page says red" in helm("test", "sea", "--logs")
    [listed] = json.loads(helm("list", "-o", "json"))
    assert (listed["name"], listed["revision"], listed["status"]) == ("sea", "2", "deployed")

    kubectl("scale", "deploy/sea", "--replicas=3")  # by another hand: its field is now not helm's alone
    refused = helm.run("upgrade", "sea", str(CHART), "--set", "replicas=4")
    assert refused.code == 1 and 'conflict with "kubectl" with subresource "scale"' in refused.err
    helm("upgrade", "sea", str(CHART), "--set", "replicas=1", "--force-conflicts", *WAIT)

    helm("rollback", "sea", "1", *WAIT)
    assert helm.revisions("sea")[-1] == (5, "deployed") and (3, "failed") in helm.revisions("sea")
    assert kubectl("get", "cm", "sea-extra", "sea-settings", "-o", "jsonpath={.items[*].data}").count("blue") == 1

    assert helm("uninstall", "sea", *WAIT) == 'release "sea" uninstalled\n'
    left = set(kubectl("get", KINDS, "-o", "name").split())
    assert left == {"configmap/kube-root-ca.crt", "serviceaccount/default"}
    assert "boats.harbour.example" in kubectl("get", "crd", "boats.harbour.example", "-o", "name")  # helm keeps these
