"""A cluster of IPv6 alone, with kubectl: names, ways in and ways out. test_dual_stack.py has both families."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from tests.e2e.conftest import in_namespace, skip_without_namespaces
from tests.e2e.test_dual_stack import apply, pod, server, service
from tests.helpers.cluster import Cluster, eventually, free_port
from tests.helpers.kubectl import MINORS, Kubectl

pytestmark = pytest.mark.rootless

PODS, SERVICES = "fd00:10:244::/56", "fd00:10:96::/112"


@pytest.fixture(scope="module")
def six() -> Iterator[Cluster]:
    """Two nodes with IPv6 addresses alone."""
    skip_without_namespaces()
    made = Cluster("--nodes", "2", "--ephemeral", "--pod-cidr", PODS, "--service-cidr", SERVICES)
    try:
        made.up()
        yield made
    finally:
        made.delete()


@pytest.fixture
def kubectl(six: Cluster, namespace: str) -> Iterator[Kubectl]:
    yield from in_namespace(six, MINORS[-1], namespace)


def fetch(url: str) -> str:
    """What somebody on this machine gets, "" for nothing."""
    done = subprocess.run(["curl", "-sS", "-m", "5", url], capture_output=True, text=True, check=False)
    return done.stdout


class OfThisMachine(BaseHTTPRequestHandler):
    """A server on this machine's loopback."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"the machine")

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def machine_port() -> Iterator[int]:
    httpd = HTTPServer(("127.0.0.1", free_port()), OfThisMachine)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield httpd.server_port
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_names_and_ways_in_and_out(six: Cluster, kubectl: Kubectl, machine_port: int) -> None:
    balanced = service("balanced", type="LoadBalancer", ports=[{"port": 18088, "targetPort": 8080}])
    host_port = [{"containerPort": 8080, "hostPort": 8098}]
    servers = [server("web-1", "node-1", ports=host_port), server("web-2", "node-2")]
    apply(kubectl, service("web", type="NodePort"), balanced, *servers, pod("client", "node-2", ["sleep", "600"]))
    kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=30s")
    status = {name: kubectl.json("get", "pod", name)["status"] for name in ("web-1", "client")}
    assert all(len(one["podIPs"]) == 1 and one["podIP"].startswith("fd00:10:244:") for one in status.values())
    web = kubectl.json("get", "service", "web")["spec"]
    assert (web["ipFamilies"], web["ipFamilyPolicy"]) == (["IPv6"], "SingleStack")
    assert kubectl.json("get", "service", "kube-dns", "-n", "kube-system")["spec"]["clusterIPs"] == ["fd00:10:96::a"]
    assert kubectl.json("get", "service", "kubernetes", "-n", "default")["spec"]["clusterIP"] == "fd00:10:96::1"

    number, node_1 = web["ports"][0]["nodePort"], status["web-1"]["hostIP"]
    assert node_1 == "fd00:10:243::2"
    lookup = "import socket,sys; print(*sorted({one[4][0] for one in socket.getaddrinfo(sys.argv[1], 80)}))"
    script = f"""
        for i in $(seq 20); do curl -sSm 5 http://web; echo; done | sort -u
        curl -sSm 5 http://[{web["clusterIP"]}]; echo
        curl -sSm 5 http://[fd00:10:243::3]:{number}; echo
        curl -sSm 5 http://[{node_1}]:8098; echo
        curl -sSm 5 http://host.skerry.internal:{machine_port}; echo
        curl -sSm 5 --cacert /var/run/secrets/kubernetes.io/serviceaccount/ca.crt -o /dev/null -w '%{{http_code}}' \\
            https://kubernetes.default/version; echo
        python3 -c '{lookup}' host.skerry.internal
        curl -sSm 5 http://[{node_1}]:10256/healthz; echo
        grep nameserver /etc/resolv.conf
    """
    lines = kubectl("exec", "client", "--", "sh", "-c", script).splitlines()
    client = status["client"]["podIP"]
    assert lines[:2] == [f"web-1 {client}", f"web-2 {client}"], lines  # else one in 500,000 times
    assert lines[2] in (f"web-1 {client}", f"web-2 {client}")
    assert lines[3].split()[1].startswith("fd00:10:243::")  # P15: masqueraded
    assert lines[4] == f"web-1 {client}"
    assert lines[5] == "the machine"
    assert lines[6] == "200"
    assert lines[7].startswith("fd00:10:243:")
    assert list(json.loads(lines[8])["status"]) == ["IPv6"]  # P35
    assert lines[-1] == "nameserver fd00:10:96::a"

    # From this machine: node ports on its loopback (both of them, where it has two), and the balancer's address.
    ingress = kubectl.json("get", "service", "balanced")["status"]["loadBalancer"]["ingress"][0]["ip"]
    places = [f"127.0.0.1:{number}", f"{ingress}:18088"]
    if socket.has_dualstack_ipv6():
        places.append(f"[::1]:{number}")
    for place in places:
        eventually(lambda place=place: fetch(f"http://{place}").startswith("web-"), 10, place)
    assert ", 0 connections" not in six.skerry("why", "web", "-n", kubectl.namespace).out
    refused = json.loads(kubectl("get", "events", "-o", "json"))["items"]
    assert [one["message"] for one in refused if one["reason"] == "HostPortUnavailable"] == []

    kubectl("delete", "pod", "web-1", "web-2", "--wait=false")
    ask = ["sh", "-c", "curl -sSm 5 http://web 2>&1 | grep -c 'onnect'"]
    eventually(lambda: kubectl.run("exec", "client", "--", *ask).out.strip() == "1", 15, "a refusal")
