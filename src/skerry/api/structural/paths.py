"""The simple JSONPaths of printer columns, selectable fields and scales: `.spec.ports[0].name`. Pure.

Called by the API server's custom kinds. Filters are read as kubectl's JSONPath reads them: `[?(@.type=="Ready")]`.
"""

from __future__ import annotations

import re
from typing import Any

_PART = re.compile(
    r"""
        \.(?P<name>[^.\[\]\\]*(?:\\.[^.\[\]\\]*)*)
      | \[\?\(\s*@(?P<path>(?:\.[^\s=!<>)]+)?)\s*
            (?:(?P<op>==|!=|<=|>=|<|>)\s*(?P<value>"[^"]*"|'[^']*'|[^)\s]+))?\s*\)\]
      | \[(?P<quoted>"[^"]*"|'[^']*')\]
      | \[(?P<index>-?\d+)\]
      | \[(?P<every>\*|:)\]""",
    re.VERBOSE,
)


class Path:
    """A path, read once. ValueError if it cannot be read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._steps: list[re.Match[str]] = []
        source = text if text.startswith((".", "[")) else f".{text}"
        at = 0
        while at < len(source):
            found = _PART.match(source, at)
            if found is None:
                raise ValueError(f"unrecognized path {text!r}")
            self._steps.append(found)
            at = found.end()

    def find(self, value: Any) -> list[Any]:
        """All that is there."""
        found = [value]
        for step in self._steps:
            found = [inner for one in found for inner in _step(step, one)]
        return found

    def first(self, value: Any) -> Any:
        """The first that is there, or None."""
        return next(iter(self.find(value)), None)


def _step(step: re.Match[str], value: Any) -> list[Any]:
    if step["name"] is not None or step["quoted"] is not None:
        name = step["quoted"][1:-1] if step["quoted"] is not None else re.sub(r"\\(.)", r"\1", step["name"])
        if not name:
            return [value]
        if name == "*":
            return list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, list) else []
        return [value[name]] if isinstance(value, dict) and name in value else []
    if step["index"] is not None:
        index = int(step["index"])
        return [value[index]] if isinstance(value, list) and -len(value) <= index < len(value) else []
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if step["every"] is not None:
        return inner
    return [one for one in inner if _filtered(step, one)]


def _filtered(step: re.Match[str], value: Any) -> bool:
    found = Path(step["path"]).find(value) if step["path"] else [value]
    if not found:
        return False
    if step["op"] is None:
        return True
    text = step["value"]
    wanted: Any = text[1:-1] if text[0] in "\"'" else {"true": True, "false": False}.get(text, text)
    left = found[0]
    if isinstance(left, int | float) and not isinstance(left, bool) and isinstance(wanted, str):
        try:
            wanted = float(wanted)
        except ValueError:
            return False
    match step["op"]:
        case "==":
            return bool(left == wanted)
        case "!=":
            return bool(left != wanted)
    try:
        return bool({"<": left < wanted, ">": left > wanted, "<=": left <= wanted, ">=": left >= wanted}[step["op"]])
    except TypeError:
        return False


def dotted(value: Any, path: str) -> Any:
    """What is at `.spec.replicas`, or None; for scales, whose paths have names only."""
    for name in path.removeprefix(".").split("."):
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    return value


def printed(value: Any) -> str:
    """A value as kubectl's JSONPath prints it."""
    from skerry.api import codec

    if isinstance(value, str):
        return value
    return codec.encode(value).decode()
