"""Lists by label are the same whether they come from an index or from a look at everything."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import server
from tests.helpers.server import ApiServer

from skerry.api import labels
from skerry.api.types import core, meta
from skerry.apiserver import labelindex
from skerry.apiserver.labelindex import LabelIndexes
from skerry.store.embedded import EmbeddedStore

MAPS = "/core/configmaps/"
PATH = "/api/v1/{}configmaps"


def value(app: str | None) -> bytes:
    said = {"labels": {"app": app, "other": "x"}} if app is not None else {}
    return json.dumps({"metadata": said}, separators=(",", ":")).encode()


WRITES = st.tuples(st.sampled_from("abcdef"), st.sampled_from(["x", "y", "", None, "gone"]))
ASKS = st.sampled_from(["app=x", "app in (x,y)", "app=", "other=x,app=y", "app=nobody"])


@given(st.lists(st.one_of(WRITES, ASKS), max_size=60), st.integers(1, 8))
async def test_an_index_knows_what_a_look_at_everything_finds(steps: list[Any], window: int) -> None:
    store = EmbeddedStore(None, window=window)  # forgets soon
    indexes, now = LabelIndexes(store), dict[str, str | None]()
    for one in steps:
        if isinstance(one, str):
            selector = labels.parse(one)
            found = await indexes.find(MAPS, selector)
            first = selector.requirements[0]
            has = {key: {"app": app, "other": "x"} for key, app in sorted(now.items()) if app is not None}
            wanted = [key for key, said in has.items() if first.matches(said)]
            assert found is None or found == wanted
            continue
        name, app = one
        key = f"{MAPS}default/{name}"
        record = await store.get(key)
        if app == "gone":
            if record is not None:
                await store.delete(key, record.revision)
                del now[key]
        elif record is None:
            await store.create(key, value(app))
            now[key] = app
        else:
            await store.update(key, value(app), record.revision)
            now[key] = app
    await store.close()


async def test_it_is_made_when_it_is_asked_for_again_in_time() -> None:
    store = EmbeddedStore(None, window=4)
    indexes, selector = LabelIndexes(store), labels.parse("app=x")
    await store.create(f"{MAPS}default/a", value("x"))
    assert await indexes.find(MAPS, selector) is None
    assert await indexes.find(MAPS, selector) == [f"{MAPS}default/a"]
    for n in range(9):
        await store.create(f"{MAPS}default/b{n}", value("y"))
    assert await indexes.find(MAPS, selector) is None  # what changed is forgotten
    assert await indexes.find(MAPS, selector) == [f"{MAPS}default/a"]
    assert await indexes.find(MAPS, labels.parse("app!=x")) is None
    await store.close()


async def test_so_many_changes_are_not_followed() -> None:
    store = EmbeddedStore(None)
    indexes, selector = LabelIndexes(store), labels.parse("app=x")
    await store.create(f"{MAPS}default/a", value("x"))
    assert [await indexes.find(MAPS, selector) for _ in range(2)][1]
    for n in range(labelindex._FEW):
        await store.create(f"{MAPS}default/b{n:03}", value("x"))
    assert len(await indexes.find(MAPS, selector) or ()) == labelindex._FEW + 1
    for n in range(2 * labelindex._FEW):
        await store.create(f"{MAPS}default/c{n:03}", value("x"))
    assert await indexes.find(MAPS, selector) is None
    await store.close()


@pytest.fixture
async def api() -> ApiServer:
    made = await server.start()
    for namespace in ("default", "kube-system"):
        for n in range(6):
            said = {"app": f"app-{n % 2}", "n": str(n)}
            body = core.ConfigMap(metadata=meta.ObjectMeta(name=f"c{n}", namespace=namespace, labels=said))
            await made.client.create(body)
    return made


async def listed(api: ApiServer, where: str, **query: str) -> tuple[list[str], dict[str, Any]]:
    response, body = await api.ask("GET", PATH.format(where), query=query)
    assert response.status == 200, body
    found = json.loads(body)
    return [f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in found["items"]], found["metadata"]


@pytest.mark.parametrize("where", ["", "namespaces/default/"])
async def test_a_list_is_the_same_the_first_the_second_and_the_third_time(api: ApiServer, where: str) -> None:
    for query in (
        {"labelSelector": "app=app-1"},
        {"labelSelector": "app=app-1,n in (1,3)"},
        {"labelSelector": "app=app-1", "fieldSelector": "metadata.name!=c1"},
        {"labelSelector": "app=app-1", "resourceVersion": "0"},
        {"labelSelector": "app=none"},
        {"labelSelector": "n!=1,app=app-1"},
        {"labelSelector": "app=app-1", "limit": "3"},
        {"labelSelector": "app=app-1", "limit": "2"},
    ):
        first = await listed(api, where, **query)
        assert [await listed(api, where, **query) for _ in range(3)] == [first] * 3


async def test_pages_that_begin_in_an_index_go_on_without(api: ApiServer) -> None:
    for _ in range(3):
        names: list[str] = []
        query = {"labelSelector": "app=app-0", "limit": "2"}
        while True:
            found, about = await listed(api, "", **query)
            names += found
            if not about.get("continue"):
                break
            query["continue"] = about["continue"]
            gone = await api.client.get(core.ConfigMap, "c5", "default")
            gone.metadata.labels["app"] = "app-0"  # too late for these pages
            await api.client.update(gone)
        assert names == [f"{space}/c{n}" for space in ("default", "kube-system") for n in (0, 2, 4)]
        gone.metadata.labels["app"] = "app-1"
        gone.metadata.resource_version = ""
        await api.client.update(gone)
