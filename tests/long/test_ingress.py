"""No request fails through Ingress while a Deployment is rolled, scaled and loses pods, whether clients keep their
connections or not, and whether or not its servers drain.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.e2e.conftest import skip_without_namespaces
from tests.e2e.test_nodes import kill
from tests.helpers.clients import Outcome, client_pod, clients
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.images import MissingToolError, nginx
from tests.helpers.kubectl import Kubectl
from tests.helpers.rollouts import REQUESTS, Web, apply, everything_at_once, nodes, until

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("rolling updates")]
EACH = 24
"""Clients that keep their connections, and as many that do not."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    skip_without_namespaces()
    found = Cluster("--ephemeral", "--nodes", "2")
    try:
        found.up()
        archive = found.home / "nginx.tar"
        try:
            nginx("1.14.2").write_docker_archive(str(archive), "nginx:1.14.2")
        except MissingToolError as error:
            pytest.skip(str(error))
        done = found.skerry("load", str(archive))
        assert done.code == 0, done.err
        kubectl = found.kubectl()
        for node in nodes(kubectl):
            apply(kubectl, client_pod(f"clients-{node}", node))
        apply(kubectl, ingress("web"))
        kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=60s")
        yield found
    finally:
        found.delete()


def ingress(service: str) -> dict[str, object]:
    """Every host and path leads to the Service."""
    backend = {"service": {"name": service, "port": {"number": 80}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": service},
        "spec": {"defaultBackend": backend},
    }


def entrance(kubectl: Kubectl) -> str:
    """The cluster IP of Ingress, when Envoy takes requests."""

    def open_() -> str:
        found = kubectl.json("get", "endpointslice", "-n", "kube-system", "skerry-ingress")
        assert found["endpoints"][0]["conditions"]["ready"]
        return str(kubectl.json("get", "service", "-n", "kube-system", "skerry-ingress")["spec"]["clusterIP"])

    return eventually(open_, 30, "Envoy")


@pytest.mark.parametrize(("server", "requests"), [("nginx", REQUESTS), ("python", REQUESTS // 5)])
def test_no_request_fails(cluster: Cluster, server: str, requests: int) -> None:
    kubectl = cluster.kubectl()
    one = Web(kubectl, server)
    try:
        address = entrance(kubectl)
        pods = [f"clients-{node}" for node in nodes(kubectl)]
        with (
            clients(kubectl, pods, address, EACH, keep_alive=True) as keeping,
            clients(kubectl, pods, address, EACH) as closing,
        ):
            everything_at_once(one)
            until(lambda: keeping.good + closing.good >= requests, [one.lost, one.rolled])
            found: list[Outcome] = [keeping.finish(), closing.finish()]
        print(f"{server}, through Ingress: keep-alive {found[0]}; a connection a request {found[1]}")
        assert [each.failed for each in found] == [0, 0], found
        drained = kubectl("get", "events", "--field-selector", "reason=Drained")
        assert "1 gateway stopped sending new connections after" in drained
    finally:
        one.removed()


def test_the_gateway_of_a_dead_node_moves(cluster: Cluster) -> None:
    kubectl = cluster.kubectl()
    where = ("get", "endpointslice", "-n", "kube-system", "skerry-ingress")
    entrance(kubectl)
    first = kubectl.json(*where)["endpoints"][0]["nodeName"]
    kill(cluster, first)

    def moved() -> bool:
        found = kubectl.json(*where)["endpoints"][0]
        assert found["nodeName"] != first
        return bool(found["conditions"]["ready"])

    eventually(moved, 15, "Envoy on the other node")
    other = next(one for one in nodes(kubectl) if one != first)
    address = kubectl.json("get", "service", "-n", "kube-system", "skerry-ingress")["spec"]["clusterIP"]
    asking = 'import http.client as h; c = h.HTTPConnection("{}"); c.request("GET", "/"); print(c.getresponse().status)'
    done = kubectl.run("exec", f"clients-{other}", "--", "python3", "-c", asking.format(address))
    assert done.out.strip() == "503", "Envoy answers, for a Service that is no more"
