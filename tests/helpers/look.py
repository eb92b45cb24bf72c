"""What end-to-end tests look at in a cluster: short questions to real kubectl, and to the cluster's network.

`kubectl` in the signatures is one whose context is the test's own namespace.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.helpers.cluster import Cluster
from tests.helpers.kubectl import Kubectl

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def applied(kubectl: Kubectl, *names: str) -> None:
    """Apply these manifests of the project's examples."""
    for name in names:
        kubectl("apply", "-f", str(EXAMPLES / f"{name}.yaml"))


def nginx(kubectl: Kubectl) -> list[str]:
    """The Deployment and Service of the tutorial, rolled out; the pods' addresses."""
    applied(kubectl, "nginx-deployment", "my-service")
    kubectl("rollout", "status", "deploy/nginx-deployment", "--timeout=60s")
    return addresses(kubectl, "app=my-app")


def busybox(kubectl: Kubectl, name: str, script: str, *options: str, restart: str = "Never", grace: int = 1) -> None:
    """A pod that runs a shell script. The shell ignores signals that it does not trap: hence the short grace."""
    more = f'{{"spec":{{"terminationGracePeriodSeconds":{grace}}}}}'
    command = ("--command", "--", "sh", "-c", script)
    kubectl("run", name, "--image=busybox", f"--restart={restart}", f"--overrides={more}", *options, *command)


def names(kubectl: Kubectl, selector: str) -> list[str]:
    """The names of the pods that are wanted (not being deleted)."""
    items = kubectl.json("get", "pods", "-l", selector)["items"]
    return sorted(item["metadata"]["name"] for item in items if "deletionTimestamp" not in item["metadata"])


def addresses(kubectl: Kubectl, selector: str) -> list[str]:
    """The addresses of the pods that are wanted."""
    items = kubectl.json("get", "pods", "-l", selector)["items"]
    return sorted(item["status"]["podIP"] for item in items if "deletionTimestamp" not in item["metadata"])


def lists(kubectl: Kubectl, service: str) -> tuple[list[str], list[str]]:
    """The ready and the not ready addresses in v1.Endpoints, as `ip:port`."""
    subsets = kubectl.json("get", "endpoints", service).get("subsets", [])
    ready, unready = (
        sorted(
            f"{address['ip']}:{port['port']}"
            for subset in subsets
            for address in subset.get(key, [])
            for port in subset["ports"]
        )
        for key in ("addresses", "notReadyAddresses")
    )
    return ready, unready


def slices_of(kubectl: Kubectl, service: str) -> list[dict[str, Any]]:
    """The EndpointSlices of a service."""
    found: list[dict[str, Any]] = kubectl.json("get", "endpointslices", "-l", f"kubernetes.io/service-name={service}")[
        "items"
    ]
    return found


def conditions(kubectl: Kubectl, service: str) -> dict[str, dict[str, bool]]:
    """Every address in the EndpointSlices of a service, with its conditions."""
    return {
        address: endpoint["conditions"]
        for one in slices_of(kubectl, service)
        for endpoint in one["endpoints"] or []
        for address in endpoint["addresses"]
    }


def pod_status(kubectl: Kubectl, name: str) -> dict[str, Any]:
    """The status of a pod's only container, with its state's own fields beside it: `reason`, `message`, `exitCode`."""
    statuses = kubectl.json("get", "pod", name)["status"].get("containerStatuses") or [{"state": {}}]
    found: dict[str, Any]
    (found,) = statuses
    for kind, state in found["state"].items():
        return {**found, "is": kind, **state}
    return {**found, "is": "", "reason": ""}


def shown_status(kubectl: Kubectl, name: str) -> str:
    """The STATUS column."""
    return kubectl("get", "pod", name, "--no-headers").split()[2]


def events(kubectl: Kubectl, name: str) -> list[tuple[str, str, str]]:
    """Type, reason and message of what was recorded about an object."""
    items = kubectl.json("get", "events", f"--field-selector=involvedObject.name={name}")["items"]
    return [(item["type"], item["reason"], item["message"]) for item in items]


def fetch(cluster: Cluster, namespace: str, url: str) -> str:
    """What a URL gives inside the cluster's network. AssertionError if nothing."""
    done = cluster.run("curl", "-sS", "--max-time", "5", url, namespace=namespace)
    assert done.code == 0, f"curl {url}: exit {done.code}\n{done.err}"
    return done.out


def fetch_often(cluster: Cluster, namespace: str, url: str, times: int) -> list[str]:
    """The same, `times` times, by as many connections: the lines."""
    loop = f"for i in $(seq {times}); do curl -sS --max-time 5 {url} || exit 1; echo; done"
    done = cluster.run("sh", "-c", loop, namespace=namespace)
    assert done.code == 0, done.err
    return [line for line in done.out.splitlines() if line]


def dig(cluster: Cluster, namespace: str, name: str, kind: str = "A") -> tuple[str, list[str]]:
    """The answer of the cluster's DNS: its code, and the data of its records (sorted)."""
    found = cluster.run("dig", "+noall", "+comments", "+answer", "+tries=1", "+time=5", name, kind, namespace=namespace)
    assert found.code == 0, found.out + found.err
    lines = found.out.splitlines()
    (code,) = [line.split("status: ")[1].split(",")[0] for line in lines if "status: " in line]
    return code, sorted(line.split(maxsplit=4)[4] for line in lines if line and not line.startswith(";"))


def files_of(pod: str, program: str = "", namespace: str = "") -> Path:
    """The root directory of a pod's container (of the one that runs `program`, if several), seen from this machine.

    Other tests' clusters may have a pod of that name: `namespace` tells them apart.

    So a test changes files in a container, whatever the container runs.
    """
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if program and program not in (process / "cmdline").read_text():
                continue
            (numbers,) = (line for line in (process / "status").read_text().splitlines() if line.startswith("NSpid:"))
            if not numbers.endswith("\t1"):
                continue  # not the container's first process: a probe's, say, that is gone in a moment
            if namespace and f" {namespace}.svc." not in (process / "root/etc/resolv.conf").read_text():
                continue
            if (process / "root/etc/hostname").read_text().strip() == pod:
                return process / "root"
    raise AssertionError(f"no process of pod {pod}")


class Lines:
    """The lines that a program prints, as they come."""

    def __init__(self, kubectl: Kubectl, *arguments: str) -> None:
        self.seen: list[str] = []
        self._process = kubectl.start(*arguments)
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def until(self, wanted: Callable[[str], bool], seconds: float = 30) -> str:
        """The next line that is wanted. AssertionError with all that came if none does in time."""
        while True:
            try:
                line = self._queue.get(timeout=seconds)
            except queue.Empty:
                raise AssertionError(f"nothing more came in {seconds} s after {self.seen}") from None
            if line is None:
                raise AssertionError(f"it ended after {self.seen}")
            self.seen.append(line)
            if wanted(line):
                return line

    def rest(self, seconds: float = 30) -> list[str]:
        """All lines, when the program has come to its end by itself."""
        with contextlib.suppress(AssertionError):
            self.until(lambda _: False, seconds)
        self._process.wait(seconds)
        return self.seen

    def close(self) -> None:
        """End the program."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()


@contextlib.contextmanager
def lines(kubectl: Kubectl, *arguments: str) -> Iterator[Lines]:
    """`kubectl ARGUMENTS` (a watch, `logs -f`) for as long as a `with` block lasts."""
    found = Lines(kubectl, *arguments)
    try:
        yield found
    finally:
        found.close()
