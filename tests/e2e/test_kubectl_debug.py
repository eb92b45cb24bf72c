"""kubectl debug: containers added to a pod that runs, copies of pods, and a pod that looks at the node."""

from __future__ import annotations

from tests.helpers import look
from tests.helpers.cluster import eventually
from tests.helpers.kubectl import Kubectl

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: web, image: host, command: [sleep, "1000001"]}]
"""


def test_a_container_that_looks_into_another(pods: Kubectl) -> None:
    pods("create", "-f", "-", stdin=POD)
    pods("wait", "pod/web", "--for=condition=Ready", "--timeout=20s")
    command = ("--image=host", "--target=web", "-c", "look", "--", "sh", "-c", "ps -eo args; exec sleep 1000002")
    assert 'Targeting container "web"' in pods("debug", "web", *command)
    with look.lines(pods, "logs", "-f", "web", "-c", "look", "--pod-running-timeout=20s") as log:
        assert log.until(lambda line: line == "sleep 1000001")  # the other's process
    assert "sleep 1000002" in pods("exec", "web", "-c", "look", "--", "ps", "-eo", "args")
    shown = pods("describe", "pod", "web")
    assert "Ephemeral Containers:\n  look:\n" in shown
    assert "spec.ephemeralContainers{look}: Container started" in shown
    assert pods("get", "pod", "web", "--no-headers").split()[1] == "1/1"
    refused = pods.run("debug", "web", "--image=host", "--target=none", "--", "true")
    assert refused.code == 1 and 'spec.ephemeralContainers[1].targetContainerName: Not found: "none"' in refused.err
    pods("delete", "pod", "web", "--timeout=20s")


def test_a_copy_of_a_pod_and_a_pod_on_the_node(pods: Kubectl) -> None:
    pods("create", "-f", "-", stdin=POD)
    pods("debug", "web", "--copy-to=copy", "--container=web", "--attach=false", "--", "sh", "-c", "echo I am a copy")
    eventually(lambda: pods("logs", "copy") == "I am a copy\n", what="the copy's words")
    assert "app" not in pods.json("get", "pod", "copy")["metadata"].get("labels", {})
    said = pods("debug", "node/node-1", "--image=host", "--", "chroot", "/host", "cat", "/etc/hostname")
    assert said.startswith("Creating debugging pod node-debugger-node-1-")
    name = said.split()[3]
    eventually(lambda: pods("logs", name), what="the node's name")
