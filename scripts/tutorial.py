"""Plays the tutorial (docs/tutorial.md) on a fresh cluster: each command, what it shows, and how long it took.

`make up` runs it. Everything is real: kubectl, an nginx made of this machine's own files, packets; no internet is used.
The cluster stays when it is done.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.helpers.kubectl import MINORS, KubectlMissing, binary  # noqa: E402

from skerry.testing.images import MissingToolError, nginx  # noqa: E402 - the path comes first

NAME = "tutorial"
WAIT_SECONDS = 60.0


class Stuck(Exception):
    """A step did not show what it should; the message says what it showed."""


class Player:
    """Runs commands, prints them as a person would have typed them, and keeps the time."""

    def __init__(self, kubectl: str, skerry: list[str]) -> None:
        self._programs = {"kubectl": [kubectl], "skerry": skerry}
        self._step = 0
        self._since = time.monotonic()
        self._begin = self._since

    def step(self, title: str) -> None:
        """Begin the next step."""
        self._step += 1
        self._since = time.monotonic()
        print(f"\n{self._step}. {title}", flush=True)

    def done(self, shown: str) -> None:
        """End the step: what it has shown, and its time."""
        print(f"   => {shown}  ({time.monotonic() - self._since:.2f} s)", flush=True)

    def run(self, line: str, *, show: bool = True, lines: int = 12, check: bool = True) -> str:
        """Run a command line; its standard output. Stuck if it fails."""
        words = shlex.split(line)
        if show:
            print(f"   $ {line}", flush=True)
        command = [*self._programs.get(words[0], words[:1]), *words[1:]]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
        if show:
            kept = ended.stdout.rstrip().splitlines()
            for text in kept[:lines]:
                print(f"     {text}")
            if len(kept) > lines:
                print(f"     ... {len(kept) - lines} more lines")
        if check and ended.returncode != 0:
            raise Stuck(f"`{line}` ended with {ended.returncode}: {ended.stderr.strip() or ended.stdout.strip()}")
        return ended.stdout

    def until(self, call: Callable[[], bool], what: str) -> None:
        """Ask again and again until it is so. Stuck after a minute."""
        end = time.monotonic() + WAIT_SECONDS
        while not call():
            if time.monotonic() > end:
                raise Stuck(f"{what} did not happen within {WAIT_SECONDS:.0f} s")
            time.sleep(0.02)  # the world outside gives no sign

    def total(self) -> float:
        """Seconds since the first step."""
        return time.monotonic() - self._begin


def play(player: Player, archive: str) -> None:
    """The whole tutorial."""
    start(player, archive)
    replacement(player)
    service(player)
    description(player)
    endpoints(player)
    ways_out(player)


def start(player: Player, archive: str) -> None:
    player.run(f"skerry delete --name {NAME}", show=False)
    player.step("A cluster")
    player.run(f"skerry up --name {NAME}")
    player.run("kubectl get nodes")
    player.done("one node is ready")
    player.step("An image: nginx out of this machine's own files")
    player.run(f"skerry load --name {NAME} {archive}")
    player.done("the node has it, without a registry")


def replacement(player: Player) -> None:
    player.step("A Deployment keeps its pod")
    player.run("kubectl create deploy test --image=nginx --replicas=1")
    player.run("kubectl wait deploy/test --for=condition=Available --timeout=60s", show=False)
    player.run("kubectl get pods -owide")
    before = pod(player)
    player.run(f"kubectl delete pod {before[0]}")
    player.run("kubectl wait deploy/test --for=condition=Available --timeout=60s", show=False)
    player.run("kubectl get pods -owide")
    after = pod(player)
    if before[0] == after[0] or before[1] == after[1]:
        raise Stuck(f"the pod is still {before}")
    player.run("kubectl delete deploy test", show=False)
    player.done(f"a new pod, a new name, a new IP: {before[1]} became {after[1]}")


def pod(player: Player) -> list[str]:
    """The name and the IP of the one pod of the first Deployment."""
    path = "{.items[0].metadata.name} {.items[0].status.podIP}"
    return player.run(f"kubectl get pods -l app=test -o 'jsonpath={path}'", show=False).split()


def service(player: Player) -> None:
    player.step("A Service is a name that stays")
    player.run("kubectl apply -f examples/nginx-deployment.yaml -f examples/my-service.yaml")
    player.run("kubectl rollout status deploy/nginx-deployment --timeout=60s", show=False)
    player.run("kubectl get svc,pods -owide")
    player.run(f"skerry run --name {NAME} -- curl -s http://my-service", lines=4)
    ip = player.run("kubectl get svc my-service -o 'jsonpath={.spec.clusterIP}'", show=False)
    for name in ("my-service.default", "my-service.default.svc.cluster.local", ip):
        page = player.run(f"skerry run --name {NAME} -- curl -s http://{name}", show=False)
        if "Welcome to nginx!" not in page:
            raise Stuck(f"http://{name} did not give nginx's page")
    line = "for i in $(seq 300); do curl -s http://my-service/hostname; echo; done | grep . | sort | uniq -c"
    counts = player.run(f"skerry run --name {NAME} -- sh -c {shlex.quote(line)}")
    if len(counts.split()) != 6:
        raise Stuck(f"300 calls reached {counts}")
    player.done("the short name, the full name and the ClusterIP answer; 300 calls reached all three pods")


def description(player: Player) -> None:
    player.step("The Service follows its pods")
    player.run("kubectl describe svc my-service", lines=20)
    victim = player.run("kubectl get pods -l app=my-app -o 'jsonpath={.items[0].metadata.name}'", show=False)
    dead = player.run(f"kubectl get pod {victim} -o 'jsonpath={{.status.podIP}}'", show=False)
    player.run(f"kubectl delete pod {victim}")
    ready = "{.status.availableReplicas}=3"
    player.run(f"kubectl wait deploy/nginx-deployment '--for=jsonpath={ready}' --timeout=60s", show=False)
    shown = "-o 'jsonpath={.subsets[*].addresses[*].ip}'"

    def followed() -> bool:
        ips = player.run(f"kubectl get endpoints my-service {shown}", show=False).split()
        return len(ips) == 3 and dead not in ips

    player.until(followed, "a new endpoint")
    player.run("kubectl get endpointslices -l kubernetes.io/service-name=my-service")
    player.done(f"{dead} is gone, and the new pod is there")


def endpoints(player: Player) -> None:
    player.step("Not ready is not asked")
    player.run("kubectl apply -f examples/readiness.yaml")
    running = "{.status.phase}=Running"
    player.run(f"kubectl wait pods -l app=flaky '--for=jsonpath={running}' --timeout=60s", show=False)

    def listed() -> bool:
        path = "{.subsets[*].notReadyAddresses[*].ip}"
        return len(player.run(f"kubectl get endpoints flaky -o 'jsonpath={path}'", show=False).split()) == 2

    player.until(listed, "two notReadyAddresses")
    player.run("kubectl get pods -l app=flaky")
    player.run("kubectl get endpoints flaky -o yaml", lines=40)
    player.done("both pods run, fail their probe and wait under notReadyAddresses")


def ways_out(player: Player) -> None:
    player.step("Names of pods, and a port of this machine")
    player.run("kubectl apply -f examples/headless.yaml -f examples/exposed.yaml")
    player.run(f"skerry run --name {NAME} -- getent ahostsv4 my-headless")

    def answers() -> bool:
        try:
            with urllib.request.urlopen("http://127.0.0.1:30080/", timeout=5) as answer:
                return b"Welcome to nginx!" in answer.read()
        except OSError:
            return False

    player.until(answers, "an answer on port 30080")
    player.run("curl -s http://127.0.0.1:30080", lines=4)
    player.done("a headless Service is one record a pod; a NodePort answers on 127.0.0.1")


def main() -> int:
    """Play it; 1 and a sentence if a step does not show what it should."""
    on_path = shutil.which("kubectl")
    try:
        kubectl = on_path or str(binary(MINORS[-1]))
    except KubectlMissing as error:
        print(f"There is no kubectl here and none could be fetched: {error}", file=sys.stderr)
        return 1
    skerry = ROOT / ".venv" / "bin" / "skerry"
    player = Player(kubectl, [str(skerry)])
    with tempfile.TemporaryDirectory(prefix="skerry-tutorial-") as directory:
        archive = os.path.join(directory, "nginx.tar")
        try:
            nginx("1.14.2").write_docker_archive(archive, "nginx:1.14.2", "nginx:latest")
            play(player, archive)
        except (MissingToolError, Stuck, subprocess.TimeoutExpired) as error:
            print(f"\nThe tutorial is stuck: {error}", file=sys.stderr)
            return 1
    here = skerry.relative_to(ROOT)
    print(f"\nPlayed in {player.total():.1f} s. The cluster runs on, and it is kubectl's current context. Try next:")
    print(f"  {here} run --name {NAME} -- curl http://my-service     and     kubectl get pods -w")
    print(f"  {here} delete --name {NAME}                            when you have had enough")
    if on_path is None:
        print(f"There is no kubectl on your PATH; the one that was used is {kubectl}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
