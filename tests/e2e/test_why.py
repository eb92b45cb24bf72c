"""`skerry why`: real faults of real pods on a real cluster, and what is said of each; exit codes, text and JSON."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.test_service_conditions import agent
from tests.helpers.cluster import Cluster
from tests.helpers.kubectl import Kubectl

from skerry.clock import SystemClock
from skerry.cluster import explaining
from skerry.explain.findings import PROBLEM, Report

pytestmark = pytest.mark.rootless

SLEEP = ["sleep", "infinity"]
HTTP = ["python3", "-m", "http.server", "8000"]
WEB = {"app": "web"}
SERVICE_NAME, MANAGED_BY = "kubernetes.io/service-name", "endpointslice.kubernetes.io/managed-by"

CONTAINERS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    # Of each pod and its Service: the reason, the container, the pod's spec.
    "probe": ("ReadinessProbeFailing", {"readinessProbe": {"tcpSocket": {"port": 9}, "periodSeconds": 1}}, {}),
    "early": ("ReadinessProbePending", {"readinessProbe": {"exec": {"command": ["x"]}, "initialDelaySeconds": 99}}, {}),
    "startup": ("StartupProbeNotDone", {"startupProbe": {"exec": {"command": ["false"]}, "failureThreshold": 999}}, {}),
    "gate": ("ReadinessGate", {}, {"readinessGates": [{"conditionType": "example.com/ok"}]}),
    "image": ("ImagePull", {"image": "127.0.0.1:1/nope:1", "command": None}, {}),
    "crash": ("CrashLooping", {"command": ["sh", "-c", "exit 3"]}, {}),
    "start": ("ContainerCannotStart", {"command": ["/no/such/program"]}, {}),
    "done": ("PodSucceeded", {"command": ["true"]}, {"restartPolicy": "Never"}),
    "failed": ("PodFailed", {"command": ["false"]}, {"restartPolicy": "Never"}),
    "half": ("ContainerTerminated", {"command": ["true"]}, {"restartPolicy": "OnFailure", "containers": "and another"}),
    "big": ("Unschedulable", {"resources": {"requests": {"cpu": "1000"}}}, {}),
    "gated": ("NotScheduled", {}, {"schedulingGates": [{"name": "example.com/wait"}]}),
    "init": ("InitContainerRunning", {}, {"initContainers": [{"name": "i", "image": "host", "command": SLEEP}]}),
    "broken": ("InitContainerFailing", {}, {"initContainers": [{"name": "i", "image": "host", "command": ["false"]}]}),
    "mount": ("ContainerCreating", {}, {"volumes": [{"name": "v", "secret": {"secretName": "nope"}}]}),
    "ending": ("PodTerminating", {"command": ["sh", "-c", "trap '' TERM; sleep 600"]},
               {"terminationGracePeriodSeconds": 600}),
}  # fmt: skip
SERVICES: dict[str, tuple[str, dict[str, Any]]] = {
    # Around the pod `web`, which works: the reason, the Service's spec.
    "slip": ("SelectorMismatch", {"selector": {"app": "wep"}}),
    "tier": ("SelectorMismatch", {"selector": WEB | {"tier": "front"}}),
    "zero": ("ScaledToZero", {"selector": {"app": "zero"}}),
    "paused": ("NoPodsMade", {"selector": {"app": "paused"}}),
    "elsewhere": ("OtherNamespace", {"selector": {"k8s-app": "elsewhere-of-why"}}),
    "nothing": ("NoPodMatches", {"selector": {"app": "quite-another"}}),
    "named": ("NamedPortMissing", {"selector": WEB, "ports": [{"port": 80, "targetPort": "htpp"}]}),
    "proto": ("NamedPortProtocol", {"selector": WEB, "ports": [{"port": 80, "targetPort": "http", "protocol": "UDP"}]}),
    "udp": ("ProtocolMismatch", {"selector": WEB, "ports": [{"port": 80, "targetPort": 8000, "protocol": "UDP"}]}),
    "other": ("PortNotDeclared", {"selector": WEB, "ports": [{"port": 53, "protocol": "UDP"}]}),
    "closed": ("NothingListens", {"selector": WEB, "ports": [{"port": 80}]}),
    "local": ("NoLocalEndpoint", {"selector": WEB, "internalTrafficPolicy": "Local"}),
    "edited": ("EndpointsEdited", {"selector": WEB}),
    "foreign": ("SliceForeign", {"selector": WEB}),
    "nobody": ("NoSelector", {}),
    "address": ("ExternalNameIsAddress", {"type": "ExternalName", "externalName": "10.1.2.3"}),
    "name": ("ExternalName", {"type": "ExternalName", "externalName": "db.example.com"}),
    "manual": ("ManualEndpoints", {}),
    "skipped": ("SlicesMissing", {}),
    "unready": ("NoReadyEndpoint", {}),
    "published": ("NotReadyPublished", {"selector": WEB, "publishNotReadyAddresses": True}),
    "headless": ("HeadlessWithoutPorts", {"selector": WEB, "clusterIP": "None", "ports": None}),
    "sticky": ("SessionAffinity", {"selector": WEB, "sessionAffinity": "ClientIP"}),
    "outside": ("ExternalTrafficLocal", {"selector": WEB, "type": "NodePort", "externalTrafficPolicy": "Local"}),
}  # fmt: skip
PATIENCE = 20.0
"""Seconds that pods may take to fail as they should."""


def pod(name: str, container: dict[str, Any], spec: dict[str, Any], **labels: str) -> dict[str, Any]:
    made = {"name": "c", "image": "host", "command": SLEEP, **container}
    containers = [made]
    if spec.get("containers"):
        containers.append({"name": "other", "image": "host", "command": SLEEP})
    if spec.get("volumes"):
        made["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
    spec = {"terminationGracePeriodSeconds": 0, **spec, "containers": containers}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {"app": name}},
        "spec": spec,
    }


def service(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    spec = {"ports": [{"port": 80, "targetPort": 8000}], **spec}
    if spec.get("type") == "ExternalName":
        del spec["ports"]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def deployment(name: str, **spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod(name, {}, {})["spec"]}
    spec = {"selector": {"matchLabels": labels}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def written() -> Iterator[dict[str, Any]]:
    """What people write by hand."""
    for name, ready in (("manual", True), ("skipped", True), ("unready", False)):
        labels = {"endpointslice.kubernetes.io/skip-mirror": "true"} if name == "skipped" else {}
        subset = {"addresses" if ready else "notReadyAddresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}
        yield {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": name, "labels": labels},
            "subsets": [subset],
        }
    labels = {SERVICE_NAME: "foreign", MANAGED_BY: "me"}
    yield {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "mine", "labels": labels},
           "addressType": "IPv4", "ports": [{"port": 80}], "endpoints": [{"addresses": ["192.0.2.9"]}]}  # fmt: skip


@pytest.fixture
def faulty(nodes3: Cluster, pods3: Kubectl) -> Iterator[Kubectl]:
    """A namespace with every fault at once."""
    ports = [{"name": "http", "containerPort": 8000}]
    items = [
        pod("web", {"command": HTTP, "ports": ports}, {}),
        service("web", {"selector": WEB}),
        *(pod(name, *rest) for name, (_, *rest) in CONTAINERS.items()),
        *(service(name, {"selector": {"app": name}}) for name in CONTAINERS),
        *(service(name, spec) for name, (_, spec) in SERVICES.items()),
        *written(),
        deployment("zero", replicas=0),
        deployment("paused", paused=True),
    ]
    pods3("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    elsewhere = nodes3.kubectl()
    far = pod("why-" + pods3.namespace, {}, {"schedulingGates": [{"name": "x.y/z"}]}, **{"k8s-app": "elsewhere-of-why"})
    elsewhere("create", "-n", "default", "-f", "-", stdin=json.dumps(far))
    pods3("wait", "pod/web", "pod/ending", "--for=condition=Ready", "--timeout=30s")
    pods3("delete", "pod", "ending", "--wait=false")
    pods3("wait", "service/edited", "--for=condition=EndpointsReady", "--timeout=30s")
    wrong = {"subsets": [{"addresses": [{"ip": "192.0.2.7"}], "ports": [{"port": 8000}]}]}
    pods3("patch", "endpoints", "edited", "--type=merge", "-p", json.dumps(wrong))
    yield pods3
    elsewhere("delete", "-n", "default", "pod", "why-" + pods3.namespace, "--wait=false")
    pods3("delete", "pod", "ending", "--force", "--grace-period=0", "--wait=false")


def nearest(report: Report) -> str:
    """The first reason; of the notes only if there is no problem."""
    return report.findings[0].reason if report.findings else ""


def test_every_fault_is_found_by_its_reason(nodes3: Cluster, faulty: Kubectl) -> None:
    """Read by a kubeconfig over TLS, as any other Kubernetes is."""
    expected = {name: one[0] for name, one in (CONTAINERS | SERVICES).items()}
    place = explaining.place(None, str(faulty.kubeconfig), "")
    assert place.namespace == faulty.namespace

    async def settled(name: str, until: float) -> Report:
        while True:
            report = await explaining.ask(place, place.namespace, name, SystemClock())
            if nearest(report) == expected[name] or time.monotonic() >= until:
                return report
            await asyncio.sleep(0.2)

    async def all_of_them() -> dict[str, Report]:
        until = time.monotonic() + PATIENCE
        found = await asyncio.gather(*(settled(name, until) for name in expected))
        return dict(zip(expected, found, strict=True))

    reports = asyncio.run(all_of_them())
    assert {name: nearest(report) for name, report in reports.items()} == expected
    said = {name: report.findings[0].message for name, report in reports.items()}
    assert said["slip"] == "Pod web has app=web; the selector wants app=wep."
    assert said["probe"].startswith("The readiness probe of container c of pod probe (TCP :9) fails: dial tcp ")
    assert "connection refused" in said["probe"]
    assert 'secret "nope" not found' in said["mount"]
    assert said["crash"] == "Container c of pod crash does not keep running: it ends with exit code 3."
    assert said["big"].startswith("No node takes pod big: 0/3 nodes are available: 3 Insufficient cpu.")
    assert "/no/such/program" in said["start"] and "127.0.0.1:1" in said["image"]
    assert "port 80 of pod web" in said["closed"] and "192.0.2.7:8000" in said["edited"]
    healthy = {name for name, report in reports.items() if report.healthy}
    assert healthy == {"name", "manual", "published", "headless", "sticky", "outside"}
    (row,) = reports["sticky"].endpoints
    assert (row.pod, row.port, row.ready) == ("web", 8000, True) and row.since

    # The same by the command line: exit code, text, JSON.
    done = nodes3.skerry("why", "web", "-n", faulty.namespace)
    assert done.code == 0, done.out + done.err
    works = rf"{faulty.namespace}/web works: 1 ready endpoint\.\n\nEndpoints\n"
    assert re.fullmatch(works + rf"  {row.ip}:8000  web  node-\d  ready for \d+ s, 0 connections\n", done.out), done.out
    done = nodes3.skerry("why", "slip", "-n", faulty.namespace)
    assert (done.code, done.err) == (1, "")
    assert done.out == f"{faulty.namespace}/slip has no ready endpoint.\n\nFound\n  {said['slip']}\n"
    done = nodes3.skerry("why", "svc/probe", "--kubeconfig", str(faulty.kubeconfig), "-o", "json", name=False)
    assert done.code == 1
    check_schema(json.loads(done.out))
    page = (Path(__file__).parents[2] / "docs" / "how-to.md").read_text()
    commands = [line.split()[1:] for line in page.splitlines() if line.startswith("skerry why")]
    assert len(commands) == 3
    for _, _, *options in commands:  # as it stands there, but for the names of the Service, its namespace and the file
        words = {"default": faulty.namespace, "~/.kube/config": str(faulty.kubeconfig)}
        options = [words.get(one, one) for one in options]
        place_options = [] if options else ["-n", faulty.namespace]
        done = nodes3.skerry("why", "web", *options, *place_options, name="--kubeconfig" not in options)
        assert (done.code, done.err) == (0, ""), done.err
    done = nodes3.skerry("why", "nope", "-n", faulty.namespace)
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith(
        f'skerry: There is no Service "nope" in namespace {faulty.namespace}, which has address,'
    )
    done = nodes3.skerry("why", "wbe", "-n", faulty.namespace)
    assert done.code == 3 and done.err.endswith(f" in namespace {faulty.namespace}; the nearest is web.\n"), done.err


def check_schema(found: dict[str, Any]) -> None:
    """The fields are those of docs/reference/why.md."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "why.md").read_text()
    tables = [re.findall(r"^\| `(\w+)` \|", part, re.M) for part in re.split(r"^###? ", page, flags=re.M)]
    fields = [part for part in tables if part]
    report, endpoint, one = fields[:3]
    assert list(found) == report
    assert list(found["endpoints"][0]) == endpoint
    assert list(found["findings"][0]) == one
    assert found["verdict"] == "problem" and found["findings"][0]["severity"] == PROBLEM


def test_a_node_that_has_not_applied_is_named(nodes3: Cluster, pods3: Kubectl) -> None:
    place = explaining.place(None, str(pods3.kubeconfig), "")
    frozen = agent(nodes3, "node-3")
    os.kill(frozen, signal.SIGSTOP)
    try:
        pods3("create", "service", "clusterip", "late", "--tcp=80")
        pods3("wait", "--for=condition=Programmed=false", "svc/late", "--timeout=20s")
        found = explaining.explain(place, place.namespace, "late").findings[0]
        assert found.reason == "ProxyBehind" and found.message.endswith(": node-3.")
    finally:
        os.kill(frozen, signal.SIGCONT)


def test_what_cannot_be_looked_at_is_three(nodes3: Cluster, tmp_path: Path) -> None:
    closed = nodes3.kubeconfig.read_text().replace("https://127.0.0.1:", "https://127.0.0.1:1#")
    path = tmp_path / "config"
    path.write_text(re.sub(r":1#\d+", ":1", closed))
    done = nodes3.skerry("why", "web", "--kubeconfig", str(path), name=False)
    assert done.code == 3 and "127.0.0.1:1 cannot be reached" in done.err, done.err
    path.write_text(re.sub(r"(?m)token: .*$", 'token: "wrong"', nodes3.kubeconfig.read_text()))
    done = nodes3.skerry("why", "web", "--kubeconfig", str(path), name=False)
    assert done.code == 3 and "does not know this user (401)" in done.err, done.err
    done = nodes3.skerry("why", "web", "--context", "other", name=False)
    assert done.code == 2 and "give both" in done.err
