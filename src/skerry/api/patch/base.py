"""What all patches share: the error and copies of plain values."""

from __future__ import annotations

from typing import Any


class PatchError(ValueError):
    """A patch that is malformed (code 400), too large (413), or does not apply to this object (422).

    Upstream answers a 422 with "the server rejected our request due to an error in our request" and keeps the reason
    to itself; the others have their text as the message.
    """

    def __init__(self, message: str, code: int = 400) -> None:
        super().__init__(message)
        self.code = code


def copied(value: Any) -> Any:
    """A deep copy of plain values."""
    if isinstance(value, dict):
        return {key: copied(one) for key, one in value.items()}
    if isinstance(value, list):
        return [copied(one) for one in value]
    return value


def same(left: Any, right: Any) -> bool:
    """Equality as JSON has it, where true is not 1."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(one, right[key]) for key, one in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def shown(value: Any) -> str:
    """A value as Go's %v prints it: map[a:b], [1 2]."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{shown(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(shown, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)
