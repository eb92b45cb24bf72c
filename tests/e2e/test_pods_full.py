"""What pods may ask for beyond containers: one pod with much of it at once, and one that speaks to the API itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes
import pytest
from tests.e2e.test_pods import create, sh
from tests.helpers import look
from tests.helpers.cluster import eventually
from tests.helpers.kubectl import Kubectl

pytestmark = pytest.mark.rootless

IN_CLUSTER = """
import kubernetes
kubernetes.config.load_incluster_config()
core = kubernetes.client.CoreV1Api()
space = open("/var/run/secrets/kubernetes.io/serviceaccount/namespace").read()
core.create_namespaced_config_map(space, {"metadata": {"name": "made-inside"}, "data": {"key": "value"}})
print(*[one.metadata.name for one in core.list_namespaced_pod(space).items])
"""


def test_a_program_in_a_pod_speaks_to_the_api(pods: Kubectl) -> None:
    """The official Python client, configured by nothing but what every pod has."""
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or ""
    ask = [python, "-c", "import sys; print(sys.version_info[:2])"]
    if not python or subprocess.check_output(ask, text=True).strip() != str(sys.version_info[:2]):
        pytest.skip("`image: host` has no Python of the version for which the client is installed")
    box = {
        "name": "client",
        "image": "host",
        "command": [python, "-c", IN_CLUSTER],
        "env": [{"name": "PYTHONPATH", "value": "/client"}],
        "volumeMounts": [{"name": "client", "mountPath": "/client", "readOnly": True}],
    }
    pods("create", "rolebinding", "default-edits", "--clusterrole=edit", f"--serviceaccount={pods.namespace}:default")
    where = {"path": str(Path(kubernetes.__file__).parents[1]), "type": "Directory"}
    create(pods, "client", box, restartPolicy="Never", volumes=[{"name": "client", "hostPath": where}])
    pods("wait", "pod/client", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s")
    assert pods("logs", "client") == "client\n"
    assert pods.json("get", "configmap", "made-inside")["data"] == {"key": "value"}
    token = pods("create", "token", "default", "--duration=10m").strip()
    assert pods("auth", "whoami", "--token", token, "-o", "jsonpath={.status.userInfo.username}").endswith(":default")
    refused = pods.run("run", "other", "--image=busybox", "--overrides", '{"spec":{"serviceAccountName":"no"}}')
    assert "is forbidden: error looking up service account" in refused.err


def test_much_of_it_at_once(pods: Kubectl) -> None:
    """Volumes that follow, memory, one set of processes, users, host names, a host port, a console."""
    pods("create", "configmap", "words", "--from-literal=word=one")
    volumes: list[dict[str, Any]] = [
        {"name": "words", "configMap": {"name": "words"}},
        {"name": "later", "secret": {"secretName": "later"}},
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
    ]
    mounts = [{"name": one["name"], "mountPath": f"/{one['name']}"} for one in volumes]
    script = (
        "id -u; id -G; stat -c '%g %a' /memory; hostname -f; grep -c sleep /proc/[0-9]*/cmdline | grep -c ':1'; "
        "test -w /dev/console && echo console; exec sleep 1000"
    )
    main = sh("main", script, tty=True, volumeMounts=mounts)
    web = {"name": "web", "image": "nginx", "ports": [{"containerPort": 80, "hostPort": 8079}]}
    helper = sh("helper", "exec sleep 1000", restartPolicy="Always")
    create(
        pods,
        "full",
        main,
        initContainers=[helper],
        volumes=volumes,
        hostname="name",
        subdomain="sub",
        shareProcessNamespace=True,
        securityContext={"runAsUser": 1000, "runAsGroup": 1001, "fsGroup": 1002},
    )
    create(pods, "web", web)
    with look.lines(pods, "get", "events", "-w", "--field-selector=reason=FailedMount", "--no-headers") as said:
        said.until(lambda line: 'secret "later" not found' in line)
    pods("create", "secret", "generic", "later", "--from-literal=word=here")
    pods("wait", "pod/full", "pod/web", "--for=condition=Ready", "--timeout=30s")
    space = pods.json("get", "pod", "full")["metadata"]["namespace"]
    with look.lines(pods, "logs", "-f", "full", "-c", "main") as log:
        log.until(lambda line: line.strip() == "console")
    lines = [line.strip() for line in log.seen]
    wanted = ["1000", "1001 1002", "1002 2777", f"name.sub.{space}.svc.cluster.local"]
    assert lines[:4] == wanted and int(lines[4]) >= 1

    pods("patch", "configmap", "words", "-p", json.dumps({"data": {"word": "two"}}))
    read = ("exec", "full", "-c", "main", "--", "cat", "/words/word", "/later/word")
    eventually(lambda: pods(*read) == "twohere", 10, "the new word")
    node = pods.json("get", "pod", "web")["status"]["hostIP"]
    got = pods("exec", "full", "-c", "main", "--", "wget", "-q", "-O", "-", f"http://{node}:8079/hostname")
    assert got.strip() == "web"
