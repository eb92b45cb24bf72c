"""`skerry up --network host`: the machine itself is the node. It is one of the test's own, with a neighbour on its LAN.

All that it changes there is put back when its control plane is killed. Other ends, and what it refuses, are in
tests/integration/cluster/test_machine.py.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.conftest import skip_without_namespaces
from tests.e2e.test_contained import There, nothing_runs, same
from tests.helpers.cluster import eventually
from tests.helpers.kubectl import MINORS, KubectlMissing, binary

pytestmark = pytest.mark.root

ADDRESS, NEIGHBOUR, BALANCER = "192.168.7.5", "192.168.7.1", "192.168.7.200"
RANGES = ("--pod-cidr", "172.20.0.0/16", "--service-cidr", "172.21.0.0/16")
NEIGHBOURHOOD = f"""\
set -e
ip link set lan1 netns elsewhere
ip -n elsewhere link set lo up
ip -n elsewhere addr add {NEIGHBOUR}/24 dev lan1
ip -n elsewhere link set lan1 up
"""


def a_pod(name: str, port: int, **spec: Any) -> dict[str, Any]:
    command = ["python3", "-m", "http.server", str(port), "-d", "/etc"]
    container = {
        "name": name,
        "image": "host",
        "command": command,
        "readinessProbe": {"httpGet": {"path": "/hostname", "port": port}},
    }
    spec = {"terminationGracePeriodSeconds": 1, "containers": [container], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def a_service(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


PORTS = [{"port": 80, "targetPort": 8080, "nodePort": 30123}]
OBJECTS = [
    a_pod("web", 8080),
    a_pod("itself", 8081, hostNetwork=True),
    a_service("web", type="LoadBalancer", selector={"app": "web"}, ports=PORTS),
]
POOL = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "load-balancer-pools", "namespace": "kube-system"},
    "data": {"house": BALANCER},
}


@pytest.fixture
def there() -> Iterator[There]:
    skip_without_namespaces()
    try:
        binary(MINORS[-1])
    except KubectlMissing as error:
        pytest.skip(str(error))
    made = There("--network", "host", *RANGES)
    done = made.machine.sh(NEIGHBOURHOOD)
    assert done.code == 0, done.err
    yield made
    made.close()


def apply(there: There, *objects: dict[str, Any]) -> None:
    manifest = there.cluster.home / "objects.json"
    manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    there.kubectl("apply", "-f", str(manifest))


def comes(there: There, words: str, wanted: str) -> None:
    """A command of the machine says that, soon."""

    def said() -> bool:
        done = there.machine.sh(words)
        assert wanted in done.out, (words, done.out, done.err)
        return True

    eventually(said, 15)


def control_plane(there: There) -> int:
    pid: int = json.loads(there.skerry("status", "-o", "json").out)["pid"]
    return pid


def test_the_machine_is_the_node_and_is_as_it_was_afterwards(there: There) -> None:
    machine = there.machine
    before = machine.look()
    refused = there.skerry("up", "--network", "host").err
    assert "This machine reaches 10.0.0.0/8 through lan0, and the cluster's Services are in 10.96.0.0/12" in refused
    there.up()
    apply(there, *OBJECTS)
    there.kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=30s")
    ip = ("get", "svc", "web", "-o", "jsonpath={.spec.clusterIP}")
    cluster_ip, get = there.kubectl(*ip), "curl -sS -m 3"

    # The machine's own programs reach all there is.
    comes(there, f"{get} http://{cluster_ip}/hostname", "web")
    comes(there, f"{get} http://{ADDRESS}:30123/hostname", "web")
    comes(there, f"{get} -k https://172.21.0.1/version", '"major"')
    comes(there, "dig +short +tries=1 @172.21.0.10 web.default.svc.cluster.local", cluster_ip)
    assert there.skerry("run", "--", "curl", "-sS", "-m", "5", "http://web/hostname").out == "web\n"
    # Pods with the machine's network have its address; who is beside it reaches node ports.
    assert there.kubectl("get", "pod", "itself", "-o", "jsonpath={.status.podIP}") == ADDRESS
    comes(there, f"ip netns exec elsewhere {get} -I http://{ADDRESS}:8081/hostname", "200 OK")
    comes(there, f"ip netns exec elsewhere {get} http://{ADDRESS}:30123/hostname", "web")
    # Pods reach the LAN as the machine, and the machine by name.
    outward = ("exec", "web", "--", "curl", "-sS", "-m", "3")
    log = there.cluster.home / "lan"
    server = f"ip netns exec elsewhere python3 -m http.server 8000 -b {NEIGHBOUR}"
    pid = machine.sh(f"{server} >{log} 2>&1 & echo $!").out
    comes(there, "ip netns exec elsewhere ss -Hltn", ":8000")
    there.kubectl(*outward, f"http://{NEIGHBOUR}:8000/")
    machine.sh(f"kill {pid}")
    assert f"{ADDRESS} - - " in log.read_text()
    assert "hostname" in there.kubectl(*outward, "http://host.skerry.internal:8081/")

    # Without a pool a balancer waits, and says so; with one the machine answers for its address.
    assert "there is no pool of addresses" in there.kubectl("events", "--for", "svc/web")
    apply(there, POOL)
    comes(there, f"ip netns exec elsewhere {get} http://{BALANCER}/hostname", "web")
    assert "Network   this machine's own: it is the node" in there.skerry("status").out

    # The control plane is killed: its caretaker puts the machine back.
    machine.sh(f"kill -{signal.SIGKILL.value} {control_plane(there)}")
    nothing_runs(machine)
    eventually(lambda: same(machine.look(), before) is None, 10, "the machine as it was")
