"""The gRPC probe against a real gRPC server on loopback, and against what is none (R2)."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import socket
import time

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from skerry.api.types import core
from skerry.node.probes import grpc as probe
from skerry.node.probes.handlers import ask

BOX = core.Container(name="web")


async def nothing(command, seconds):
    raise AssertionError("no exec here")


async def put(port, service=None, seconds=1.0):
    question = core.Probe(grpc=core.GRPCAction(port=port, service=service))
    return await ask(question, BOX, "127.0.0.1", nothing, seconds)


@contextlib.contextmanager
def server(servicer=None):
    """A gRPC server; its port."""
    made = grpc.server(concurrent.futures.ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    if servicer is not None:
        health_pb2_grpc.add_HealthServicer_to_server(servicer, made)
    port = made.add_insecure_port("127.0.0.1:0")
    made.start()
    try:
        yield port
    finally:
        made.stop(None).wait()


async def test_what_a_real_server_says() -> None:
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    servicer.set("shop.Cart", health_pb2.HealthCheckResponse.NOT_SERVING)
    servicer.set("x" * 300, health_pb2.HealthCheckResponse.SERVING)
    with server(servicer) as port:
        assert await put(port) == (True, "service healthy")
        assert await put(port, "x" * 300) == (True, "service healthy")
        assert await put(port, "shop.Cart") == (False, 'service unhealthy (responded with "NOT_SERVING")')
        says = "error: health rpc probe failed: rpc error: code = NotFound desc = "
        assert await put(port, "no") == (False, says)
        servicer.set("shop.Cart", health_pb2.HealthCheckResponse.SERVING)
        assert await put(port, "shop.Cart") == (True, "service healthy")


async def test_a_server_without_the_health_service() -> None:
    with server() as port:
        outcome = await put(port)
    says = "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): Method not found!"
    assert outcome == (False, says)


async def test_a_server_that_takes_its_time() -> None:
    class Slow(health_pb2_grpc.HealthServicer):
        def Check(self, request, context):  # noqa: N802 - gRPC's name
            time.sleep(0.5)

    with server(Slow()) as port:
        assert await put(port, seconds=0.1) == (False, "timeout: health rpc did not complete within 0.1s")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
async def test_what_does_not_speak_grpc(answer) -> None:
    async def serve(reader, writer):
        await reader.read(100)
        writer.write(answer)
        writer.close()

    made = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with made:
        outcome = await put(made.sockets[0].getsockname()[1])
    assert outcome.success is False
    assert outcome.output.startswith("error: health rpc probe failed: rpc error: code = Unavailable desc = ")


async def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    says = f'error: failed to connect service at "127.0.0.1:{port}": '
    outcome = await put(port)
    assert outcome.success is False and outcome.output.startswith(says)


def test_messages() -> None:
    assert probe.request("") == b"\0\0\0\0\0"
    assert probe.request("ab") == b"\0\0\0\0\4\n\2ab"
    assert [probe.state(one) for one in (b"", b"\0\0\0\0\0", b"\0\0\0\0\2\x08\1", b"\0\0\0\0\2\x08\2")] == [
        "UNKNOWN",
        "UNKNOWN",
        "SERVING",
        "NOT_SERVING",
    ]
