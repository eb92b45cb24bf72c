"""JSON patch (RFC 6902), with upstream's leave to count array indexes from the end and its limits and texts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from skerry.api import codec, schema
from skerry.api.patch.base import PatchError, copied, same

MAX_OPERATIONS = 10_000
MAX_COPIED = 3 * 1024 * 1024  # bytes of JSON that all copy operations of a patch may add

_INDEX = re.compile(r"[+-]?[0-9]{1,9}", re.ASCII)
_MISSING = object()


def json_patch(document: dict[str, Any], operations: Any) -> Any:
    """The document after all operations in order. PatchError 400 (malformed), 413 (too large), 422 (does not apply)."""
    if not isinstance(operations, list) or not all(isinstance(one, dict) for one in operations):
        raise PatchError("a JSON patch is a list of operations")
    if len(operations) > MAX_OPERATIONS:
        raise PatchError(
            f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}", 413
        )
    try:
        run = _Run(copied(document))
        for one in operations:
            run.apply(one)
        schema.limit_depth(run.document)
    except RecursionError:
        raise PatchError("exceeded max depth", 422) from None
    except PatchError:
        raise
    except ValueError as error:
        raise PatchError(str(error), 422) from None
    return run.document


def _no(text: str) -> PatchError:
    return PatchError(text, 422)


class _Run:
    """The document while a patch is applied to it."""

    def __init__(self, document: Any) -> None:
        self.document = document
        self.copied = 0
        self.verbs: dict[str, Callable[[str, dict[str, Any]], None]] = {
            "add": self._add,
            "remove": self._remove,
            "replace": self._replace,
            "move": self._move,
            "copy": self._copy,
            "test": self._test,
        }

    def apply(self, one: dict[str, Any]) -> None:
        verb = self.verbs.get(str(one.get("op")))
        if verb is None:
            raise _no(f"Unexpected kind: {one.get('op', 'unknown')}")
        verb(_text(one, "path"), one)

    def _find(self, path: str) -> tuple[Any, str]:
        """The container that holds the path's last part, and that part. The container is None if there is none."""
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")][1:] or [""]
        at = self.document if path.startswith("/") else None
        for part in parents:
            at = _get(at, part)
            if not isinstance(at, dict | list):
                return None, last
        return (at if isinstance(at, dict | list) else None), last

    def _add(self, path: str, one: dict[str, Any]) -> None:
        self._put(path, copied(_value(one)), "add")

    def _put(self, path: str, value: Any, verb: str) -> None:
        if not path:
            self._whole(value)
            return
        where, key = self._find(path)
        if where is None:
            if verb == "add":
                raise _no(f'add operation does not apply: doc is missing path: "{path}": missing value')
            raise _no(f"{verb} operation does not apply: doc is missing destination path: {path}: missing value")
        if isinstance(where, dict):
            where[key] = value
        elif key == "-":
            where.append(value)
        else:
            where.insert(_index(key, len(where) + 1, f"error in {verb} for path: '{path}'"), value)

    def _whole(self, value: Any) -> None:
        if not isinstance(value, dict | list):
            raise _no("replace operation value must be object or array")
        self.document = value

    def _remove(self, path: str, _one: dict[str, Any]) -> None:
        where, key = self._find(path)
        if where is None:
            raise _no(f'remove operation does not apply: doc is missing path: "{path}": missing value')
        _drop(where, key, f"error in remove for path: '{path}'")

    def _replace(self, path: str, one: dict[str, Any]) -> None:
        value = copied(_value(one))
        if not path:
            self._whole(value)
            return
        where, key = self._find(path)
        if where is None:
            raise _no(f"replace operation does not apply: doc is missing path: {path}: missing value")
        if _get(where, key) is _MISSING:
            raise _no(f"replace operation does not apply: doc is missing key: {path}: missing value")
        if isinstance(where, dict):
            where[key] = value
        else:
            where[_index(key, len(where), "error in replace")] = value

    def _take(self, verb: str, one: dict[str, Any]) -> tuple[Any, str, Any]:
        """The container, key and value of an operation's `from`."""
        path = _text(one, "from")
        if not path:
            return None, "", self.document
        where, key = self._find(path)
        value = _MISSING if where is None else _get(where, key)
        if value is _MISSING:
            raise _no(f"{verb} operation does not apply: doc is missing from path: {path}: missing value")
        return where, key, value

    def _move(self, path: str, one: dict[str, Any]) -> None:
        where, key, value = self._take("move", one)
        if where is None or path.startswith(f"{one['from']}/"):
            raise _no(f"move operation does not apply: {path} is inside of {one['from']}")
        _drop(where, key, f"error in move for path: '{key}'")
        self._put(path, value, "move")

    def _copy(self, path: str, one: dict[str, Any]) -> None:
        _, _, value = self._take("copy", one)
        self.copied += len(codec.encode(value))
        if self.copied > MAX_COPIED:
            raise PatchError(
                f"Unable to complete the copy, the accumulated size increase of copy is {self.copied}, "
                f"exceeding the limit {MAX_COPIED}",
                413,
            )
        self._put(path, copied(value), "copy")

    def _test(self, path: str, one: dict[str, Any]) -> None:
        wanted = one.get("value")
        if not path:
            found = self.document
        else:
            where, key = self._find(path)
            if where is None:
                raise _no(f"test operation does not apply: is missing path: {path}: missing value")
            found = _get(where, key)
            if found is _MISSING:
                raise _no(f"error in test for path: '{path}': missing value")
        if not same(found, wanted):
            raise _no(f"testing value {path} failed: test failed")


def _text(one: dict[str, Any], field: str) -> str:
    found = one.get(field)
    if not isinstance(found, str):
        raise _no(f"{one['op']} operation failed to decode {field}: missing value")
    return found


def _value(one: dict[str, Any]) -> Any:
    if "value" not in one:
        raise _no(f"{one['op']} operation, missing value field: missing value")
    return one["value"]


def _index(key: str, size: int, where: str) -> int:
    """An array index below `size`; negative ones count from the end."""
    if not _INDEX.fullmatch(key):
        raise _no(f"{where}: value was not a proper array index: '{key}'")
    at = int(key)
    if not -size <= at < size:
        raise _no(f"{where}: Unable to access invalid index: {at}: invalid index referenced")
    return at + size if at < 0 else at


def _get(where: Any, key: str) -> Any:
    if isinstance(where, dict):
        return where.get(key, _MISSING)
    if isinstance(where, list) and _INDEX.fullmatch(key) and -len(where) <= int(key) < len(where):
        return where[int(key)]
    return _MISSING


def _drop(where: Any, key: str, text: str) -> None:
    if isinstance(where, dict):
        if key not in where:
            raise _no(f"{text}: Unable to remove nonexistent key: {key}: missing value")
        del where[key]
    else:
        del where[_index(key, len(where), text)]
