"""kubectl on a terminal of its own and kubectl port-forward, for the end-to-end tests of streams."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import socket
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator

from tests.helpers.kubectl import Kubectl


class Terminal:
    """kubectl on a terminal of its own."""

    def __init__(self, k: Kubectl, *arguments: str, size: tuple[int, int] = (33, 111)) -> None:
        self.master, slave = pty.openpty()
        os.set_blocking(self.master, False)
        self.resize = lambda rows, columns: fcntl.ioctl(
            self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0)
        )
        self.resize(*size)
        self.process = subprocess.Popen(
            [k.argv0, *arguments], stdin=slave, stdout=slave, stderr=slave, env=k.env(), start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def expect(self, pattern: str, seconds: float = 15) -> None:
        until = time.monotonic() + seconds
        while not re.search(pattern, self.seen):
            ready, _, _ = select.select([self.master], [], [], max(0.0, until - time.monotonic()))
            assert ready, f"{pattern!r} was not seen in {self.seen!r}"
            with contextlib.suppress(OSError):
                piece = os.read(self.master, 4096)
                assert piece, self.seen
                self.seen += piece.decode(errors="replace")
        self.seen = ""

    def close(self) -> int:
        try:
            return self.process.wait(15)
        finally:
            self.process.kill()
            self.process.wait()
            os.close(self.master)


@contextlib.contextmanager
def forwarding(k: Kubectl, *what: str) -> Iterator[tuple[list[int], subprocess.Popen[str]]]:
    """kubectl port-forward; the local ports, in the order of `what`."""
    process = k.start("port-forward", *what)
    try:
        assert process.stdout is not None
        ports: list[int] = []
        while len(ports) < sum(":" in one for one in what):
            line = process.stdout.readline()
            assert line, process.communicate()
            if match := re.match(r"Forwarding from 127\.0\.0\.1:(\d+)", line):
                ports.append(int(match[1]))
        yield ports, process
    finally:
        process.kill()
        process.communicate()


def talk(port: int, content: bytes) -> bytes:
    """Sends, ends our direction, and reads to the end of the other."""
    with socket.create_connection(("127.0.0.1", port), 20) as made:
        made.settimeout(30)
        sender = threading.Thread(target=lambda: (made.sendall(content), made.shutdown(socket.SHUT_WR)))
        sender.start()
        found = b""
        while piece := made.recv(1 << 16):
            found += piece
        sender.join()
        return found
