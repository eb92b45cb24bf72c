"""A week of a quiet cluster: every node's heartbeats for seven days, through the real API to a real file.

The nodes' own code beats, on a clock that the test moves: a Lease every ten seconds, a status every five minutes.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from tests.helpers.server import ADMIN

from skerry.api.types import coordination
from skerry.apiserver import bootstrap
from skerry.apiserver.app import App, in_process
from skerry.apiserver.verbs import Server
from skerry.client.client import Client
from skerry.client.events import Recorder
from skerry.client.informer import Informers
from skerry.clock import FakeClock
from skerry.node.agent.registration import LEASES, RENEW_EVERY, Registration
from skerry.node.agent.services import NodeServices
from skerry.node.cgroups.pods import PodCgroups
from skerry.node.cgroups.subtree import Claim
from skerry.store.embedded import WINDOW, EmbeddedStore

pytestmark = pytest.mark.long

DAY = 86_400.0
NODES = 1


def sizes(path: Path) -> tuple[int, int]:
    """The file's and its log's bytes."""
    log = path.with_name(path.name + "-wal")
    return path.stat().st_size, log.stat().st_size


async def test_a_week_of_heartbeats_does_not_grow_the_file(tmp_path: Path) -> None:
    path, clock = tmp_path / "store.db", FakeClock()
    store = EmbeddedStore(str(path))
    client = Client(in_process(App(Server(store, clock), {}.get), ADMIN))
    await bootstrap.namespaces(client)
    informers = Informers(client, clock)
    await informers.start()
    nodes = [
        NodeServices(
            name=f"node-{number}", ips=(f"10.243.0.{number + 1}",), pod_cidrs=(f"10.244.{number}.0/24",), data=tmp_path,
            client=client, clock=clock, informers=informers, socket=tmp_path / "none.sock",
            runtime=cast("Any", None), images=cast("Any", None),  # no pod runs
            recorder=Recorder(client, "kubelet", f"node-{number}", clock=clock),
            cgroups=PodCgroups(Claim(None, "for this test"), f"node-{number}"),
        )
        for number in range(1, NODES + 1)
    ]  # fmt: skip
    beating = [asyncio.create_task(Registration(node).run()) for node in nodes]
    grown = []
    first = store.revision
    for day in range(7):
        for _ in range(int(DAY / RENEW_EVERY)):
            await clock.advance(RENEW_EVERY)
            while store._writing is not None:  # time must not run on while the disk works
                await asyncio.shield(store._writing)
                await clock.settle()
        grown.append(sizes(path))
        print(f"day {day + 1}: file and log have {grown[-1]} bytes, revision {store.revision}")
    for task in beating:
        assert not task.done(), task
        task.cancel()
    await asyncio.gather(*beating, return_exceptions=True)
    await informers.stop()
    assert store.revision - first >= 60_480 * NODES
    for node in nodes:
        lease = await client.get(coordination.Lease, node.name, LEASES)
        assert lease.spec.renew_time is not None
    # The log is written from its beginning again and again once it has reached its mark, some time on the second day.
    assert grown[2:] == [grown[2]] * 5
    assert sum(grown[-1]) < 6 << 20
    for kind in store._kinds.values():
        assert len(kind.events) <= WINDOW
    await store.close()
    assert sizes_closed(path) <= grown[-1][0] + 4096
    again = EmbeddedStore(str(path))
    assert await again.get(f"/coordination.k8s.io/leases/{LEASES}/node-1")
    await again.close()


def sizes_closed(path: Path) -> int:
    return sum(one.stat().st_size for one in path.parent.glob("store.db*"))
