"""The API server behind its seam: a Request in, a Response out. Called by edge.py and by in-process clients.

Every request is authenticated, routed, answered; what goes wrong becomes a Status.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from skerry import metrics
from skerry.api import codec, resources, status
from skerry.api.custom import CustomResource
from skerry.api.wire import Request, Response
from skerry.apiserver import (
    auth,
    deletion,
    discovery,
    eviction,
    patching,
    podparts,
    proxying,
    reading,
    reviews,
    routes,
    strategies,
    subresources,
    unserved,
    verbs,
    watching,
)
from skerry.apiserver.access import attributes, restriction
from skerry.apiserver.access.authorizer import MASTERS
from skerry.apiserver.access.nodes import name_of
from skerry.apiserver.custom import scale
from skerry.apiserver.streams import portforward, remotecommand
from skerry.apiserver.webhooks import connecting

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from skerry.api.wire import User
    from skerry.apiserver.podparts import NodeStreams
    from skerry.apiserver.routes import Target
    from skerry.apiserver.verbs import Server

_log = logging.getLogger(__name__)
_HEALTH = {"/healthz", "/livez", "/readyz", "/version"}
_STREAMS = ("pods/exec", "pods/attach", "pods/portforward")
_AGGREGATED = "as=APIGroupDiscoveryList"
_OPENAPI_PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
_METHODS = {
    "GET": ("get", "list"),
    "POST": ("", "create"),
    "PUT": ("update", ""),
    "PATCH": ("patch", ""),
    "DELETE": ("delete", "deletecollection"),
}


class App:
    """`authenticate` maps a bearer token to its user; `nodes` reaches node agents."""

    def __init__(
        self, server: Server, authenticate: Callable[[str], User | None], nodes: NodeStreams | None = None
    ) -> None:
        self.server = server
        self._authenticate, self._nodes = authenticate, nodes
        server.webhooks.nodes = nodes
        self.ready = False

    async def __call__(self, request: Request) -> Response:
        try:
            response = await self._answer(request)
        except status.ApiError as error:
            response = Response(error.code, codec.encode(error.status()), warnings=error.warnings)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a Status
            _log.exception("%s %s", request.method, request.path)
            response = Response(500, codec.encode(status.ApiError(500, f"Internal error occurred: {error!r}").status()))
        response.headers.setdefault("content-type", "application/json")
        return response

    async def _answer(self, request: Request) -> Response:
        given = request.user
        user = auth.logged_in(given) if given else await self._user(request.headers.get("authorization", ""))
        user = request.user = await auth.acting(request, user, self.server.access)
        if MASTERS not in user.groups:
            await self._authorize(user, request)
        if request.path.rstrip("/") in _HEALTH:
            return self._health(request)
        target = request.target or routes.parse(request.path, self.server.served.by_path)
        if target is None:
            return await self._other(request)
        return await self._verb(target, request)

    async def _user(self, shown: str) -> User:
        """Who shows this header; anonymous is who shows no token. ApiError 401 for one that is not good."""
        scheme, _, token = shown.strip().partition(" ")
        if scheme.lower() != "bearer" or not token:
            return auth.ANONYMOUS
        found = await self.known(token.strip())
        if found is None:
            raise status.ApiError(401, "Unauthorized")
        return found

    async def known(self, token: str) -> User | None:
        """Whose token this is."""
        found = self._authenticate(token)
        if found is not None:
            return auth.logged_in(found)
        return await self.server.accounts.user(token) if self.server.accounts is not None else None

    async def _authorize(self, user: User, request: Request) -> None:
        """ApiError 403 for who may not."""
        access = self.server.access
        asked = attributes.question(request)
        await access.require(user, asked)
        if asked.verb == "get" and asked.resource in _STREAMS:
            # A WebSocket begins with a GET, and does what a POST does.
            await access.require(user, asked._replace(verb="create"))
        node = name_of(user)
        if node and asked.verb not in ("get", "list", "watch"):
            await restriction.check(node, asked, request, access.nodes.pods)

    def _health(self, request: Request) -> Response:
        path = request.path.rstrip("/")
        if path == "/version":
            return Response(200, discovery.version())
        good = self.ready or path != "/readyz"
        text = "ok" if good else "not ready"
        if "verbose" in request.query:
            name = path[1:]
            text = f"[{'+' if good else '-'}]ping {text}\n{name} check {'passed' if good else 'failed'}\n"
        return Response(200 if good else 503, text.encode(), {"content-type": "text/plain; charset=utf-8"})

    async def _other(self, request: Request) -> Response:
        """Questions, kinds that are not served, discovery and OpenAPI; ApiError 404 for anything else."""
        target = routes.parse(request.path, resources.question)
        if target is not None:
            return await reviews.answer(self, target, request)
        target = routes.parse(request.path, unserved.find)
        refused = target and unserved.answer(target, request, self.server.store.revision)
        if refused:
            return refused
        path, served = request.path.rstrip("/"), self.server.served.rows
        parts = path.split("/")[1:]
        body: bytes | None = None
        kind = "application/json"
        if path == "":
            body = discovery.paths(served)
        elif path in ("/api", "/apis") and _AGGREGATED in request.headers.get("accept", ""):
            body = discovery.aggregated(path == "/api", served)
            kind = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        elif path == "/api":
            body = discovery.core_versions()
        elif path == "/apis":
            body = discovery.group_list(served)
        elif parts[:1] == ["apis"] and len(parts) == 2:
            body = discovery.group(parts[1], served)
        elif parts[:1] == ["api"] and len(parts) == 2:
            body = discovery.resource_list("", parts[1])
        elif parts[:1] == ["apis"] and len(parts) == 3:
            body = discovery.resource_list(parts[1], parts[2], served)
        elif path == "/openapi/v2" and _OPENAPI_PROTOBUF in request.headers.get("accept", ""):
            from skerry.api import openapi  # kubectl wants it for a body of kind List, and only so

            body, kind = openapi.v2_protobuf(served), _OPENAPI_PROTOBUF.replace("@", ".")  # @ is no media type
        elif parts[:1] == ["openapi"]:
            body = _openapi(parts[1:], served)
        elif path == "/metrics":
            body, kind = metrics.PROCESS.text().encode(), metrics.CONTENT_TYPE
        if body is None:
            # kubectl looks into the details, and panics where there are none.
            raise status.ApiError(404, "the server could not find the requested resource", details={})
        if request.method not in ("GET", "HEAD"):
            raise status.ApiError(405, "the server does not allow this method on the requested resource")
        return Response(200, body, {"content-type": kind})

    async def _verb(self, target: Target, request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        response = await self._dispatch(target, method, request)
        response.warnings = (*strategies.of(target.resource).standing_warnings(), *response.warnings)
        return response

    async def _dispatch(self, target: Target, method: str, request: Request) -> Response:
        server, row = self.server, target.resource
        if target.subresource not in ("", "status", "finalize", "ephemeralcontainers"):
            warnings = await connecting.check(server, target, request) if target.subresource in connecting.PARTS else ()
            response = await self._part(target, method, request)
            response.warnings = (*warnings, *response.warnings)
            return response
        verb = _METHODS.get(method, ("", ""))[0 if target.name else 1]
        if request.flag("watch") and method == "GET":
            verb = "watch"
        if not verb or (verb not in row.verbs) or (target.subresource and verb not in ("get", "update", "patch")):
            raise status.ApiError(405, "the server does not allow this method on the requested resource")
        match verb:
            case "get":
                return await reading.get(server.store, server.clock, target, request)
            case "list":
                return await reading.list_(server, target, request)
            case "watch":
                return await watching.watch(server, target, request)
            case "create":
                if row.namespaced and not target.namespace:
                    raise status.ApiError(405, "the server does not allow this method on the requested resource")
                return await verbs.create(server, target, request)
            case "update":
                return await verbs.update(server, target, request)
            case "patch":
                return await patching.patch(server, target, request)
            case "delete":
                return await deletion.delete(server, target, request)
        return await deletion.delete_collection(server, target, request)

    async def _part(self, target: Target, method: str, request: Request) -> Response:
        match target.subresource, method:
            case "scale", _ if isinstance(target.resource, CustomResource):
                return await scale.answer(self.server, target, request)
            case "scale", _:
                return await subresources.scale(self.server, target, request)
            case "binding", "POST":
                return await subresources.bind(self.server, target, request)
            case "eviction", "POST":
                return await eviction.evict(self.server, target, request)
            case "token", "POST" if self.server.accounts is not None:
                return await self.server.accounts.request(target, request)
            case "log", "GET":
                return await podparts.log(self.server, self._nodes, target, request)
            case "exec" | "attach", "GET" | "POST":
                return await remotecommand.answer(self.server, self._nodes, target, request)
            case "portforward", "GET" | "POST":
                return await portforward.answer(self.server, self._nodes, target, request)
            case "proxy", _:
                return await proxying.answer(self.server, self._nodes, target, request)
        raise status.ApiError(405, "the server does not allow this method on the requested resource")


def in_process(app: App, user: User) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """A client.Transport into the server of this process, as `user`."""

    async def send(request: Request) -> Response:
        request.user = user
        return await app(request)

    return send


def _openapi(parts: list[str], served: tuple[CustomResource, ...]) -> bytes | None:
    from skerry.api import openapi  # built when first asked for

    if parts == ["v2"]:
        return openapi.v2(served)
    if parts == ["v3"]:
        return openapi.v3_index(served)
    if parts[:2] == ["v3", "api"] and len(parts) == 3:
        return openapi.v3_group("", parts[2], served)
    if parts[:2] == ["v3", "apis"] and len(parts) == 4:
        return openapi.v3_group(parts[2], parts[3], served)
    return None
