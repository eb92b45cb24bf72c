"""No request fails while a Deployment is rolled, scaled and loses pods, without any preStop hook; and what keep-alive
clients see. The same without the wait before stop signals fails requests, so that the count is known to count.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from tests.e2e.conftest import skip_without_namespaces
from tests.helpers.clients import Outcome, client_pod, clients, deployment, python_server
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.images import MissingToolError, nginx
from tests.helpers.kubectl import Kubectl

pytestmark = [pytest.mark.long, pytest.mark.rootless, pytest.mark.xdist_group("rolling updates")]

CLIENTS = 64
REQUESTS = 100_000
NGINX = {"name": "web", "image": "nginx:1.14.2"}
SERVERS = {"nginx": NGINX, "python": python_server(), "python that drains": python_server(drains=True)}


@pytest.fixture(scope="module", params=[1, 3], ids=["one-node", "three-nodes"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    skip_without_namespaces()
    found = Cluster("--ephemeral", "--nodes", str(request.param))
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
        kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=60s")
        yield found
    finally:
        found.delete()


def nodes(kubectl: Kubectl) -> list[str]:
    return [one["metadata"]["name"] for one in kubectl.json("get", "nodes")["items"]]


def apply(kubectl: Kubectl, *objects: dict[str, Any]) -> None:
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


class Web:
    """A Deployment of three pods and its Service; `removed` at the end."""

    def __init__(self, kubectl: Kubectl, server: str, **annotations: str) -> None:
        self.kubectl = kubectl
        self.name = "web"
        self._rolls = itertools.count()
        self._clients = [f"clients-{one}" for one in nodes(kubectl)]
        apply(kubectl, *deployment(self.name, SERVERS[server], 3, **annotations))
        self.settled()
        self.address = kubectl.json("get", "service", self.name)["spec"]["clusterIP"]

    def asked(self, *, keep_alive: bool = False) -> Any:
        return clients(self.kubectl, self._clients, self.address, CLIENTS, keep_alive=keep_alive)

    def settled(self) -> None:
        """As many pods as there should be are available, and the new ones are all."""
        self.kubectl("rollout", "status", f"deployment/{self.name}", "--timeout=120s", timeout=130)

    def rolled(self) -> None:
        """All pods are replaced (`kubectl rollout restart` refuses to do so twice in a second)."""
        patch = {"spec": {"template": {"metadata": {"annotations": {"roll": str(next(self._rolls))}}}}}
        self.kubectl("patch", "deployment", self.name, "-p", json.dumps(patch))
        self.settled()

    def scaled(self, replicas: int) -> None:
        self.kubectl("scale", f"deployment/{self.name}", f"--replicas={replicas}")
        self.settled()

    def pods(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.kubectl.json("get", "pods", "-l", f"app={self.name}")["items"]
        return found

    def lost(self) -> None:
        """One pod, of at least two, is deleted and replaced."""
        name = next(one["metadata"]["name"] for one in self.pods() if "deletionTimestamp" not in one["metadata"])
        self.kubectl("delete", "pod", "--wait=false", name)
        self.settled()

    def at_rest(self, count: int) -> None:
        """No pod is on its way out any more."""
        eventually(lambda: len(self.pods()) == count, 60, f"the end of all pods of {self.name} but {count}")

    def removed(self) -> None:
        self.kubectl("delete", "deployment,service", self.name)
        self.kubectl("delete", "pods", "-l", f"app={self.name}", "--grace-period=1")


@pytest.fixture
def web(cluster: Cluster) -> Iterator[Callable[..., Web]]:
    made: list[Web] = []

    def make(server: str, **annotations: str) -> Web:
        made.append(Web(cluster.kubectl(), server, **annotations))
        return made[-1]

    yield make
    for one in made:
        one.removed()


def everything_at_once(one: Web) -> None:
    for _ in range(3):
        one.rolled()
    for replicas in (30, 1, 3):
        one.scaled(replicas)
    for _ in range(3):
        one.lost()


def until(reached: Callable[[], bool], changes: Sequence[Callable[[], None]]) -> None:
    """Goes on with changes until that is reached."""
    for change in itertools.cycle(changes):
        if reached():
            return
        change()


@pytest.mark.parametrize("server", ["nginx", "python"])
def test_no_request_fails(web: Callable[..., Web], server: str) -> None:
    one = web(server)
    with one.asked() as asking:
        everything_at_once(one)
        until(lambda: asking.good >= REQUESTS, [one.lost, one.rolled])
        found: Outcome = asking.finish()
    print(f"{server}: {found}")
    assert found.failed == 0, found
    assert found.good >= REQUESTS
    drained = one.kubectl("get", "events", "--field-selector", "reason=Drained")
    assert "stopped sending new connections after" in drained
    late = one.kubectl.run("get", "events", "--field-selector", "reason=DrainTimedOut").out
    assert not late.strip(), late


@pytest.mark.parametrize("server", ["nginx", "python"])
def test_without_the_wait_requests_fail(web: Callable[..., Web], server: str) -> None:
    one = web(server, **{"skerry.dev/drain": "off"})
    with one.asked() as asking:
        asking.until(1000)
        for _ in range(3):
            one.rolled()
        until(lambda: asking.failed > 0 or asking.good > REQUESTS, [one.lost, one.rolled])
        found: Outcome = asking.finish()
    print(f"{server}, not drained: {found}")
    assert found.failed > 0


@pytest.mark.parametrize("drain", ["3", "off"])
@pytest.mark.parametrize("server", ["nginx", "python that drains"])
def test_keep_alive(web: Callable[..., Web], server: str, drain: str) -> None:
    """Who asks on one connection for ever is cut off at some time; none fails where the server says so beforehand."""
    one = web(server, **{"skerry.dev/drain": drain})
    with one.asked(keep_alive=True) as asking:
        asking.until(1000)
        for _ in range(2):
            one.rolled()
        one.at_rest(3)
        found: Outcome = asking.finish()
    print(f"{server}, keep-alive, drain {drain}: {found}")
    if server == "python that drains" and drain != "off":
        assert found.failed == 0, found
