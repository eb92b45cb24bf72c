"""What leads to a Service and back, on a real cluster: LoadBalancer, connect, host.skerry.internal, the walked path."""

from __future__ import annotations

import http.server
import os
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.kubectl import Kubectl

pytestmark = pytest.mark.rootless

WEB = """
apiVersion: v1
kind: Pod
metadata: {{name: web, labels: {{app: web}}}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{{name: c, image: host, command: [python3, -m, http.server, "8080"]}}]
---
apiVersion: v1
kind: Service
metadata: {{name: balanced}}
spec:
  type: LoadBalancer
  allocateLoadBalancerNodePorts: false
  selector: {{app: web}}
  ports: [{{name: low, port: 80, targetPort: 8080}}, {{name: high, port: {port}, targetPort: 8080}}]
"""
PORT = 18080
_PYTHON = "import socket,sys; print(socket.getaddrinfo(sys.argv[1], 80, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])"


@contextmanager
def machine_server() -> Iterator[int]:
    """A server on this machine's loopback alone."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"the machine")

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def status_of(url: str) -> int:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as found:
            return int(found.status)
    except OSError as error:
        raise AssertionError(f"{url}: {error}") from None


def test_ways_in_and_back(cluster: Cluster, pods: Kubectl, namespace: str) -> None:
    pods("apply", "-f", "-", stdin=WEB.format(port=PORT))
    pods("wait", "--for=condition=EndpointsReady", "svc/balanced", "--timeout=30s")

    # LoadBalancer: open on an address of its own, without node ports; a refused low port is told where it is.
    def opened() -> str:
        found = pods.json("get", "svc", "balanced")
        assert not any("nodePort" in one for one in found["spec"]["ports"])
        told = next(one for one in found["status"]["conditions"] if one["type"] == "LoadBalancerPorts")
        assert told["status"] == "True"
        (row,) = [one for one in cluster.status()["loadBalancers"] if one["namespace"] == namespace]
        assert row["message"] == told["message"]
        low = 30080 if told["reason"] == "PortMoved" else 80
        assert low == 80 or told["message"].startswith(f"80/TCP is open as {row['address']}:30080; ")
        assert status_of(f"http://{row['address']}:{low}/") == status_of(f"http://{row['address']}:{PORT}/") == 200
        return str(row["address"])

    address = eventually(opened, 10)
    assert address.startswith("127.")

    # connect: names and addresses, HTTP and SOCKS, the command's exit code, and a name that nobody has.
    connect = ("connect", "-n", namespace, "--")
    curl = ("curl", "-sS", "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code}")
    assert cluster.skerry(*connect, *curl, f"http://balanced.{namespace}:{PORT}/").out == "200"
    socks = ("sh", "-c", f"curl -sS -o /dev/null -w '%{{http_code}}' -x $ALL_PROXY http://balanced:{PORT}/")
    assert cluster.skerry(*connect, *socks).out == "200"
    ip = pods("get", "svc", "balanced", "-o", "jsonpath={.spec.clusterIP}")
    assert cluster.skerry(*connect, *curl, f"http://{ip}:{PORT}/").out == "200"
    # What fails is told with the name that was asked for; the proxy is gone with the command.
    long = "x" * 64
    wrong = " ".join(f"http://{one}/" for one in ("balanced:81", "host.skerry.internal:1", long))
    told = cluster.skerry(*connect, "sh", "-c", f"curl -sS {wrong}; echo $ALL_PROXY; curl -sS -x $ALL_PROXY nobody")
    assert told.code == 97 and "(4)" in told.err
    *sentences, proxy = told.out.splitlines()
    assert sentences == [
        f"balanced port 81 ({ip}): Connection refused",
        "host.skerry.internal port 1 (127.0.0.1): Connection refused",
        f"{long} is no name: a name has up to 253 bytes and up to 63 between two dots",
    ]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(proxy.rpartition(":")[2])), 5)

    # The way back, from a pod and from `run`.
    with machine_server() as port:
        script = f"import urllib.request as u; print(u.urlopen('http://host.skerry.internal:{port}').read().decode())"
        assert pods("exec", "web", "--", "python3", "-c", script).strip() == "the machine"
        assert cluster.run("python3", "-c", script).out.strip() == "the machine"
    refused = pods.run("exec", "web", "--", "python3", "-c", script)
    assert refused.code != 0 and "reset" in refused.err

    # Names: the search path is walked, and what nobody has costs no time-out.
    begun = time.monotonic()
    assert pods("exec", "web", "--", "python3", "-c", _PYTHON, "kubernetes.default").strip() == "10.96.0.1"
    assert pods.run("exec", "web", "--", "python3", "-c", _PYTHON, "nobody-has-this").code != 0
    assert time.monotonic() - begun < 4
    # Without NAT, so that A and AAAA asked at once from one port cannot lose one another (kubernetes#56903).
    if os.geteuid() == 0:  # who may look into the table
        asked = cluster.run("conntrack", "-L", "-p", "udp", "-d", "10.96.0.10", "--dport", "53")
        entries = [line for line in asked.out.splitlines() if line.startswith("udp")]
        assert entries and all("src=10.96.0.10" in line for line in entries), asked

    pods("delete", "svc", "balanced")

    def closed() -> bool:
        with pytest.raises(AssertionError, match="refused"):
            status_of(f"http://{address}:{PORT}/")
        return True

    eventually(closed, 5)
