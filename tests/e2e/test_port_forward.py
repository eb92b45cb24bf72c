"""Forwards that outlive what they forward to: `skerry port-forward` a pod, kubectl's the restart of a container."""

from __future__ import annotations

import contextlib
import http.client
import signal
import subprocess
import urllib.request
from collections.abc import Iterator

from tests.helpers import look
from tests.helpers.cluster import SKERRY, Cluster
from tests.helpers.kubectl import Kubectl
from tests.helpers.streams import forwarding

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: web
          image: host
          ports: [{name: http, containerPort: 8080}]
          command:
            - python3
            - -c
            - |
              import http.server, os
              class Me(http.server.BaseHTTPRequestHandler):
                  def do_GET(self):
                      if self.path == "/die":
                          os._exit(1)
                      said = os.uname().nodename.encode()
                      self.send_response(200)
                      self.send_header("content-length", str(len(said)))
                      self.end_headers()
                      self.wfile.write(said)
              http.server.HTTPServer(("", 8080), Me).serve_forever()
          readinessProbe: {httpGet: {port: http}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: front, port: 80, targetPort: http}]}
"""


@contextlib.contextmanager
def skerry_forwarding(cluster: Cluster, namespace: str, *what: str) -> Iterator[int]:
    """`skerry port-forward`; the local port. It must end well when it is interrupted."""
    command = [*SKERRY, "port-forward", "--name", cluster.name, "-n", namespace, "--address", "127.0.0.1", *what]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=cluster.environment, cwd="/"
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("Forwarding from 127.0.0.1:"), line
            yield int(line.split()[2].rpartition(":")[2])
        finally:
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=10)
    assert process.returncode == 0, out
    assert out.count("Handling connection for") == out.count("\n"), out


def get(port: int, path: str = "/") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=40) as answer:
        said: bytes = answer.read()
    return said.decode()


def test_the_next_connection_goes_to_a_pod_that_lives(cluster: Cluster, pods: Kubectl, namespace: str) -> None:
    pods("create", "-f", "-", stdin=WEB)
    pods("rollout", "status", "deploy/web", "--timeout=30s")
    first = set(look.names(pods, "app=web"))
    with skerry_forwarding(cluster, namespace, "svc/web", ":front") as port:
        assert {get(port) for _ in range(4)} == first  # they take turns
        pods("delete", "pods", "-l", "app=web", "--grace-period=0", "--force")
        later = {get(port) for _ in range(4)}  # not one fails
        assert len(later) >= 1 and not later & first
        pods("scale", "deploy", "web", "--replicas=0")
        pods("wait", "--for=delete", "pod", "-l", "app=web", "--timeout=20s")
        again = pods.start("scale", "deploy", "web", "--replicas=1")
        assert get(port).startswith("web-")  # it waited for one
        assert again.wait(20) == 0
        again.communicate()
    with skerry_forwarding(cluster, namespace, "deploy/web", ":http") as port:
        assert get(port).startswith("web-")
    wrong = cluster.skerry("port-forward", "-n", namespace, "svc/web", "81")
    assert (wrong.code, wrong.err) == (1, "skerry: service web has no port 81; it has 80 (front).\n")
    wrong = cluster.skerry("port-forward", "-n", namespace, "svc/none", "80")
    assert (wrong.code, wrong.err) == (1, 'skerry: services "none" not found.\n')


def test_kubectls_forward_outlives_the_restart_of_a_container(pods: Kubectl, namespace: str) -> None:
    pods("create", "-f", "-", stdin=WEB.replace("replicas: 2", "replicas: 1"))
    pods("rollout", "status", "deploy/web", "--timeout=30s")
    (name,) = look.names(pods, "app=web")
    with forwarding(pods, "svc/web", ":80") as ((port,), process):
        assert get(port) == name
        with contextlib.suppress(http.client.HTTPException, OSError):
            get(port, "/die")
        assert get(port) == name
        assert process.poll() is None
    with forwarding(pods, "deploy/web", ":http") as ((port,), _):
        assert get(port) == name
    # The same pod by way of the API server (S48), as `kubectl proxy` gives it to browsers.
    for path in ("services/web:front/proxy/", "services/web:80/proxy/", f"pods/{name}:http/proxy/"):
        assert pods("get", "--raw", f"/api/v1/namespaces/{namespace}/{path}") == name
    assert pods.json("get", "pod", name)["status"]["containerStatuses"][0]["restartCount"] == 1
