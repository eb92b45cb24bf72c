"""A cluster of two families: every address twice, over real connections, with kubectl (S24, S31, S32, S37, L14)."""

from __future__ import annotations

import json
import socket
import subprocess
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.conftest import in_namespace, skip_without_namespaces
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.kubectl import MINORS, Kubectl

pytestmark = pytest.mark.rootless

PODS, SERVICES = "10.244.0.0/16,fd00:10:244::/56", "10.96.0.0/12,fd00:10:96::/112"

SERVER = textwrap.dedent("""
    import http.server, socket
    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = f"{socket.gethostname()} {self.client_address[0].removeprefix('::ffff:')}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
    Server(("::", 8080), Handler).serve_forever()
""")

ASK_DNS = textwrap.dedent("""
    import socket, struct, sys
    name = b"".join(bytes([len(one)]) + one for one in b"kubernetes.default.svc.cluster.local".split(b"."))
    for address in sys.argv[1:]:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            query = struct.pack("!6H", 7, 256, 1, 0, 0, 0) + name + b"\\0" + struct.pack("!2H", 1, 1)
            sock.sendto(query, (address, 53))
            _, flags, _, answers = struct.unpack_from("!4H", sock.recv(512))
            print(address, flags & 15, answers, "dns")
""")


@pytest.fixture(scope="module")
def dual() -> Iterator[Cluster]:
    """Two nodes with addresses of both families."""
    skip_without_namespaces()
    made = Cluster("--nodes", "2", "--ephemeral", "--pod-cidr", PODS, "--service-cidr", SERVICES)
    try:
        made.up()
        yield made
    finally:
        made.delete()


@pytest.fixture
def kubectl(dual: Cluster, namespace: str) -> Iterator[Kubectl]:
    yield from in_namespace(dual, MINORS[-1], namespace)


def apply(kubectl: Kubectl, *objects: dict[str, Any]) -> None:
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def pod(name: str, node: str, command: list[str], **container: Any) -> dict[str, Any]:
    main = {"name": "main", "image": "host", "command": command, **container}
    spec = {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [main]}
    metadata = {"name": name, "labels": {"app": name.split("-")[0]}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def server(name: str, node: str, **container: Any) -> dict[str, Any]:
    probe = {"httpGet": {"port": 8080}}
    return pod(name, node, ["python3", "-c", SERVER], readinessProbe=probe, **container)


def service(name: str, policy: str | None = None, **spec: Any) -> dict[str, Any]:
    found = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}], **spec}
    if policy:
        found["ipFamilyPolicy"] = policy
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": found}


def address_types(kubectl: Kubectl, name: str) -> dict[str, int]:
    """How many endpoints each family's slices of a Service have."""
    items = kubectl.json("get", "endpointslices", "-l", f"kubernetes.io/service-name={name}")["items"]
    return {one["addressType"]: len(one["endpoints"] or []) for one in items}


def test_a_service_of_both_families_answers_on_every_address(dual: Cluster, kubectl: Kubectl) -> None:
    web = service("web", "RequireDualStack", type="NodePort")
    servers = [server("web-1", "node-1"), server("web-2", "node-2")]
    headless = service("all", "PreferDualStack", clusterIP="None")
    apply(kubectl, web, headless, *servers, pod("client", "node-1", ["sleep", "600"]))
    kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=30s")
    spec = kubectl.json("get", "service", "web")["spec"]
    assert (spec["ipFamilyPolicy"], spec["ipFamilies"]) == ("RequireDualStack", ["IPv4", "IPv6"])
    first, second = spec["clusterIPs"]
    assert spec["clusterIP"] == first and first.startswith("10.") and second.startswith("fd00:10:96::")
    eventually(lambda: address_types(kubectl, "web") == {"IPv4": 2, "IPv6": 2}, 5, "slices of both families")
    (subset,) = kubectl.json("get", "endpoints", "web")["subsets"]
    assert all(":" not in one["ip"] for one in subset["addresses"])  # E21: of one family

    statuses = {one: kubectl.json("get", "pod", one)["status"] for one in ("web-1", "web-2", "client")}
    ips = {name: [one["ip"] for one in found["podIPs"]] for name, found in statuses.items()}
    assert all(":" not in four and six.startswith("fd00:10:244:") for four, six in ips.values()), ips
    assert statuses["web-2"]["hostIPs"] == [{"ip": "10.243.0.3"}, {"ip": "fd00:10:243::3"}]
    node = kubectl.json("get", "node", "node-2")
    assert node["spec"]["podCIDRs"] == ["10.244.2.0/24", "fd00:10:244:2::/64"]

    node_port = spec["ports"][0]["nodePort"]
    script = f"""
        for i in $(seq 20); do
            curl -sSm 5 -w ' v4\\n' http://{first}/
            curl -sSm 5 -w ' v6\\n' http://[{second}]/
        done
        curl -sSm 5 -w ' name\\n' -6 http://web/
        curl -sSm 5 -w ' pod\\n' http://[{ips["web-2"][1]}]:8080/
        curl -sSm 5 -w ' port\\n' http://[fd00:10:243::3]:{node_port}/
        curl -sSm 5 -w ' port\\n' http://10.243.0.2:{node_port}/
        python3 -c 'import socket; print(*sorted({{one[4][0] for one in socket.getaddrinfo("all", 80)}}), "headless")'
        python3 -c 'import socket; print(socket.gethostbyaddr("{second}")[0], "reverse")'
        grep client /etc/hosts | cut -f 1 | tr '\\n' ' '; echo hosts
        python3 -c '{ASK_DNS}' 10.96.0.10 fd00:10:96::a
    """
    lines = kubectl("exec", "client", "--", "sh", "-c", script).splitlines()
    said: dict[str, set[str]] = {}
    for line in lines:
        text, _, kind = line.rpartition(" ")
        said.setdefault(kind, set()).add(text)
    four, six = ips["client"]
    assert said["v4"] == {f"web-1 {four}", f"web-2 {four}"}  # else one in 500,000 times
    assert said["v6"] == {f"web-1 {six}", f"web-2 {six}"}
    assert said["name"] <= said["v6"] and said["pod"] == {f"web-2 {six}"}
    assert {one.split()[1] for one in said["port"]} == {"10.243.0.2", "fd00:10:243::3"}  # P15: masqueraded
    assert said["headless"] == {" ".join(sorted(ips["web-1"] + ips["web-2"]))}
    assert said["reverse"] == {f"web.{kubectl.namespace}.svc.cluster.local"}
    assert said["hosts"] == {f"{four} {six}"}
    assert said["dns"] == {"10.96.0.10 0 1", "fd00:10:96::a 0 1"}
    dns = kubectl.json("get", "service", "kube-dns", "-n", "kube-system")["spec"]
    assert dns["clusterIPs"] == ["10.96.0.10", "fd00:10:96::a"] and dns["ipFamilies"] == ["IPv4", "IPv6"]
    slices = kubectl.json("get", "endpointslices", "-n", "kube-system", "-l", "kubernetes.io/service-name=kube-dns")
    known = {one["addressType"]: sorted(each["addresses"][0] for each in one["endpoints"]) for one in slices["items"]}
    assert known == {"IPv4": ["10.243.0.2", "10.243.0.3"], "IPv6": ["fd00:10:243::2", "fd00:10:243::3"]}

    # On this machine's loopback, 127.0.0.1 leads to whatever family a Service has, too.
    apply(kubectl, service("six", type="NodePort", ipFamilies=["IPv6"]))
    six_port = kubectl.json("get", "service", "six")["spec"]["ports"][0]["nodePort"]
    for place in (f"127.0.0.1:{six_port}", f"127.0.0.1:{node_port}", f"[::1]:{six_port}", f"[::1]:{node_port}"):
        if socket.has_dualstack_ipv6() or ":" not in place.rpartition(":")[0]:
            ask = ["curl", "-sSm", "5", f"http://{place}"]
            eventually(lambda ask=ask: subprocess.run(ask, capture_output=True).stdout[:4] == b"web-", 10, place)


def test_families_are_added_and_released_with_the_policy(kubectl: Kubectl) -> None:
    """S32: the second address comes and goes, and the slices follow; the first one stays."""
    apply(kubectl, service("web"), service("six", ipFamilies=["IPv6"]), server("web-1", "node-1"))
    kubectl("wait", "pod/web-1", "--for=condition=Ready", "--timeout=30s")

    def spec() -> dict[str, Any]:
        found: dict[str, Any] = kubectl.json("get", "service", "web")["spec"]
        return found

    first = spec()["clusterIP"]
    assert (spec()["ipFamilyPolicy"], spec()["ipFamilies"], spec()["clusterIPs"]) == ("SingleStack", ["IPv4"], [first])
    six = kubectl.json("get", "service", "six")["spec"]
    assert six["clusterIP"].startswith("fd00:10:96::") and six["ipFamilies"] == ["IPv6"]
    (subset,) = kubectl.json("get", "endpoints", "six")["subsets"]
    assert subset["addresses"][0]["ip"].startswith("fd00:10:244:1::")  # E21: of the Service's family
    eventually(lambda: address_types(kubectl, "six") == {"IPv6": 1}, 5, "the slice of six")

    kubectl("patch", "service", "web", "-p", '{"spec": {"ipFamilyPolicy": "PreferDualStack"}}')
    grown = spec()
    assert grown["ipFamilies"] == ["IPv4", "IPv6"] and grown["clusterIPs"][0] == first
    eventually(lambda: address_types(kubectl, "web") == {"IPv4": 1, "IPv6": 1}, 5, "the slice of the second family")
    done = kubectl.run("patch", "service", "web", "-p", f'{{"spec": {{"clusterIPs": ["{first}"]}}}}')
    assert done.code and "spec.ipFamilyPolicy" in done.err and "SingleStack" in done.err
    assert "to release the secondary cluster IP" in done.err
    done = kubectl.run("patch", "service", "web", "-p", '{"spec": {"ipFamilies": ["IPv6", "IPv4"]}}')
    assert done.code and "expected an IPv6 value as indicated by `ipFamilies[0]`" in done.err

    kubectl("patch", "service", "web", "-p", '{"spec": {"ipFamilyPolicy": "SingleStack"}}')
    assert (spec()["ipFamilies"], spec()["clusterIPs"]) == (["IPv4"], [first])
    eventually(lambda: address_types(kubectl, "web") == {"IPv4": 1}, 5, "the slice of the second family to go")
    again = service("again", ipFamilies=["IPv6"], clusterIP=grown["clusterIPs"][1])
    apply(kubectl, again)  # the address is free for somebody else


def test_host_ports_and_what_a_pod_is_told_have_both_families(kubectl: Kubectl) -> None:
    told = [{"name": "IPS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}}]
    told += [{"name": "HOSTS", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIPs"}}}]
    ports = [{"containerPort": 8080, "hostPort": 8099}]
    apply(kubectl, server("web-1", "node-1", ports=ports), pod("client", "node-2", ["sleep", "600"], env=told))
    kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=30s")
    script = (
        "curl -sSm 5 http://10.243.0.2:8099; echo; curl -sSm 5 http://[fd00:10:243::2]:8099; echo; echo $IPS $HOSTS"
    )
    four, six, own = kubectl("exec", "client", "--", "sh", "-c", script).splitlines()
    pods, hosts = own.split()
    assert [four, six] == [f"web-1 {one}" for one in pods.split(",")]
    assert hosts == "10.243.0.3,fd00:10:243::3"


def test_a_cluster_of_one_family_says_that_it_has_no_other(api: Cluster, namespace: str) -> None:
    for kubectl in in_namespace(api, MINORS[-1], namespace):
        stdin = json.dumps(service("web", "RequireDualStack"))
        done = kubectl.run("apply", "-f", "-", stdin=stdin)
        assert done.code and "this cluster is not configured for dual-stack services" in done.err
        done = kubectl.run("apply", "-f", "-", stdin=json.dumps(service("web", ipFamilies=["IPv6"])))
        assert done.code and 'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster' in done.err
        apply(kubectl, service("web", "PreferDualStack"))
        assert kubectl.json("get", "service", "web")["spec"]["ipFamilies"] == ["IPv4"]
