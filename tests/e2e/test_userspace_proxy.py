"""A cluster whose Services are carried in user space: `--proxy-mode userspace`, on two nodes, as any user."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from tests.e2e.conftest import skip_without_namespaces
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.kubectl import Kubectl

pytestmark = pytest.mark.rootless

SERVER = """
import http.server, socket
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = socket.gethostname().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""
SPREAD = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}


def web(replicas: int) -> list[dict[str, Any]]:
    container = {
        "name": "web",
        "image": "host",
        "command": ["python3", "-c", SERVER],
        "readinessProbe": {"tcpSocket": {"port": 8080}},
    }
    spread = SPREAD | {"labelSelector": {"matchLabels": {"app": "web"}}}
    pod = {"terminationGracePeriodSeconds": 1, "containers": [container], "topologySpreadConstraints": [spread]}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod}
    deployment = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    ports = [{"port": 80, "targetPort": 8080}]
    service = {"type": "NodePort", "selector": {"app": "web"}, "ports": ports}
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": deployment},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": service},
    ]


def pods_of(kubectl: Kubectl) -> set[str]:
    return {one["metadata"]["name"] for one in kubectl.json("get", "pods", "-l", "app=web")["items"]}


def connections(cluster: Cluster) -> int:
    """How many connections the endpoints were given, as `skerry why` counts them over both nodes."""
    found = json.loads(cluster.skerry("why", "web", "-o", "json").out)["endpoints"]
    return sum(sum(one["connections"].values()) for one in found)


def test_services_node_ports_and_endpoints_that_follow(new_cluster: Callable[..., Cluster]) -> None:
    skip_without_namespaces()
    cluster = new_cluster("--nodes", "2", "--ephemeral", "--proxy-mode", "userspace")
    cluster.up()
    kubectl = cluster.kubectl()
    for one in web(2):
        kubectl("apply", "-f", "-", stdin=json.dumps(one))
    proxy = cluster.status()["proxy"]
    assert (proxy["asked"], proxy["mode"]) == ("userspace", "userspace")
    assert "Proxy     userspace: Services are carried in user space" in cluster.skerry("status").out
    kubectl("rollout", "status", "deploy/web", "--timeout=60s")
    ask = "for i in $(seq 12); do curl -s -m 5 http://web; echo; done"
    for pod in sorted(pods_of(kubectl)):  # one on each node
        eventually(
            lambda pod=pod: set(kubectl("exec", pod, "--", "sh", "-c", ask).split()) == pods_of(kubectl), 10, pod
        )
    number = kubectl.json("get", "svc", "web")["spec"]["ports"][0]["nodePort"]

    def outside() -> subprocess.CompletedProcess[str]:
        return subprocess.run(["curl", "-s", "-m", "5", f"http://127.0.0.1:{number}"], capture_output=True, text=True)

    assert outside().stdout in pods_of(kubectl)
    before = connections(cluster)
    assert set(kubectl("exec", pod, "--", "sh", "-c", ask).split()) == pods_of(kubectl)
    assert connections(cluster) - before == 12
    kubectl("scale", "deploy/web", "--replicas=1")
    eventually(lambda: len(pods_of(kubectl)) == 1, 20, "one pod")
    (left,) = pods_of(kubectl)
    assert set(kubectl("exec", left, "--", "sh", "-c", ask).split()) == {left}
    assert {outside().stdout for _ in range(8)} == {left}
    version = (
        "curl -s -m 5 --cacert /var/run/secrets/kubernetes.io/serviceaccount/ca.crt https://kubernetes.default/version"
    )
    assert "gitVersion" in kubectl("exec", left, "--", "sh", "-c", version)
    kubectl("scale", "deploy/web", "--replicas=0")
    eventually(lambda: not pods_of(kubectl), 20, "no pod")
    # 7 is curl's word for a refused connection; the machine accepts and then ends it.
    eventually(lambda: cluster.run("curl", "-s", "-m", "5", "http://web").code == 7, 10, "a refusal in the cluster")
    eventually(lambda: outside().returncode in (52, 56), 10, "an end outside")
