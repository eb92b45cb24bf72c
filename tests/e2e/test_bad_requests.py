"""Requests that no kubectl would send, and what they get: malformed bodies, unknown paths, wrong tokens."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import urllib.parse
from typing import Any

import pytest
import yaml
from tests.helpers.cluster import Cluster

MAPS = "/api/v1/namespaces/default/configmaps"
JSON, UNKNOWN = "application/json", "the server could not find the requested resource"


class Wire:
    """One request a connection, as whoever the kubeconfig names."""

    def __init__(self, cluster: Cluster) -> None:
        content = yaml.safe_load(cluster.kubeconfig.read_text())
        (server,) = content["clusters"]
        (user,) = content["users"]
        where = urllib.parse.urlsplit(server["cluster"]["server"])
        trusted = base64.b64decode(server["cluster"]["certificate-authority-data"]).decode()
        self._context = ssl.create_default_context(cadata=trusted)
        self._host, self._port = where.hostname or "", where.port
        self._token = user["user"]["token"]

    def __call__(
        self, method: str, path: str, body: bytes = b"", kind: str = JSON, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """The code and the Status."""
        connection = http.client.HTTPSConnection(self._host, self._port, timeout=10, context=self._context)
        try:
            head = {"Authorization": f"Bearer {self._token}", "Content-Type": kind, **headers}
            connection.request(method, path, body, head)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


@pytest.mark.parametrize(
    ("method", "path", "body", "kind", "code", "reason", "said"),
    [
        ("POST", MAPS, b'{"kind":', JSON, 400, "BadRequest", ""),
        ("POST", MAPS, b"kind: [a", "application/yaml", 400, "BadRequest", ""),
        ("POST", MAPS, b"k8s\0\xff\xff", "application/vnd.kubernetes.protobuf", 400, "BadRequest", ""),
        ("POST", MAPS, b"\xff\xfe", JSON, 400, "BadRequest", ""),
        ("POST", MAPS, b"", JSON, 400, "BadRequest", ""),
        ("POST", MAPS, b"{}" * 2, JSON, 400, "BadRequest", ""),
        ("POST", MAPS, b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}', JSON, 400, "BadRequest",
         "ConfigMap"),
        ("POST", MAPS, b"a=b", "application/x-www-form-urlencoded", 415, "UnsupportedMediaType", ""),
        ("PATCH", MAPS + "/a", b"{}", JSON, 415, "UnsupportedMediaType", ""),
        ("GET", "/api/v1/nonsense", b"", "", 404, "NotFound", UNKNOWN),
        ("GET", "/apis/none.test/v1/things", b"", "", 404, "NotFound", UNKNOWN),
        ("PUT", MAPS, b"{}", JSON, 405, "MethodNotAllowed", ""),
        ("GET", MAPS + "?labelSelector=a%20b", b"", "", 400, "BadRequest", ""),
        ("GET", MAPS + "?fieldSelector=data.a%3Db", b"", "", 400, "BadRequest", "is not a known field selector: only"),
        ("GET", MAPS + "?limit=x", b"", "", 400, "BadRequest", ""),
        ("GET", MAPS + "?resourceVersion=x&watch=true", b"", "", 400, "BadRequest", ""),
    ],
)  # fmt: skip
def test_what_the_wire_gets(
    api: Cluster, method: str, path: str, body: bytes, kind: str, code: int, reason: str, said: str
) -> None:
    found, status = Wire(api)(method, path, body, kind)
    assert (found, status["code"], status["reason"]) == (code, code, reason), status
    assert (status["kind"], status["apiVersion"], status["status"]) == ("Status", "v1", "Failure")
    assert status["message"] and said in status["message"]


def test_causes_on_the_wire(api: Cluster) -> None:
    spec = {"ports": [{"port": 0, "name": "a"}]}
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "bad"}, "spec": spec}
    code, status = Wire(api)("POST", "/api/v1/namespaces/default/services", json.dumps(body).encode())
    assert (code, status["reason"]) == (422, "Invalid")
    assert status["details"]["kind"] == "Service" and status["details"]["name"] == "bad"
    assert status["details"]["causes"][0] == {
        "reason": "FieldValueInvalid",
        "message": "Invalid value: 0: must be between 1 and 65535, inclusive",
        "field": "spec.ports[0].port",
    }
    assert status["message"].startswith('Service "bad" is invalid: ')


def test_a_wrong_token_and_none(api: Cluster) -> None:
    code, status = Wire(api)("GET", "/api/v1/pods", Authorization="Bearer nonsense")
    assert (code, status["reason"], status["message"]) == (401, "Unauthorized", "Unauthorized")
    for none in ("Basic YTpi", ""):
        code, status = Wire(api)("GET", "/api/v1/pods", Authorization=none)
        assert (code, status["reason"]) == (403, "Forbidden")
        assert status["message"].startswith('pods is forbidden: User "system:anonymous" cannot list resource "pods" in')
