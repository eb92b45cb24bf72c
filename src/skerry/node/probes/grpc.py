"""The gRPC probe: one call of grpc.health.v1.Health/Check over HTTP/2, without TLS (R2). Called by handlers.py.

The HTTP/2 is h2's. The two messages are small enough to be written and read here: a request is the name of a service in
field 1, a response a number in field 1. Texts are upstream's.
"""

from __future__ import annotations

import asyncio
import struct
from typing import NamedTuple

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

from skerry import linux

PATH = "/grpc.health.v1.Health/Check"
_CODES = (
    *("OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists"),
    *("PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented"),
    *("Internal", "Unavailable", "DataLoss", "Unauthenticated"),
)
_OK, _UNAVAILABLE = "OK", "Unavailable"
_STATES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
_PIECE = 1 << 16
_MOST = 1 << 20


class Reply(NamedTuple):
    """How a call ended: gRPC's code by name and its message, or for "OK" the server's state."""

    code: str
    text: str


async def check(host: str, port: int, service: str, seconds: float, agent: str) -> tuple[bool, str]:
    """Whether the service is healthy, and what to tell people. `agent` is the User-Agent."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    connected = False
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(host, port)
            connected = True
            try:
                reply = await _call(reader, writer, where, service, agent)
            finally:
                writer.close()
    except TimeoutError:
        if connected:
            return False, f"timeout: health rpc did not complete within {seconds:g}s"
        return False, f'timeout: failed to connect service "{where}" within {seconds:g}s'
    except OSError as error:
        return False, f'error: failed to connect service at "{where}": {linux.reason(error)}'
    return _verdict(reply)


def _verdict(reply: Reply) -> tuple[bool, str]:
    if reply == (_OK, "SERVING"):
        return True, "service healthy"
    if reply.code == _OK:
        return False, f'service unhealthy (responded with "{reply.text}")'
    if reply.code == "Unimplemented":
        text = "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)"
        return False, f"{text}: {reply.text}"
    return False, f"error: health rpc probe failed: rpc error: code = {reply.code} desc = {reply.text}"


async def _call(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, where: str, service: str, agent: str
) -> Reply:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.initiate_connection()
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", PATH),
        (":authority", where),
        ("content-type", "application/grpc"),
        ("user-agent", agent),
        ("te", "trailers"),
    ]
    connection.send_headers(1, headers)
    connection.send_data(1, request(service), end_stream=True)
    answer = _Answer()
    try:
        while not answer.complete:
            writer.write(connection.data_to_send())
            await writer.drain()
            data = await reader.read(_PIECE)
            if not data:
                return Reply(_UNAVAILABLE, "connection closed before the server answered")
            for event in connection.receive_data(data):
                answer.take(event)
                if isinstance(event, h2.events.DataReceived):
                    connection.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
    except h2.exceptions.ProtocolError as error:
        return Reply(_UNAVAILABLE, f"the server does not speak HTTP/2: {error}")
    except ConnectionError as error:
        return Reply(_UNAVAILABLE, f"connection error: {linux.reason(error)}")
    return answer.reply()


class _Answer:
    """What has come of the one stream."""

    def __init__(self) -> None:
        self.complete = False
        self._headers: dict[str, str] = {}
        self._body = b""
        self._reset = ""

    def take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
            self._headers |= {str(name): str(value) for name, value in event.headers or ()}
        elif isinstance(event, h2.events.DataReceived):
            self._body = (self._body + (event.data or b""))[:_MOST]
        elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
            self.complete, self._reset = True, f"the server ended the call: error code {event.error_code}"
        elif isinstance(event, h2.events.StreamEnded):
            self.complete = True

    def reply(self) -> Reply:
        code = self._headers.get("grpc-status", "")
        if code.isdigit():
            name = _CODES[int(code)] if int(code) < len(_CODES) else f"Code({code})"
            return Reply(name, state(self._body) if name == _OK else self._headers.get("grpc-message", ""))
        if self._reset:
            return Reply(_UNAVAILABLE, self._reset)
        http = self._headers.get(":status", "")
        return Reply("Unimplemented" if http == "404" else "Unknown", f"unexpected HTTP status code {http}")


def request(service: str) -> bytes:
    """A HealthCheckRequest, framed as gRPC frames messages."""
    name = service.encode()
    field = b"\n" + _varint(len(name)) + name if name else b""
    return struct.pack("!BI", 0, len(field)) + field


def state(body: bytes) -> str:
    """The state in a framed HealthCheckResponse; what cannot be read counts as UNKNOWN, which is the default."""
    message = body[5:]
    number = message[1] if message[:1] == b"\x08" and len(message) > 1 else 0
    return _STATES[number] if number < len(_STATES) else str(number)


def _varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])
