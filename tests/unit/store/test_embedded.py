"""The embedded store: revisions, compare-and-swap, snapshots, watches, and what a crash or a full disk leaves."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.store.base import Compacted, Conflict, Exists, Unwritable, stamp, unstamp
from skerry.store.embedded import EmbeddedStore
from skerry.store.log import Log, LogError, Row
from skerry.store.version import version

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

PODS = "/core/pods/"


def value(text: str = "") -> bytes:
    return b'{"kind":"Pod","metadata":{"name":"%b"}}' % text.encode()


@pytest.fixture(params=["memory", "disk"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    made = EmbeddedStore(str(tmp_path / "store.db") if request.param == "disk" else None, window=8)
    yield made
    await made.close()


async def test_every_write_has_the_next_revision_and_carries_it(store: EmbeddedStore) -> None:
    first = await store.create(PODS + "a/x", value("x"))
    second = await store.update(first.key, value("y"), first.revision)
    assert (first.revision, second.revision, store.revision) == (1, 2, 2)
    assert b'"resourceVersion":"2"' in second.value
    assert second.created == 1
    assert await store.get(first.key) == second


async def test_a_key_is_created_once(store: EmbeddedStore) -> None:
    await store.create(PODS + "a/x", value())
    with pytest.raises(Exists):
        await store.create(PODS + "a/x", value())


async def test_a_write_that_expects_another_revision_fails(store: EmbeddedStore) -> None:
    record = await store.create(PODS + "a/x", value())
    await store.update(record.key, value("new"), record.revision)
    with pytest.raises(Conflict):
        await store.update(record.key, value("late"), record.revision)
    with pytest.raises(Conflict):
        await store.delete(record.key, record.revision)
    with pytest.raises(Conflict):
        await store.update(PODS + "a/none", value(), 1)


async def test_of_writers_of_one_key_at_once_one_wins(store: EmbeddedStore) -> None:
    record = await store.create(PODS + "a/x", value())
    results = await asyncio.gather(
        *(store.update(record.key, value(str(n)), record.revision) for n in range(20)), return_exceptions=True
    )
    winners = [one for one in results if not isinstance(one, BaseException)]
    assert len(winners) == 1
    assert all(isinstance(one, Conflict) for one in results if isinstance(one, BaseException))
    assert await store.get(record.key) == winners[0]


async def test_a_loser_then_reads_what_the_winner_wrote(store: EmbeddedStore) -> None:
    record = await store.create(PODS + "a/x", value())

    async def add() -> None:
        while True:
            current = await store.get(record.key)
            assert current is not None
            number = int(unstamp(current).split(b"#")[1].split(b'"')[0] if b"#" in current.value else 0)
            with contextlib.suppress(Conflict):
                await store.update(record.key, value(f"#{number + 1}"), current.revision)
                return

    await asyncio.gather(*(add() for _ in range(30)))
    found = await store.get(record.key)
    assert found is not None
    assert unstamp(found) == value("#30")


async def test_a_range_is_in_order_and_bounded(store: EmbeddedStore) -> None:
    for key in ("b/2", "a/1", "ab/3", "a/2", "a-b/9"):
        await store.create(PODS + key, value())
    await store.create("/core/podtemplates/a/1", value())
    found, revision = await store.range(PODS + "a/")
    assert [one.key for one in found] == [PODS + "a/1", PODS + "a/2"]
    assert revision == 6
    page = await store.page(PODS, after=PODS + "a/1", limit=2)
    assert [one.key for one in page.records] == [PODS + "a/2", PODS + "ab/3"]
    assert (page.revision, page.remaining) == (6, 1)
    assert len((await store.range(PODS))[0]) == 5


async def test_a_range_shows_an_earlier_revision_until_it_is_forgotten(store: EmbeddedStore) -> None:
    first = await store.create(PODS + "a/1", value("old"))
    await store.create(PODS + "a/2", value())
    then = store.revision
    await store.update(first.key, value("new"), first.revision)
    await store.delete(PODS + "a/2", 2)
    await store.create(PODS + "a/3", value())
    found, seen, _ = await store.page(PODS, revision=then)
    assert ([unstamp(one) for one in found], seen) == ([value("old"), value()], then)
    for n in range(10):
        await store.create(PODS + f"b/{n}", value())
    with pytest.raises(Compacted):
        await store.page(PODS, revision=then)


@given(
    st.lists(st.tuples(st.sampled_from(["a/1", "a/2", "a-b/1", "b/1", "b/2"]), st.booleans()), max_size=30),
    st.sampled_from(["", "a/", "b/"]),
    st.sampled_from(["", "a/1", "a/9", "b/1"]),
    st.integers(0, 4),
)
async def test_a_page_of_any_revision_is_what_was_there_then(
    writes: list[tuple[str, bool]], below: str, after: str, limit: int
) -> None:
    store = EmbeddedStore(None)
    states: dict[int, dict[str, bytes]] = {}
    now: dict[str, bytes] = {}
    for n, (name, gone) in enumerate(writes):
        key = PODS + name
        record = await store.get(key)
        if record is None:
            await store.create(key, value(str(n)))
            now[key] = value(str(n))
        elif gone:
            await store.delete(key, record.revision)
            del now[key]
        else:
            await store.update(key, value(str(n)), record.revision)
            now[key] = value(str(n))
        states[store.revision] = dict(now)
    bound = PODS + after if after else ""
    for revision, state in states.items():
        wanted = [(key, state[key]) for key in sorted(state) if key.startswith(PODS + below) and key > bound]
        page = await store.page(PODS + below, after=bound, limit=limit, revision=revision)
        assert [(one.key, unstamp(one)) for one in page.records] == wanted[: limit or None]
        assert (page.revision, page.remaining) == (revision, len(wanted) - len(page.records))
    await store.close()


async def test_a_watch_gives_all_changes_after_its_revision(store: EmbeddedStore) -> None:
    first = await store.create(PODS + "a/1", value())
    watcher = store.watch(PODS, first.revision)
    await store.create("/core/services/a/1", value())
    second = await store.update(first.key, value("new"), first.revision)
    gone = await store.delete(first.key, second.revision)
    events = await watcher.next()
    assert [(one.revision, one.deleted) for one in events] == [(3, False), (4, True)]
    assert events[0].previous == first
    assert gone.value == stamp(value("new"), 4)
    assert watcher.revision == 4


async def test_a_watch_of_a_namespace_sees_only_that(store: EmbeddedStore) -> None:
    watcher = store.watch(PODS + "a/", 0)
    await store.create(PODS + "b/1", value())
    await store.create(PODS + "a/1", value())
    assert [one.record.key for one in await watcher.next()] == [PODS + "a/1"]


async def test_a_waiting_watcher_is_woken(store: EmbeddedStore) -> None:
    watcher = store.watch(PODS, store.revision)
    waiting = asyncio.ensure_future(watcher.next())
    await asyncio.sleep(0)
    assert not waiting.done()
    await store.create(PODS + "a/1", value())
    assert [one.revision for one in await asyncio.wait_for(waiting, 5)] == [1]


async def test_a_watcher_that_is_too_slow_is_told(store: EmbeddedStore) -> None:
    watcher = store.watch(PODS, 0)
    for n in range(9):
        await store.create(PODS + f"a/{n}", value())
    with pytest.raises(Compacted):
        await watcher.next()
    with pytest.raises(Compacted):
        store.watch(PODS, 0)


async def test_other_kinds_do_not_push_events_out_of_the_window(store: EmbeddedStore) -> None:
    await store.create(PODS + "a/1", value())
    lease = await store.create("/coordination.k8s.io/leases/a/1", value())
    for _ in range(50):
        lease = await store.update(lease.key, value(), lease.revision, durable=False)
    assert [one.revision for one in await store.watch(PODS, 0).next()] == [1]


async def test_large_events_are_forgotten_earlier() -> None:
    """A client that changes a large object again and again must not fill the memory with its history."""
    store = EmbeddedStore(None, window_bytes=10_000)
    record = await store.create("/core/configmaps/a/one", value("x" * 3000))
    watcher = store.watch("/core/configmaps/", record.revision)
    late = store.watch("/core/configmaps/", record.revision)
    for _ in range(3):
        record = await store.update(record.key, value("x" * 3000), record.revision)
    assert [one.revision for one in await watcher.next()] == [2, 3, 4]
    record = await store.update(record.key, value("x" * 3000), record.revision)
    with pytest.raises(Compacted):
        await late.next()
    record = await store.update(record.key, value("x" * 50_000), record.revision)
    assert [one.revision for one in store.watch("/core/configmaps/", 5).pending()] == [6]  # the newest is always there
    await store.close()


async def test_a_watcher_gets_a_bounded_batch_at_once() -> None:
    store = EmbeddedStore(None)
    watcher = store.watch("/core/configmaps/", 0)
    record = await store.create("/core/configmaps/a/one", value())
    for _ in range(9):
        record = await store.update(record.key, value("x" * 400_000), record.revision)
    batches = []
    while sum(map(len, batches)) < 10:
        batches.append([one.revision for one in await watcher.next()])
        assert watcher.revision == batches[-1][-1]
    assert batches == [[1, 2, 3, 4], [5, 6, 7], [8, 9, 10]]
    again = store.watch("/core/configmaps/", 0)
    assert len(again.pending()) == 10  # who does not wait for a reader gets all
    await store.close()


async def test_everything_acknowledged_is_there_after_reopening(tmp_path: Path) -> None:
    path = str(tmp_path / "store.db")
    store = EmbeddedStore(path)
    kept = await store.create(PODS + "a/1", value("1"))
    gone = await store.create(PODS + "a/2", value("2"))
    await store.delete(gone.key, gone.revision)
    revision = store.revision
    await store.close()
    again = EmbeddedStore(path)
    found, _ = await again.range(PODS)
    assert [(one.key, one.value, one.revision) for one in found] == [(kept.key, kept.value, kept.revision)]
    assert again.revision > revision
    with pytest.raises(Compacted):
        again.watch(PODS, revision)
    await again.close()


async def test_a_failed_batch_fails_all_that_was_built_on_it(tmp_path: Path) -> None:
    store = EmbeddedStore(str(tmp_path / "store.db"))
    record = await store.create(PODS + "a/1", value("good"))
    log = store._log
    assert log is not None

    def full(rows: Iterable[Row], revision: int) -> None:
        raise LogError("database or disk is full")

    write, log.write = log.write, full  # type: ignore[method-assign]
    results = await asyncio.gather(
        store.update(record.key, value("lost"), record.revision),
        *(store.create(PODS + f"b/{n}", value()) for n in range(5)),
        return_exceptions=True,
    )
    assert all(isinstance(one, Unwritable) for one in results)
    assert await store.get(record.key) == record
    log.write = write  # type: ignore[method-assign]
    after = await store.update(record.key, value("better"), record.revision)
    assert after.revision > record.revision
    await store.close()


def test_a_newer_file_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    log = Log(str(path))
    log._db.execute("PRAGMA user_version=99")
    in_log = {one: one.read_bytes() for one in tmp_path.iterdir()}
    log.close()
    in_file = {one: one.read_bytes() for one in tmp_path.iterdir()}
    assert set(in_log) > set(in_file)
    for state in (in_file, in_log):
        for one, content in state.items():
            one.write_bytes(content)
        with pytest.raises(LogError, match="newer"):
            Log(str(path))
        assert {one: one.read_bytes() for one in tmp_path.iterdir()} == state


def test_what_lies_behind_the_end_of_the_log_is_no_newer_format(tmp_path: Path) -> None:
    """A disk may have written the head of a frame and not its page; and a transaction without an end never was."""
    path, log_path = tmp_path / "store.db", tmp_path / "store.db-wal"
    log = Log(str(path))
    log.write([Row("/core/pods/a/x", value(), 1, 1)], 1)
    before = log_path.read_bytes()
    log._db.execute("PRAGMA user_version=99")
    whole = log_path.read_bytes()
    database = path.read_bytes()
    log.close()
    frame = int.from_bytes(whole[8:12], "big") + 24
    end = len(before) + frame
    assert len(whole) == end and version(str(path)) == 99
    for torn in (whole[: end - 1], whole[: end - frame + 24] + b"\xff" * (frame - 24), whole[: end - 9] + b"garbage!!"):
        path.write_bytes(database)
        log_path.write_bytes(torn)
        assert version(str(path)) <= 1
        EmbeddedStore(str(path))._log.close()  # type: ignore[union-attr]
    for at, content in ((len(before) + 4, bytes(4)), (len(before) + 8, bytes(8))):
        log_path.write_bytes(whole[:at] + content + whole[at + len(content) :])
        path.write_bytes(database)
        assert version(str(path)) < 99
    log_path.write_bytes(whole)
    path.write_bytes(database)
    assert version(str(path)) == 99


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"this is no database, it only looks like a file of some length" * 100)
    with pytest.raises(LogError, match="cannot be read"):
        Log(str(path))


@given(st.integers(1, 10**12), st.sampled_from([b'"name":"a"', b""]))
def test_stamping_can_be_undone(revision: int, inside: bytes) -> None:
    plain = b'{"kind":"Pod","metadata":{%b},"spec":{"metadata":{}}}' % inside
    from skerry.store.base import Record

    stamped = stamp(plain, revision)
    assert b'"metadata":{"resourceVersion":"%d"' % revision in stamped
    assert unstamp(Record("k", stamped, 1, revision)) == plain


def test_a_full_disk_is_named_when_the_file_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(sqlite3, "connect", full)
    with pytest.raises(LogError, match=r"the disk is full: make room"):
        Log(str(tmp_path / "store.db"))


def test_a_value_that_is_not_what_was_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    log = Log(str(path))
    log.write([Row("/core/pods/a/x", value("unharmed"), 1, 1), Row("/core/pods/a/y", value("y"), 2, 2)], 2)
    log.write([Row("/core/pods/a/y", None, 2, 3), Row("/core/pods/a/x", value("unharmed!"), 1, 4)], 4)
    log.close()
    log = Log(str(path))
    revision, rows = log.load()
    assert revision == 4 and [row.value for row in rows] == [value("unharmed!")]
    log.close()
    whole = path.read_bytes()
    assert whole.count(b"unharmed!") == 1
    path.write_bytes(whole.replace(b"unharmed!", b"unhArmed!"))
    with pytest.raises(LogError, match="not what was written"):
        EmbeddedStore(str(path))


async def test_what_is_written_in_one_turn_reaches_the_disk_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = EmbeddedStore(str(tmp_path / "store.db"))
    batches: list[int] = []
    write = Log.write

    def counted(log: Log, rows: Iterable[Row], revision: int) -> None:
        found = list(rows)
        batches.append(len(found))
        write(log, found, revision)

    monkeypatch.setattr(Log, "write", counted)
    await asyncio.gather(*(store.create(f"/core/pods/default/{n}", b'{"metadata":{}}') for n in range(3)))
    assert batches == [3]
    await store.close()
