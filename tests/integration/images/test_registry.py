"""The registry client against a registry that makes it difficult."""

from __future__ import annotations

import asyncio
import datetime
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.helpers.images import BuiltImage, Layer
from tests.integration.images.fake import fake_registry

from skerry.clock import SystemClock
from skerry.node.images.errors import ImageError
from skerry.node.images.http import HttpClient
from skerry.node.images.manager import Images
from skerry.node.images.registry import Registry
from skerry.node.images.store import Store


def image():
    layer = Layer()
    layer.file("f", bytes(range(256)) * 4000)
    return BuiltImage([layer.tar()], {})


IMAGE = image()
PACKED = IMAGE.packed("oci", "none")  # a layer of a megabyte


async def pull(tmp_path, url, credentials=None, tls=None):
    http = HttpClient(tls=tls)
    images = Images(Store(str(tmp_path)), Registry(http, {"docker.io": [url]}), SystemClock())
    try:
        return await images.ensure("app:1", "", lambda *event: None, [credentials] if credentials else [])
    finally:
        await images.close()
        await http.close()


async def refused(tmp_path, url, **options):
    with pytest.raises(ImageError) as error:
        await pull(tmp_path, url, **options)
    assert error.value.reason == "ErrImagePull"
    return error.value.message


def paths(registry):
    return [target.split("?")[0] for target, _ in registry.requests]


async def test_bearer_token_for_anybody(tmp_path):
    async with fake_registry(PACKED, auth="bearer") as registry:
        assert (await pull(tmp_path, registry.url)).id == IMAGE.id
        assert paths(registry).count("/token") == 1  # and used for all that follows


async def test_bearer_token_that_expires_in_between(tmp_path):
    async with fake_registry(PACKED, auth="bearer", expire_after=1) as registry:
        assert (await pull(tmp_path, registry.url)).id == IMAGE.id
        assert paths(registry).count("/token") == 3


async def test_bearer_token_by_password(tmp_path):
    async with fake_registry(PACKED, auth="bearer", anonymous=False) as registry:
        message = await refused(tmp_path, registry.url)
        assert "gives no token (401): unauthorized: incorrect username or password" in message
        assert "incorrect username" in await refused(tmp_path, registry.url, credentials=("me", "wrong"))
        assert (await pull(tmp_path, registry.url, ("me", "secret"))).id == IMAGE.id


async def test_basic_authorization(tmp_path):
    async with fake_registry(PACKED, auth="basic") as registry:
        assert "wants a user and a password" in await refused(tmp_path, registry.url)
        assert "401" in await refused(tmp_path, registry.url, credentials=("me", "wrong"))
        assert (await pull(tmp_path, registry.url, ("me", "secret"))).id == IMAGE.id


async def test_blobs_elsewhere_without_the_token(tmp_path):
    async with fake_registry(PACKED) as cdn, fake_registry(PACKED, auth="bearer", redirect=cdn.url) as registry:
        assert (await pull(tmp_path, registry.url)).id == IMAGE.id
        assert len(cdn.requests) == 2 and not any("authorization" in headers for _, headers in cdn.requests)


@pytest.mark.parametrize("ranges", [True, False])
async def test_a_stream_that_breaks_is_taken_up_again(tmp_path, ranges):
    size = len(IMAGE.layers[0])
    async with fake_registry(PACKED, break_after=size // 3 + 1 if ranges else size + 1, ranges=ranges) as registry:
        if not ranges:
            registry.break_after = size - 5  # once; the second answer starts anew and comes whole
            breaks = iter([True])
            send = registry._blob

            def once(writer, blob, wanted):
                registry.break_after = size - 5 if len(blob) == size and next(breaks, False) else 0
                return send(writer, blob, wanted)

            registry._blob = once
        assert (await pull(tmp_path, registry.url)).id == IMAGE.id
        asked = [headers["range"] for _, headers in registry.requests if "range" in headers]
        assert len(asked) == (2 if ranges else 1)


async def test_a_stream_that_always_breaks(tmp_path):
    async with fake_registry(PACKED, break_after=1000) as registry:
        assert "failed to copy sha256:" in await refused(tmp_path, registry.url)


async def test_other_bytes_than_promised(tmp_path):
    async with fake_registry(PACKED, lie=True) as registry:
        assert "failed to verify sha256:" in await refused(tmp_path, registry.url)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((503, "text/html", b"<html>sorry</html>"), "answered 503: without a reason"),
        ((429, "text/plain", b""), "answered 429: too many requests"),
        (
            (403, "application/json", b'{"errors":[{"code":"DENIED","message":"no plan"}]}'),
            "answered 403: denied: no plan",
        ),
        (
            (404, "application/json", b'{"errors":[{"code":"NAME_UNKNOWN","message":"no such repository"}]}'),
            "no such repository",
        ),
        ((500, "application/json", b'{"errors": 7}'), "answered 500"),
        ((200, "text/html", b"<html>log in here</html>"), "the manifest is not JSON"),
        ((302, "text/html", b""), "too many redirects"),
        ((401, "text/html", b""), "authorization of an unknown kind"),
    ],
)
async def test_errors_keep_the_registrys_words(tmp_path, answer, words):
    async with fake_registry(PACKED, answer=answer) as registry:
        assert words in await refused(tmp_path, registry.url)


@pytest.mark.parametrize(
    "data", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"\0" * 100_000]
)
async def test_what_is_no_registry_at_all(tmp_path, data):
    async def speak(reader, writer):
        writer.write(data)
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    try:
        message = await refused(tmp_path, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        assert "127.0.0.1" in message
    finally:
        server.close()


async def test_tls(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(hours=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    own = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "pem").write_bytes(certificate + own)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")
    async with fake_registry(PACKED) as registry:
        server = await asyncio.start_server(registry.handle, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        try:
            url = f"https://localhost:{port}"
            assert f"TLS with localhost:{port} failed: self-signed certificate" in await refused(tmp_path / "s", url)
            trusting = ssl.create_default_context(cadata=certificate.decode())
            assert (await pull(tmp_path / "s", url, tls=trusting)).id == IMAGE.id
            wrong_name = f"https://127.0.0.1:{port}"
            assert "TLS with" in await refused(tmp_path / "t", wrong_name, tls=trusting)
        finally:
            server.close()
