"""A contained cluster leaves the machine as it is: before, while it works, and after it has ended or was killed.

The machine is one of the test's own, so that every line of it can be compared; tests/long has the longer version.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator

import pytest
from tests.e2e.conftest import skip_without_namespaces
from tests.helpers.cluster import SKERRY, Cluster, eventually
from tests.helpers.kubectl import MINORS, Done, KubectlMissing, binary
from tests.helpers.machine import OwnMachine

WEB = {
    "apiVersion": "v1",
    "kind": "List",
    "items": [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [
                    {
                        "name": "web",
                        "image": "host",
                        "command": ["python3", "-m", "http.server", "80", "-d", "/etc"],
                        "readinessProbe": {"httpGet": {"path": "/hostname", "port": 80}},
                    }
                ],
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "type": "NodePort",
                "selector": {"app": "web"},
                "ports": [{"port": 80, "nodePort": 30123}],
            },
        },
    ],
}


class There:
    """A cluster on a machine of its own."""

    def __init__(self, *options: str) -> None:
        self.cluster = Cluster(*options)
        self.machine = OwnMachine(self.cluster.home)

    def run(self, *words: str) -> Done:
        return self.machine.sh(shlex.join(words), **self.cluster.environment)

    def skerry(self, verb: str, *more: str) -> Done:
        return self.run(*SKERRY, verb, "--name", self.cluster.name, *more)

    def up(self) -> None:
        done = self.skerry("up", *self.cluster.options)
        assert done.code == 0, done.err + self.cluster.logs()

    def kubectl(self, *words: str) -> str:
        done = self.run(str(binary(MINORS[-1])), *words)
        assert done.code == 0, done.err
        return done.out

    def serve(self) -> None:
        """A pod behind a NodePort, and traffic by every way there is."""
        manifest = self.cluster.home / "web.json"
        manifest.write_text(json.dumps(WEB))
        self.kubectl("apply", "-f", str(manifest))
        self.kubectl("wait", "pod/web", "--for=condition=Ready", "--timeout=30s")
        eventually(lambda: self.run("curl", "-sS", "-m", "2", "http://127.0.0.1:30123/hostname").out == "web\n", 15)
        inside = self.skerry("run", "--", "curl", "-sS", "-m", "5", "http://web/hostname")
        assert inside.out == "web\n", inside.err
        api = self.kubectl("get", "svc", "kubernetes", "-o", "jsonpath={.spec.clusterIP}")
        assert api in self.skerry("run", "--", "getent", "hosts", "kubernetes.default.svc.cluster.local").out

    def close(self) -> None:
        self.skerry("delete")
        self.machine.close()
        self.cluster.delete()


@pytest.fixture
def there() -> Iterator[There]:
    skip_without_namespaces()
    try:
        binary(MINORS[-1])
    except KubectlMissing as error:
        pytest.skip(str(error))
    # Ranges in which the machine has routes of its own, as with a VPN, and where the nodes' own would be.
    made = There("--pod-cidr", "10.243.0.0/16", "--service-cidr", "10.32.0.0/20")
    yield made
    made.close()


def same(now: list[str], before: list[str], *, allowed: Callable[[str], bool] = lambda _: False) -> None:
    came = [line for line in now if line not in set(before) and not allowed(line)]
    went = [line for line in before if line not in set(now)]
    assert (came, went) == ([], [])


def nothing_runs(machine: OwnMachine) -> None:
    def none() -> bool:
        left = machine.processes()
        assert left == {}
        return True

    eventually(none, 10, "the end of every process")


def kill_all(machine: OwnMachine) -> Done:
    """kill -9 of every process of the machine but its shell, one after the other in a random order."""
    victims = "$(ls /proc | grep -E '^[0-9]+$' | grep -vx -e 1 -e $$ | shuf)"
    return machine.sh(f"for p in {victims}; do kill -9 $p; done 2>/dev/null")


def test_the_machine_is_the_same_before_during_and_after(there: There) -> None:
    machine, data = there.machine, str(there.cluster.home)
    before = machine.look()
    assert len(before) > 300 and any("198.51.100.7" in line for line in before)

    def sockets(line: str) -> bool:
        return line.startswith(data)  # of the cluster's own directory: api.sock and its like

    there.up()
    there.serve()
    same(machine.look(), before, allowed=sockets)
    addresses = ("get", "svc,pods", "-A", "-o", "jsonpath={.items[*]['spec.clusterIP','status.podIP']}")
    assert sorted(there.kubectl(*addresses).split())[:2] == ["10.243.1.2", "10.32.0.1"]
    assert "This machine reaches 10.0.0.0/8 through lan0" in there.skerry("status").out
    listening = machine.sh("ss -Hltun | awk '{print $5}'").out.split()
    assert all(address.startswith("127.0.0.1:") for address in listening), listening
    kill_all(machine)
    nothing_runs(machine)
    # The kernel takes its time to put away the sockets of the killed.
    eventually(lambda: same(machine.look(), before) is None, 10, "the machine as it was")
    there.up()
    assert there.skerry("down").code == 0
    nothing_runs(machine)
    same(machine.look(), before)
