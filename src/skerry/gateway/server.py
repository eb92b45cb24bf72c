"""The server of Envoy's stream: gRPC on a unix socket of the gateway's own. The messages are those of xds/stream.py.

Called by gateway/gateway.py. Envoy is its one client. The HTTP/2 is h2's; gRPC on top of it is a header of five bytes
before each message.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import struct
from collections.abc import Callable, Mapping

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from skerry.gateway.xds.stream import Book, Resource, Stream

PATH = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
_PIECE = 1 << 16
_HEAD = struct.Struct("!BI")
_log = logging.getLogger(__name__)


class StreamServer:
    """`listen`, then `put` what Envoy is to have; `close` at the end.

    `running`: is there an Envoy that may not have applied what was put? While there is none, nobody is waited for.
    """

    def __init__(self) -> None:
        self.book = Book()
        self.running = False
        self._connections: set[_Connection] = set()
        self._waiting: list[tuple[Stream | None, int, Callable[[], None]]] = []
        self._awaited: list[tuple[str, frozenset[str], Callable[[], None]]] = []
        self._server: asyncio.Server | None = None

    async def listen(self, path: str) -> None:
        """On a new unix socket, which this user alone may use."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        mask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, path)
        finally:
            os.umask(mask)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for one in list(self._connections):
            one.writer.close()

    def put(self, kind: str, found: Mapping[str, Resource], *, only: bool = False) -> None:
        """These are so from now on; with `only`, there are no others of the kind."""
        changed = [name for name, one in found.items() if self.book.put(kind, name, one)]
        if only:
            self.book.keep(kind, found)
        if changed:
            for one in self._connections:
                one.changed(kind, changed)

    def when_applied(self, call: Callable[[], None]) -> None:
        """Calls when everything that was put so far is in force; at once if it is."""
        stream = self._stream()
        self._waiting.append((stream, stream.sent if stream is not None else 0, call))
        self.settle()

    def when_known(self, kind: str, names: frozenset[str], call: Callable[[], None]) -> None:
        """Calls when Envoy has asked for all of these names, and has what was put for them."""
        self._awaited.append((kind, names, call))
        self.settle()

    def settle(self) -> None:
        """Looks whom to tell that everything is in force, or known."""
        awaited, self._awaited = self._awaited, []
        for kind, names, known in awaited:
            if self.running and not names <= self._known(kind):
                self._awaited.append((kind, names, known))
            else:
                known()
        stream, left = self._stream(), []
        for given, number, call in self._waiting:
            if self.running and (stream is None or given is not stream or stream.applied < number):
                # Another stream than then: it begins with everything that is in the book now.
                left.append((stream, stream.sent, call) if stream is not given and stream else (given, number, call))
            else:
                call()
        self._waiting = left

    def _known(self, kind: str) -> set[str]:
        stream = self._stream()
        return stream.known[kind] if stream is not None else set()

    def _stream(self) -> Stream | None:
        return next((one.stream for one in self._connections if one.stream is not None), None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self.book, writer, self.settle)
        self._connections.add(connection)
        try:
            await connection.run(reader)
        except (OSError, ValueError, h2.exceptions.ProtocolError) as error:
            _log.warning("the stream to Envoy ends: %s", error)
        finally:
            self._connections.discard(connection)
            writer.close()


def _refused(kind: str, names: list[str], why: str) -> None:
    _log.error("Envoy refuses %s of %s: %s", kind.rpartition(".")[2], ", ".join(names), why)


class _Connection:
    """An HTTP/2 connection with at most one stream that counts, the newest."""

    def __init__(self, book: Book, writer: asyncio.StreamWriter, heard: Callable[[], None]) -> None:
        self.writer = writer
        self.stream: Stream | None = None
        self._book, self._heard = book, heard
        self._http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self._number = 0
        self._received = b""
        self._unsent = bytearray()

    async def run(self, reader: asyncio.StreamReader) -> None:
        """Until Envoy ends it."""
        self._http.initiate_connection()
        self._flush()
        while data := await reader.read(_PIECE):
            for event in self._http.receive_data(data):
                self._take(event)
            self._flush()
            self._heard()

    def changed(self, kind: str, names: list[str]) -> None:
        """Tells Envoy what is another in the book."""
        if self.stream is not None:
            self._send(self.stream.changed(kind, names))
            self._flush()

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self._begin(
                event.stream_id or 0, {str(name): str(value) for name, value in event.headers or ()}.get(":path")
            )
        elif isinstance(event, h2.events.DataReceived):
            self._http.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
            if event.stream_id == self._number:
                self._data(event.data or b"")
        elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset) and event.stream_id == self._number:
            if isinstance(event, h2.events.StreamEnded):
                self._http.send_headers(self._number, [("grpc-status", "0")], end_stream=True)
            self.stream = None
            self._number = 0

    def _begin(self, number: int, path: object) -> None:
        headers = [(":status", "200"), ("content-type", "application/grpc")]
        if path != PATH:
            unimplemented = "12"
            self._http.send_headers(number, [*headers, ("grpc-status", unimplemented)], end_stream=True)
            return
        self._http.send_headers(number, headers)
        self._number, self._received, self._unsent = number, b"", bytearray()
        self.stream = Stream(self._book, _refused)

    def _data(self, data: bytes) -> None:
        self._received += data
        while len(self._received) >= _HEAD.size and self.stream is not None:
            _, size = _HEAD.unpack_from(self._received)
            end = _HEAD.size + size
            if len(self._received) < end:
                return
            message, self._received = self._received[_HEAD.size : end], self._received[end:]
            self._send(self.stream.receive(message))

    def _send(self, messages: list[bytes]) -> None:
        for one in messages:
            self._unsent += _HEAD.pack(0, len(one)) + one

    def _flush(self) -> None:
        """Sends what Envoy has room for."""
        while self._unsent and self._number:
            room = min(self._http.local_flow_control_window(self._number), self._http.max_outbound_frame_size)
            if room <= 0:
                break
            self._http.send_data(self._number, bytes(self._unsent[:room]))
            del self._unsent[:room]
        self.writer.write(self._http.data_to_send())
