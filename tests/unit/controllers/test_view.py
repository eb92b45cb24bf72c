"""A view is never older than this process's own writes."""

from __future__ import annotations

from typing import Any, cast

from skerry.api.types import core, meta
from skerry.client.client import ListResult
from skerry.client.informer import Informer
from skerry.controllers.view import View


def made(version: int, name: str = "a", uid: str = "u", **more: Any) -> core.ConfigMap:
    metadata = meta.ObjectMeta(name=name, namespace="n", uid=uid, resource_version=str(version), **more)
    return core.ConfigMap(metadata=metadata)


class World:
    """An informer whose events the test gives, and a view over it."""

    def __init__(self) -> None:
        self.informer = Informer(cast("Any", None), core.ConfigMap)
        self.caught_up: list[str] = []
        self.overtaken: list[str] = []
        self.view = View(self.informer, self.caught_up.append, lambda one: self.overtaken.append(one.metadata.uid))
        self.view.add_index("label", lambda one: list(one.metadata.labels))

    def event(self, one: core.ConfigMap) -> None:
        self.informer._put(f"n/{one.metadata.name}", one)

    def gone(self, one: core.ConfigMap) -> None:
        self.informer._put(f"n/{one.metadata.name}", None, last=one)

    async def listed(self, version: int, *items: core.ConfigMap) -> None:
        """A list comes in."""
        found = ListResult(list(items), str(version))

        class Server:
            async def list(self, *_: Any, **__: Any) -> Any:
                return found

        self.informer._client = cast("Any", Server())
        await self.informer._list()

    def version(self) -> str | None:
        found = self.view.get("n/a")
        return found.metadata.resource_version if found else None


def test_own_writes_show_until_the_cache_has_them() -> None:
    world = World()
    world.event(made(1))
    world.view.wrote(made(5))
    assert world.version() == "5"
    world.event(made(3))  # an event from before the write
    assert world.version() == "5"
    assert world.view.is_own(made(3)) and world.view.is_own(made(5)) and not world.view.is_own(made(6))
    world.event(made(6))
    assert world.version() == "6"
    assert not world.view._own


def test_an_answer_that_comes_after_its_event_changes_nothing() -> None:
    world = World()
    world.event(made(7))
    world.view.wrote(made(5))
    assert world.version() == "7"


def test_a_created_object_shows_at_once_and_goes_with_its_deletion() -> None:
    world = World()
    world.view.wrote(made(5, labels={"x": ""}))
    assert [one.metadata.name for one in world.view.by_index("label", "x")] == ["a"]
    world.event(made(5, labels={"x": ""}))
    assert len(world.view.by_index("label", "x")) == 1
    world.gone(made(8))
    assert world.version() is None
    world.view.wrote(made(5))  # the answer to the create, late
    assert world.version() is None


def test_an_index_follows_own_writes() -> None:
    world = World()
    world.event(made(1, labels={"x": ""}))
    world.view.wrote(made(2, labels={"y": ""}))
    assert world.view.by_index("label", "x") == []
    assert len(world.view.by_index("label", "y")) == 1


def test_what_was_asked_to_go_is_hidden_until_the_cache_knows() -> None:
    world = World()
    world.event(made(1))
    world.view.deleted(made(1))
    assert world.version() is None and world.view.by_index("label", "x") == []
    world.event(made(2))
    assert world.version() is None
    world.event(made(3, deletion_timestamp="2026-01-01T00:00:00Z"))
    assert world.version() == "3"  # graceful deletion: it is still there, and says that it is going
    world.gone(made(4))
    assert world.view.is_own_deletion(made(4)) and not world.view._hidden
    world.event(made(9, uid="other"))
    assert world.version() == "9"
    world.view.deleted(made(1))  # late, about the first one
    assert world.version() == "9"


def test_a_refused_write_waits_for_the_event_that_explains_it() -> None:
    world = World()
    world.event(made(1))
    world.view.refused(made(1))
    assert world.view.is_behind("n/a")
    world.event(made(4))
    assert world.caught_up == ["n/a"] and not world.view.is_behind("n/a")
    world.view.refused(made(1))  # the cache knows better by now
    assert not world.view.is_behind("n/a")
    world.view.refused(made(4))
    world.gone(made(5))
    assert world.caught_up == ["n/a", "n/a"] and not world.view.is_behind("n/a")


def test_a_refused_create_waits_for_what_was_there_already() -> None:
    world = World()
    world.view.refused(core.ConfigMap(metadata=meta.ObjectMeta(name="a", namespace="n")))
    assert world.view.is_behind("n/a")
    world.event(made(4))
    assert not world.view.is_behind("n/a")


def test_a_refusal_that_nothing_explains_is_not_waited_for_forever() -> None:
    world = World()
    world.event(made(5))
    world.view.refused(made(5))
    assert world.view.is_behind("n/a")
    world.view.wait_no_longer("n/a")
    assert not world.view.is_behind("n/a") and world.caught_up == ["n/a"]
    world.view.wait_no_longer("n/a")
    assert world.caught_up == ["n/a"]


async def test_what_is_gone_before_the_cache_saw_it_is_known_after_the_next_list() -> None:
    world = World()
    world.view.wrote(made(5, labels={"x": ""}))
    await world.listed(4)
    assert world.version() == "5", "that list was older"
    await world.listed(9)
    assert world.version() is None and world.view.by_index("label", "x") == []
    assert world.overtaken == ["u"]
    world.view.wrote(made(5))  # the answer to the write comes last of all
    assert world.version() is None


def test_what_was_changed_before_the_cache_saw_it_is_told() -> None:
    """The event tells what it is now, and not what it was: who looked after it then has to look again."""
    world = World()
    world.view.wrote(made(5, labels={"x": ""}))
    world.event(made(5, labels={"x": ""}))
    assert world.overtaken == []
    world.view.wrote(made(6, labels={"x": ""}))
    world.event(made(7, labels={"y": ""}))
    assert world.overtaken == ["u"] and world.version() == "7"
    world.event(made(9, labels={"y": ""}))
    world.view.wrote(made(8, labels={"x": ""}))  # the answer comes after the news
    assert world.overtaken == ["u", "u"] and world.version() == "9"


def test_what_the_server_does_not_have_is_gone_at_once() -> None:
    world = World()
    world.view.wrote(made(5))
    world.view.gone(made(5, uid="another"))
    assert world.version() == "5"
    world.view.gone(made(5))
    assert world.version() is None and world.overtaken == []
