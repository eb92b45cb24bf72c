"""How `skerry proxy` begins with a real API server: it waits for what may come, and says what waiting cannot mend."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest
from tests.helpers import server

from skerry.api import status
from skerry.api.types import core, meta
from skerry.api.wire import Request, Response
from skerry.apiserver.app import in_process
from skerry.apiserver.edge import Edge
from skerry.client import kubeconfig
from skerry.client.client import Client
from skerry.client.http import Address, HttpTransport
from skerry.clock import FakeClock
from skerry.cluster import reach
from skerry.cluster.errors import ClusterError

WHERE = "10.0.0.1:6443"


def a_node(name: str) -> core.Node:
    return core.Node(metadata=meta.ObjectMeta(name=name))


async def ends(clock: FakeClock, waiting: asyncio.Task[core.Node]) -> float:
    """Moves the clock until it is done; how many seconds that took."""
    begun = clock.now()
    while not waiting.done() and clock.now() - begun < 300:
        await clock.advance(0.5)
    assert waiting.done()
    return clock.now() - begun


async def test_a_node_that_comes_within_the_half_minute_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    api = await server.start(clock)
    waiting = asyncio.create_task(reach.node(api.client, clock, "edge", WHERE))
    await clock.advance(20)
    assert not waiting.done()
    await api.client.create(a_node("edge"))
    assert await ends(clock, waiting) <= reach.RETRY_MOST
    assert (await waiting).metadata.name == "edge"
    said = [one.getMessage() for one in caplog.records if one.name == reach.__name__]
    assert said == [f'node "edge" does not exist at {WHERE}; trying again']  # once, however often it asked


async def test_a_node_that_stays_away_for_half_a_minute_is_an_end_with_the_names_there_are() -> None:
    clock = FakeClock()
    api = await server.start(clock)
    for name in ("node-2", "node-1"):
        await api.client.create(a_node(name))
    waiting = asyncio.create_task(reach.node(api.client, clock, "edge", WHERE))
    assert reach.PATIENCE <= await ends(clock, waiting) <= reach.PATIENCE + reach.RETRY_MOST + 1
    with pytest.raises(ClusterError) as found:
        await waiting
    assert str(found.value) == 'There is no node "edge"; there is node-1, node-2. Choose one with --node.'


async def test_a_user_without_the_rights_is_told_which_and_how_to_get_them() -> None:
    clock = FakeClock()
    api = await server.start(clock)
    through = in_process(api.app, server.ADMIN)

    async def send(request: Request) -> Response:
        if request.path.endswith("/endpointslices"):
            why = 'User "proxy" cannot list resource "endpointslices"'
            raise status.forbidden("discovery.k8s.io", "endpointslices", "", why)
        return await through(request)

    with pytest.raises(ClusterError) as found:
        await reach.node(Client(send), clock, "edge", WHERE)
    text = str(found.value)
    assert text.startswith("The kubeconfig's user may not read what a proxy needs (list and watch of services, ")
    assert 'User "proxy" cannot list resource "endpointslices"; bind its user to the ClusterRole' in text
    assert text.count("\n") == 0 and clock.now() == FakeClock().now()  # at once


async def test_a_token_that_is_replaced_in_its_file_is_used_and_one_that_is_no_good_is_a_sentence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    api = await server.start(clock)
    await api.client.create(a_node("edge"))
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    edge = Edge(api.app)
    await edge.listen(listener, None)
    token, config = tmp_path / "token", tmp_path / "config"
    token.write_text("expired\n")
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"tokenFile": "token"}}],
    }
    config.write_text(json.dumps(document))

    def read() -> str:
        try:
            return kubeconfig.load(config, "").token
        except kubeconfig.KubeconfigError as error:
            raise ClusterError(str(error)) from error

    transport = HttpTransport(Address(host="127.0.0.1", port=port), token=read())
    client = Client(transport)
    with pytest.raises(ClusterError) as found:
        await reach.node(client, clock, "edge", WHERE)
    assert str(found.value) == (
        f"The API server at {WHERE} does not know this user (401): are the credentials still good?"
    )

    keeping = asyncio.create_task(reach.keep_token(transport, clock, read))
    token.write_text("secret\n")
    await clock.advance(reach.TOKEN_AGE)
    assert (await reach.node(client, clock, "edge", WHERE)).metadata.name == "edge"
    token.unlink()  # while it is being replaced the last one goes on being used
    await clock.advance(reach.TOKEN_AGE)
    assert (await reach.node(client, clock, "edge", WHERE)).metadata.name == "edge"
    assert "cannot be read: No such file or directory" in caplog.text
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await transport.close()
    await edge.close()
