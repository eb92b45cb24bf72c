"""Concurrent clients, watches and `kill -9` of the control plane, in the manner of Jepsen.

Every client keeps what it asked and what it was told (or that it was told nothing); at the end the history is checked
as a whole by tests/helpers/histories.py. No request is sent twice by a library that means well.
The seed is printed; SKERRY_SEED=N makes the same choices again.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import random
import signal
import ssl
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
import yaml
from tests.helpers import histories
from tests.helpers.cluster import Cluster
from tests.helpers.histories import Op, Seen, Session

pytestmark = pytest.mark.long

ROUNDS = int(os.environ.get("SKERRY_ROUNDS", "5"))
CLIENTS, KEYS, WATCHERS = 6, 5, 3
WRITES = 150
"""Acknowledged writes before each kill, and some more by chance."""
PATH = "/api/v1/namespaces/default/configmaps"
PATIENCE = 10.0


class World:
    """A cluster as clients see it, and all that they saw."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        table = yaml.safe_load(cluster.kubeconfig.read_text())
        self.url = table["clusters"][0]["cluster"]["server"]
        authority = base64.b64decode(table["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
        self.headers = {"Authorization": f"Bearer {table['users'][0]['user']['token']}"}
        self.tls = ssl.create_default_context(cadata=authority)
        self.chance = random.Random(seed)
        self.ops: list[Op] = []
        self.sessions: list[Session] = []
        self.other: Counter[str] = Counter()
        self.acknowledged = self._serial = 0
        self.up = asyncio.Event()
        self.stopping = False
        self.began = time.monotonic()
        self.news = asyncio.Condition()

    def session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(ssl=self.tls)
        timeout = aiohttp.ClientTimeout(total=None, connect=PATIENCE, sock_read=PATIENCE)
        made = aiohttp.ClientSession(self.url, connector=connector, headers=self.headers, timeout=timeout)
        assert made._retry_connection  # else it has another name now
        made._retry_connection = False  # a PUT may have happened when its connection broke
        return made

    def serial(self) -> int:
        self._serial += 1
        return self._serial

    async def reach(self, count: int) -> None:
        async with self.news:
            await self.news.wait_for(lambda: self.acknowledged >= count)


def config(key: str, value: int, revision: int = 0) -> dict[str, Any]:
    metadata = {"name": key, "labels": {"test": "consistency"}}
    return {
        "metadata": metadata | ({"resourceVersion": str(revision)} if revision else {}),
        "data": {"serial": str(value)},
    }


def serial_of(item: Any) -> int:
    return int(item["data"]["serial"])


def revision_of(item: Any) -> int:
    return int(item["metadata"]["resourceVersion"])


async def call(world: World, http: aiohttp.ClientSession, op: Op, revision: int) -> Any:
    """Does one operation and writes down how it ended; the object that came back, or None."""
    world.ops.append(op)
    one = f"{PATH}/{op.key}"
    try:
        if op.verb == "read":
            asked = http.get(one)
        elif op.verb == "create":
            asked = http.post(PATH, json=config(op.key, op.value or 0))
        elif op.verb == "update":
            asked = http.put(one, json=config(op.key, op.value or 0, revision))
        else:
            asked = http.delete(one, json={"preconditions": {"resourceVersion": str(revision)}})
        async with asked as response:
            said = json.loads(await response.read())
    except (aiohttp.ClientError, TimeoutError, ConnectionError, ValueError) as error:
        world.other[type(error).__name__] += 1
        world.up.clear()
        return None  # whatever it was, it may have happened
    code = response.status
    if op.verb == "read":
        assert code in (200, 404), said
        op.value = serial_of(said) if code == 200 else None
        op.answer = "ok"
    elif code in (200, 201):
        op.answer = "ok"
    else:
        assert code in (404, 409), said
        op.answer = "refused"
    op.end = time.monotonic()
    if op.answer == "ok" and op.verb in ("create", "update"):
        op.revision = revision_of(said)
    if op.answer == "ok" and op.verb != "read":
        world.acknowledged += 1
        async with world.news:
            world.news.notify_all()
    return said if code in (200, 201) else None


async def client(world: World, number: int) -> None:
    """Reads, creates, compares and sets, and deletes until told to stop."""
    known: dict[str, tuple[int, int]] = {}
    async with world.session() as http:
        while not world.stopping:
            await world.up.wait()
            key = f"key-{world.chance.randrange(KEYS)}"
            now = time.monotonic()
            state, revision = known.get(key, (None, 0))
            luck = world.chance.random()
            if state is None and luck < 0.5:
                op = Op("create", key, now, world.serial())
            elif state is None or luck < 0.4:
                op = Op("read", key, now)
            elif luck < 0.9:
                op = Op("update", key, now, world.serial(), state)
            else:
                op = Op("delete", key, now, None, state)
            made = await call(world, http, op, revision)
            if made is None or op.verb == "delete":
                known.pop(key, None)
            else:
                known[key] = (serial_of(made), revision_of(made))


async def watcher(world: World, number: int) -> None:
    """Lists and watches; after an interruption it goes on where it was, or, when told 410, lists again."""
    now: Session | None = None
    async with world.session() as http:
        while not world.stopping:
            await world.up.wait()
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
                if now is None:
                    now = await listed(world, http)
                gone = await follow(world, http, now)
                if gone:
                    now = None


async def listed(world: World, http: aiohttp.ClientSession) -> Session:
    async with http.get(PATH, params={"labelSelector": "test=consistency"}) as response:
        said = json.loads(await response.read())
        assert response.status == 200, said
    state = {one["metadata"]["name"]: serial_of(one) for one in said["items"]}
    made = Session(revision_of(said), state)
    world.sessions.append(made)
    return made


async def follow(world: World, http: aiohttp.ClientSession, now: Session) -> bool:
    """Writes down what a watch says until it ends; whether the next one must begin with a list."""
    query = {"watch": "1", "resourceVersion": str(now.upto), "labelSelector": "test=consistency"}
    async with http.get(PATH, params=query) as response:
        if response.status == 410:
            return True
        assert response.status == 200, await response.read()
        async for line in response.content:
            if not line.endswith(b"\n"):
                return False  # the server was killed while it said this
            event = json.loads(line)
            if event["type"] == "ERROR":
                assert event["object"]["code"] == 410, event
                return True
            item = event["object"]
            now.events.append(Seen(event["type"], item["metadata"]["name"], serial_of(item), revision_of(item)))
            if item["metadata"]["name"] == "last":
                async with world.news:
                    world.news.notify_all()
    return False


async def calm(world: World) -> dict[str, int]:
    """Reads every key once more, waits until every watcher saw a last write, and says what is there."""
    async with world.session() as http:
        for number in range(KEYS):
            await call(world, http, Op("read", f"key-{number}", time.monotonic()), 0)
        last = Op("create", "last", time.monotonic(), world.serial())
        assert await call(world, http, last, 0) is not None
        async with asyncio.timeout(PATIENCE):
            async with world.news:
                await world.news.wait_for(lambda: sum(one.upto >= last.revision for one in world.sessions) >= WATCHERS)
        return (await listed(world, http)).state


async def test_histories_of_concurrent_clients_over_kills_are_what_one_server_would_say(
    new_cluster: Callable[..., Cluster],
) -> None:
    seed = int(os.environ.get("SKERRY_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"SKERRY_SEED={seed}")
    cluster = new_cluster("--nodes", "0")
    await asyncio.to_thread(cluster.up)
    world = World(cluster, seed)
    world.up.set()
    tasks = [asyncio.create_task(client(world, number)) for number in range(CLIENTS)]
    tasks += [asyncio.create_task(watcher(world, number)) for number in range(WATCHERS)]
    try:
        for _ in range(ROUNDS):
            pid = int((await asyncio.to_thread(cluster.status))["pid"])
            await until(tasks, world.reach(world.acknowledged + WRITES + world.chance.randrange(100)))
            await asyncio.sleep(world.chance.random() * 0.01)  # the random moment
            os.kill(pid, signal.SIGKILL)
            began = time.monotonic()
            await asyncio.to_thread(cluster.up)
            print(f"up again after {time.monotonic() - began:.1f} s")
            world.up.set()
        await until(tasks, world.reach(world.acknowledged + WRITES))
        world.stopping = True
        await asyncio.wait_for(asyncio.gather(*tasks[:CLIENTS]), PATIENCE)
        there = await calm(world)
    finally:
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    print(f"{world.acknowledged} acknowledged, {time.monotonic() - world.began:.1f} s")
    verify(world, there)
    print(f"verified after {time.monotonic() - world.began:.1f} s")
    await asyncio.to_thread(cluster.down)


async def until(tasks: list[asyncio.Task[None]], reached: Any) -> None:
    """Waits for something, or for a client that found something wrong."""
    waiting = asyncio.ensure_future(reached)
    done, _ = await asyncio.wait([waiting, *tasks], timeout=60, return_when=asyncio.FIRST_COMPLETED)
    for one in done:
        one.result()
    assert waiting in done, "the clients do not get on"


def verify(world: World, there: dict[str, int]) -> None:
    answers = Counter(f"{op.verb} {op.answer}" for op in world.ops)
    events = sum(len(one.events) for one in world.sessions)
    print(f"{dict(sorted(answers.items()))}; {events} events in {len(world.sessions)} watches; {dict(world.other)}")
    assert answers["update refused"] and answers["create refused"]  # they did meet
    assert world.acknowledged > ROUNDS * WRITES
    for key in {op.key for op in world.ops}:
        assert histories.linearizable([op for op in world.ops if op.key == key]), (
            key,
            [op for op in world.ops if op.key == key][-60:],
        )
    assert histories.revisions(world.ops) == []
    assert histories.watched(world.sessions, world.ops) == []
    # Who watched to the end knows what is there: so no deletion was missed.
    last = max(one.upto for one in world.sessions)
    ends = [one.replayed()[0] for one in world.sessions if one.upto == last]
    assert len(ends) >= WATCHERS
    assert all(one == there for one in ends)
