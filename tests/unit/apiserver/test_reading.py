"""Lists, pages, tables and watches on the real server in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

import pytest
from tests.helpers import server as helper

from skerry.api import status
from skerry.api.types import core, meta
from skerry.api.wire import Request
from skerry.client.client import lines
from skerry.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.helpers.server import ApiServer

MAPS = "/api/v1/namespaces/default/configmaps"
TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    made = await helper.start(window=64)
    yield made
    await made.store.close()


def config(name: str, namespace: str = "default", **labels: str) -> core.ConfigMap:
    return core.ConfigMap(metadata=meta.ObjectMeta(name=name, namespace=namespace, labels=labels))


async def names(server: ApiServer, **query: str) -> list[str]:
    _, body = await server.ask("GET", MAPS, query=query)
    return [one["metadata"]["name"] for one in json.loads(body)["items"]]


async def test_selectors(server: ApiServer) -> None:
    for name, app in (("a", "x"), ("b", "y"), ("c", "x")):
        await server.client.create(config(name, app=app))
    assert await names(server, labelSelector="app=x") == ["a", "c"]
    assert await names(server, labelSelector="app notin (x)") == ["b"]
    assert await names(server, fieldSelector="metadata.name=b") == ["b"]
    assert await names(server, fieldSelector="metadata.name!=b", labelSelector="app") == ["a", "c"]
    for query in ({"labelSelector": "a in"}, {"fieldSelector": "spec.nonsense=1"}, {"limit": "x"}):
        assert (await server.ask("GET", MAPS, query=query))[0].status == 400


async def test_pods_are_selected_by_their_node(server: ApiServer) -> None:
    for name, node in (("a", "one"), ("b", "two")):
        spec = core.PodSpec(containers=[core.Container(name="c", image="i")], node_name=node)
        await server.client.create(core.Pod(metadata=meta.ObjectMeta(name=name, namespace="default"), spec=spec))
    found = await server.client.list(core.Pod, field_selector="spec.nodeName=two")
    assert [one.metadata.name for one in found.items] == ["b"]


async def test_pages_show_one_moment(server: ApiServer) -> None:
    for n in range(5):
        await server.client.create(config(f"c{n}"))
    _, body = await server.ask("GET", MAPS, query={"limit": "2"})
    first = json.loads(body)
    assert first["metadata"]["remainingItemCount"] == 3
    await server.client.create(config("c15"))
    await server.client.delete(core.ConfigMap, "c3", "default")
    _, body = await server.ask("GET", MAPS, query={"limit": "9", "continue": first["metadata"]["continue"]})
    rest = json.loads(body)
    assert [one["metadata"]["name"] for one in rest["items"]] == ["c2", "c3", "c4"]
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    for n in range(80):
        await server.client.create(config(f"d{n}"))
    response, body = await server.ask("GET", MAPS, query={"continue": first["metadata"]["continue"]})
    assert (response.status, json.loads(body)["reason"]) == (410, "Expired")
    assert (await server.ask("GET", MAPS, query={"continue": "garbage"}))[0].status == 400


async def test_pages_of_what_is_selected(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many records are looked through at once; what is left is not counted, as it would take a look at all."""
    for n in range(9):
        await server.client.create(config(f"c{n}", app="x" if n % 3 else "y"))
    for step in (1, 2, 3, 4, 100):
        monkeypatch.setattr("skerry.apiserver.reading._STEP", step)
        found, token = [], ""
        while True:
            query = {"labelSelector": "app=x", "limit": "2"} | ({"continue": token} if token else {})
            page = json.loads((await server.ask("GET", MAPS, query=query))[1])
            found.append([one["metadata"]["name"] for one in page["items"]])
            assert "remainingItemCount" not in page["metadata"]
            token = page["metadata"].get("continue", "")
            if not token:
                break
        assert found == [["c1", "c2"], ["c4", "c5"], ["c7", "c8"]]


@pytest.mark.parametrize("text", ["²", "٣", "x", "1.5", "9" * 5000])
@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", MAPS, "limit"),
        ("GET", MAPS, "resourceVersion"),
        ("DELETE", f"{MAPS}/a", "gracePeriodSeconds"),
    ],
)
async def test_numbers_in_a_query(server: ApiServer, method: str, path: str, name: str, text: str) -> None:
    response, body = await server.ask(method, path, query={name: text})
    assert response.status == 400 and b"invalid syntax" in body


async def test_tables_and_metadata(server: ApiServer) -> None:
    await server.client.create(config("a"))  # T1
    _, body = await server.ask("GET", MAPS, headers=TABLE)
    table = json.loads(body)
    assert (table["kind"], [one["name"] for one in table["columnDefinitions"]]) == ("Table", ["Name", "Data", "Age"])
    assert table["rows"][0]["cells"][:2] == ["a", 0]
    headers = {"accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
    _, body = await server.ask("GET", MAPS, headers=headers)
    partial = json.loads(body)
    assert partial["kind"] == "PartialObjectMetadataList"
    assert set(partial["items"][0]) == {"kind", "apiVersion", "metadata"}


async def test_a_watch_begins_with_what_is_there_a_piece_at_a_time(server: ApiServer) -> None:
    for n in range(9):
        made = config(f"c{n}")
        made.data = {"k": "x" * 100_000}
        await server.client.create(made)
    query = {"watch": "1", "sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "timeoutSeconds": "1"}
    response = await server.app(Request("GET", MAPS, query, user=helper.ADMIN))
    assert isinstance(response.body, AsyncGenerator)
    sizes, names = [], []
    async for piece in response.body:
        if b"BOOKMARK" in piece:
            break
        sizes.append(len(piece))
        names += [json.loads(line)["object"]["metadata"]["name"] for line in piece.splitlines()]
    await response.body.aclose()
    assert names == [f"c{n}" for n in range(9)] and len(sizes) == 3 and max(sizes) < 400_000


class Watch:
    """The lines of a watch, one at a time."""

    def __init__(self, server: ApiServer, **query: str) -> None:
        self._server, self._query = server, {"watch": "true", **query}
        self._headers: dict[str, str] = {}

    def table(self) -> Watch:
        self._headers = TABLE
        return self

    async def open(self) -> Watch:
        response = await self._server.app(Request("GET", MAPS, self._query, self._headers, user=helper.ADMIN))
        assert response.status == 200
        self._lines = aiter(lines(response))
        return self

    async def next(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await asyncio.wait_for(anext(self._lines), 5))
        return found

    async def seen(self) -> tuple[str, str]:
        event = await self.next()
        return event["type"], event["object"]["metadata"].get("name", "")


async def test_a_watch_begins_with_what_is_there(server: ApiServer) -> None:
    await server.client.create(config("a"))
    watch = await Watch(server).open()
    assert await watch.seen() == ("ADDED", "a")
    await server.client.patch(core.ConfigMap, "a", {"data": {"k": "v"}}, "default")
    assert await watch.seen() == ("MODIFIED", "a")
    await server.client.delete(core.ConfigMap, "a", "default")
    event = await watch.next()
    assert (event["type"], event["object"]["data"]) == ("DELETED", {"k": "v"})
    assert event["object"]["metadata"]["resourceVersion"] == str(server.store.revision)


async def test_a_watch_goes_on_from_a_revision(server: ApiServer) -> None:
    await server.client.create(config("a"))
    revision = str(server.store.revision)
    await server.client.create(config("b"))
    watch = await Watch(server, resourceVersion=revision).open()
    assert await watch.seen() == ("ADDED", "b")


async def test_an_object_that_leaves_the_selection_is_deleted_for_the_watcher(server: ApiServer) -> None:
    await server.client.create(config("a", app="x"))
    watch = await Watch(server, labelSelector="app=x").open()
    assert await watch.seen() == ("ADDED", "a")
    await server.client.patch(core.ConfigMap, "a", {"metadata": {"labels": {"app": "y"}}}, "default")
    event = await watch.next()
    assert (event["type"], event["object"]["metadata"]["labels"]) == ("DELETED", {"app": "x"})
    assert event["object"]["metadata"]["resourceVersion"] == str(server.store.revision)
    await server.client.patch(core.ConfigMap, "a", {"metadata": {"labels": {"app": "x"}}}, "default")
    assert await watch.seen() == ("ADDED", "a")


async def test_initial_events_end_with_a_bookmark(server: ApiServer) -> None:
    await server.client.create(config("a"))
    initial = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
    watch = await Watch(server, allowWatchBookmarks="true", **initial).open()
    assert await watch.seen() == ("ADDED", "a")
    event = await watch.next()
    assert event["type"] == "BOOKMARK"
    assert event["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_forgotten_revision_is_410(server: ApiServer) -> None:
    for n in range(70):
        await server.client.create(config(f"c{n}"))
    response, body = await server.ask("GET", MAPS, query={"watch": "true", "resourceVersion": "1"})
    assert (response.status, json.loads(body)["reason"]) == (410, "Expired")
    with pytest.raises(status.ApiError) as caught:
        async for _ in server.client.watch(core.ConfigMap, resource_version="1"):
            pass
    assert status.is_expired(caught.value)


async def test_a_watcher_that_falls_behind_is_told(server: ApiServer) -> None:
    watch = await Watch(server, resourceVersion=str(server.store.revision)).open()
    for n in range(70):
        await server.client.create(config(f"c{n}"))
    event = await watch.next()
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


async def test_a_watch_ends_after_its_time() -> None:
    clock = FakeClock()
    server = await helper.start(clock)
    response = await server.app(Request("GET", MAPS, {"watch": "true", "timeoutSeconds": "1"}, user=helper.ADMIN))
    reading = asyncio.ensure_future(_all(lines(response)))
    await clock.settle()
    await server.client.create(config("a"))
    await clock.advance(0.9)
    assert not reading.done()
    await clock.advance(0.2)
    assert len(await asyncio.wait_for(reading, 5)) == 1


async def test_bookmarks_come_once_a_minute_to_those_who_want_them() -> None:
    clock = FakeClock()
    server = await helper.start(clock)
    watch = await Watch(server, allowWatchBookmarks="true", resourceVersion=str(server.store.revision)).open()
    reading = asyncio.ensure_future(watch.next())
    await clock.settle()
    await server.client.create(core.Namespace(metadata=meta.ObjectMeta(name="elsewhere")))
    await clock.advance(61)
    event = await reading
    assert (event["type"], event["object"]["metadata"]["resourceVersion"]) == ("BOOKMARK", str(server.store.revision))


async def _all(found: AsyncIterator[bytes]) -> list[bytes]:
    return [one async for one in found]


async def test_table_watches_name_their_columns_once(server: ApiServer) -> None:
    watch = await Watch(server, resourceVersion=str(server.store.revision)).table().open()
    await server.client.create(config("a"))
    await server.client.create(config("b"))
    first, second = await watch.next(), await watch.next()
    assert (first["object"]["kind"], bool(first["object"]["columnDefinitions"])) == ("Table", True)
    assert second["object"]["columnDefinitions"] is None
    assert second["object"]["rows"][0]["cells"][0] == "b"


async def test_discovery_names_every_row(server: ApiServer) -> None:
    _, body = await server.ask("GET", "/apis")
    assert "apps" in [one["name"] for one in json.loads(body)["groups"]]
    _, body = await server.ask("GET", "/apis/apps/v1")
    found = {one["name"]: one for one in json.loads(body)["resources"]}
    assert found["deployments"]["shortNames"] == ["deploy"]
    assert found["deployments/scale"]["group"] == "autoscaling"
    headers = {"accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    _, body = await server.ask("GET", "/api", headers=headers)
    groups = json.loads(body)
    assert groups["kind"] == "APIGroupDiscoveryList"
    assert "pods" in [one["resource"] for one in groups["items"][0]["versions"][0]["resources"]]


async def test_booleans_are_read_as_clients_of_any_language_write_them(server: ApiServer) -> None:
    """The clients of Python write `True`; anything but 0 and false is true, and the question of rights agrees."""
    path = "/api/v1/namespaces/default/configmaps"
    for text in ("true", "True", "1", ""):
        asked = Request("GET", path, {"watch": text, "timeoutSeconds": "1"}, user=helper.ADMIN)
        assert isinstance((await server.app(asked)).body, AsyncGenerator), text
    for text in ("false", "False", "0"):
        response, body = await server.ask("GET", path, query={"watch": text})
        assert isinstance(response.body, bytes) and b"ConfigMapList" in body


async def test_the_version_with_a_slash_after_it(server: ApiServer) -> None:
    """kr8s and the official Python client ask so."""
    response, body = await server.ask("GET", "/version/")
    assert response.status == 200 and b"gitVersion" in body
