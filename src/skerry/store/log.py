"""The embedded store's disk: one SQLite file that holds the current state. Called by embedded.py.

A batch of writes is one transaction in WAL mode with synchronous=FULL, so that what was acknowledged survives a crash,
and a crash in the middle leaves the state before the batch. Only the newest value of a key is kept: the file does not
grow with time.

SQLite checks what lies in the log, but not the pages of its file. A sum over all rows is kept with them, so that a disk
that gives back something else than it was given is noticed when the file is opened.
"""

from __future__ import annotations

import functools
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple, TypeVar

from skerry.store.version import FORMAT, newer

T = TypeVar("T")
_TOGETHER = 64  # rows in one statement, at most
_PUT = " ON CONFLICT(key) DO UPDATE SET value=excluded.value, created=excluded.created, revision=excluded.revision"


class LogError(Exception):
    """The file cannot be used, or a batch cannot be written; the message is for a person."""


class Row(NamedTuple):
    """A key's newest state; value None means that the key is gone.

    `digest` is that of the others, 0 while nobody has worked it out: the worker had better find it done, since every
    time that it asks for the interpreter costs both threads a turn.
    """

    key: str
    value: bytes | None
    created: int
    revision: int
    digest: int = 0


def digest(key: str, value: bytes, created: int, revision: int) -> int:
    head = b"%b\0%d\0%d\0" % (key.encode(), created, revision)
    # 63 bits: SQLite's integers have a sign.
    return int.from_bytes(blake2b(head + value, digest_size=8).digest(), "big") >> 1


class Log:
    """The file. All calls but `open` come from one worker thread."""

    def __init__(self, path: str) -> None:
        """Opens or makes the file. LogError if it is corrupt or newer than this program."""
        if refused := newer(path):
            raise LogError(refused)
        new = not os.path.exists(path)
        self._sum: int | None = None
        """All rows' digests XORed; None until they have been read."""
        self._digests: dict[str, int] = {}
        """Of the rows as they are on disk, by key."""
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA wal_autocheckpoint=1000")
            self._db.execute("PRAGMA journal_size_limit=4194304")
            self._db.execute("BEGIN IMMEDIATE")
            # With rowids, though the key is another: without, SQLite gives a value of more than 1 KB pages of its own.
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS kv (key TEXT PRIMARY KEY, value BLOB NOT NULL, created INTEGER NOT NULL,"
                " revision INTEGER NOT NULL)"
            )
            self._db.execute("CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID")
            self._db.execute(f"PRAGMA user_version={FORMAT}")
            self._db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            if "locked" in str(error):
                raise LogError(f"{path} is in use by another process") from error
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                cure = "make room, or put the cluster elsewhere with --data-dir"
                raise LogError(f"{path} cannot be written, the disk is full: {cure}") from error
            damaged = "restore it from a copy, or remove the cluster with 'skerry delete'"
            hint = "it could not be made" if new else damaged
            raise LogError(f"{path} cannot be read ({error}): {hint}") from error

    def load(self) -> tuple[int, Iterator[Row]]:
        """The newest revision and all rows in order of their keys. LogError if the file is damaged."""
        try:
            meta = dict(self._db.execute("SELECT name, value FROM meta").fetchall())
            rows = self._db.execute("SELECT key, value, created, revision FROM kv ORDER BY key").fetchall()
            found = 0
            for row in rows:
                known = self._digests[row[0]] = digest(*row)
                found ^= known
            revision = meta.get("revision", 0)
            # Files of the first versions have no sum until they are written to.
            if meta.get("sum", found ^ revision) != found ^ revision:
                raise LogError("the cluster's data is not what was written (its sum differs): restore it from a copy")
        # A damaged page can give values of any type.
        except (sqlite3.Error, TypeError, ValueError, AttributeError) as error:
            raise LogError(f"the cluster's data cannot be read ({error}): restore it from a copy") from error
        self._sum = found
        return revision, (Row(*row) for row in rows)

    def write(self, rows: Iterable[Row], revision: int) -> None:
        """One transaction, of a key's rows only the last. LogError, and nothing is written, if the disk refuses."""
        if self._sum is None:
            self.load()
        assert self._sum is not None
        newest = {row.key: row for row in rows}
        kept = [row for row in newest.values() if row.value is not None]
        gone = [row.key for row in newest.values() if row.value is None]
        digests = {row.key: row.digest or digest(row.key, row.value or b"", row.created, row.revision) for row in kept}
        found = self._sum
        for key in newest:
            found ^= self._digests.get(key, 0) ^ digests.get(key, 0)
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for some in _pieces(kept):
                    self._db.execute(_put(len(some)), [field for row in some for field in row[:4]])
                for keys in _pieces(gone):
                    self._db.execute(_drop(len(keys)), keys)
                values = (revision, found ^ revision)
                self._db.execute("INSERT OR REPLACE INTO meta VALUES ('revision',?), ('sum',?)", values)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise LogError(str(error)) from error
        self._sum = found
        self._digests |= digests
        for key in gone:
            self._digests.pop(key, None)

    def close(self) -> None:
        self._db.close()


# Few statements, since SQLite lets go of the interpreter with each and then waits for it: of sizes that are powers of
# two, so that each is prepared once.


def _pieces(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    at = 0
    while at < len(rows):
        size = min(_TOGETHER, 1 << (len(rows) - at).bit_length() - 1)
        yield rows[at : at + size]
        at += size


@functools.cache
def _put(rows: int) -> str:
    return f"INSERT INTO kv VALUES {','.join(['(?,?,?,?)'] * rows)}{_PUT}"  # noqa: S608  (nothing of anybody's)


@functools.cache
def _drop(keys: int) -> str:
    return f"DELETE FROM kv WHERE key IN ({','.join('?' * keys)})"  # noqa: S608
