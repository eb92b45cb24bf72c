"""The tutorial about Services and Endpoints, to the letter: real kubectl, a real nginx from a registry, real packets.

The numbers in the names are those of the tutorial's steps in docs/tutorial.md.
"""

from __future__ import annotations

import collections
import json
import re
import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.kubectl import Kubectl

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
pytestmark = pytest.mark.rootless


def applied(pods: Kubectl, *names: str) -> None:
    for name in names:
        pods("apply", "-f", str(EXAMPLES / f"{name}.yaml"))


def nginx(pods: Kubectl) -> list[str]:
    """The Deployment and Service of the tutorial, rolled out; the pods' addresses."""
    applied(pods, "nginx-deployment", "my-service")
    pods("rollout", "status", "deploy/nginx-deployment", "--timeout=60s")
    return addresses(pods, "app=my-app")


def addresses(pods: Kubectl, selector: str) -> list[str]:
    items = pods.json("get", "pods", "-l", selector)["items"]
    return sorted(item["status"]["podIP"] for item in items if "deletionTimestamp" not in item["metadata"])


def endpoints(pods: Kubectl, name: str) -> list[str]:
    """IP:port of the ready addresses in v1.Endpoints."""
    subsets = pods.json("get", "endpoints", name).get("subsets", [])
    return sorted(
        f"{address['ip']}:{port['port']}"
        for subset in subsets
        for address in subset.get("addresses", [])
        for port in subset["ports"]
    )


def get(cluster: Cluster, namespace: str, url: str) -> str:
    done = cluster.run("curl", "-sS", "--max-time", "5", url, namespace=namespace)
    assert done.code == 0, f"curl {url}: exit {done.code}\n{done.err}"
    return done.out


# 1 ----------------------------------------------------------------------------------------------------------------


def test_1_a_deployment_replaces_a_deleted_pod(pods: Kubectl) -> None:
    pods("create", "deploy", "test", "--image=nginx", "--replicas=1")
    pods("wait", "deploy/test", "--for=condition=Available", "--timeout=60s")
    header, line = pods("get", "pods", "-owide").splitlines()
    assert header.split()[:7] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    name, ready, status, restarts, _, ip, node = line.split()[:7]
    assert (ready, status, restarts, node) == ("1/1", "Running", "0", "node-1")
    assert re.fullmatch(r"test-[a-z0-9]+-[a-z0-9]{5}", name) and ip.startswith("10.244.1.")
    pods("delete", "pod", name)
    pods("wait", "deploy/test", "--for=condition=Available", "--timeout=60s")
    (item,) = pods.json("get", "pods")["items"]
    assert item["metadata"]["name"] != name and item["status"]["podIP"] != ip


def test_1_get_pods_w_shows_each_step(pods: Kubectl) -> None:
    pods("run", "marker", "--image=none", "--image-pull-policy=Never")
    watching = pods.start("get", "pods", "-w", "--no-headers")
    assert watching.stdout is not None
    assert watching.stdout.readline().startswith("marker")  # it has listed, and misses nothing from now on
    try:
        pods("create", "deploy", "test", "--image=nginx", "--replicas=1")
        pods("wait", "deploy/test", "--for=condition=Available", "--timeout=60s")
        pods("delete", "pod", "-l", "app=test")
        pods("wait", "deploy/test", "--for=condition=Available", "--timeout=60s")
    finally:
        watching.terminate()
    out, _ = watching.communicate(timeout=10)
    seen: dict[str, list[str]] = {}
    for line in out.splitlines():
        if not line.startswith("marker"):
            seen.setdefault(line.split()[0], []).append(line.split()[2])
    first, second = list(seen.values())
    for status in ("Pending", "ContainerCreating", "Running"):
        assert status in first and status in second
    assert first.index("Pending") < first.index("ContainerCreating") < first.index("Running")
    assert first[-1] in ("Terminating", "Completed")


# 2 ----------------------------------------------------------------------------------------------------------------


def test_2_the_service_answers_by_every_name_and_reaches_every_pod(
    cluster: Cluster, pods: Kubectl, namespace: str
) -> None:
    assert len(nginx(pods)) == 3
    ip = pods("get", "svc", "my-service", "-o", "jsonpath={.spec.clusterIP}")
    names = ("my-service", f"my-service.{namespace}", f"my-service.{namespace}.svc.cluster.local", ip)
    for name in names:
        assert "Welcome to nginx!" in get(cluster, namespace, f"http://{name}")
    # GET /hostname names the pod; one curl makes 300 connections.
    loop = "for i in $(seq 300); do curl -sS --max-time 5 http://my-service/hostname || exit 1; echo; done"
    done = cluster.run("sh", "-c", loop, namespace=namespace)
    assert done.code == 0, done.err
    reached = collections.Counter(line.strip() for line in done.out.splitlines() if line.strip())
    assert sum(reached.values()) == 300
    names_of_pods = {name.removeprefix("pod/") for name in pods("get", "pods", "-o", "name").split()}
    assert set(reached) == names_of_pods and min(reached.values()) > 50  # an even split is 100; 50 is 6 sigma off


def test_2_the_same_from_inside_a_pod(pods: Kubectl) -> None:
    nginx(pods)
    calls = "set -e; for i in $(seq 30); do wget -q -O - http://my-service/hostname; echo; done; wget -q -O - http://my-service"
    pods("run", "client", "--image=busybox", "--restart=Never", "--command", "--", "sh", "-c", calls)
    pods("wait", "pod/client", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    said = pods("logs", "client")
    assert "Welcome to nginx!" in said
    names = {name.removeprefix("pod/") for name in pods("get", "pods", "-l", "app=my-app", "-o", "name").split()}
    assert {line for line in said.splitlines() if line in names} == names


def test_2_a_pod_reaches_itself_through_its_service(pods: Kubectl) -> None:
    """The only endpoint calls its own Service: the reply must come back through the proxy (hairpin)."""
    applied(pods, "my-service")
    call = "wget -q -O /dev/null http://my-service/hostname && echo itself"
    program = f"httpd -p 80 -h /etc; while :; do {call}; sleep 1; done"
    pods("run", "alone", "--image=busybox", "--labels=app=my-app", "--command", "--", "sh", "-c", program)
    pods("wait", "pod/alone", "--for=condition=Ready", "--timeout=60s")
    eventually(lambda: "itself" in pods("logs", "alone", "--tail=5"), 20, "its own answer")


# 3 ----------------------------------------------------------------------------------------------------------------

DESCRIBED = (
    "Name Namespace Labels Annotations Selector Type IP#Family#Policy IP#Families IP IPs Port TargetPort Endpoints "
    "Session#Affinity Internal#Traffic#Policy Events"
)


def test_3_describe_shows_every_field_and_follows_the_pods(pods: Kubectl) -> None:
    before = nginx(pods)
    lines = pods("describe", "svc", "my-service").splitlines()
    shown = {line.split(":", 1)[0]: line.split(":", 1)[1].strip() for line in lines if ":" in line}
    assert list(shown) == [field.replace("#", " ") for field in DESCRIBED.split()]
    assert sorted(shown["Endpoints"].split(",")) == [f"{ip}:80" for ip in before]
    victim = pods("get", "pods", "-l", "app=my-app", "-o", "name").split()[0]
    dead = pods.json("get", victim)["status"]["podIP"]
    pods("delete", victim)
    pods("wait", "deploy/nginx-deployment", "--for=jsonpath={.status.availableReplicas}=3", "--timeout=60s")

    def now() -> bool:
        (text,) = re.findall(r"^Endpoints: +(.*)$", pods("describe", "svc", "my-service"), re.MULTILINE)
        found = sorted(text.split(","))
        after = [f"{ip}:80" for ip in addresses(pods, "app=my-app")]
        return len(found) == 3 and found == after and f"{dead}:80" not in found

    eventually(now, 10, "three new endpoints in describe")


# 4 ----------------------------------------------------------------------------------------------------------------


def test_4_endpoints_have_what_the_tutorial_shows(pods: Kubectl) -> None:
    ips = nginx(pods)
    found = pods.json("get", "endpoints", "my-service")
    (subset,) = found["subsets"]
    assert subset["ports"] == [{"port": 80, "protocol": "TCP"}]
    assert [address["ip"] for address in subset["addresses"]] == ips
    for address in subset["addresses"]:
        assert address["nodeName"] == "node-1"
        target = address["targetRef"]
        assert target["kind"] == "Pod" and target["uid"] and target["name"].startswith("nginx-deployment-")
    assert found["metadata"]["labels"]["endpoints.kubernetes.io/managed-by"] == "endpoint-controller"


def slices(pods: Kubectl, service: str) -> dict[str, bool]:
    """Every address in the service's EndpointSlices, and whether it is ready."""
    items = pods.json("get", "endpointslices", "-l", f"kubernetes.io/service-name={service}")["items"]
    return {
        address: endpoint["conditions"]["ready"]
        for item in items
        for endpoint in item["endpoints"]
        for address in endpoint["addresses"]
    }


def files_of(pod: str) -> Path:
    """The root directory of the pod's container, seen from outside (there is no `kubectl exec` yet)."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "root/etc/hostname").read_text().strip() == pod:
                return process / "root"
        except OSError:
            continue
    raise AssertionError(f"no process of pod {pod}")


def lists(pods: Kubectl) -> tuple[list[str], list[str]]:
    """The addresses and the notReadyAddresses of Endpoints flaky."""
    subsets = pods.json("get", "endpoints", "flaky").get("subsets", [])
    assert all(subset["ports"] == [{"name": "web", "port": 80, "protocol": "TCP"}] for subset in subsets)
    ready, unready = (
        sorted(address["ip"] for subset in subsets for address in subset.get(key, []))
        for key in ("addresses", "notReadyAddresses")
    )
    return ready, unready


def test_4_readiness_moves_pods_between_the_lists(cluster: Cluster, pods: Kubectl, namespace: str) -> None:
    """The probe is `test -e /tmp/ready`: the test makes and removes that file."""
    applied(pods, "readiness")
    pods("wait", "pods", "-l", "app=flaky", "--for=jsonpath={.status.phase}=Running", "--timeout=60s")
    one, two = pods.json("get", "pods", "-l", "app=flaky")["items"]
    first, second = one["status"]["podIP"], two["status"]["podIP"]
    both = sorted((first, second))
    ready = files_of(one["metadata"]["name"]) / "tmp" / "ready"
    other = files_of(two["metadata"]["name"]) / "tmp" / "ready"

    def come_to(addresses: list[str]) -> None:
        unready = [ip for ip in both if ip not in addresses]
        eventually(lambda: lists(pods) == (sorted(addresses), unready), 20, f"addresses {addresses}")
        wanted = {ip: ip in addresses for ip in both}
        eventually(lambda: slices(pods, "flaky") == wanted, 10, "the slices' agreement")

    come_to([])
    assert cluster.run("curl", "-sS", "http://flaky:8080", namespace=namespace).code == 7  # could not connect
    ready.touch()
    come_to([first])
    assert get(cluster, namespace, "http://flaky:8080/hostname").strip() == one["metadata"]["name"]
    other.touch()
    come_to(both)
    ready.unlink()
    come_to([second])
    assert get(cluster, namespace, "http://flaky:8080/hostname").strip() == two["metadata"]["name"]
    other.unlink()
    come_to([])


def test_4_the_official_python_client_reads_and_watches_both(
    cluster: Cluster, pods: Kubectl, namespace: str
) -> None:
    from kubernetes import client, config, watch

    api = config.new_client_from_config(str(cluster.kubeconfig))
    core, discovery = client.CoreV1Api(api), client.DiscoveryV1Api(api)
    ips = nginx(pods)
    read = core.read_namespaced_endpoints("my-service", namespace)
    assert sorted(address.ip for address in read.subsets[0].addresses) == ips
    by_service = "kubernetes.io/service-name=my-service"
    listed = discovery.list_namespaced_endpoint_slice(namespace, label_selector=by_service)
    assert sorted(endpoint.addresses[0] for item in listed.items for endpoint in item.endpoints) == ips
    pods("scale", "deploy/nginx-deployment", "--replicas=1")
    left: set[str] = set()
    for event in watch.Watch().stream(
        core.list_namespaced_endpoints,
        namespace,
        field_selector="metadata.name=my-service",
        resource_version=read.metadata.resource_version,
        timeout_seconds=30,
    ):
        left = {address.ip for subset in event["object"].subsets or [] for address in subset.addresses or []}
        if len(left) == 1:
            break
    assert len(left) == 1
    for event in watch.Watch().stream(
        discovery.list_namespaced_endpoint_slice,
        namespace,
        label_selector=by_service,
        resource_version=listed.metadata.resource_version,
        timeout_seconds=30,
    ):
        ready = {one.addresses[0] for one in event["object"].endpoints or [] if one.conditions.ready}
        if ready == left:
            return
    raise AssertionError("the slices never came to agree with the endpoints")


# 5 ----------------------------------------------------------------------------------------------------------------


def dig(cluster: Cluster, namespace: str, name: str) -> list[str]:
    """All addresses of a name, asked from inside the cluster as any program asks."""
    program = (
        "import socket, sys\n"
        "print(*sorted({row[4][0] for row in socket.getaddrinfo(sys.argv[1], 80, socket.AF_INET, socket.SOCK_STREAM)}))"
    )
    done = cluster.run("/usr/bin/python3", "-c", program, name, namespace=namespace)
    return done.out.split() if done.code == 0 else []


def test_5_headless_has_one_record_a_ready_pod(cluster: Cluster, pods: Kubectl, namespace: str) -> None:
    ips = nginx(pods)
    applied(pods, "headless")
    eventually(lambda: sorted(dig(cluster, namespace, "my-headless")) == ips, 10, "three records")
    pods("scale", "deploy/nginx-deployment", "--replicas=1")
    eventually(lambda: len(dig(cluster, namespace, "my-headless")) == 1, 20, "one record")


def test_5_without_a_selector_a_person_writes_the_endpoints(cluster: Cluster, pods: Kubectl, namespace: str) -> None:
    """no-selector.yaml with an address that answers: a pod of ours stands for the database outside."""
    pods("run", "db", "--image=nginx:1.14.2")
    pods("wait", "pod/db", "--for=condition=Ready", "--timeout=60s")
    ip = pods("get", "pod", "db", "-o", "jsonpath={.status.podIP}")
    text = (EXAMPLES / "no-selector.yaml").read_text().replace("192.0.2.10", ip).replace("15432", "80")
    pods("apply", "-f", "-", stdin=text)
    eventually(lambda: ip in slices(pods, "outside-db"), 10, "the mirrored slice")
    page = eventually(lambda: get(cluster, namespace, "http://outside-db:5432"), 10, "an answer")
    assert "Welcome to nginx!" in page


def connects(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            return True
    except OSError:
        return False


def test_5_a_node_port_answers_on_the_host(pods: Kubectl) -> None:
    nginx(pods)
    # 30080 as the example says, unless another cluster of this machine (that of `make up`) has it.
    port = next(port for port in range(30080, 30200) if not connects(port))
    text = (EXAMPLES / "exposed.yaml").read_text().replace("30080", str(port))
    pods("apply", "-f", "-", stdin=text)
    try:
        spec: dict[str, Any] = pods.json("get", "svc", "web-nodeport")["spec"]
        assert spec["ports"][0]["nodePort"] == port
        eventually(lambda: connects(port), 10, "the port on the host")

        def page() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                return str(answer.read().decode())

        assert "Welcome to nginx!" in page()
    finally:
        pods("delete", "svc", "web-nodeport")
    eventually(lambda: not connects(port), 10, "the port's end")


# what bad input gets ----------------------------------------------------------------------------------------------


def waiting(pods: Kubectl, name: str) -> str:
    statuses = pods.json("get", "pod", name)["status"].get("containerStatuses", [])
    return str(statuses[0]["state"].get("waiting", {}).get("reason", "")) if statuses else ""


def events(pods: Kubectl, name: str) -> str:
    items = pods.json("get", "events", f"--field-selector=involvedObject.name={name}")["items"]
    return "\n".join(f"{item['reason']}: {item['message']}" for item in items)


def test_an_image_that_does_not_exist(pods: Kubectl) -> None:
    pods("run", "none", "--image=does-not-exist:1")
    eventually(lambda: waiting(pods, "none") in ("ErrImagePull", "ImagePullBackOff"), 30, "the reason")
    said = eventually(lambda: events(pods, "none"), 10)
    assert "Failed: " in said and "does-not-exist:1" in said
    pods("delete", "pod", "none", "--timeout=30s")


def test_a_command_that_does_not_exist(pods: Kubectl) -> None:
    pods("run", "none", "--image=busybox", "--restart=Never", "--command", "--", "/no/such/program")
    reason = "{.status.containerStatuses[0].state.terminated.reason}"
    pods("wait", "pod/none", f"--for=jsonpath={reason}=StartError", "--timeout=30s")
    assert pods.json("get", "pod", "none")["status"]["phase"] == "Failed"
    assert "no such file or directory" in events(pods, "none")


def test_logs_follow_and_previous(pods: Kubectl) -> None:
    program = "for i in 1 2 3; do echo line $i; sleep 0.2; done; exit 3"
    pods("run", "talker", "--image=busybox", "--command", "--", "sh", "-c", program)
    pods("wait", "pod/talker", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "--timeout=60s")
    assert pods("logs", "talker", "--previous").splitlines() == ["line 1", "line 2", "line 3"]
    pods("run", "waiter", "--image=busybox", "--restart=Never", "--command", "--", "sh", "-c", program)
    pods("wait", "pod/waiter", "--for=jsonpath={.status.phase}=Failed", "--timeout=60s")
    assert pods("logs", "-f", "waiter", "--tail=2", timeout=20).splitlines() == ["line 2", "line 3"]
    found = json.loads(pods("get", "pod", "waiter", "-o", "json"))
    assert found["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3
