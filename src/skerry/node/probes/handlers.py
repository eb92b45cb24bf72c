"""Asks a container how it is: httpGet, tcpSocket, exec, grpc (R2). The texts are upstream's, for events.

Called by worker.py, and by node/agent for hooks. Connections start in the node's own network.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import re
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin, urlsplit

from skerry.node.runtime.spec import ExecResult, RuntimeFailure

if TYPE_CHECKING:
    import ssl

    from skerry.api.types import core

Exec = Callable[[list[str], float], Awaitable[ExecResult]]
"""Runs a command in the container for at most so many seconds: ExecResult, RuntimeFailure or TimeoutError."""

REDIRECTS = 10
BODY_LIMIT = 10 << 10
USER_AGENT = "kube-probe/1.36"
_BAD_STATUS = "HTTP probe failed with statuscode"
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")


class Outcome(NamedTuple):
    """`success` is None where the question could not be put; `output` is for people."""

    success: bool | None
    output: str


class _Answer(NamedTuple):
    status: int
    location: str


class NoSuchPortError(Exception):
    """A probe names a port that its container does not have."""


def port_number(port: int | str, container: core.Container) -> int:
    """The number of a port given by number or by name (R2)."""
    if isinstance(port, int):
        return port
    for one in container.ports:
        if one.name == port:
            return one.container_port
    if port.isdigit():
        return int(port)
    raise NoSuchPortError(f"couldn't find port: {port} for container {container.name}")


async def ask(
    handler: core.Probe | core.LifecycleHandler, container: core.Container, ip: str, run: Exec, seconds: float
) -> Outcome:
    """Puts the question of a probe (or hook) to the container whose pod is at `ip`; `seconds`: how long it may take."""
    try:
        if handler.http_get is not None:
            return await http_get(handler.http_get, container, ip, seconds)
        if handler.tcp_socket is not None:
            host = handler.tcp_socket.host or ip
            return await tcp_connect(host, port_number(handler.tcp_socket.port, container), seconds)
        if handler.exec is not None:
            return await execute(list(handler.exec.command), run, seconds)
        action = getattr(handler, "grpc", None)
        if action is not None:
            from skerry.node.probes import grpc  # few pods need it, and it takes h2 along

            return Outcome(*await grpc.check(ip, action.port, action.service or "", seconds, USER_AGENT))
    except NoSuchPortError as error:
        return Outcome(None, str(error))
    return Outcome(None, "missing probe handler")


async def run_hook(hook: core.LifecycleHandler, container: core.Container, ip: str, run: Exec, seconds: float) -> str:
    """Runs a postStart or preStop hook; what went wrong, or "". Whatever a web server answers is well."""
    if hook.exec is not None:
        return await _command(list(hook.exec.command), run, seconds)
    outcome = await ask(hook, container, ip, run, seconds)
    if outcome.success or (outcome.success is False and outcome.output.startswith(_BAD_STATUS)):
        return ""
    return outcome.output


async def _command(command: list[str], run: Exec, seconds: float) -> str:
    shown = " ".join(command)
    try:
        result = await run(command, seconds)
    except TimeoutError:
        return f"command '{shown}' timed out after {seconds:g}s"
    except RuntimeFailure as error:
        return str(error)
    if not result.code:
        return ""
    return f"command '{shown}' exited with {result.code}: {result.output.decode(errors='replace')}"


async def execute(command: list[str], run: Exec, seconds: float) -> Outcome:
    try:
        result = await run(command, seconds)
    except TimeoutError:
        return Outcome(False, f'command timed out: "{" ".join(command)}" timed out after {seconds:g}s')
    except RuntimeFailure as error:
        return Outcome(None, str(error))
    return Outcome(result.code == 0, result.output.decode(errors="replace"))


async def tcp_connect(host: str, port: int, seconds: float) -> Outcome:
    where = _joined(host, port)
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Outcome(False, f"dial tcp {where}: i/o timeout")
    except OSError as error:
        return Outcome(False, _dial_error(error, host, where))
    writer.close()
    return Outcome(True, "")


async def http_get(action: core.HTTPGetAction, container: core.Container, ip: str, seconds: float) -> Outcome:
    """Success is a status from 200 to 399; redirects are followed on the same host, and believed to others."""
    scheme = (action.scheme or "HTTP").lower()
    path = action.path or "/"
    start = f"{scheme}://{_joined(action.host or ip, port_number(action.port, container))}"
    url = start + (path if path.startswith("/") else "/" + path)
    headers = {"user-agent": USER_AGENT, "accept": "*/*"}
    headers |= {one.name.lower(): one.value for one in action.http_headers}
    first = url
    try:
        async with asyncio.timeout(seconds):
            for _ in range(REDIRECTS):
                answer = await _get(url, headers)
                if not (answer.location and answer.status in (301, 302, 303, 307, 308)):
                    break
                target = urljoin(url, answer.location)
                if urlsplit(target).hostname != urlsplit(url).hostname:
                    return Outcome(True, f"Probe terminated redirects, Response body: {answer.location}")
                url = target
            else:
                return Outcome(False, f'Get "{url}": stopped after {REDIRECTS} redirects')
    except TimeoutError:
        text = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        return Outcome(False, f'Get "{first}": {text}')
    except (OSError, ValueError) as error:
        return Outcome(False, f'Get "{url}": {error}')
    if 200 <= answer.status < 400:
        return Outcome(True, "")
    return Outcome(False, f"{_BAD_STATUS}: {answer.status}")


async def _get(url: str, headers: dict[str, str]) -> _Answer:
    """One request on a connection of its own. OSError or ValueError with upstream's text."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    where = _joined(host, port)
    try:
        tls = _tls() if parts.scheme == "https" else None
        reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    except OSError as error:
        raise OSError(_dial_error(error, host, where)) from error
    try:
        shown = host if port in (80, 443) and ":" not in host else where
        lines = [f"GET {parts.path or '/'}{'?' + parts.query if parts.query else ''} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in ({"host": shown} | headers | {"connection": "close"}).items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace"))
        try:
            return await _answer(reader)
        except ConnectionError as error:
            here = writer.get_extra_info("sockname") or ("", 0)
            raise OSError(f"read tcp {_joined(*here[:2])}->{where}: read: {_why(error)}") from error
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> _Answer:
    line = await reader.readline()
    if not line:
        raise ValueError("EOF")
    found = _STATUS.match(line)
    if not found:
        raise ValueError(f'net/http: HTTP/1.x transport connection broken: malformed HTTP status line "{line[:64]!r}"')
    location, length = "", BODY_LIMIT
    while (line := await reader.readline()) not in (b"\r\n", b"\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"location":
            location = value.strip().decode("latin-1")
        elif name.lower() == b"content-length" and value.strip().isdigit():
            length = min(int(value), BODY_LIMIT)
    # A server that is cut off in the middle of its answer would complain in its log.
    with contextlib.suppress(asyncio.IncompleteReadError, TimeoutError, ConnectionError):
        async with asyncio.timeout(0.1):
            await reader.readexactly(length)
    return _Answer(int(found[1]), location)


@functools.cache
def _tls() -> ssl.SSLContext:
    import ssl  # 15 ms that most nodes never need

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _dial_error(error: OSError, host: str, where: str) -> str:
    if isinstance(error, socket.gaierror):
        return f"dial tcp: lookup {host}: no such host"
    return f"dial tcp {where}: connect: {_why(error)}"


def _why(error: OSError) -> str:
    if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ECONNREFUSED, errno.ECONNRESET):
        return os.strerror(error.errno).lower()
    return str(error)
