"""YAML bodies as plain JSON values, read as upstream reads them. Called by the API server.

Upstream turns YAML 1.1 into JSON: yes, no, on, off, y and n are booleans, dates stay strings, keys become strings,
`<<` merges. Values are built from parser events with no recursion, so that neither depth nor aliases can hurt.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from skerry.api.patch.base import copied
from skerry.api.schema import MAX_DEPTH

MAX_ALIASED = 50_000  # values that aliases may add to a document

_Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_TAG = "tag:yaml.org,2002:"
_BOOLS = {
    word: value
    for value, words in ((True, "y yes true on"), (False, "n no false off"))
    for lower in words.split()
    for word in (lower, lower.capitalize(), lower.upper())
}
_TAGGED: dict[str, tuple[type[Any], ...]] = {
    f"{_TAG}int": (int,),
    f"{_TAG}float": (int, float),
    f"{_TAG}bool": (bool,),
    f"{_TAG}null": (type(None),),
}
_NULLS = ("", "~", "null", "Null", "NULL")
_INT = re.compile(r"[-+]?(?:0b[01]+|0x[0-9a-fA-F]+|0o?[0-7]+|[1-9][0-9]*|0)", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", re.ASCII)


def load(data: bytes, duplicates: list[str] | None = None) -> Any:
    """The one document in `data` as plain values. ValueError in upstream's words if it is none.

    Of keys given twice the last wins; `duplicates`, if given, gets the sentence that upstream's strict reader says.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ValueError("yaml: invalid Unicode character") from None
    try:
        builder = _Builder()
        for event in yaml.parse(text, Loader=_Loader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        raise ValueError(f"yaml: line {line}: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"yaml: {error}") from None
    if builder.twice and duplicates is not None:
        duplicates.append("yaml: unmarshal errors:\n" + "\n".join(f"  {one}" for one in builder.twice[:100]))
    return builder.document


class _Frame:
    """A list or mapping that is still open. `size` counts the values in it, those of aliases as often as they show."""

    __slots__ = ("anchor", "into", "key", "merged", "size")

    def __init__(self, into: list[Any] | dict[str, Any], anchor: str | None) -> None:
        self.into, self.anchor = into, anchor
        self.key: str | None = None
        self.merged: list[Any] = []
        self.size = 1


class _Builder:
    """Values out of parser events."""

    def __init__(self) -> None:
        self.document: Any = None
        self.twice: list[str] = []
        self.stack: list[_Frame] = []
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.aliased = 0
        self.documents = 0

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            plain = bool(event.implicit[0]) if event.tag is None else False
            self._add(_scalar(event, plain), 1, event, event.anchor, plain)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            frame = self.stack.pop()
            if isinstance(frame.into, dict):
                _merge(frame)
            self._add(frame.into, frame.size, event, frame.anchor)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise ValueError(f"yaml: line {_line(event)}: expected a single document in the stream")

    def _open(self, event: Any) -> None:
        if event.tag not in (None, "!", f"{_TAG}seq", f"{_TAG}map"):
            raise ValueError(f"yaml: line {_line(event)}: unsupported tag {event.tag}")
        if len(self.stack) >= MAX_DEPTH:
            raise ValueError("yaml: exceeded max depth")
        frame = self.stack[-1] if self.stack else None
        if frame is not None and isinstance(frame.into, dict) and frame.key is None:
            raise ValueError(f"yaml: line {_line(event)}: a map key must be a scalar")
        made = _Frame([] if isinstance(event, yaml.SequenceStartEvent) else {}, event.anchor)
        self.stack.append(made)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self.anchors:
            raise ValueError(f"yaml: unknown anchor '{event.anchor}' referenced")
        value, size = self.anchors[event.anchor]
        self.aliased += size
        if self.aliased > MAX_ALIASED:
            raise ValueError("yaml: document contains excessive aliasing")
        self._add(copied(value), size, event, None)

    def _add(self, value: Any, size: int, event: Any, anchor: str | None, plain: bool = False) -> None:
        if anchor:
            self.anchors[anchor] = (value, size)
        if not self.stack:
            self.document = value
            return
        frame = self.stack[-1]
        frame.size += size
        if isinstance(frame.into, list):
            frame.into.append(value)
        elif frame.key is None:
            frame.key = "<<" if plain and event.value == "<<" else _key(value, event)
            if frame.key in frame.into:
                self.twice.append(f'line {_line(event)}: key "{frame.key}" already set in map')
        elif frame.key == "<<":
            frame.merged.append(value)
            frame.key = None
        else:
            frame.into[frame.key] = value
            frame.key = None


def _line(event: Any) -> int:
    line: int = event.start_mark.line
    return line + 1


def _merge(frame: _Frame) -> None:
    """What `<<` brings: only what the mapping does not have itself; of several sources the first wins."""
    assert isinstance(frame.into, dict)
    for value in frame.merged:
        for source in value if isinstance(value, list) else [value]:
            if not isinstance(source, dict):
                raise ValueError("yaml: map merge requires map or sequence of maps as the value")  # noqa: TRY004 - malformed text
            for key, one in source.items():
                frame.into.setdefault(key, one)


def _key(value: Any, event: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise ValueError(f"yaml: line {_line(event)}: a map key must be a string, a number or a boolean")


def _scalar(event: Any, plain: bool) -> Any:
    text, tag = event.value, event.tag
    if plain:
        return _plain(text)
    if tag in (None, "!", f"{_TAG}str", f"{_TAG}binary", f"{_TAG}timestamp"):
        return text
    value = _plain(text)
    if type(value) not in _TAGGED.get(tag, ()):
        raise ValueError(f"yaml: line {_line(event)}: cannot decode !!str `{text}` as a {tag}")
    return value


def _plain(text: str) -> Any:
    """What an unquoted word means."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if text[0] not in "+-.0123456789":
        return text
    digits = text.replace("_", "")
    if _INT.fullmatch(digits) and len(digits) <= 100:
        sign = -1 if digits[0] == "-" else 1
        number = digits.lstrip("+-")
        octal = number[0] == "0" and number[1:].isdigit()
        return sign * int(number, 8 if octal else 0)
    if _FLOAT.fullmatch(digits):
        value = float(digits)
        if not math.isfinite(value):
            raise ValueError(f"yaml: {text} is out of range")
        return int(value) if value.is_integer() and abs(value) < 1e21 else value
    if _NO_NUMBER.fullmatch(text):
        raise ValueError(f"yaml: {text} cannot be written as JSON")
    return text
