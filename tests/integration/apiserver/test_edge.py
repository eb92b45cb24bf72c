"""The HTTP edge over real sockets, asked by our own client: plain on a unix socket, TLS on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
import time
from typing import TYPE_CHECKING

import pytest
from tests.helpers import server as helper
from tests.helpers.edge import PATIENCE

from skerry.api import codec, status
from skerry.api.types import authentication, core, meta
from skerry.api.wire import Request
from skerry.apiserver.connections import Limits
from skerry.apiserver.edge import Edge
from skerry.client.client import Client, whole
from skerry.client.http import Address, HttpTransport
from skerry.client.informer import Informers
from skerry.cluster import certificates
from skerry.cluster.paths import ClusterPaths

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Served:
    """A server on a unix socket."""

    def __init__(self, path: str, edge: Edge, api: helper.ApiServer) -> None:
        self.path, self.edge, self.api = path, edge, api

    def transport(self, token: str = "secret") -> HttpTransport:
        return HttpTransport(Address(unix=self.path), token=token)

    async def restart(self) -> None:
        """Ends every connection and listens again."""
        await self.edge.close()
        self.edge = Edge(self.api.app)
        await self.edge.listen(_unix(self.path), None)


def _unix(path: str) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    made = socket.socket(socket.AF_UNIX)
    made.bind(path)
    return made


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    api = await helper.start()
    edge = Edge(api.app)
    path = str(tmp_path / "api.sock")
    await edge.listen(_unix(path), None)
    made = Served(path, edge, api)
    yield made
    await made.edge.close()
    await api.store.close()


def config(name: str, size: int = 0) -> core.ConfigMap:
    data = {"k": "x" * size} if size else {}
    return core.ConfigMap(metadata=meta.ObjectMeta(name=name, namespace="default"), data=data)


async def test_verbs_over_a_socket(served: Served) -> None:
    transport = served.transport()
    client = Client(transport)
    made = await client.create(config("a", 1000))
    assert await client.get(core.ConfigMap, "a", "default") == made
    with pytest.raises(status.ApiError, match="already exists"):
        await client.create(config("a"))
    await client.delete(core.ConfigMap, "a", "default")
    assert (await client.list(core.ConfigMap, "default")).items == []
    await transport.close()


async def test_without_a_token_it_is_403_and_with_a_wrong_one_401(served: Served) -> None:
    for token, code in (("", 403), ("wrong", 401)):
        transport = served.transport(token=token)
        with pytest.raises(status.ApiError) as caught:
            await Client(transport).list(core.Pod)
        assert caught.value.code == code
        await transport.close()


async def test_too_large_a_body_is_413(served: Served) -> None:
    transport = served.transport()
    with pytest.raises(status.ApiError) as caught:
        await Client(transport).create(config("a", Limits().body + 1))
    assert caught.value.code == 413
    await transport.close()


async def test_warnings_are_headers(served: Served) -> None:
    transport = served.transport()
    response = await transport(Request("GET", "/api/v1/namespaces/default/endpoints"))
    await whole(response)
    assert response.headers["warning"].startswith('299 - "v1 Endpoints is deprecated')  # E53
    await transport.close()


async def test_an_informer_survives_a_restart_of_the_server(served: Served) -> None:
    transport = served.transport()
    informers = Informers(Client(transport))
    maps = informers.of(core.ConfigMap)
    seen = asyncio.Event()
    maps.subscribe(lambda _, new: seen.set() if new and new.metadata.name == "b" else None)
    await informers.start()
    await informers.synced()
    await served.restart()
    await served.api.client.create(config("b"))
    await asyncio.wait_for(seen.wait(), 10)
    await informers.stop()
    await transport.close()


async def test_many_at_once(served: Served) -> None:
    transport = served.transport()
    client = Client(transport)
    await asyncio.gather(*(client.create(config(f"c{n}")) for n in range(100)))
    assert len((await client.list(core.ConfigMap, "default")).items) == 100
    await transport.close()


async def test_tls_with_the_clusters_own_authority(served: Served, tmp_path: Path) -> None:
    paths = ClusterPaths(tmp_path, tmp_path / "run")
    paths.pki.mkdir()
    certificates.ensure(paths, "test", None, time.time())
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    await served.edge.listen(listener, certificates.server_context(paths))
    trusting = ssl.create_default_context(cafile=str(paths.ca_certificate))
    transport = HttpTransport(Address(host="127.0.0.1", port=port, tls=trusting), token="secret")
    assert (await Client(transport).get(core.Namespace, "default")).metadata.name == "default"
    await transport.close()
    strange = HttpTransport(Address(host="127.0.0.1", port=port, tls=ssl.create_default_context()), token="secret")
    with pytest.raises(status.ApiError, match="cannot be reached"):
        await Client(strange).get(core.Namespace, "default")


async def test_a_client_certificate_says_who_asks(served: Served, tmp_path: Path) -> None:
    """CN is the user, each O a group. One of another authority, or the server's own, opens nothing."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    authorities = []
    for name in ("ours", "theirs"):
        paths = ClusterPaths(tmp_path / name, tmp_path / name / "run")
        paths.pki.mkdir(parents=True)
        certificates.ensure(paths, name, None, time.time())
        authorities.append(paths)
    ours, theirs = authorities
    await served.edge.listen(listener, certificates.server_context(ours))

    def client(certificate: str, key: str) -> Client:
        tls = ssl.create_default_context(cafile=str(ours.ca_certificate))
        tls.load_cert_chain(certificate, key)
        return Client(HttpTransport(Address(host="127.0.0.1", port=port, tls=tls)))

    def written(paths: ClusterPaths) -> tuple[str, str]:
        files = [tmp_path / f"{paths.root.name}.{part}" for part in ("key", "pem")]
        for file, data in zip(files, certificates.issue(paths, "alice", ("devs", "ops"), time.time()), strict=True):
            file.write_bytes(data)
        return str(files[1]), str(files[0])

    asked = authentication.SelfSubjectReview()
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    body = codec.encode(asked)
    said = codec.decode(
        authentication.SelfSubjectReview, await client(*written(ours)).raw("POST", path, body=body)
    ).status.user_info
    assert (said.username, said.groups) == ("alice", ["devs", "ops", "system:authenticated"])
    assert said.extra["authentication.kubernetes.io/credential-id"][0].startswith("X509SHA256=")
    for strange in (written(theirs), (str(ours.server_certificate), str(ours.server_key))):
        with pytest.raises(status.ApiError) as caught:
            await client(*strange).raw("POST", path, body=body)
        assert caught.value.code == 503  # the handshake fails


async def test_a_kept_connection_that_was_reset_is_made_anew() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        await go.wait()
        channel = writer.get_extra_info("socket")
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    go = asyncio.Event()
    async with await asyncio.start_server(once, "127.0.0.1", 0) as server:
        transport = HttpTransport(Address(host="127.0.0.1", port=server.sockets[0].getsockname()[1]))
        assert (await transport(Request("GET", "/x"))).body == b"ok"
        go.set()
        (kept,) = transport._idle
        async with asyncio.timeout(PATIENCE):
            while not kept.writer.is_closing():  # noqa: ASYNC110 - nobody tells when the reset is here
                await asyncio.sleep(0)
        go.clear()
        assert (await transport(Request("GET", "/x"))).body == b"ok"
        go.set()
        await transport.close()
