"""A webhook that runs as a pod behind a Service, and kubectl, which sees what it changes, warns of and refuses."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
from tests.helpers.webhook import certificate, configuration, hook

if TYPE_CHECKING:
    from tests.helpers.kubectl import Kubectl

PROGRAM = """
import base64, http.server, json, ssl
class Webhook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["content-length"])))
        request = review["request"]
        labels = request["object"]["metadata"].get("labels", {})
        answer = {"uid": request["uid"], "allowed": True}
        if self.path.startswith("/mutate"):
            labels["seen"] = self.headers["host"].partition(":")[0]
            patch = [{"op": "add", "path": "/metadata/labels", "value": labels}]
            answer |= {"patch": base64.b64encode(json.dumps(patch).encode()).decode(), "patchType": "JSONPatch"}
        elif "owner" not in labels:
            answer |= {"allowed": False, "status": {"message": "who owns this?", "code": 403, "reason": "Forbidden"}}
        else:
            answer["warnings"] = [labels["owner"] + " owns this"]
        body = json.dumps({**review, "request": None, "response": answer}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(("", 8443), Webhook)
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain("/certs/tls.crt", "/certs/tls.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


@pytest.mark.rootless
def test_a_webhook_in_a_pod(pods3: Kubectl, namespace: str) -> None:
    pair = certificate(f"hook.{namespace}.svc")
    secret = {"tls.crt": pair.bundle, "tls.key": base64.b64encode(pair.key).decode()}
    container = {
        "name": "hook",
        "image": "host",
        "command": ["python3", "-c", PROGRAM],
        "volumeMounts": [{"name": "certs", "mountPath": "/certs"}],
        "readinessProbe": {"tcpSocket": {"port": 8443}, "periodSeconds": 1},
    }
    spec = {"containers": [container], "volumes": [{"name": "certs", "secret": {"secretName": "certs"}}]}
    pods3("apply", "-f", "-", stdin=json.dumps({"kind": "List", "apiVersion": "v1", "items": [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "certs"}, "data": secret},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hook", "labels": {"app": "hook"}}, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hook"},
         "spec": {"selector": {"app": "hook"}, "ports": [{"port": 443, "targetPort": 8443}]}},
    ]}))  # fmt: skip
    pods3("wait", "--for=condition=Ready", "pod/hook")

    def asks(path: str) -> dict[str, object]:
        client = {"service": {"name": "hook", "namespace": namespace, "path": path}, "caBundle": pair.bundle}
        here = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
        rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
        more = {"clientConfig": client, "namespaceSelector": here, "rules": [rule]}
        return {**hook(f"{path[1:]}.example.com"), **more}

    both = [
        configuration("Mutating", namespace, asks("/mutate")),
        configuration("Validating", namespace, asks("/validate")),
    ]
    try:
        for one in both:
            pods3("apply", "-f", "-", stdin=json.dumps(one))
        done = pods3.run("create", "configmap", "one")
        assert done.code == 1
        refused = 'admission webhook "validate.example.com" denied the request: who owns this?'
        assert done.err == f"error: failed to create configmap: {refused}\n"
        said = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "labels": {"owner": "me"}}}
        done = pods3.run("apply", "-f", "-", stdin=json.dumps(said))
        assert (done.code, done.err.strip()) == (0, "Warning: me owns this")
        labels = pods3.json("get", "configmap", "one")["metadata"]["labels"]
        assert labels == {"owner": "me", "seen": f"hook.{namespace}.svc"}
    finally:
        for kind in ("mutating", "validating"):
            pods3("delete", f"{kind}webhookconfiguration", namespace)
