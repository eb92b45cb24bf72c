"""The verbs of the API for typed objects, over any transport. Called by everything that reads or writes objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec

from skerry.api import codec, resources, status
from skerry.api.rawfields import UNMANAGED
from skerry.api.wire import Request, Response

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

T = TypeVar("T")

_PATCHES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
}


class Transport(Protocol):
    """Carries a request to an API server: in this process (apiserver.app) or over a socket (client.http)."""

    async def __call__(self, request: Request, /) -> Response: ...


@dataclass(slots=True)
class ListResult(Generic[T]):
    """A list and the revision at which it was true."""

    items: list[T] = field(default_factory=list)
    resource_version: str = ""


@dataclass(slots=True, frozen=True)
class WatchEvent(Generic[T]):
    """`type` is ADDED, MODIFIED, DELETED or BOOKMARK (then only the object's resource_version means something)."""

    type: str
    object: T


class _Line(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _ListMeta(msgspec.Struct):
    resource_version: str = msgspec.field(default="", name="resourceVersion")


class _List(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


_lines = msgspec.json.Decoder(_Line)
_lists = msgspec.json.Decoder(_List)


class Client:
    """`agent` is the User-Agent. Every method raises status.ApiError when the server refuses.

    With `shared`, for a server in this process, objects are passed as they are: what is given to create and update, and
    what they, patch and watch give, is never to be changed by anybody again.
    """

    def __init__(self, transport: Transport, *, agent: str = "skerry", shared: bool = False) -> None:
        self._transport, self._shared = transport, shared
        self._headers = {"user-agent": agent, "accept": "application/json"}

    async def get(self, kind: type[T], name: str, namespace: str = "") -> T:
        return _decoded(kind, await self._ask("GET", resources.of(kind).path(namespace, name)))

    async def list(
        self, kind: type[T], namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> ListResult[T]:
        """All objects, of one namespace or of every one."""
        query = _selectors(label_selector, field_selector)
        body = await self._ask("GET", resources.of(kind).path(namespace), query)
        found = _lists.decode(body)
        return ListResult([_decoded(kind, one) for one in found.items or ()], found.metadata.resource_version)

    async def create(self, obj: T) -> T:
        """Creates under metadata.name or generateName; the object as it was stored."""
        return await self._give("POST", resources.of(type(obj)).path(_namespace(obj)), obj)

    async def update(self, obj: T, *, subresource: str = "") -> T:
        """Replaces; refused with a conflict if metadata.resource_version is set and not the newest."""
        path = resources.of(type(obj)).path(_namespace(obj), _name(obj), subresource)
        return await self._give("PUT", path, obj)

    async def patch(
        self,
        kind: type[T],
        name: str,
        patch: Any,
        namespace: str = "",
        *,
        type: str = "merge",  # noqa: A002  (it is the word)
        subresource: str = "",
    ) -> T:
        """`patch` is plain values; `type` is merge, strategic or json."""
        path = resources.of(kind).path(namespace, name, subresource)
        return await self._typed(kind, self._request("PATCH", path, codec.encode(patch), _PATCHES[type]))

    async def delete(
        self,
        kind: type[T],
        name: str,
        namespace: str = "",
        *,
        grace_period_seconds: int | None = None,
        propagation_policy: str = "",
        uid: str = "",
        resource_version: str = "",
    ) -> T | None:
        """Asks for the deletion; with uid or resource_version only if the object still has it.

        The object if it takes its time to go (a grace period, finalizers), None if it is gone.
        """
        options: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if grace_period_seconds is not None:
            options["gracePeriodSeconds"] = grace_period_seconds
        if propagation_policy:
            options["propagationPolicy"] = propagation_policy
        conditions = {"uid": uid, "resourceVersion": resource_version}
        if any(conditions.values()):
            options["preconditions"] = {key: value for key, value in conditions.items() if value}
        body = await self._ask("DELETE", resources.of(kind).path(namespace, name), body=codec.encode(options))
        if b'"deletionTimestamp"' not in body:
            return None
        left = codec.decode(kind, body)
        meta: Any = left.metadata  # type: ignore[attr-defined]
        return left if meta.finalizers or meta.deletion_grace_period_seconds else None

    async def post(self, kind: type[Any], name: str, subresource: str, body: Any, namespace: str = "") -> bytes:
        """Creates at a subresource (a pod's binding, say); the answer's JSON."""
        path = resources.of(kind).path(namespace, name, subresource)
        return await self._ask("POST", path, body=codec.encode(body))

    async def watch(
        self,
        kind: type[T],
        namespace: str = "",
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncGenerator[WatchEvent[T], None]:
        """Changes after `resource_version` until the server ends the stream; ApiError 410 when that is too old."""
        query = {
            **_selectors(label_selector, field_selector),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
        }
        path = resources.of(kind).path(namespace)
        response = await self._send(Request("GET", path, query, self._headers, shares=self._shared))
        if response.events is not None:
            async for name, obj in response.events:
                yield WatchEvent(name, obj)
            return
        async for line in lines(response):
            event = _lines.decode(line)
            if event.type == "ERROR":
                body = codec.parse(bytes(event.object))
                raise status.from_status(int(body.get("code", 500)), body)
            yield WatchEvent(event.type, _decoded(kind, event.object))

    async def raw(self, method: str, path: str, query: dict[str, str] | None = None, body: bytes = b"") -> bytes:
        """Any path of the server; the answer's bytes."""
        return await self._ask(method, path, query, body=body)

    async def _ask(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        *,
        body: bytes = b"",
        content: str = "application/json",
    ) -> bytes:
        if method == "DELETE" or not body:
            headers = {**self._headers, "content-type": content} if body else self._headers
            request = Request(method, path, query or {}, headers, body)
        else:
            request = self._request(method, path, body, content)
            request.query |= query or {}
        return await whole(await self._send(request))

    def _request(self, method: str, path: str, body: bytes = b"", content: str = "application/json") -> Request:
        """A write. What is made of types has no unknown fields and none twice: the server need not look for them."""
        query, headers = {"fieldValidation": "Ignore"}, {**self._headers, "content-type": content}
        return Request(method, path, query, headers, body, shares=self._shared)

    async def _give(self, method: str, path: str, obj: T) -> T:
        request = self._request(method, path)
        if self._shared:
            request.object = obj
        else:
            request.body = codec.encode(obj)
        return await self._typed(type(obj), request)

    async def _typed(self, kind: type[T], request: Request) -> T:
        response = await self._send(request)
        if response.object is not None:
            made: T = response.object
            return made
        return _decoded(kind, await whole(response))

    async def _send(self, request: Request) -> Response:
        response = await self._transport(request)
        if response.status >= 400:
            body = await whole(response)
            try:
                content = codec.parse(body)
            except msgspec.DecodeError:
                content = body.decode(errors="replace")
            raise status.from_status(response.status, content)
        return response


def _decoded(kind: type[T], data: bytes | msgspec.Raw) -> T:
    """An object without its managedFields: they would keep all that was read alive, and nobody here needs them.

    A write without them leaves them as they are.
    """
    made: Any = codec.decode(kind, data)
    if getattr(made, "metadata", None) is not None:
        made.metadata.managed_fields = UNMANAGED
    found: T = made
    return found


def _selectors(label_selector: str, field_selector: str) -> dict[str, str]:
    query = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {key: value for key, value in query.items() if value}


def _namespace(obj: Any) -> str:
    namespace: str = obj.metadata.namespace
    return namespace


def _name(obj: Any) -> str:
    name: str = obj.metadata.name
    return name


async def whole(response: Response) -> bytes:
    """The body, all pieces of it."""
    if isinstance(response.body, bytes):
        return response.body
    return b"".join([piece async for piece in response.body])


async def lines(response: Response) -> AsyncIterator[bytes]:
    """The lines of a streamed body."""
    if isinstance(response.body, bytes):
        for line in response.body.splitlines():
            yield line
        return
    rest = b""
    async for piece in response.body:
        data = rest + piece if rest else piece
        *found, rest = data.split(b"\n")
        for line in found:
            if line:
                yield line
