"""Pods per second to Ready on one node, how that grows with their number, and what an idle pod costs.

    python bench/pods.py [--quick]

Beside it in the same run: the kernel's own price, `unshare` (util-linux) making the same five namespaces and executing
the same command, as many times, two at a time.

A run begins with the request for a Deployment (or the first of the pods) and ends when a watcher over HTTPS has seen
the last pod Ready. Memory "beside the process itself": the growth of Skerry's own processes (PSS), without those that
run in the pods; and that of the whole machine's kernel memory (network namespaces, links), which no process owns.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import ssl
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from http.client import HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any

import yaml
from common import cpu_seconds, descendants, pss, table
from tests.helpers.cluster import Cluster

from skerry.testing import images

HOST = {"name": "main", "image": "host", "command": ["sleep", "infinity"]}
NGINX = {"name": "main", "image": "nginx:1.14.2"}
TWO_AT_A_TIME = 2
WRITERS = 4


class Api:
    """JSON requests over one HTTPS connection, as the cluster's kubeconfig says."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        content = yaml.safe_load(cluster.kubeconfig.read_text())
        self._where = urllib.parse.urlsplit(content["clusters"][0]["cluster"]["server"])
        authority = base64.b64decode(content["clusters"][0]["cluster"]["certificate-authority-data"])
        self._context = ssl.create_default_context(cadata=authority.decode())
        user = content["users"][0]["user"]
        self._headers = {"Content-Type": "application/json"}
        if "token" in user:
            self._headers["Authorization"] = f"Bearer {user['token']}"
        else:
            for name in ("client-certificate-data", "client-key-data"):
                (cluster.home / name).write_bytes(base64.b64decode(user[name]))
            self._context.load_cert_chain(cluster.home / "client-certificate-data", cluster.home / "client-key-data")
        self._connection = self._connect()

    def _connect(self) -> HTTPSConnection:
        return HTTPSConnection(self._where.hostname or "", self._where.port, context=self._context)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        self._connection.request(method, path, json.dumps(body) if body is not None else None, self._headers)
        answer = self._connection.getresponse()
        data = answer.read()
        assert answer.status < 300, data
        return json.loads(data)

    def watch(self, path: str) -> HTTPResponse:
        connection = self._connect()
        connection.request("GET", path, headers=self._headers)
        return connection.getresponse()


PODS = "/api/v1/namespaces/default/pods"


class Ready:
    """Counts the pods that a watch has seen Ready (`wanted` of them: `done`) and deleted."""

    def __init__(self, api: Api, wanted: int) -> None:
        self.done, self.gone = threading.Event(), threading.Event()
        self._wanted, self._ready, self._deleted = wanted, set[str](), 0
        version = api.ask("GET", PODS)["metadata"]["resourceVersion"]
        self._stream = api.watch(f"{PODS}?watch=1&resourceVersion={version}&timeoutSeconds=600")
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._stream:
            if line.startswith(b'{"type":"DELETED"'):
                self._deleted += 1
                if self._deleted == self._wanted:
                    self.gone.set()
                    return
            elif b'"Ready"' in line and line not in self._ready:
                pod = json.loads(line)["object"]
                if any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"]["conditions"]):
                    self._ready.add(pod["metadata"]["name"])
                    if len(self._ready) == self._wanted:
                        self.done.set()


def template(container: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {"labels": {"app": "bench"}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }


def by_deployment(api: Api, count: int, container: dict[str, Any]) -> None:
    spec = {"replicas": count, "selector": {"matchLabels": {"app": "bench"}}, "template": template(container)}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "bench"}, "spec": spec}
    api.ask("POST", "/apis/apps/v1/namespaces/default/deployments", body)


def bare(api: Api, count: int, container: dict[str, Any]) -> None:
    """Over several connections, or it is the one's waiting for each answer that is measured."""

    def work(numbers: range) -> None:
        own = Api(api.cluster)
        for number in numbers:
            pod = template(container)
            pod["metadata"]["name"] = f"bench-{number}"
            own.ask("POST", PODS, {"apiVersion": "v1", "kind": "Pod", **pod})

    workers = [threading.Thread(target=work, args=(range(one, count, WRITERS),)) for one in range(WRITERS)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()


def delete_all(cluster: Cluster) -> None:
    kubectl = cluster.kubectl()
    kubectl("delete", "deployments", "--all", "--wait=false")
    kubectl("delete", "pods", "--all", "--wait=false", "--now", timeout=300)


class Skerry:
    """The processes of a cluster that are Skerry's own, by what they are."""

    def __init__(self, cluster: Cluster) -> None:
        pids = descendants(cluster.status()["pid"])
        self.plane, self.node = pids[:1], pids[1:]

    def cpu(self) -> tuple[float, float]:
        return cpu_seconds(self.plane), cpu_seconds(self.node)

    def memory(self) -> float:
        return pss([*self.plane, *self.node])


def kernel_memory() -> float:
    """MB of the whole machine that the kernel uses for itself."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return sum(int(lines[name].split()[0]) for name in ("Slab", "KernelStack", "PageTables", "Percpu")) / 1024


def once(
    cluster: Cluster, make: Callable[[Api, int, dict[str, Any]], None], count: int, container: dict[str, Any]
) -> tuple[float, float, float, float, float, float, float]:
    """Seconds to all Ready; CPU ms a pod of the control plane, of the node; writes a pod; MB a pod (Skerry's, kernel);
    seconds until all were gone again."""
    api, skerry = Api(cluster), Skerry(cluster)
    time.sleep(0.5)
    watching = Ready(api, count)
    version, memory, kernel = revision(api), skerry.memory(), kernel_memory()
    before, begun = skerry.cpu(), time.monotonic()
    make(api, count, container)
    assert watching.done.wait(300), "not all pods got ready within five minutes"
    took = time.monotonic() - begun
    time.sleep(1)  # the events about them are still being written
    plane, node = (1000 * (after - was) / count for was, after in zip(before, skerry.cpu(), strict=True))
    writes = (revision(api) - version) / count
    grown, kernel_grown = (skerry.memory() - memory) / count, (kernel_memory() - kernel) / count
    begun = time.monotonic()
    delete_all(cluster)
    assert watching.gone.wait(300), "not all pods were gone within five minutes"
    return took, plane, node, writes, grown, kernel_grown, time.monotonic() - begun


def revision(api: Api) -> int:
    """Every write of the cluster counts one."""
    return int(api.ask("GET", PODS + "?limit=1")["metadata"]["resourceVersion"])


def by_hand(count: int) -> float:
    """Seconds until `unshare` has made the namespaces and executed the command so many times."""
    command = ["unshare", "--net", "--uts", "--ipc", "--mount", "--pid", "--fork", "--kill-child"]
    if os.getuid():
        command[1:1] = ["--user", "--map-root-user"]
    lock, left, made = threading.Lock(), iter(range(count)), []

    def work() -> None:
        while True:
            with lock:
                if next(left, None) is None:
                    return
            # `sh` says that it runs; then it becomes the command.
            process = subprocess.Popen(
                [*command, "sh", "-c", "echo; exec sleep infinity"], stdout=subprocess.PIPE, start_new_session=True
            )
            made.append(process)
            assert process.stdout is not None and process.stdout.readline() == b"\n"

    begun = time.monotonic()
    workers = [threading.Thread(target=work) for _ in range(TWO_AT_A_TIME)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    took = time.monotonic() - begun
    for process in made:
        process.kill()
    for process in made:
        process.wait()
        process.stdout.close()
    return took


def runs(quick: bool) -> Iterator[tuple[str, Callable[[Api, int, dict[str, Any]], None], int, dict[str, Any]]]:
    for count in (10, 50) if quick else (10, 50, 100, 300):
        yield "Deployment, host", by_deployment, count, HOST
    yield "bare pods, host", bare, 50 if quick else 300, HOST
    yield "Deployment, nginx", by_deployment, 20 if quick else 100, NGINX


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer pods, to see that it works")
    quick = parser.parse_args().quick
    cluster = Cluster("--max-pods", "350")
    rows = []
    largest = 0.0
    try:
        cluster.up()
        archive = cluster.home / "nginx.tar"
        images.nginx("1.14.2").write_docker_archive(str(archive), "nginx:1.14.2")
        assert cluster.skerry("load", str(archive)).code == 0
        once(cluster, by_deployment, 3, HOST)
        for name, make, count, container in runs(quick):
            took, plane, node, writes, grown, kernel, gone = once(cluster, make, count, container)
            if name == "Deployment, host":
                largest = count / took
            rows.append(
                (name, count, f"{took:.2f}", f"{count / took:.0f}", f"{plane:.1f}", f"{node:.1f}", f"{writes:.1f}",
                 f"{grown:.2f}", f"{kernel:.2f}", f"{gone:.2f}")
            )  # fmt: skip
    finally:
        cluster.delete()
    head = (
        "pods", "how many", "to all Ready, s", "pods/s", "control plane, CPU ms a pod", "node, CPU ms a pod",
        "writes a pod", "Skerry's memory, MB a pod", "kernel's, MB a pod", "to all gone, s",
    )  # fmt: skip
    table(head, rows)
    count = max(row[1] for row in rows if row[0] == "Deployment, host")
    floor = count / by_hand(count)
    print(f"`unshare` by hand, same run, {count} times: {floor:.0f}/s; Skerry reaches {largest / floor:.2f} of it.")


if __name__ == "__main__":
    main()
