"""exec, attach, port-forward and cp: kubectl 1.33 and 1.36, over WebSocket and over SPDY, and the Python client."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import os
import random
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import in_namespace
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.kubectl import MINORS, Kubectl, KubectlMissing, binary
from tests.helpers.streams import Terminal, forwarding, talk

PODS = """\
apiVersion: v1
kind: Pod
metadata:
  name: two
  annotations: {kubectl.kubernetes.io/default-container: second}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - {name: first, image: busybox, env: [{name: WHO, value: first}], command: [sleep, "1000000"]}
    - {name: second, image: busybox, env: [{name: WHO, value: second}], command: [sleep, "1000000"]}
---
apiVersion: v1
kind: Pod
metadata: {name: shell}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - {name: c, image: busybox, command: [sh], stdin: true, tty: true}
---
apiVersion: v1
kind: Pod
metadata: {name: echo}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - {name: c, image: busybox, stdin: true, command: [sh, -c, 'while read x; do echo "got $x"; done']}
    - name: echo
      image: host
      command:
        - python3
        - -c
        - |
          import asyncio
          async def echo(reader, writer):
              while data := await reader.read(65536):
                  writer.write(data)
                  await writer.drain()
              writer.close()
          async def main():
              await (await asyncio.start_server(echo, "127.0.0.1", 7)).serve_forever()
          asyncio.run(main())
      readinessProbe: {exec: {command: [python3, -c, "import socket; socket.create_connection(('127.0.0.1', 7))"]}}
    - {name: web, image: host, command: [python3, -m, http.server, "8080", --bind, 127.0.0.1, -d, /usr/share]}
"""


@pytest.fixture(
    scope="module", params=[(minor, mode) for minor in MINORS for mode in ("websocket", "spdy")], ids="-".join
)
def k(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    """kubectl in one mode, in a namespace with the three pods."""
    minor, mode = request.param
    try:
        binary(minor)
    except KubectlMissing as error:
        pytest.skip(str(error))
    on = "true" if mode == "websocket" else "false"
    variables = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": on, "KUBECTL_PORT_FORWARD_WEBSOCKETS": on}
    for plain in in_namespace(cluster, minor, f"streams-{minor.replace('.', '-')}-{mode}"):
        plain("apply", "-f", "-", stdin=PODS)
        plain("wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s")
        yield dataclasses.replace(plain, environment=variables)


@pytest.mark.rootless
def test_output_error_output_and_exit_code(k: Kubectl) -> None:
    done = k.run("exec", "echo", "-c", "c", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.code, done.out, done.err) == (3, "out\n", "err\ncommand terminated with exit code 3\n")


def test_a_signal_is_128_and_its_number(k: Kubectl) -> None:
    assert k.run("exec", "echo", "-c", "c", "--", "sh", "-c", "kill -9 $$").code == 137


def test_stdin_ends_and_the_answer_still_comes(k: Kubectl) -> None:
    assert k("exec", "-i", "echo", "-c", "c", "--", "sh", "-c", "cat; echo end", stdin="a line\n") == "a line\nend\n"


def test_a_command_that_does_not_read_its_stdin(k: Kubectl) -> None:
    assert k("exec", "-i", "echo", "-c", "c", "--", "echo", "done", stdin="x" * 3_000_000) == "done\n"


def test_no_such_command(k: Kubectl) -> None:
    done = k.run("exec", "echo", "-c", "c", "--", "nonsense")
    assert done.code == 1
    assert 'exec: "nonsense": executable file not found in $PATH' in done.err
    assert "error executing command in container: failed to exec in container" in done.err


def test_which_container(k: Kubectl) -> None:
    assert k("exec", "two", "--", "sh", "-c", "echo $WHO") == "second\n"
    assert k("exec", "two", "-c", "first", "--", "sh", "-c", "echo $WHO") == "first\n"
    done = k.run("exec", "two", "-c", "third", "--", "true")
    assert done.code == 1 and "container third is not valid for pod two" in done.err
    done = k.run("exec", "none", "--", "true")
    assert done.code == 1 and 'pods "none" not found' in done.err


def test_a_container_that_does_not_run(k: Kubectl) -> None:
    k("run", "over", "--image=busybox", "--restart=Never", "--", "true")
    k("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/over", "--timeout=30s")
    done = k.run("exec", "over", "--", "true")
    assert done.code == 1 and "completed pod" in done.err
    done = k.run("get", "--raw", f"/api/v1/namespaces/{namespace_of(k)}/pods/over/exec?command=true&stdout=true")
    assert done.code == 1 and "Upgrade request required" in done.err


def namespace_of(k: Kubectl) -> str:
    return k("config", "view", "--minify", "-o", "jsonpath={.contexts[0].context.namespace}")


@pytest.mark.rootless
def test_a_terminal_has_the_size_of_ours_and_follows_it(k: Kubectl) -> None:
    terminal = Terminal(k, "exec", "-it", "echo", "-c", "c", "--", "sh")
    try:
        terminal.expect("# ")
        terminal.type("tty; echo $TERM; stty size\n")
        terminal.expect(r"/dev/pts/\d+\s+xterm\s+33 111")
        terminal.resize(20, 70)
        os.killpg(terminal.process.pid, 28)  # SIGWINCH
        terminal.type("while [ \"$(stty size)\" != '20 70' ]; do sleep 0.05; done; echo re''sized\n")
        terminal.expect("resized")
        terminal.type("sh -c 'echo st\"\"art; exec sleep 1000'\n")
        terminal.expect("start")
        terminal.type("\x03")
        terminal.expect(r"\^C[\s\S]*# ")
        terminal.type("exit 5\n")
    finally:
        code = terminal.close()
    assert code == 5


def test_attach_to_a_terminal_and_detach_from_it(k: Kubectl) -> None:
    terminal = Terminal(k, "attach", "-it", "shell")
    try:
        # kubectl first says one more row and column, so that programs draw anew, and then the size itself.
        terminal.type("echo $((40+2)); until [ \"$(stty size)\" = '33 111' ]; do sleep 0.05; done; echo si''zed\n")
        terminal.expect(r"42\s+sized")
    finally:
        terminal.process.terminate()
        terminal.close()
    assert k.json("get", "pod", "shell")["status"]["containerStatuses"][0]["restartCount"] == 0


def test_attach_to_stdin_and_stdout(k: Kubectl) -> None:
    process = subprocess.Popen(
        [k.argv0, "attach", "-i", "echo", "-c", "c"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=k.env(),
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    with process:
        try:
            process.stdin.write("hello\n")
            process.stdin.flush()
            assert process.stdout.readline() == "got hello\n"
        finally:
            process.kill()


def test_run_with_stdin_gives_back_everything(k: Kubectl) -> None:
    """stdinOnce: the container's stdin ends with ours; attach ends with the container."""
    text = "".join(f"{number}\n" for number in range(100_000))
    out = k(
        "run", "once", "--image=busybox", "--restart=Never", "--rm", "-i", "-q", "--", "cat", stdin=text, timeout=90
    )
    assert out == text


def test_copy_50_megabytes_there_and_back(k: Kubectl, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(50_000_000)
    (tmp_path / "big").write_bytes(content)
    k("cp", str(tmp_path / "big"), "two:/big", "-c", "first", timeout=120)
    said = k("exec", "two", "-c", "first", "--", "sha256sum", "/big").split()[0]
    assert said == hashlib.sha256(content).hexdigest()
    k("cp", "two:/big", str(tmp_path / "back"), "-c", "first", timeout=120)
    assert (tmp_path / "back").read_bytes() == content
    k("exec", "two", "-c", "first", "--", "rm", "/big")


def test_copy_a_directory(k: Kubectl, tmp_path: Path) -> None:
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    for number in range(50):
        (tmp_path / "tree" / "deep" / str(number)).write_text(str(number) * number)
    k("cp", str(tmp_path / "tree"), "two:/", "-c", "second")
    k("cp", "two:/tree", str(tmp_path / "again"), "-c", "second")
    for number in range(50):
        assert (tmp_path / "again" / "deep" / str(number)).read_text() == str(number) * number


def processes(k: Kubectl, pod: str, container: str, word: str) -> bool:
    return word in k("exec", pod, "-c", container, "--", "ps", "-o", "args")


@pytest.mark.parametrize("options", [(), ("-i",)], ids=["plain", "stdin"])
def test_a_killed_client_takes_its_command_along(k: Kubectl, options: tuple[str, ...]) -> None:
    seconds = str(random.randint(10_000, 99_999))
    command = ["exec", *options, "two", "-c", "first", "--", "sh", "-c", f"echo up; sleep {seconds}; true"]
    process = subprocess.Popen([k.argv0, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=k.env())
    with process:
        assert process.stdout is not None and process.stdout.readline() == b"up\n"
        assert processes(k, "two", "first", seconds)
        process.kill()
    eventually(lambda: not processes(k, "two", "first", f"sleep {seconds}"), 10, "the end of the command")


def test_many_commands_at_once(k: Kubectl) -> None:
    found: dict[int, str] = {}

    def one(number: int) -> None:
        found[number] = k("exec", "-i", "two", "-c", "first", "--", "cat", stdin=str(number))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: str(number) for number in range(12)}


def test_forwarded_connections_one_after_another_and_many_at_once(k: Kubectl) -> None:
    with forwarding(k, "pod/echo", ":8080", ":7") as ((web, echo), process):
        for _ in range(20):
            with urllib.request.urlopen(f"http://127.0.0.1:{web}/", timeout=20) as response:
                assert b"</html>" in response.read()
        found: dict[int, bytes] = {}
        sent = {number: random.Random(number).randbytes(300_000) for number in range(16)}

        def one(number: int) -> None:
            found[number] = talk(echo, sent[number])

        threads = [threading.Thread(target=one, args=(number,)) for number in sent]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == sent
        assert process.poll() is None


def test_a_connection_that_does_not_read_does_not_stop_the_others(k: Kubectl) -> None:
    with forwarding(k, "pod/echo", ":7") as ((echo,), _), socket.create_connection(("127.0.0.1", echo), 20) as idle:
        idle.sendall(b"x" * 100_000)  # and never reads the echo
        assert talk(echo, b"y" * 200_000) == b"y" * 200_000


def test_a_port_where_nobody_listens_says_so(k: Kubectl) -> None:
    """kubectl itself ends at any text in an error stream; the session is not ended by us (see the integration test)."""
    with forwarding(k, "pod/echo", ":81") as ((port,), process):
        assert talk(port, b"") == b""
        _, error = process.communicate(timeout=20)
    assert "127.0.0.1:81: connect: connection refused" in error


def test_a_deleted_pod_ends_its_streams(k: Kubectl) -> None:
    k("run", "short", "--image=busybox", "--restart=Never", "--", "sleep", "1000")
    k("wait", "--for=condition=Ready", "pod/short", "--timeout=30s")
    command = k.start("exec", "short", "--", "sh", "-c", "echo up; sleep 1000")
    with forwarding(k, "pod/short", ":80") as (_, forward), command:
        try:
            assert command.stdout is not None and command.stdout.readline() == "up\n"
            k("delete", "pod", "short", "--grace-period=0", "--force")
            assert command.wait(20) == 137
            assert forward.wait(20) == 1
            assert forward.stderr is not None and "lost connection to pod" in forward.stderr.read()
        finally:
            command.kill()


def test_the_python_client(cluster: Cluster, minor: str, namespace: str) -> None:
    kubernetes = pytest.importorskip("kubernetes")
    from kubernetes.stream import portforward, stream

    for k in in_namespace(cluster, minor, namespace):
        k("apply", "-f", "-", stdin=PODS)
        k("wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s")
        client = kubernetes.config.new_client_from_config(str(k.kubeconfig))
        api: Any = kubernetes.client.CoreV1Api(client)
        options = {"stderr": True, "stdout": True, "tty": False, "container": "c"}
        execute = api.connect_get_namespaced_pod_exec
        said = stream(
            api.connect_get_namespaced_pod_exec, "echo", namespace, command=["echo", "a b"], stdin=False, **options
        )
        assert said == "a b\n"
        running = stream(
            execute, "echo", namespace, stdin=True, _preload_content=False,
            command=["sh", "-c", "read x; echo got $x; echo bad >&2; exit 4"], **options,
        )  # fmt: skip
        running.write_stdin("word\n")
        running.run_forever(timeout=20)
        assert (running.read_stdout(), running.read_stderr(), running.returncode) == ("got word\n", "bad\n", 4)
        forwarded = portforward(api.connect_get_namespaced_pod_portforward, "echo", namespace, ports="8080,81")
        with contextlib.closing(forwarded.socket(8080)) as web:
            web.setblocking(True)
            web.sendall(b"GET / HTTP/1.0\r\n\r\n")
            found = b""
            while piece := web.recv(1 << 16):
                found += piece
        assert found.startswith(b"HTTP/1.0 200") and b"</html>" in found
        assert "connection refused" in eventually(functools.partial(forwarded.error, 81), 10)


def test_nothing_is_left_open(cluster: Cluster, k: Kubectl) -> None:
    """Neither the control plane nor a node process keeps a descriptor of what has ended (clean, or killed)."""
    tree = [cluster.status()["pid"]]
    for pid in tree:
        tree += [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def count() -> int:
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in tree if Path(f"/proc/{pid}").exists())

    def use() -> None:
        k("exec", "-i", "echo", "-c", "c", "--", "cat", stdin="x")
        terminal = Terminal(k, "exec", "-it", "echo", "-c", "c", "--", "sh")
        try:
            terminal.expect("# ")
        finally:
            terminal.process.kill()
            terminal.close()
        with forwarding(k, "pod/echo", ":7") as ((port,), _):
            assert talk(port, b"x") == b"x"

    use()
    before = eventually(lambda: steady(count), 20)
    for _ in range(5):
        use()
    eventually(lambda: count() <= before, 20, f"as few descriptors as before ({before})")


def steady(count: Callable[[], int]) -> int:
    """A count that did not change in half a second, or 0."""
    found = count()
    threading.Event().wait(0.5)
    return found if count() == found else 0
