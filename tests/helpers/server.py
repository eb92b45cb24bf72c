"""A real API server in the test's own process: memory store, a clock that the test may move, an in-process client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from skerry.api.wire import Request, Response, User
from skerry.apiserver import bootstrap, known
from skerry.apiserver.access import reconcile
from skerry.apiserver.accounts import ServiceAccounts
from skerry.apiserver.app import App, in_process
from skerry.apiserver.strategies import Context, ServiceAllocator
from skerry.apiserver.verbs import Server
from skerry.client.client import Client, whole
from skerry.clock import Clock, SystemClock
from skerry.store.embedded import EmbeddedStore

ADMIN = User("tester", ("system:masters",))
known.verify = True


@dataclass
class ApiServer:
    """`client` for typed objects, `ask` for bare requests."""

    app: App
    client: Client
    store: EmbeddedStore

    async def ask(
        self, method: str, path: str, body: bytes = b"", *, user: User | None = ADMIN, **more: dict[str, str]
    ) -> tuple[Response, bytes]:
        """The response and its whole body; `more` may have query and headers."""
        request = Request(method, path, more.get("query", {}), more.get("headers", {}), body, user)
        response = await self.app(request)
        return response, await whole(response)


async def start(
    clock: Clock | None = None, *, window: int = 4096, accounts: bool = False, cidrs: Sequence[str] = ()
) -> ApiServer:
    """A server with the namespaces and the `kubernetes` Service that every cluster has.

    `cidrs`: the ranges of cluster IPs, if not the usual one.
    `accounts`: pods must have service accounts, and get their tokens.
    """
    store = EmbeddedStore(None, window=window)
    server = Server(store, clock or SystemClock(), Context(ServiceAllocator(cidrs)) if cidrs else Context())
    if accounts:
        server.accounts = ServiceAccounts(store, server.clock, b"a key of this test")
    app = App(server, {"secret": ADMIN}.get)
    client = Client(in_process(app, ADMIN))
    await bootstrap.namespaces(client)
    await bootstrap.priority_classes(client)
    await reconcile.ensure(client)
    await bootstrap.Kubernetes(client, "10.96.0.1", ["10.243.0.1"], 6443).ensure()
    app.ready = True
    return ApiServer(app, client, store)
