"""Patterns of schemas are of Go's syntax (RE2): made into ours here. Called by values.py and rules.py.

The differences that real definitions have: flags in the middle (`^(?i)a|b$`), `$` as the very end, named classes.
"""

from __future__ import annotations

import functools
import re

_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "digit": "0-9",
    "lower": "a-z",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\t\\n\\v\\f\\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_FLAGS = re.compile(r"\(\?([imsU-]+)\)")
_CLASS = re.compile(r"\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]", re.DOTALL)
_LETTERS = {"L": "^\\W\\d_", "{L}": "^\\W\\d_", "N": "\\d", "{N}": "\\d", "{Nd}": "\\d"}


@functools.lru_cache(2048)
def regexp(pattern: str) -> re.Pattern[str]:
    """A compiled pattern; to be used with `search`. re.error if it is none."""
    return re.compile(_translated(pattern), re.ASCII if "\\p" not in pattern else 0)


def _translated(pattern: str) -> str:
    """Flags hold until the end of their group, over its alternatives too; ours need a group around each of these."""
    out: list[str] = []
    # For each open group, the flags that were set in it.
    open_: list[list[str]] = [[]]
    at = 0
    while at < len(pattern):
        flags = _FLAGS.match(pattern, at)
        if flags:
            open_[-1].append(flags[1].replace("U", ""))
            out.append(f"(?{open_[-1][-1]}:")
            at = flags.end()
            continue
        one = pattern[at]
        if one == "\\":
            piece, at = _escape(pattern, at)
            out.append(piece)
            continue
        if one == "[" and (found := _CLASS.match(pattern, at)):
            out.append(_class(found[0]))
            at = found.end()
            continue
        if one == "(":
            open_.append([])
            out.append("(")
        elif one == ")":
            out.append(")" * len(open_[-1]) + ")")
            if len(open_) > 1:
                open_.pop()
        elif one == "|":
            out.append(")" * len(open_[-1]) + "|" + "".join(f"(?{flag}:" for flag in open_[-1]))
        elif one == "$" and not any("m" in flag for flag in open_[-1]):
            out.append("\\Z")
        else:
            out.append(one)
        at += 1
    return "".join(out) + ")" * len(open_[0])


def _escape(pattern: str, at: int) -> tuple[str, int]:
    letter = pattern[at + 1 : at + 2]
    if letter == "z":
        return "\\Z", at + 2
    if letter == "Q":
        end = pattern.find("\\E", at)
        end = len(pattern) if end < 0 else end
        return re.escape(pattern[at + 2 : end]), end + 2
    if letter == "p":
        end = pattern.find("}", at) + 1 if pattern[at + 2 : at + 3] == "{" else at + 3
        name = pattern[at + 2 : end]
        if name not in _LETTERS:
            raise re.error(f"Skerry knows no character class \\p{name}", pattern, at)
        return f"[{_LETTERS[name]}]", end
    return pattern[at : at + 2], at + 2


def _class(text: str) -> str:
    """A bracket expression with its named classes written out; a bracket inside stands for itself."""
    inner = re.sub(r"\[:(\w+):\]", lambda found: _CLASSES.get(found[1], found[0]), text[1:-1])
    return "[" + re.sub(r"(?<!\\)\[", r"\\[", inner) + "]"
