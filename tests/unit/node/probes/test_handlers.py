"""Questions put to real sockets on loopback, and upstream's words for the answers (rules R2, R8)."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from skerry.api.types import core
from skerry.node.probes.handlers import ask
from skerry.node.runtime.spec import ExecResult, StartError

BOX = core.Container(name="web", ports=[core.ContainerPort(name="http", container_port=1)])


async def nothing(command, seconds):
    raise AssertionError("no exec here")


@contextlib.asynccontextmanager
async def server(answer: bytes | None, tls: ssl.SSLContext | None = None):
    """A server on loopback that gives `answer` to each request and remembers them; None: it never answers."""
    seen: list[bytes] = []

    async def serve(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError):
            seen.append(await reader.readuntil(b"\r\n\r\n"))
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
        writer.close()

    made = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with made:
        yield made.sockets[0].getsockname()[1], seen


def closed_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def http(port, **more):
    return core.Probe(http_get=core.HTTPGetAction(port=port, **more))


@pytest.mark.parametrize(
    ("status", "success"), [(200, True), (204, True), (302, True), (399, True), (400, False), (503, False)]
)
async def test_http_statuses_r2(status, success):
    async with server(b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n" % status) as (port, _):
        outcome = await ask(http(port), BOX, "127.0.0.1", nothing, 1)
    assert outcome.success is success
    assert outcome.output == ("" if success else f"HTTP probe failed with statuscode: {status}")


async def test_http_request():
    headers = [core.HTTPHeader(name="X-A", value="b"), core.HTTPHeader(name="Host", value="web.example")]
    async with server(b"HTTP/1.0 200 OK\r\n\r\n") as (port, seen):
        assert (await ask(http(port, path="/a?b=c", http_headers=headers), BOX, "127.0.0.1", nothing, 1)).success
    lines = seen[0].decode().split("\r\n")
    assert lines[0] == "GET /a?b=c HTTP/1.1"
    assert {"host: web.example", "x-a: b", "user-agent: kube-probe/1.36", "connection: close"} <= set(lines)


def self_signed(directory):
    """A server's TLS with a certificate that nobody vouches for, for a name that nobody asks for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "elsewhere.example")])
    day = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(day).not_valid_after(day.replace(day=2))
    pem = directory / "pem"
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    text = key.private_bytes(serialization.Encoding.PEM, *form)
    pem.write_bytes(text + made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


async def test_https_on_another_host_whatever_its_certificate(tmp_path):
    async with server(b"HTTP/1.1 200 OK\r\n\r\n", self_signed(tmp_path)) as (port, seen):
        probe = http(port, scheme="HTTPS", host="127.0.0.1")
        assert await ask(probe, BOX, "192.0.2.1", nothing, 2) == (True, "")
        assert seen[0].startswith(b"GET / HTTP/1.1\r\n")
        plain = await ask(http(port), BOX, "127.0.0.1", nothing, 2)
        assert plain.success is False


async def test_nobody_listens():
    port = closed_port()
    where = f"127.0.0.1:{port}"
    outcome = await ask(http(port), BOX, "127.0.0.1", nothing, 1)
    assert outcome == (False, f'Get "http://{where}/": dial tcp {where}: connect: connection refused')
    probe = core.Probe(tcp_socket=core.TCPSocketAction(port=port))
    assert await ask(probe, BOX, "127.0.0.1", nothing, 1) == (False, f"dial tcp {where}: connect: connection refused")


async def test_http_too_late():
    async with server(None) as (port, _):
        outcome = await ask(http(port), BOX, "127.0.0.1", nothing, 0.05)
    text = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    assert outcome == (False, f'Get "http://127.0.0.1:{port}/": {text}')


async def test_http_end_without_an_answer():
    async with server(b"") as (port, _):
        outcome = await ask(http(port), BOX, "127.0.0.1", nothing, 1)
    assert outcome == (False, f'Get "http://127.0.0.1:{port}/": EOF')


async def test_redirects_are_followed_on_the_same_host_r2():
    async with server(b"HTTP/1.1 500 no\r\n\r\n") as (last, _):
        there = b"HTTP/1.1 302 x\r\nLocation: http://127.0.0.1:%d/x\r\nContent-Length: 0\r\n\r\n" % last
        async with server(there) as (port, _):
            assert not (await ask(http(port), BOX, "127.0.0.1", nothing, 1)).success
    away = b"HTTP/1.1 302 x\r\nLocation: http://other.example/\r\nContent-Length: 0\r\n\r\n"
    async with server(away) as (port, _):
        assert (await ask(http(port), BOX, "127.0.0.1", nothing, 1)).success


async def test_tcp_r2():
    async with server(None) as (port, _):
        probe = core.Probe(tcp_socket=core.TCPSocketAction(port=port))
        assert (await ask(probe, BOX, "127.0.0.1", nothing, 1)).success


async def test_named_ports_r2():
    async with server(b"HTTP/1.1 200 OK\r\n\r\n") as (port, _):
        box = core.Container(name="web", ports=[core.ContainerPort(name="http", container_port=port)])
        assert (await ask(http("http"), box, "127.0.0.1", nothing, 1)).success
    unknown = await ask(http("nope"), BOX, "127.0.0.1", nothing, 1)
    assert unknown == (None, "couldn't find port: nope for container web")


async def test_exec_r2():
    probe = core.Probe(exec=core.ExecAction(command=["cat", "/x"]))

    async def run(command, seconds):
        assert (command, seconds) == (["cat", "/x"], 1)
        return ExecResult(code=code, output=b"cat: /x: No such file")

    code = 0
    assert (await ask(probe, BOX, "", run, 1)).success
    code = 1
    assert await ask(probe, BOX, "", run, 1) == (False, "cat: /x: No such file")

    async def late(command, seconds):
        raise TimeoutError

    assert await ask(probe, BOX, "", late, 1) == (False, 'command timed out: "cat /x" timed out after 1s')

    async def missing(command, seconds):
        raise StartError("no cat")

    assert await ask(probe, BOX, "", missing, 1) == (None, "no cat")
