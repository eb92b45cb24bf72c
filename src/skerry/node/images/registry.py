"""Speaks the distribution API (version 2): finds an image's manifest and config, streams its blobs.

Used by the image manager. Every document is checked against its digest. Errors keep the registry's own words: they end
up in an event on the pod.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode, urljoin, urlsplit

from skerry.node.images import manifest
from skerry.node.images.errors import pull_failed
from skerry.node.images.http import HttpClient, HttpError, Response, is_loopback, origin_of
from skerry.node.images.keyring import Credentials
from skerry.node.images.manifest import Descriptor, Manifest
from skerry.node.images.reference import DEFAULT_REGISTRY, Reference

DOCKER_HUB = "https://registry-1.docker.io"
_REDIRECTS = 5
_ATTEMPTS = 4  # times that a blob whose stream breaks off is taken up again
_MAX_ERROR = 64 * 1024
_PARAMETER = re.compile(r'([a-zA-Z_]+)\s*=\s*(?:"([^"]*)"|([^\s,]*))')


@dataclass(frozen=True, slots=True)
class Found:
    """An image as a registry has it. `base`: the address that has it; `digest`: what the reference pointed to (of a
    list: the list's), `platform_digest`: of the manifest itself; `raw`: the manifest's bytes.
    """

    base: str
    digest: str
    platform_digest: str
    raw: bytes
    manifest: Manifest


class _Missing(Exception):
    """Not in this registry; another mirror may have it."""


class Registry:
    """Pulls from registries and their mirrors. Tokens are kept for as long as the object lives."""

    def __init__(self, http: HttpClient, mirrors: Mapping[str, Sequence[str]] | None = None) -> None:
        """`mirrors`: of a registry's name ("docker.io") the addresses to ask instead, in this order."""
        self._http = http
        self._mirrors = {name: [url.rstrip("/") for url in urls] for name, urls in (mirrors or {}).items()}
        self._tokens: dict[tuple[str, str, Credentials | None], str] = {}  # (base, repository) -> Authorization

    async def resolve(self, reference: Reference, credentials: Credentials | None = None) -> Found:
        """The manifest that `reference` means on this machine's platform. ImageError with the registry's reason."""
        failures: list[str] = []
        for base in self._bases(reference.registry):
            try:
                return await self._resolve(base, reference, credentials)
            except _Missing as missing:
                failures.append(str(missing))
            except HttpError as error:
                failures.append(str(error))
        raise pull_failed(f'failed to resolve reference "{reference}": ' + "; ".join(failures))

    async def document(
        self, found: Found, reference: Reference, blob: Descriptor, credentials: Credentials | None = None
    ) -> bytes:
        """A small blob (a config) whole."""
        if blob.size > manifest.MAX_DOCUMENT:
            raise pull_failed(f"{blob.digest} has {blob.size} bytes; that is no configuration")
        return b"".join([chunk async for chunk in self.blob(found, reference, blob, credentials)])

    async def blob(
        self, found: Found, reference: Reference, blob: Descriptor, credentials: Credentials | None = None
    ) -> AsyncIterator[bytes]:
        """A blob's bytes, in pieces; a broken stream is taken up where it broke. ImageError when it is not what its
        digest says: then everything that was yielded is to be thrown away.
        """
        url = f"{found.base}/v2/{reference.repository}/blobs/{blob.digest}"
        digest, size, attempt = hashlib.sha256(), 0, 0
        while True:
            headers = {"Range": f"bytes={size}-"} if size else {}
            try:
                response = await self._get(url, reference.repository, found.base, credentials, headers)
                try:
                    skip = size if response.status == 200 else 0  # a server that knows no ranges starts anew
                    async for chunk in response.chunks():
                        fresh = chunk[skip:]
                        skip = max(0, skip - len(chunk))
                        size += len(fresh)
                        if size > blob.size:
                            raise pull_failed(f"{blob.digest} has more than the {blob.size} bytes that it should have")
                        digest.update(fresh)
                        if fresh:
                            yield fresh
                finally:
                    await response.close()
                break
            except HttpError as error:
                attempt += 1
                if attempt == _ATTEMPTS:
                    raise pull_failed(f"failed to copy {blob.digest}: {error}") from None
            except _Missing as missing:
                raise pull_failed(f"failed to copy {blob.digest}: {missing}") from None
        if f"sha256:{digest.hexdigest()}" != blob.digest or size != blob.size:
            raise pull_failed(
                f"failed to verify {blob.digest}: {size} bytes came, with digest sha256:{digest.hexdigest()}"
            )

    # One registry

    def _bases(self, registry: str) -> list[str]:
        if registry in self._mirrors:
            return self._mirrors[registry]
        if registry == DEFAULT_REGISTRY:
            return [DOCKER_HUB]
        scheme = "http" if is_loopback(registry.rpartition(":")[0] or registry) else "https"
        if scheme == "http" and registry.endswith(":443"):
            scheme = "https"
        return [f"{scheme}://{registry}"]

    async def _resolve(self, base: str, reference: Reference, credentials: Credentials | None) -> Found:
        raw, kind, top = await self._manifest(base, reference, reference.version, credentials)
        chosen = manifest.read_manifest(raw, kind)
        digest = top
        if isinstance(chosen, Descriptor):
            raw, kind, digest = await self._manifest(base, reference, chosen.digest, credentials)
            chosen = manifest.read_manifest(raw, kind or chosen.media_type)
            if isinstance(chosen, Descriptor):
                raise pull_failed("a list of manifests leads to another list")
        return Found(base, top, digest, raw, chosen)

    async def _manifest(
        self, base: str, reference: Reference, version: str, credentials: Credentials | None
    ) -> tuple[bytes, str, str]:
        url = f"{base}/v2/{reference.repository}/manifests/{version}"
        response = await self._get(url, reference.repository, base, credentials, {"Accept": manifest.ACCEPT})
        raw = await response.body(manifest.MAX_DOCUMENT)
        digest = manifest.digest_of(raw)
        if ":" in version and version != digest:
            raise pull_failed(f"failed to verify the manifest {version}: what came has digest {digest}")
        return raw, response.headers.get("content-type", ""), digest

    async def _get(
        self, url: str, repository: str, base: str, credentials: Credentials | None, headers: Mapping[str, str]
    ) -> Response:
        """A 200 or 206; asks for a token where the registry wants one. _Missing with the registry's words for 404."""
        key = (base, repository, credentials)
        for last in (False, True):
            known = self._tokens.get(key)
            response = await self._follow(url, {**headers, **({"Authorization": known} if known else {})})
            if response.status in (200, 206):
                return response
            if response.status != 401 or last:
                break
            challenge = response.headers.get("www-authenticate", "")
            await response.close()
            self._tokens.pop(key, None)
            self._tokens[key] = await self._authorize(challenge, base, repository, credentials)
        words = await _reason(response)
        host = urlsplit(base).netloc
        if response.status == 404:
            raise _Missing(f"{host}: {words or 'not found'}")
        text = words or {401: "authorization failed", 403: "access denied", 429: "too many requests"}.get(
            response.status
        )
        raise pull_failed(f"{host} answered {response.status}: {text or 'without a reason'}")

    async def _follow(self, url: str, headers: dict[str, str]) -> Response:
        for _ in range(_REDIRECTS + 1):
            response = await self._http.get(url, headers)
            if response.status not in (301, 302, 303, 307, 308):
                return response
            target = urljoin(url, response.headers.get("location", ""))
            await response.close()
            here, there = origin_of(urlsplit(url)), origin_of(urlsplit(target))
            if here != there:
                headers.pop("Authorization", None)  # a token is for the registry, not for where its blobs are kept
            if here.scheme == "https" and there.scheme == "http":
                raise HttpError(f"{here.authority} redirects from https to http")
            url = target
        raise HttpError("too many redirects")

    async def _authorize(self, challenge: str, base: str, repository: str, credentials: Credentials | None) -> str:
        """The Authorization header that answers a WWW-Authenticate one."""
        host = urlsplit(base).netloc
        scheme, _, rest = challenge.partition(" ")
        basic = None
        if credentials is not None:
            basic = "Basic " + base64.b64encode(":".join(credentials).encode()).decode()
        if scheme.lower() == "basic":
            if basic is None:
                raise pull_failed(f"{host} wants a user and a password (imagePullSecrets), none given")
            return basic
        if scheme.lower() != "bearer":
            raise pull_failed(f"{host} wants authorization of an unknown kind: {scheme or 'none named'}")
        given = {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(rest)}
        realm = urljoin(base + "/", given.get("realm", ""))
        query = {"scope": given.get("scope") or f"repository:{repository}:pull"}
        if given.get("service"):
            query["service"] = given["service"]
        url = realm + ("&" if "?" in realm else "?") + urlencode(query)
        response = await self._follow(url, {"Authorization": basic} if basic else {})
        if response.status != 200:
            words = await _reason(response)
            raise pull_failed(f"{host} gives no token ({response.status}): {words or 'access denied'}")
        document = manifest.read_json(await response.body(manifest.MAX_DOCUMENT), "the registry's token")
        token = document.get("token") or document.get("access_token")
        if not isinstance(token, str) or not token:
            raise pull_failed(f"{host} gives an answer without a token")
        return "Bearer " + token


async def _reason(response: Response) -> str:
    """The registry's own words out of an error's body: `manifest unknown: manifest unknown`."""
    text = ""
    with contextlib.suppress(HttpError):
        text = (await response.body(_MAX_ERROR)).decode("utf-8", "replace").strip()
    try:
        errors = json.loads(text)["errors"]
        lines = [
            ": ".join(dict.fromkeys(part for part in (_words(e.get("code")), str(e.get("message") or "")) if part))
            for e in errors
        ]
        return "; ".join(line for line in lines if line)[:1000]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return "" if text.startswith("<") else text[:200]


def _words(code: object) -> str:
    """MANIFEST_UNKNOWN as it is usually shown: `manifest unknown`."""
    return code.replace("_", " ").lower() if isinstance(code, str) else ""
