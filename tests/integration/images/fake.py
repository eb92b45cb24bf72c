"""A registry that misbehaves on demand: authorization, redirects, broken streams, lies."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

from tests.helpers.images import Packed


class FakeRegistry:
    """Serves one packed image as any repository. Set the attributes to make it difficult."""

    def __init__(self, image: Packed) -> None:
        self.image = image
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.auth = ""  # "bearer" or "basic"
        self.users = {"me": "secret"}
        self.anonymous = True  # whether the token server serves who has no password
        self.expire_after = 10**9  # uses of one token
        self.redirect = ""  # blobs are at this address
        self.break_after = 0  # bytes of a blob after which the connection is closed
        self.ranges = True
        self.lie = False  # other bytes than the digest says
        self.answer: tuple[int, str, bytes] | None = None  # to everything
        self.url = ""
        self._tokens: dict[str, int] = {}

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                target = head[0].split()[1]
                headers = {
                    name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
                }
                self.requests.append((target, headers))
                if not self._reply(writer, target, headers):
                    break
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    def _reply(self, writer: asyncio.StreamWriter, target: str, headers: dict[str, str]) -> bool:
        if self.answer is not None:
            status, kind, body = self.answer
            return self._send(writer, status, body, {"Content-Type": kind})
        path, given = urlsplit(target).path, headers.get("authorization", "")
        if path == "/token":
            return self._token(writer, target, given)
        challenge = self._challenge(given, path)
        if challenge and not (self.redirect and path.startswith("/cdn/")):
            return self._send(writer, 401, b"", {"WWW-Authenticate": challenge})
        found = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/(.+)|/cdn/(.+)", path)
        assert found, path
        if found[2] == "manifests":
            return self._send(writer, 200, self.image.manifest, {"Content-Type": self.image.media_type})
        digest = found[3] or found[4]
        if self.redirect and found[3]:
            return self._send(writer, 307, b"", {"Location": f"{self.redirect}/cdn/{digest}"})
        return self._blob(writer, self.image.blobs[digest], headers.get("range", ""))

    def _blob(self, writer: asyncio.StreamWriter, blob: bytes, wanted: str) -> bool:
        if self.lie:
            blob = bytes(len(blob))
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        part = blob[start:]
        status = 206 if start else 200
        if self.break_after and len(part) > self.break_after:
            self._send(writer, status, part, {}, part[: self.break_after])
            return False
        return self._send(writer, status, part, {})

    def _challenge(self, given: str, path: str) -> str:
        if self.auth == "bearer":
            token = given.removeprefix("Bearer ")
            if self._tokens.get(token, 0) > 0:
                self._tokens[token] -= 1
                return ""
            repository = re.sub(r"/v2/(.+)/(manifests|blobs)/.+", r"\1", path)
            return f'Bearer realm="{self.url}/token",service="fake, \'inc\'",scope="repository:{repository}:pull"'
        if self.auth == "basic" and self._user(given) is None:
            return 'Basic realm="fake"'
        return ""

    def _token(self, writer: asyncio.StreamWriter, target: str, given: str) -> bool:
        query = parse_qs(urlsplit(target).query)
        assert query["service"] == ["fake, 'inc'"] and query["scope"][0].endswith(":pull")
        if not self.anonymous and self._user(given) is None:
            body = b'{"errors": [{"code": "UNAUTHORIZED", "message": "incorrect username or password"}]}'
            return self._send(writer, 401, body, {})
        token = f"t{len(self._tokens)}"
        self._tokens[token] = self.expire_after
        return self._send(writer, 200, b'{"token": "%s"}' % token.encode(), {})

    def _user(self, given: str) -> str | None:
        if not given.startswith("Basic "):
            return None
        user, _, password = base64.b64decode(given[6:]).decode().partition(":")
        return user if self.users.get(user) == password else None

    @staticmethod
    def _send(
        writer: asyncio.StreamWriter, status: int, body: bytes, headers: dict[str, str], part: bytes | None = None
    ) -> bool:
        lines = [f"HTTP/1.1 {status} x", f"Content-Length: {len(body)}", *(f"{k}: {v}" for k, v in headers.items())]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + (body if part is None else part))
        return True


@asynccontextmanager
async def fake_registry(image: Packed, **options: object) -> AsyncIterator[FakeRegistry]:
    """One that listens on a free loopback port, at its `url`."""
    made = FakeRegistry(image)
    for name, value in options.items():
        assert hasattr(made, name)
        setattr(made, name, value)
    server = await asyncio.start_server(made.handle, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
