"""The command line against real clusters: starting, reopening, being killed, what a machine refuses."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tests.e2e.test_storage import SET
from tests.helpers.cluster import SKERRY, Cluster, eventually
from tests.helpers.kubectl import Kubectl

pytestmark = pytest.mark.rootless
NewCluster = Callable[..., Cluster]


def processes_of(cluster: Cluster) -> list[int]:
    """Every process that has the cluster's home in its environment or its command line, but this one."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(cluster.home) in text and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def test_up_prints_a_line_a_step_and_ends_ready(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    lines = cluster.up().splitlines()
    assert [line.split("  ")[1].strip() for line in lines[:-1]] == ["API server", "controllers", "node-1"]
    assert all(re.search(r"\d\.\d\d s$", line) for line in lines[:-1])
    assert lines[-1].startswith(f'Cluster "{cluster.name}" is ready after ')
    found = cluster.status()
    (node,) = found["nodeStatus"]
    assert (found["state"], node["name"], node["ready"]) == ("running", "node-1", True)
    assert cluster.kubectl()("get", "--raw", "/readyz") == "ok"
    assert "ready" in cluster.skerry("status").out
    (row,) = json.loads(cluster.skerry("list", "-o", "json", name=False).out)
    assert (row["name"], row["state"], row["nodes"]) == (cluster.name, "running", 1)


def test_the_context_is_current_and_private(new_cluster: NewCluster) -> None:
    cluster = new_cluster("--nodes", "0")
    cluster.up()
    content = yaml.safe_load(cluster.kubeconfig.read_text())
    assert content["current-context"] == f"skerry-{cluster.name}"
    assert stat.S_IMODE(cluster.kubeconfig.stat().st_mode) == 0o600
    for path in [cluster.data, *cluster.data.rglob("*")]:
        if path.name in ("tokens.json", "ca.key", "server.key", "store.db"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 or stat.S_IMODE(cluster.data.stat().st_mode) == 0o700
    printed = cluster.skerry("kubeconfig").out
    assert yaml.safe_load(printed)["users"] == content["users"]


def test_objects_survive_down_and_up(new_cluster: NewCluster) -> None:
    cluster = new_cluster("--nodes", "0")
    cluster.up()
    kubectl = cluster.kubectl()
    kubectl("create", "configmap", "kept", "--from-literal=a=b")
    before = kubectl.json("get", "cm", "kept")
    cluster.down()
    refused = kubectl.run("get", "cm", "kept")
    assert refused.code == 1 and "refused" in refused.err
    assert cluster.status()["state"] == "stopped"
    cluster.up()
    assert kubectl.json("get", "cm", "kept") == before


def test_objects_survive_kill_9(new_cluster: NewCluster) -> None:
    """What was answered is on disk: the answer comes after the commit."""
    cluster = new_cluster("--nodes", "0")
    cluster.up()
    kubectl = cluster.kubectl()
    kubectl("create", "configmap", "kept")
    os.kill(cluster.status()["pid"], signal.SIGKILL)
    eventually(lambda: cluster.status()["state"] == "stopped", 10)
    cluster.up()
    assert kubectl.json("get", "cm", "kept")["metadata"]["name"] == "kept"


def test_the_audit_log_tells_who_did_what(new_cluster: NewCluster) -> None:
    cluster = new_cluster("--nodes", "0", "--audit-log")
    cluster.up()
    cluster.kubectl()("create", "configmap", "noted", "-n", "default")
    log = cluster.data / "logs" / "audit.log"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    (made,) = (one for one in lines if one.get("objectRef", {}).get("resource") == "configmaps")
    assert (made["verb"], made["responseStatus"]["code"], made["objectRef"]["namespace"]) == ("create", 201, "default")
    assert made["userAgent"].startswith("kubectl/")


def test_ephemeral_forgets(new_cluster: NewCluster) -> None:
    cluster = new_cluster("--nodes", "0", "--ephemeral")
    cluster.up()
    kubectl = cluster.kubectl()
    kubectl("create", "configmap", "lost")
    assert not list(cluster.data.glob("*.db*"))
    cluster.down()
    cluster.up()
    assert kubectl.run("get", "cm", "lost").code == 1


def test_kill_9_leaves_no_process_and_the_next_up_works(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    cluster.up()
    kubectl = cluster.kubectl()
    kubectl("run", "sleeper", "--image=host", "--command", "--", "sleep", "1000")
    kubectl("wait", "pod/sleeper", "--for=condition=Ready", "--timeout=30s")
    assert len(processes_of(cluster)) > 3
    os.kill(cluster.status()["pid"], signal.SIGKILL)
    eventually(lambda: processes_of(cluster) == [], 10, "the end of every process")
    cluster.up()
    kubectl("wait", "pod/sleeper", "--for=condition=Ready", "--timeout=30s")


def test_down_leaves_no_process_and_volumes_keep_their_content(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    cluster.up()
    kubectl = cluster.kubectl()
    kubectl("apply", "-f", "-", stdin=SET)
    kubectl("wait", "--for=condition=Ready", "pod/db-0", "--timeout=30s")
    volume = kubectl("get", "pvc", "data-db-0", "-o", "jsonpath={.spec.volumeName}")
    cluster.down()
    assert processes_of(cluster) == []
    cluster.up()
    eventually(lambda: kubectl.run("exec", "db-0", "--", "sh", "-c", "[ $(wc -l < /data/starts) = 2 ]").code == 0)
    claim = kubectl.json("get", "pvc", "data-db-0")
    assert (claim["spec"]["volumeName"], claim["status"]["phase"]) == (volume, "Bound")


def test_up_of_a_running_one_says_so(new_cluster: NewCluster) -> None:
    cluster = new_cluster("--nodes", "0")
    cluster.up()
    again = cluster.skerry("up")
    assert again.code == 0 and "is running already" in again.out
    refused = cluster.skerry("up", "--nodes", "2")
    assert refused.code == 1 and "was made with --nodes 0" in refused.err and refused.err.count("\n") == 1


def test_two_at_once_one_wins(new_cluster: NewCluster) -> None:
    cluster = new_cluster("--nodes", "0")
    command = [*SKERRY, "up", "--name", cluster.name, "--nodes", "0"]
    both = [
        subprocess.Popen(command, env=cluster.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [(process.communicate(timeout=60), process.returncode) for process in both]
    codes = sorted(code for _, code in said)
    assert codes[0] == 0
    losers = [out + err for (out, err), code in said if code or "already" in out]
    assert len(losers) == 1 and ("by another command" in losers[0] or "running already" in losers[0])
    assert cluster.status()["state"] == "running"


def test_a_taken_port_is_one_sentence(new_cluster: NewCluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cluster = new_cluster("--nodes", "0", "--api-port", str(port))
        done = cluster.skerry("up", *cluster.options)
    sentence = f"Port {port} of 127.0.0.1 is taken by another program: choose another --api-port."
    assert (done.code, done.err) == (1, f"skerry: {sentence}\n")


def test_6443_taken_means_another_port_for_life(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    try:
        holder: socket.socket | None = socket.create_server(("127.0.0.1", 6443))
    except OSError:
        holder = None  # somebody has it already
    try:
        assert cluster.skerry("up", "--nodes", "0").code == 0
        api = cluster.status()["api"]
        assert api != "https://127.0.0.1:6443"
    finally:
        if holder is not None:
            holder.close()
    cluster.down()
    assert cluster.skerry("up").code == 0
    assert cluster.status()["api"] == api


@pytest.mark.parametrize("nodes", [0, 1])
@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("cluster.json", b"{", "is damaged"),
        ("cluster.json", b'{"format": 99, "version": "9.9"}', "was written by a newer Skerry (9.9"),
        ("store.db", b"this is not a database, but it is long enough to be read as one" * 100, "store"),
        ("tokens.json", b"{", "is damaged"),
    ],
)
def test_a_damaged_data_directory_is_one_sentence(
    new_cluster: NewCluster, file: str, content: bytes, said: str, nodes: int
) -> None:
    cluster = new_cluster("--nodes", str(nodes))
    cluster.up()
    cluster.down()
    for left in cluster.data.glob(file + "-*"):
        left.unlink()
    (cluster.data / file).write_bytes(content)
    done = cluster.skerry("up")
    assert done.code == 1 and said in done.err and done.err.count("\n") == 1 and "Traceback" not in done.err
    assert (cluster.data / file).read_bytes() == content  # it is the person's to decide


def test_a_full_disk_is_one_sentence(new_cluster: NewCluster) -> None:
    """A tmpfs of 16 KiB stands for the disk, in namespaces of the test's own."""
    cluster = new_cluster("--nodes", "0")
    place = cluster.home / "small"
    place.mkdir()
    up = [*SKERRY, "up", "--name", cluster.name, "--nodes", "0", "--data-dir", str(place / "data")]
    script = f'mount -t tmpfs -o size=16k none {place} && exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", *up]
    done = subprocess.run(command, env=cluster.environment, capture_output=True, text=True, timeout=60, check=False)
    if "unshare:" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 1 and "The disk is full" in done.stderr and "Traceback" not in done.stderr


def test_long_paths_work(new_cluster: NewCluster) -> None:
    """A unix socket's path has 107 bytes."""
    cluster = new_cluster("--nodes", "1")
    place = cluster.home / ("long-" * 24)
    cluster.up("--data-dir", str(place))
    assert cluster.status()["dataDir"] == str(place)
    assert cluster.status()["nodeStatus"][0]["ready"]


def test_run_passes_codes_input_and_names(cluster: Cluster) -> None:
    assert cluster.run("sh", "-c", "exit 42").code == 42
    assert cluster.run("sh", "-c", "kill -9 $$").code == 137
    missing = cluster.run("/no/such/program")
    assert missing.code == 127 and missing.err
    piped = cluster.skerry("run", "--", "cat", stdin="hello")
    assert piped.out == "hello"
    by_file = cluster.skerry("run", "--kubeconfig", str(cluster.kubeconfig), "--", "echo", "-n", "x", name=False)
    assert by_file.out == "x"
    assert str(os.getuid()) == cluster.run("id", "-u").out.strip()
    lookup = cluster.run("getent", "hosts", "kubernetes.default").out.split()
    assert lookup[0] == "10.96.0.1"


def test_the_api_answers_inside_the_cluster(cluster: Cluster) -> None:
    """default/kubernetes leads to the API server, with a certificate for that name."""
    authority = cluster.data / "pki" / "ca.crt"
    url = "https://kubernetes.default.svc/version"
    done = cluster.run("curl", "-sS", "--max-time", "5", "--cacert", str(authority), url)
    assert done.code == 0 and json.loads(done.out)["minor"] == "36"


def test_load_of_what_is_no_image(cluster: Cluster, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.tar"
    wrong.write_text("no image")
    done = cluster.skerry("load", str(wrong))
    assert done.code == 1 and "no archive of an image" in done.err and done.err.count("\n") == 1
    assert cluster.skerry("load", str(tmp_path / "none.tar")).code == 1


def test_load_makes_an_image_usable(cluster: Cluster, pods: Kubectl, tmp_path: Path) -> None:
    from skerry.testing.images import busybox

    archive = tmp_path / "image.tar"
    busybox().write_docker_archive(str(archive), "example.test/loaded:1")
    done = cluster.skerry("load", str(archive))
    assert (done.code, done.out) == (0, "Loaded example.test/loaded:1\n")
    pods("run", "loaded", "--image=example.test/loaded:1", "--restart=Never", "--command", "--", "echo", "hi")
    pods("wait", "pod/loaded", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s")
    assert pods("logs", "loaded") == "hi\n"


def test_nodes_reach_each_other(new_cluster: NewCluster) -> None:
    """Two nodes: a Service's packets cross from one to the other."""
    cluster = new_cluster("--nodes", "2", "--ephemeral")
    cluster.up()
    kubectl = cluster.kubectl()
    for number in (1, 2):
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"web-{number}", "labels": {"app": "web"}},
            "spec": {
                "nodeName": f"node-{number}",
                "containers": [
                    {
                        "name": "web",
                        "image": "host",
                        "command": ["/usr/bin/python3", "-m", "http.server", "80", "-d", "/etc"],
                        "readinessProbe": {"tcpSocket": {"port": 80}},
                    }
                ],
            },
        }
        kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    kubectl("wait", "pods", "--all", "--for=condition=Ready", "--timeout=30s")
    kubectl("create", "service", "clusterip", "web", "--tcp=80:80")
    loop = "for i in $(seq 40); do curl -sS --max-time 5 http://web/hostname || exit 1; done"
    ips = ("get", "endpoints", "web", "-o", "jsonpath={.subsets[*].addresses[*].ip}")
    eventually(lambda: len(kubectl(*ips).split()) == 2)
    done = cluster.run("sh", "-c", loop)
    assert done.code == 0, done.err
    assert set(done.out.split()) == {"web-1", "web-2"}


class Supervisor:
    """`skerry up --foreground` as a service manager runs it: with a socket to be notified at."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._heard.bind(str(cluster.home / "notify"))
        self._heard.settimeout(30)
        command = [*SKERRY, "up", "--name", cluster.name, *cluster.options, "--foreground"]
        environment = cluster.environment | {"NOTIFY_SOCKET": str(cluster.home / "notify")}
        self._log = cluster.home / "journal"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        assert self.hears().startswith("READY=1\nSTATUS=https://127.0.0.1:")
        assert cluster.status()["state"] == "running"

    def hears(self) -> str:
        return self._heard.recv(4096).decode()

    def ended(self, code: int) -> str:
        """The journal, when it has ended with this code and nothing is left."""
        assert self.process.wait(timeout=20) == code, self._log.read_text()
        self._heard.close()
        (self._cluster.home / "notify").unlink()
        eventually(lambda: processes_of(self._cluster) == [], 10)
        assert self._cluster.status()["state"] == "stopped"
        return self._log.read_text()


def test_a_service_manager_is_told_and_can_end_it(new_cluster: NewCluster) -> None:
    cluster = new_cluster("--nodes", "0", "--ephemeral")
    for number in (signal.SIGTERM, signal.SIGINT):
        service = Supervisor(cluster)
        service.process.send_signal(number)
        assert service.hears() == "STOPPING=1\nSTATUS=stopping"
        assert "Traceback" not in service.ended(0)


def test_a_service_that_fails_says_so_with_its_code(new_cluster: NewCluster) -> None:
    cluster = new_cluster("--nodes", "0", "--ephemeral")
    service = Supervisor(cluster)
    os.kill(cluster.status()["pid"], signal.SIGKILL)
    assert "skerry: The cluster ended (signal 9)" in service.ended(1)
    service = Supervisor(cluster)
    service.process.kill()  # the cluster is its child and ends with it
    service.ended(-signal.SIGKILL)
