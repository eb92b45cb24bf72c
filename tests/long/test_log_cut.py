"""What a crash or a bad disk can leave of the store's files: cut at every byte, torn, a byte flipped.

The store must open with the state after a transaction that was written whole, or refuse in one sentence; never half a
transaction, never an earlier one than the last that lies whole before the damage, never a value that nobody wrote.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from skerry.store.base import unstamp
from skerry.store.embedded import EmbeddedStore
from skerry.store.log import Log, LogError, Row

pytestmark = pytest.mark.long

State = dict[str, tuple[bytes, int, int]]
"""Key -> value, created, revision."""
FLIPS = 3000
TRANSACTIONS = 2
MODES = {False: "TRUNCATE", True: "RESTART"}


@dataclass
class Files:
    """A store's two files, and what it held when the write-ahead log was `end` bytes long."""

    database: bytes
    wal: bytes
    states: list[tuple[int, State]]

    @property
    def first(self) -> int:
        return self.states[0][0]

    def after(self, length: int) -> State:
        """The state of the last transaction that lies whole in the first `length` bytes."""
        return [state for end, state in self.states if end <= length][-1]


@pytest.fixture
def place() -> Iterator[Path]:
    """Memory, where there is such a place: tens of thousands of stores are opened, and fsync is not what is tried."""
    memory = Path("/dev/shm")
    directory = tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None)
    yield Path(directory)
    shutil.rmtree(directory)


def value(name: str, text: str) -> bytes:
    return b'{"kind":"ConfigMap","metadata":{"name":"%b"},"data":{"text":"%b"}}' % (name.encode(), text.encode())


def make(place: Path, *, rewound: bool) -> Files:
    """A store with some objects in its database file and its last transactions in the log.

    `rewound`: the log was used before, so that behind its end lie whole frames of older transactions.
    """
    chance = random.Random(5)
    place.mkdir(exist_ok=True)
    path = place / "store.db"
    log = Log(str(path))
    state: State = {}
    revision = 0
    if rewound:
        for _ in range(20):
            revision = transact(log, state, revision, chance)
    for _ in range(10):
        revision = transact(log, state, revision, chance)
    assert log._db.execute(f"PRAGMA wal_checkpoint({MODES[rewound]})").fetchone()[0] == 0
    revision = transact(log, state, revision, chance)
    wal = path.with_name("store.db-wal")
    states = [(length(wal.read_bytes()), dict(state))]
    for _ in range(TRANSACTIONS):
        revision = transact(log, state, revision, chance)
        states.append((length(wal.read_bytes()), dict(state)))
    found = Files(path.read_bytes(), wal.read_bytes(), states)
    log.close()
    assert rewound == (len(found.wal) > states[-1][0])
    return found


def transact(log: Log, state: State, revision: int, chance: random.Random) -> int:
    """Several keys at once, so that half of a transaction can be told from a whole one."""
    rows = []
    for key in chance.sample([f"/core/configmaps/default/{number}" for number in range(12)], 4):
        revision += 1
        if key in state and chance.random() < 0.25:
            rows.append(Row(key, None, state.pop(key)[1], revision))
            continue
        created = state[key][1] if key in state else revision
        text = value(key, f"{revision}-" + "x" * chance.choice([5, 200, 600]))
        state[key] = (text, created, revision)
        rows.append(Row(key, text, created, revision))
    log.write(rows, revision)
    return revision


def length(wal: bytes) -> int:
    """Bytes up to the end of the newest run of frames: those that carry the salts of the log's header."""
    page = int.from_bytes(wal[8:12], "big")
    end = 32
    while wal[end + 8 : end + 16] == wal[16:24]:
        end += 24 + page
    return end


def read(place: Path, database: bytes, wal: bytes) -> State:
    """What a store that opens these files holds. LogError if it refuses."""
    path = place / "copy.db"
    for end in ("", "-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)
    path.write_bytes(database)
    Path(f"{path}-wal").write_bytes(wal)
    store = EmbeddedStore(str(path))
    try:
        records = [record for kind in store._kinds.values() for record in kind.records.values()]
        assert store.revision >= max((record.revision for record in records), default=0)
        return {record.key: (unstamp(record), record.created, record.revision) for record in records}
    finally:
        assert store._log and store._worker
        store._worker.shutdown()
        store._log.close()


def said_badly(error: LogError) -> str:
    return "" if "\n" not in str(error) and len(str(error)) > 20 else f"refused with {error}"


def each(work: Callable[[Path, int], str], items: Iterable[int], place: Path) -> list[str]:
    """What `work` says of every item, on all processors; the empty answers left out."""
    items = list(items)
    parts = os.cpu_count() or 1

    def part(number: int, pipe: Connection) -> None:
        own = place / str(number)
        own.mkdir(exist_ok=True)
        pipe.send([said for item in items[number::parts] if (said := work(own, item))])

    forking = multiprocessing.get_context("fork")
    running = []
    for number in range(parts):
        ours, theirs = forking.Pipe(duplex=False)
        process = forking.Process(target=part, args=(number, theirs))
        process.start()
        theirs.close()
        running.append((process, ours))
    said = [line for _, pipe in running for line in pipe.recv()]
    for process, _ in running:
        process.join()
    return said


@pytest.mark.parametrize("rewound", [False, True])
def test_the_log_cut_at_every_byte_of_its_last_transactions(place: Path, rewound: bool) -> None:
    files = make(place, rewound=rewound)

    def cut(own: Path, at: int) -> str:
        return "" if read(own, files.database, files.wal[:at]) == files.after(at) else f"cut at byte {at}"

    # Behind the end nothing is left or, rewound, old frames: some cuts of those will do.
    end = files.states[-1][0]
    assert each(cut, [*range(files.first, end + 1), *range(end, len(files.wal) + 1, 509)], place) == []


def test_a_log_of_which_only_the_beginning_reached_the_disk(place: Path) -> None:
    """As a cut, but behind it lies what was there before: zeros, or the frames of an earlier turn of the log."""
    files = make(place, rewound=True)
    size = len(files.wal)
    # Two turns' frames begin at the same places: take a log that has only older ones.
    older = make(place / "older", rewound=True).wal.ljust(size, b"\0")

    def tear(own: Path, at: int) -> str:
        for rest in (bytes(size), b"\xff" * size, older):
            torn = files.wal[:at] + rest[at:size]
            same = next((end for end in range(at, size) if torn[end] != files.wal[end]), size)
            if read(own, files.database, torn) != files.after(same):
                return f"torn at byte {at}"
        return ""

    assert each(tear, range(files.first, files.states[-1][0] + 1, 41), place) == []


def flips(seed: int, size: int) -> list[tuple[int, int]]:
    """Places and bits."""
    chance = random.Random(seed)
    return [(chance.randrange(size), 1 << chance.randrange(8)) for _ in range(FLIPS)]


def flipped(data: bytes, at: int, bit: int) -> bytes:
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]


def test_a_byte_of_the_log_flipped(place: Path) -> None:
    """All that lies whole before the damage is there, or the store refuses."""
    files = make(place, rewound=False)
    frame = int.from_bytes(files.wal[8:12], "big") + 24
    chosen = flips(11, len(files.wal))
    beginning = read(place, files.database, b"")

    def flip(own: Path, number: int) -> str:
        at, bit = chosen[number]
        start = 32 + (at - 32) // frame * frame
        expected = files.after(start) if start >= files.first else beginning
        try:
            found = read(own, files.database, flipped(files.wal, at, bit))
        except LogError as error:
            return said_badly(error)
        return "" if found == expected else f"bit {bit} of byte {at}"

    assert each(flip, range(FLIPS), place) == []


def test_a_byte_of_the_database_flipped(place: Path) -> None:
    """SQLite keeps no checksums of its pages: the store's own must notice what is no longer what was written."""
    files = make(place, rewound=False)
    path = place / "whole.db"
    path.write_bytes(files.database)
    Path(f"{path}-wal").write_bytes(files.wal)
    database = sqlite3.connect(path)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    whole = path.read_bytes()
    expected = files.states[-1][1]
    assert read(place, whole, b"") == expected
    chosen = flips(13, len(whole))

    def flip(own: Path, number: int) -> str:
        at, bit = chosen[number]
        try:
            found = read(own, flipped(whole, at, bit), b"")
        except LogError as error:
            return said_badly(error) or "refused"
        return "" if found == expected else f"bit {bit} of byte {at}"

    said = each(flip, range(FLIPS), place)
    assert set(said) == {"refused"}
    assert len(said) > FLIPS // 20
