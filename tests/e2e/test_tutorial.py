"""The tutorial about Services and Endpoints, to the letter: real kubectl, a real nginx from a registry, real packets.

The numbers in the names are those of the tutorial's steps in docs/tutorial.md. What else endpoints do is in
test_endpoints_follow.py and its neighbours.
"""

from __future__ import annotations

import collections
import itertools
import re
import socket
import urllib.request

import pytest
from tests.helpers import look
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.kubectl import Kubectl

pytestmark = pytest.mark.rootless


# 1 ----------------------------------------------------------------------------------------------------------------


def test_1_a_deployment_replaces_a_deleted_pod(pods: Kubectl) -> None:
    assert pods("create", "deploy", "test", "--image=nginx", "--replicas=1") == "deployment.apps/test created\n"
    pods("wait", "deploy/test", "--for=condition=Available", "--timeout=60s")
    header, line = pods("get", "pods", "-owide").splitlines()
    assert " ".join(header.split()) == "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES"
    name, ready, status, restarts, _, ip, node, *rest = line.split()
    assert (ready, status, restarts, node, *rest) == ("1/1", "Running", "0", "node-1", "<none>", "<none>")
    assert re.fullmatch(r"test-[a-z0-9]+-[a-z0-9]{5}", name) and ip.startswith("10.244.1.")
    pods("delete", "pod", name)
    pods("wait", "deploy/test", "--for=condition=Available", "--timeout=60s")
    (item,) = pods.json("get", "pods")["items"]
    assert item["metadata"]["name"] != name and item["status"]["podIP"] != ip
    assert item["metadata"]["name"].rpartition("-")[0] == name.rpartition("-")[0]  # of the same ReplicaSet


def test_1_get_pods_w_shows_each_step(pods: Kubectl) -> None:
    pods("run", "marker", "--image=none", "--image-pull-policy=Never")
    with look.lines(pods, "get", "pods", "-w", "--no-headers") as watch:
        watch.until(lambda line: line.startswith("marker"))  # it has listed, and misses nothing from now on
        pods("create", "deploy", "test", "--image=nginx", "--replicas=1")
        watch.until(lambda line: line.split()[1:3] == ["1/1", "Running"])
        pods("delete", "pod", "-l", "app=test")
        watch.until(lambda line: line.split()[1:3] == ["1/1", "Running"])
        steps: dict[str, list[str]] = {}
        for line in watch.seen:
            name, ready, status = line.split()[:3]
            steps.setdefault(name, []).append(status)
            assert status == "Terminating" or ready == ("1/1" if status == "Running" else "0/1")
    del steps["marker"]
    first, second = ([status for status, _ in itertools.groupby(found)] for found in steps.values())
    assert second == ["Pending", "ContainerCreating", "Running"]
    assert first[:4] == ["Pending", "ContainerCreating", "Running", "Terminating"]
    assert first[4:] in ([], ["Completed"])  # its end may come before or after the new one is Running


# 2 ----------------------------------------------------------------------------------------------------------------


def test_2_the_service_answers_by_every_name_and_reaches_every_pod(
    cluster: Cluster, pods: Kubectl, namespace: str
) -> None:
    assert len(look.nginx(pods)) == 3
    ip = pods("get", "svc", "my-service", "-o", "jsonpath={.spec.clusterIP}")
    for name in ("my-service", f"my-service.{namespace}", f"my-service.{namespace}.svc.cluster.local", ip):
        assert "<title>Welcome to nginx!</title>" in look.fetch(cluster, namespace, f"http://{name}")
    # GET /hostname of the test's nginx names the pod.
    reached = collections.Counter(look.fetch_often(cluster, namespace, "http://my-service/hostname", 300))
    assert sum(reached.values()) == 300
    assert sorted(reached) == look.names(pods, "app=my-app")
    assert min(reached.values()) > 50  # an even split is 100; 50 is 6 sigma off


def test_2_the_same_from_inside_a_pod(pods: Kubectl, namespace: str) -> None:
    look.nginx(pods)
    ip = pods("get", "svc", "my-service", "-o", "jsonpath={.spec.clusterIP}")
    full = f"my-service.{namespace}.svc.cluster.local"
    script = (
        "until wget -q -O /dev/null http://my-service; do sleep 0.1; done;"  # ready is not yet known to proxy and DNS
        f"set -e; for name in my-service my-service.{namespace} {full} {ip}; do"
        " wget -q -O - http://$name | grep title; done;"
        "for i in $(seq 60); do wget -q -O - http://my-service/hostname; echo; done"
    )
    look.busybox(pods, "client", script)
    said = [line for line in pods("logs", "-f", "client", "--pod-running-timeout=30s").splitlines() if line]
    assert said[:4] == ["<title>Welcome to nginx!</title>"] * 4
    assert len(said) == 64
    assert sorted(set(said[4:])) == look.names(pods, "app=my-app")


def test_2_a_pod_reaches_itself_through_its_service(pods: Kubectl) -> None:
    """The only endpoint calls its own Service: the reply must come back through the proxy (hairpin)."""
    look.applied(pods, "my-service")
    # It calls until it is an endpoint: before, the connection is refused.
    script = "httpd -p 80 -h /etc; until wget -q -O - http://my-service/hostname; do sleep 0.05; done; exec sleep 1000"
    look.busybox(pods, "alone", script, "--labels=app=my-app")
    with look.lines(pods, "logs", "-f", "alone", "--pod-running-timeout=30s") as log:
        log.until(lambda line: line == "alone")  # /etc/hostname, served by itself


# 3 ----------------------------------------------------------------------------------------------------------------

DESCRIBED = """\
Name:                     my-service
Namespace:                {namespace}
Labels:                   <none>
Annotations:              <none>
Selector:                 app=my-app
Type:                     ClusterIP
IP Family Policy:         SingleStack
IP Families:              IPv4
IP:                       {ip}
IPs:                      {ip}
Port:                     <unset>  80/TCP
TargetPort:               80/TCP
Endpoints:                {endpoints}
Session Affinity:         None
Internal Traffic Policy:  Cluster
Events:                   <none>
"""


def test_3_describe_shows_every_field_and_follows_the_pods(pods: Kubectl, namespace: str) -> None:
    before = look.nginx(pods)
    ip = pods("get", "svc", "my-service", "-o", "jsonpath={.spec.clusterIP}")
    described = pods("describe", "svc", "my-service")

    def endpoints(text: str) -> list[str]:
        (line,) = re.findall(r"^Endpoints: +(.*)$", text, re.MULTILINE)
        return sorted(line.split(","))

    assert endpoints(described) == [f"{one}:80" for one in before]
    line = described.split("Endpoints:")[1].splitlines()[0].strip()
    assert described == DESCRIBED.format(namespace=namespace, ip=ip, endpoints=line)
    victim = look.names(pods, "app=my-app")[0]
    dead = pods.json("get", "pod", victim)["status"]["podIP"]
    pods("delete", "pod", victim)
    pods("wait", "deploy/nginx-deployment", "--for=jsonpath={.status.availableReplicas}=3", "--timeout=60s")
    after = look.addresses(pods, "app=my-app")
    assert len(after) == 3 and dead not in after
    wanted = [f"{one}:80" for one in after]
    eventually(lambda: endpoints(pods("describe", "svc", "my-service")) == wanted, 10, "the new endpoints in describe")


# 4 ----------------------------------------------------------------------------------------------------------------


def test_4_endpoints_have_what_the_tutorial_shows(pods: Kubectl, namespace: str) -> None:
    look.nginx(pods)
    items = pods.json("get", "pods", "-l", "app=my-app")["items"]
    found = pods.run("get", "endpoints", "my-service", "-o", "yaml")
    assert found.err == "Warning: v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\n"  # E53
    for line in ("kind: Endpoints", "subsets:", "- addresses:", "  - ip: 10.244.1.", "    nodeName: node-1"):
        assert f"\n{line}" in found.out
    (subset,) = pods.json("get", "endpoints", "my-service")["subsets"]
    wanted = [
        {
            "ip": item["status"]["podIP"],
            "nodeName": "node-1",
            "targetRef": {
                "kind": "Pod",
                "name": item["metadata"]["name"],
                "namespace": namespace,
                "uid": item["metadata"]["uid"],
            },
        }
        for item in items
    ]
    assert subset == {
        "addresses": sorted(wanted, key=lambda one: str(one["ip"])),  # E32: by text
        "ports": [{"port": 80, "protocol": "TCP"}],
    }


def test_4_readiness_moves_pods_between_the_lists(cluster: Cluster, pods: Kubectl, namespace: str) -> None:
    """The probe is `test -e /tmp/ready`: the test makes and removes that file."""
    look.applied(pods, "readiness")
    pods("wait", "pods", "-l", "app=flaky", "--for=jsonpath={.status.phase}=Running", "--timeout=60s")
    one, two = pods.json("get", "pods", "-l", "app=flaky")["items"]
    first, second = one["status"]["podIP"], two["status"]["podIP"]
    ready = look.files_of(one["metadata"]["name"], namespace=namespace) / "tmp" / "ready"
    other = look.files_of(two["metadata"]["name"], namespace=namespace) / "tmp" / "ready"

    def come_to(*wanted: str) -> None:
        """Both objects say so, and so do the packets."""
        unready = [ip for ip in (first, second) if ip not in wanted]
        listed = tuple(sorted(f"{ip}:80" for ip in group) for group in (wanted, unready))
        eventually(lambda: look.lists(pods, "flaky") == listed, 20, f"addresses {wanted}")
        agreed = {ip: {"ready": ip in wanted, "serving": ip in wanted, "terminating": False} for ip in (first, second)}
        eventually(lambda: look.conditions(pods, "flaky") == agreed, 10, "the slices' agreement")
        if wanted:
            reached = set(look.fetch_often(cluster, namespace, "http://flaky:8080/hostname", 20))
            assert reached == {hosts[ip] for ip in wanted}
        else:
            assert cluster.run("curl", "-s", "http://flaky:8080", namespace=namespace).code == 7  # could not connect

    hosts = {first: one["metadata"]["name"], second: two["metadata"]["name"]}
    come_to()
    ready.touch()
    come_to(first)
    other.touch()
    come_to(first, second)
    ready.unlink()
    come_to(second)
    other.unlink()
    come_to()


# 5 ----------------------------------------------------------------------------------------------------------------


def test_5_headless_has_one_record_a_ready_pod(cluster: Cluster, pods: Kubectl, namespace: str) -> None:
    ips = look.nginx(pods)
    look.applied(pods, "headless")
    name = f"my-headless.{namespace}.svc.cluster.local"
    assert pods("get", "svc", "my-headless", "--no-headers").split()[:5] == [
        "my-headless", "ClusterIP", "None", "<none>", "80/TCP",
    ]  # fmt: skip
    eventually(lambda: look.dig(cluster, namespace, name) == ("NOERROR", ips), 10, "three records")
    assert "Welcome to nginx!" in look.fetch(cluster, namespace, "http://my-headless")
    pods("scale", "deploy/nginx-deployment", "--replicas=1")
    eventually(lambda: len(look.dig(cluster, namespace, name)[1]) == 1, 20, "one record")
    pods("scale", "deploy/nginx-deployment", "--replicas=0")
    eventually(lambda: look.dig(cluster, namespace, name) == ("NXDOMAIN", []), 20, "no record")  # D3


def test_5_without_a_selector_a_person_writes_the_endpoints(cluster: Cluster, pods: Kubectl, namespace: str) -> None:
    """no-selector.yaml with an address that answers: a pod of ours stands for the database outside."""
    pods("run", "db", "--image=nginx:1.14.2")
    pods("wait", "pod/db", "--for=condition=Ready", "--timeout=60s")
    ip = pods("get", "pod", "db", "-o", "jsonpath={.status.podIP}")
    text = (look.EXAMPLES / "no-selector.yaml").read_text().replace("192.0.2.10", ip).replace("15432", "80")
    pods("apply", "-f", "-", stdin=text)
    eventually(lambda: look.conditions(pods, "outside-db") == {ip: {"ready": True}}, 10, "the mirrored slice")  # X4
    page = eventually(lambda: look.fetch(cluster, namespace, "http://outside-db:5432"), 10, "an answer")
    assert "Welcome to nginx!" in page


def connects(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            return True
    except OSError:
        return False


@pytest.mark.usefixtures("port_30080")
def test_5_a_node_port_answers_on_the_host(pods: Kubectl) -> None:
    look.nginx(pods)
    # 30080 as the example says, unless another cluster of this machine (that of `make up`) has it.
    port = next(port for port in range(30080, 30200) if not connects(port))
    pods("apply", "-f", "-", stdin=(look.EXAMPLES / "exposed.yaml").read_text().replace("30080", str(port)))
    try:
        assert f"80:{port}/TCP" in pods("get", "svc", "web-nodeport")
        eventually(lambda: connects(port), 10, "the port on the host")

        def page(path: str = "") -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
                return str(answer.read().decode())

        assert "Welcome to nginx!" in page()
        assert sorted({page("hostname").strip() for _ in range(60)}) == look.names(pods, "app=my-app")
    finally:
        pods("delete", "svc", "web-nodeport")
    eventually(lambda: not connects(port), 10, "the port's end")
