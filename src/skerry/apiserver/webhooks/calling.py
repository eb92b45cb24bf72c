"""One HTTPS request to a webhook. Called by admitting.py.

TLS and HTTP are spoken over bytes (ways.py), so that it makes no difference whether they go into a pod or to a host.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
import json
import ssl
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import h11

from skerry.apiserver.webhooks import ways
from skerry.apiserver.webhooks.reviews import CallError

if TYPE_CHECKING:
    from skerry.api.types import admissionregistration as registration
    from skerry.apiserver.verbs import Server
    from skerry.apiserver.webhooks.matching import Hook
    from skerry.apiserver.webhooks.ways import Way

LONGEST = 3 << 20
"""Bytes of an answer."""
_AGENT = "kube-apiserver-admission"
_UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21, 27)
_WRONG_HOST = (62, 64)
_EXPIRED = (9, 10)


class Place(NamedTuple):
    """Where a webhook is: `host` is also the name that its certificate has to be for; `port` 0: the one of HTTPS."""

    host: str
    port: int
    path: str

    @classmethod
    def of(cls, config: registration.WebhookClientConfig) -> Place:
        service = config.service
        if service is not None:
            path = "/" + (service.path or "").lstrip("/")
            return cls(f"{service.name}.{service.namespace}.svc", service.port or 443, path)
        url = urlsplit(config.url or "")
        return cls(url.hostname or "", url.port or 0, url.path or "/")

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port else host


async def call(server: Server, hook: Hook, body: bytes) -> bytes:
    """What the webhook answers to an AdmissionReview. CallError."""
    config, seconds = hook.webhook.client_config, hook.webhook.timeout_seconds or 10
    place = Place.of(config)
    target = f"{place.path}?timeout={seconds}s"
    try:
        async with asyncio.timeout(seconds):
            code, answer = await _exchange(server, config, place, target, body)
    except TimeoutError:
        raise _unreached(place, target, "context deadline exceeded") from None
    except (ConnectionError, h11.ProtocolError) as error:
        raise _unreached(place, target, str(error) or "EOF") from None
    except ssl.SSLError as error:
        raise _unreached(place, target, _tls(error, place.host)) from None
    if code in (200, 201):
        return answer
    if code == 404:
        raise CallError("failed to call webhook: the server could not find the requested resource")
    if code >= 500:
        text = json.dumps(answer[:2048].decode(errors="replace").strip() or "unknown", ensure_ascii=False)
        raise CallError(
            f"failed to call webhook: an error on the server ({text}) has prevented the request from succeeding"
        )
    raise CallError("failed to call webhook: the server rejected our request for an unknown reason")


def _unreached(place: Place, target: str, why: str) -> CallError:
    return CallError(f'failed to call webhook: Post "https://{place.authority}{target}": {why}')


def _tls(error: ssl.SSLError, host: str) -> str:
    """What is wrong with a certificate, in the words that one searches for."""
    code = getattr(error, "verify_code", None)
    if code is None:
        return f"tls: {error.reason or error}"
    why = error.verify_message  # type: ignore[attr-defined]
    if code in _UNKNOWN_AUTHORITY:
        why = "certificate signed by unknown authority"
    elif code in _WRONG_HOST:
        why = f"certificate is not valid for {host}"
    elif code in _EXPIRED:
        why = "certificate has expired or is not yet valid"
    return f"tls: failed to verify certificate: x509: {why}"


async def _exchange(
    server: Server, config: registration.WebhookClientConfig, place: Place, target: str, body: bytes
) -> tuple[int, bytes]:
    context = trust(config.ca_bundle)
    if config.service is not None:
        way = await ways.to_service(server, config.service)
    else:
        way = await ways.to_host(place.host, place.port or 443)
    try:
        tls = _Tls(way, context, place.host)
        await tls.handshake()
        return await _http(tls, place, target, body)
    finally:
        await way.close()


@functools.lru_cache(64)
def trust(bundle: str) -> ssl.SSLContext:
    """Who has to have signed a webhook's certificate: PEM in base64, or "" for whom this machine trusts. CallError."""
    try:
        pem = base64.b64decode(bundle).decode("ascii") if bundle else None
        context = ssl.create_default_context(cadata=pem)
    except (binascii.Error, UnicodeDecodeError, ssl.SSLError, ValueError):
        raise CallError(
            "could not get REST client: unable to load root certificates: unable to parse bytes as PEM block"
        ) from None
    # A certificate that is in the bundle is good as it is, and its extensions need not be what OpenSSL likes best.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_STRICT
    return context


class _Tls:
    """TLS over a way."""

    def __init__(self, way: Way, context: ssl.SSLContext, host: str) -> None:
        self._way, self._in, self._out = way, ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=host)

    async def handshake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._feed()
            else:
                return await self._flush()
            finally:
                if self._out.pending:  # an alert, too, that says why not
                    await self._flush()

    async def write(self, data: bytes) -> None:
        self._tls.write(data)
        await self._flush()

    async def read(self) -> bytes:
        """b"" at the end."""
        while True:
            try:
                return self._tls.read(1 << 16)
            except ssl.SSLWantReadError:
                if not await self._feed():
                    return b""
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    async def _feed(self) -> bool:
        await self._flush()
        data = await self._way.read()
        if data:
            self._in.write(data)
        elif self._tls.version() is None:
            raise ConnectionError("EOF")
        return bool(data)

    async def _flush(self) -> None:
        if self._out.pending:
            await self._way.write(self._out.read())


async def _http(tls: _Tls, place: Place, target: str, body: bytes) -> tuple[int, bytes]:
    http = h11.Connection(h11.CLIENT)
    headers = [
        ("host", place.authority),
        ("user-agent", _AGENT),
        ("accept", "application/json, */*"),
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        ("connection", "close"),
    ]
    sent = http.send(h11.Request(method="POST", target=target, headers=headers)) or b""
    sent += http.send(h11.Data(data=body)) or b""
    await tls.write(sent + (http.send(h11.EndOfMessage()) or b""))
    code, answer = 0, bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await tls.read())
        elif isinstance(event, h11.Response):
            code = event.status_code
        elif isinstance(event, h11.Data):
            answer += event.data
            if len(answer) > LONGEST:
                raise ConnectionError(f"the answer is longer than {LONGEST} bytes")
        elif isinstance(event, h11.EndOfMessage):
            return code, bytes(answer)
        elif not isinstance(event, h11.InformationalResponse):
            raise ConnectionError("EOF")
