"""The proxy of `skerry connect` on real sockets: SOCKS5, CONNECT, plain HTTP, and what each is told when it fails."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.cluster.connect import dialogue
from skerry.cluster.connect.dialogue import DialError, Why
from skerry.cluster.connect.main import environment

FAILURES = {
    "nowhere": Why.NO_NAME,
    "refused": Why.REFUSED,
    "slow": Why.TIMEOUT,
    "far": Why.UNREACHABLE,
    "broken": Why.FAILED,
}


class Far:
    """A server that says what it heard of a request's head, and the dialled names."""

    def __init__(self) -> None:
        self.dialled: list[tuple[str, int]] = []
        self.heard: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heard.append(head)
        body = b"hello"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    async def dial(self, host: str, port: int) -> socket.socket:
        self.dialled.append((host, port))
        if host in FAILURES:
            raise DialError(FAILURES[host], f"{host} cannot be had")
        made = socket.socket()
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", self.port))
        return made


@contextlib.asynccontextmanager
async def proxy() -> AsyncIterator[tuple[Far, int]]:
    far = Far()
    server = await asyncio.start_server(far.serve, "127.0.0.1", 0)
    far.port = server.sockets[0].getsockname()[1]
    front = await asyncio.start_server(lambda r, w: dialogue.serve(r, w, far.dial), "127.0.0.1", 0)
    try:
        yield far, front.sockets[0].getsockname()[1]
    finally:
        front.close()
        server.close()


async def curl(*arguments: str) -> tuple[int, str]:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    clean = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    made = await asyncio.create_subprocess_exec(
        *("curl", "-sS", "--max-time", "10", *arguments), stdout=-1, stderr=-2, env=clean
    )
    out, _ = await made.communicate()
    return made.returncode or 0, out.decode()


async def test_curl_through_each_kind_of_proxy() -> None:
    async with proxy() as (far, port):
        url = "http://web.default:8080/path?q=1"
        assert await curl("-x", f"socks5h://127.0.0.1:{port}", url) == (0, "hello")
        assert await curl("-x", f"http://127.0.0.1:{port}", "-p", url) == (0, "hello")
        assert await curl("-x", f"http://127.0.0.1:{port}", url) == (0, "hello")
        assert far.dialled == [("web.default", 8080)] * 3
        last = far.heard[-1].decode()
        assert last.startswith("GET /path?q=1 HTTP/1.1\r\nHost: web.default:8080\r\n")
        assert "Proxy-Connection" not in last and "Connection: close" in last
        assert await curl("-x", f"http://127.0.0.1:{port}", "http://10.96.0.1") == (0, "hello")
        assert far.dialled[-1] == ("10.96.0.1", 80)
        assert await curl("-x", f"socks5://127.0.0.1:{port}", "http://[2001:db8::1]:81/") == (0, "hello")
        assert far.dialled[-1] == ("2001:db8::1", 81)


@pytest.mark.parametrize(
    ("host", "code", "status"),
    [("nowhere", 4, 502), ("refused", 5, 502), ("slow", 6, 504), ("far", 3, 502), ("broken", 1, 502)],
)
async def test_failures_are_told_in_each_tongue(host: str, code: int, status: int) -> None:
    async with proxy() as (_, port):
        found, text = await curl("-x", f"socks5h://127.0.0.1:{port}", f"http://{host}/")
        assert found == 97 and f"({code})" in text
        found, text = await curl("-x", f"http://127.0.0.1:{port}", "-w", "%{http_code}", f"http://{host}/")
        assert (found, text) == (0, f"{host} cannot be had\n{status}")


async def talk(port: int, said: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"\5\1\2", b"\5\xff"),  # only with a password
        (b"\5\1\0\5\2\0\1\x7f\0\0\1\0\x50", b"\5\0\5\7"),  # BIND
        (b"\5\1\0\5\3\0\1\x7f\0\0\1\0\x50", b"\5\0\5\7"),  # UDP ASSOCIATE
        (b"\5\1\0\5\1\0\2\x7f\0\0\1\0\x50", b"\5\0\5\x08"),  # no such kind of address
        (b"\4\1\0\x50\x7f\0\0\1\0", b"\0\x5b"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 400 Bad Request"),
        (b"GET https://x/ HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 Bad Request"),
        (b"CONNECT web HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 Bad Request"),
        (b"CONNECT web:99999 HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 Bad Request"),
        (b"nonsense\r\n\r\n", b"HTTP/1.1 400 Bad Request"),
    ],
)
async def test_what_cannot_be_is_refused_in_the_clients_tongue(said: bytes, answer: bytes) -> None:
    async with proxy() as (far, port):
        assert (await talk(port, said)).startswith(answer)
        assert not far.dialled


@given(st.binary(max_size=60))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_bytes_end_the_proxy(said: bytes) -> None:
    async def run() -> None:
        async with proxy() as (_, port):
            with contextlib.suppress(ConnectionError):
                await talk(port, said)
            assert (await talk(port, b"CONNECT nowhere:1 HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 502 ")

    asyncio.run(run())


def test_a_commands_environment_has_the_proxy_under_both_names_and_no_exceptions() -> None:
    found = environment("127.0.0.1:1080")
    assert found["ALL_PROXY"] == found["all_proxy"] == "socks5h://127.0.0.1:1080"
    assert found["HTTPS_PROXY"] == found["http_proxy"] == "http://127.0.0.1:1080"
    assert found["NO_PROXY"] == found["no_proxy"] == ""
