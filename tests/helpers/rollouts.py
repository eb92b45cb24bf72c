"""A Deployment that is rolled, scaled and loses pods while clients ask it. Called by the tests of rolling updates."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

from tests.helpers.clients import clients, deployment, python_server
from tests.helpers.cluster import eventually
from tests.helpers.kubectl import Kubectl

CLIENTS = 64
REQUESTS = 100_000 if os.geteuid() == 0 else 20_000
"""How many must not fail. An ordinary user runs the same code once more, in less time."""
NGINX = {"name": "web", "image": "nginx:1.14.2"}
SERVERS = {"nginx": NGINX, "python": python_server(), "python that drains": python_server(drains=True)}


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
        # One second is too little to wait for anybody, and events say so. One request: kubectl would send thousands.
        self.kubectl("delete", "--raw", "/api/v1/namespaces/default/events")


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
