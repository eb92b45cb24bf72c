"""Endpoints and EndpointSlices follow pods and Services, and packets follow them. Rules of the specification cited."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.helpers import look
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.kubectl import Kubectl

NAMED = """\
apiVersion: v1
kind: Service
metadata: {name: named}
spec: {selector: {app: named}, ports: [{name: web, port: 80, targetPort: http}]}
"""


def described_endpoints(kubectl: Kubectl, service: str) -> str:
    (line,) = re.findall(r"^Endpoints:(.*)$", kubectl("describe", "svc", service), re.MULTILINE)
    return str(line).strip()


def column(kubectl: Kubectl, *what: str) -> str:
    """The last but one column of a row."""
    row = kubectl("get", *what, "--no-headers")
    return "".join(re.split(r" {2,}", row.strip())[-2:-1])


def test_the_columns_when_there_are_none_one_and_four(pods: Kubectl) -> None:
    """T7, T8 and T19: three are shown, the rest is counted."""
    look.applied(pods, "my-service")
    placeholder = "endpointslices", "-l", "kubernetes.io/service-name=my-service"
    eventually(lambda: "<unset>   <unset>" in pods("get", *placeholder, "--no-headers"), 10, "the placeholder")  # L29
    assert described_endpoints(pods, "my-service") == ""
    assert column(pods, "endpoints", "my-service") == "<none>"
    pods("create", "service", "clusterip", "bare", "--tcp=80")
    pods("patch", "svc", "bare", "--type=json", "-p", '[{"op":"remove","path":"/spec/selector"}]')
    pods("delete", *placeholder[:2], "kubernetes.io/service-name=bare")
    assert described_endpoints(pods, "bare") == "<none>"
    look.applied(pods, "nginx-deployment")
    pods("scale", "deploy/nginx-deployment", "--replicas=4")
    pods("rollout", "status", "deploy/nginx-deployment", "--timeout=60s")
    ips = look.addresses(pods, "app=my-app")
    eventually(lambda: len(look.lists(pods, "my-service")[0]) == 4, 10, "four endpoints")
    assert column(pods, "endpoints", "my-service") == ",".join(f"{ip}:80" for ip in ips[:3]) + " + 1 more..."
    assert column(pods, *placeholder).endswith(" + 1 more...")
    assert re.fullmatch(r"(10\.244\.1\.\d+:80,?){3} \+ 1 more\.\.\.", described_endpoints(pods, "my-service"))


def test_scaling_to_nothing_and_back_keeps_the_slice(pods: Kubectl) -> None:
    """L29 and L31: the slice becomes the placeholder and the other way round, under its name."""
    look.nginx(pods)
    (before,) = look.slices_of(pods, "my-service")
    assert before["addressType"] == "IPv4"
    assert before["metadata"]["labels"] == {
        "kubernetes.io/service-name": "my-service",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    (owner,) = before["metadata"]["ownerReferences"]
    service = pods.json("get", "svc", "my-service")
    assert owner == {
        "apiVersion": "v1",
        "kind": "Service",
        "name": "my-service",
        "uid": service["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    pods("scale", "deploy/nginx-deployment", "--replicas=0")
    eventually(lambda: look.conditions(pods, "my-service") == {}, 20, "an empty slice")
    eventually(lambda: "subsets" not in pods.json("get", "endpoints", "my-service"), 10, "empty Endpoints")  # E47
    (empty,) = look.slices_of(pods, "my-service")
    assert empty["metadata"]["name"] == before["metadata"]["name"] and not empty["ports"]
    pods("scale", "deploy/nginx-deployment", "--replicas=2")
    pods("rollout", "status", "deploy/nginx-deployment", "--timeout=60s")
    eventually(lambda: len(look.conditions(pods, "my-service")) == 2, 10, "two endpoints")
    (after,) = look.slices_of(pods, "my-service")
    assert after["metadata"]["name"] == before["metadata"]["name"]
    assert after["metadata"]["generation"] > before["metadata"]["generation"]


def test_a_pod_that_is_relabelled_leaves_and_is_replaced(cluster: Cluster, pods: Kubectl, namespace: str) -> None:
    """A4: the way to take one pod aside and look at it."""
    look.nginx(pods)
    aside = look.names(pods, "app=my-app")[0]
    ip = pods.json("get", "pod", aside)["status"]["podIP"]
    pods("label", "pod", aside, "app=aside", "--overwrite")
    eventually(lambda: len(look.names(pods, "app=my-app")) == 3, 10, "a replacement")
    pods("wait", "pods", "-l", "app=my-app", "--for=condition=Ready", "--timeout=30s")
    ips = look.addresses(pods, "app=my-app")
    eventually(lambda: look.lists(pods, "my-service")[0] == [f"{one}:80" for one in ips], 10, "the new three")
    assert ip not in ips and sorted(look.conditions(pods, "my-service")) == ips
    assert "ownerReferences" not in pods.json("get", "pod", aside)["metadata"]
    reached = look.fetch_often(cluster, namespace, "http://my-service/hostname", 40)
    assert sorted(set(reached)) == look.names(pods, "app=my-app")
    assert look.fetch(cluster, namespace, f"http://{ip}/hostname").strip() == aside  # it still answers for itself


def test_a_pod_that_is_ending(cluster: Cluster, pods: Kubectl, namespace: str) -> None:
    """E15, L16, D5, R14: out of Endpoints and DNS at once; in the slice as what it is, until it has gone."""
    look.applied(pods, "my-service", "headless")
    script = "trap 'echo draining' TERM; httpd -p 80 -h /etc; while :; do sleep 0.05; done"
    for name in ("stays", "goes"):
        look.busybox(pods, name, script, "--labels=app=my-app", grace=60)
    pods("wait", "pod/stays", "pod/goes", "--for=condition=Ready", "--timeout=30s")
    stays, goes = (pods.json("get", "pod", name)["status"]["podIP"] for name in ("stays", "goes"))
    both = sorted([f"{stays}:80", f"{goes}:80"])
    eventually(lambda: look.lists(pods, "my-service") == (both, []), 10, "both")
    pods("delete", "pod", "goes", "--wait=false")
    assert look.shown_status(pods, "goes") == "Terminating"
    ending = {"ready": False, "serving": True, "terminating": True}
    eventually(lambda: look.conditions(pods, "my-service").get(goes) == ending, 10, "the slice")
    assert look.conditions(pods, "my-service")[stays] == {"ready": True, "serving": True, "terminating": False}
    eventually(lambda: look.lists(pods, "my-service") == ([f"{stays}:80"], []), 10, "one left")
    full = f"my-headless.{namespace}.svc.cluster.local"
    eventually(lambda: look.dig(cluster, namespace, full) == ("NOERROR", [stays]), 10, "one record")
    with look.lines(pods, "logs", "-f", "goes") as log:
        log.until(lambda line: line == "draining")
    assert set(look.fetch_often(cluster, namespace, "http://my-service/hostname", 20)) == {"stays"}
    pods("delete", "pod", "goes", "--grace-period=1")
    eventually(lambda: goes not in look.conditions(pods, "my-service"), 10, "its end")


def test_a_named_port_that_differs_from_pod_to_pod(cluster: Cluster, pods: Kubectl, namespace: str) -> None:
    """E25, E31, L21, G2: subsets and slices by the number behind the name; traffic goes to both."""
    pods("apply", "-f", "-", stdin=NAMED)
    for name, port in (("one", 8080), ("two", 9090)):
        ports = [{"name": "http", "containerPort": port}]
        command = ["sh", "-c", f"exec httpd -f -p {port} -h /etc"]
        spec = {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "web", "image": "busybox", "command": command, "ports": ports}],
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "named"}}, "spec": spec}
        pods("apply", "-f", "-", stdin=json.dumps(pod))
    pods("wait", "pod/one", "pod/two", "--for=condition=Ready", "--timeout=30s")
    one, two = (pods.json("get", "pod", name)["status"]["podIP"] for name in ("one", "two"))
    eventually(lambda: look.lists(pods, "named") == (sorted([f"{one}:8080", f"{two}:9090"]), []), 10, "both subsets")
    subsets = pods.json("get", "endpoints", "named")["subsets"]
    assert [[port["name"] for port in subset["ports"]] for subset in subsets] == [["web"], ["web"]]  # E26
    slices = look.slices_of(pods, "named")
    by_port = {item["ports"][0]["port"]: item["endpoints"][0]["addresses"] for item in slices}
    assert by_port == {8080: [one], 9090: [two]}
    url = "http://named/hostname"
    eventually(lambda: set(look.fetch_often(cluster, namespace, url, 20)) == {"one", "two"}, 10, "both pods")


def test_endpoints_that_are_deleted_come_back_and_go_with_their_service(pods: Kubectl) -> None:
    """E52, E49; the slices go by garbage collection (L11, A7)."""
    look.nginx(pods)
    eventually(lambda: len(look.lists(pods, "my-service")[0]) == 3, 10, "three endpoints")
    before = pods.json("get", "endpoints", "my-service")
    pods("delete", "endpoints", "my-service")
    after: dict[str, Any] = eventually(lambda: pods.json("get", "endpoints", "my-service"), 10, "new Endpoints")
    assert after["metadata"]["uid"] != before["metadata"]["uid"] and after["subsets"] == before["subsets"]
    (old,) = look.slices_of(pods, "my-service")
    pods("delete", "endpointslice", old["metadata"]["name"])
    (new,) = eventually(lambda: look.slices_of(pods, "my-service"), 10, "a new slice")
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    pods("delete", "svc", "my-service")
    gone = 'endpoints "my-service" not found'
    eventually(lambda: gone in pods.run("get", "endpoints", "my-service").err, 10, "the end of Endpoints")
    eventually(lambda: look.slices_of(pods, "my-service") == [], 20, "the end of the slices")


def test_a_service_that_selects_something_else(cluster: Cluster, pods: Kubectl, namespace: str) -> None:
    """The selector and the port of a Service can change at any time; the packets follow."""
    look.applied(pods, "my-service")
    for name in ("blue", "green"):
        look.busybox(pods, name, "exec httpd -f -p 80 -h /etc", f"--labels=app={name}")
    pods("wait", "pod/blue", "pod/green", "--for=condition=Ready", "--timeout=30s")
    for name in ("blue", "green"):
        pods("patch", "svc", "my-service", "-p", json.dumps({"spec": {"selector": {"app": name}}}))
        arrived = f"http://my-service.{namespace}/hostname"
        eventually(lambda url=arrived, name=name: look.fetch(cluster, namespace, url).strip() == name, 10, name)
    steps = [{"op": "replace", "path": "/spec/ports/0/port", "value": 8000}]
    pods("patch", "svc", "my-service", "--type=json", "-p", json.dumps(steps))
    eventually(lambda: look.fetch(cluster, namespace, "http://my-service:8000/hostname").strip() == "green", 10)
    eventually(lambda: cluster.run("curl", "-s", "http://my-service", namespace=namespace).code == 7, 10, "no port 80")
