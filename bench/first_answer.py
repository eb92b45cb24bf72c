"""From `kubectl apply` of a Deployment and its Service to the first 200 through the Service, the image being present.

    python bench/first_answer.py [--rounds 5] [--quick]

Beside it in the same run: the same nginx started by hand on this machine, from exec to its first 200, which is the
floor; and how the time grows with the number of replicas (until the first answer, and until all are in the endpoints).
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import middle, table
from tests.helpers.cluster import Cluster

from skerry.testing import images

EXAMPLES = Path(__file__).parent.parent / "examples"
POLL = """
import http.client, sys, time
while True:
    try:
        connection = http.client.HTTPConnection("my-service.default.svc.cluster.local.", timeout=1)
        connection.request("GET", "/")
        if connection.getresponse().status == 200:
            break
    except OSError:
        time.sleep(0.002)
print(time.monotonic(), flush=True)
"""
PEERS = (("k3d 5.8", 3.04), ("minikube 1.36", 6.39), ("kind 0.29", 17.98))


def by_hand() -> float:
    """Seconds from starting this machine's nginx to its first 200."""
    with tempfile.TemporaryDirectory() as directory, socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
        probe.close()
        conf = Path(directory) / "nginx.conf"
        conf.write_text(
            f"daemon off; pid {directory}/pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off; server {{ listen 127.0.0.1:{port}; return 200 ok; }} }}\n"
        )
        begun = time.monotonic()
        process = subprocess.Popen(["/usr/sbin/nginx", "-c", str(conf)], stderr=subprocess.DEVNULL)
        try:
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as made:
                    made.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    if b" 200 " in made.recv(200):
                        return time.monotonic() - begun
                time.sleep(0.0005)
        finally:
            process.terminate()
            process.wait()


def once(cluster: Cluster, replicas: int) -> tuple[float, float, float]:
    """Seconds from the command to kubectl's end, to the first answer, and until all replicas are endpoints."""
    kubectl = cluster.kubectl()
    manifest = (EXAMPLES / "nginx-deployment.yaml").read_text().replace("replicas: 3", f"replicas: {replicas}")
    poll = subprocess.Popen(
        [sys.executable, "-m", "skerry.cli.main", "run", "--name", cluster.name, "--", "/usr/bin/python3", "-c", POLL],
        stdout=subprocess.PIPE,
        text=True,
        env=cluster.environment,
    )
    time.sleep(0.5)  # the poller is to be polling
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(manifest)
        file.flush()
        begun = time.monotonic()
        kubectl("apply", "-f", file.name, "-f", str(EXAMPLES / "my-service.yaml"))
        applied = time.monotonic() - begun
    answered = float(poll.communicate(timeout=60)[0]) - begun
    addresses = "jsonpath={.subsets[*].addresses[*].ip}"
    while len(kubectl("get", "endpoints", "my-service", "-o", addresses).split()) < replicas:
        pass
    everyone = time.monotonic() - begun
    kubectl("delete", "deployment/nginx-deployment", "service/my-service", "--wait")
    kubectl("wait", "--for=delete", "pods", "--all", "--timeout=60s")
    return applied, answered, everyone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="two rounds, to see that it works")
    arguments = parser.parse_args()
    rounds = 2 if arguments.quick else arguments.rounds
    cluster = Cluster()
    rows, typical = [], 0.0
    try:
        cluster.up()
        archive = cluster.home / "nginx.tar"
        images.nginx("1.14.2").write_docker_archive(str(archive), "nginx:1.14.2")
        assert cluster.skerry("load", str(archive)).code == 0
        once(cluster, 1)
        floor = [by_hand() for _ in range(rounds)]
        for replicas in (1, 3, 10, 30):
            runs = [once(cluster, replicas) for _ in range(rounds)]
            columns = list(zip(*runs, strict=True))
            if replicas == 3:
                typical = statistics.median(columns[1])
            rows.append((replicas, *(middle(column) for column in columns)))
    finally:
        cluster.delete()
    table(("replicas", "kubectl's own time, s", "first 200 through the Service, s", "all in the endpoints, s"), rows)
    alone = statistics.median(floor)
    print(f"The same nginx by hand, same run: {alone:.3f} s; with Skerry {typical / alone:.0f} times that.")
    print("Peers (app running, others' machines):")
    table(("peer", "s", "Skerry is"), [(name, took, f"{typical / took:.3f} of it") for name, took in PEERS])


if __name__ == "__main__":
    main()
