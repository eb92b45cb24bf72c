"""Label and field selectors: parsing and matching. Called by the API server, controllers and every list or watch.

A selector is a conjunction of requirements; the text form is the one of the `labelSelector` query parameter.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from skerry.api.numerals import whole
from skerry.api.types import meta

_TOKEN = re.compile(r"\s*(?:(notin|in)(?=\s*\()|(==|!=|[(),!=<>])|([^\s(),!=<>]+))")
_NAME = re.compile(r"^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]\Z")
_SUBDOMAIN = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")


@dataclass(frozen=True, slots=True)
class Requirement:
    """`key operator values`; operators: in, notin, exists, !exists, gt, lt."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return holds(labels.get(self.key), self.operator, self.values)


def holds(value: str | None, operator: str, values: Collection[str]) -> bool:
    """Whether a label's value (None: there is no such label) meets a requirement; `operator` as in `Requirement`."""
    match operator:
        case "in":
            return value is not None and value in values
        case "notin":
            return value is None or value not in values
        case "exists":
            return value is not None
        case "!exists":
            return value is None
    try:
        number, bound = int(value or ""), int(next(iter(values), ""))
    except ValueError:
        return False
    return number > bound if operator == "gt" else number < bound


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements must hold; none at all matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(one.matches(labels) for one in self.requirements)

    def __bool__(self) -> bool:
        return bool(self.requirements)


EVERYTHING = Selector()
NOTHING = Selector((Requirement("", "in"),))


def valid_key(key: str) -> bool:
    """Whether this can be a label's key: an optional DNS subdomain, a slash, a name of at most 63 characters."""
    prefix, slash, name = key.rpartition("/")
    if slash and not (len(prefix) <= 253 and _SUBDOMAIN.match(prefix)):
        return False
    return len(name) <= 63 and bool(_NAME.match(name))


def valid_value(value: str) -> bool:
    """Whether this can be a label's value: empty, or at most 63 characters that begin and end alphanumeric."""
    return not value or (len(value) <= 63 and bool(_NAME.match(value)))


def parse(text: str) -> Selector:
    """A selector from its text: `a=b,c in (d,e),!f,g!=h`. ValueError says what cannot be read."""
    tokens = _tokens(text)
    made: list[Requirement] = []
    while tokens:
        made.append(_requirement(tokens, text))
        if tokens:
            if tokens.pop(0) != ",":
                raise ValueError(f"unable to parse requirement: found '{text}', expected: ',' or 'end of string'")
            if not tokens:
                raise ValueError(f"unable to parse requirement: found '', expected: identifier after ',' in '{text}'")
    return Selector(tuple(made))


def _tokens(text: str) -> list[str]:
    out: list[str] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match:
            raise ValueError(f"unable to parse requirement: cannot read '{text[at:]}'")
        out.append(match.group(1) or match.group(2) or match.group(3))
        at = match.end()
    return out


def _requirement(tokens: list[str], text: str) -> Requirement:
    first = tokens.pop(0)
    if first == "!":
        return Requirement(_key(tokens.pop(0) if tokens else ""), "!exists")
    key = _key(first)
    if not tokens or tokens[0] == ",":
        return Requirement(key, "exists")
    operator = tokens.pop(0)
    if operator in ("in", "notin"):
        values = _values(tokens, text)
        return Requirement(key, operator, frozenset(values))
    value = "" if not tokens or tokens[0] == "," else tokens.pop(0)
    if operator in ("=", "=="):
        return Requirement(key, "in", frozenset([_value(key, value)]))
    if operator == "!=":
        return Requirement(key, "notin", frozenset([_value(key, value)]))
    if operator in ("<", ">") and whole(value.removeprefix("-")) is not None:
        return Requirement(key, "gt" if operator == ">" else "lt", frozenset([value]))
    raise ValueError(f"unable to parse requirement: found '{operator}', expected: in, notin, =, ==, !=, gt, lt")


def _values(tokens: list[str], text: str) -> list[str]:
    if not tokens or tokens.pop(0) != "(":
        raise ValueError(f"unable to parse requirement: expected: '(' in '{text}'")
    out: list[str] = []
    want = True
    while tokens:
        token = tokens.pop(0)
        if token == ")":
            return [*out, ""] if want and out else out or [""]
        if token == ",":
            if want:
                out.append("")
            want = True
        else:
            out.append(_value("", token))
            want = False
    raise ValueError(f"unable to parse requirement: expected: ')' in '{text}'")


def _key(key: str) -> str:
    if not valid_key(key):
        raise ValueError(f"unable to parse requirement: '{key}' is not a valid label key")
    return key


def _value(key: str, value: str) -> str:
    if not valid_value(value):
        raise ValueError(f'unable to parse requirement: values[0][{key}]: Invalid value: "{value}"')
    return value


def from_map(labels: Mapping[str, str]) -> Selector:
    """A selector that wants exactly these labels (a Service's, a ReplicationController's)."""
    return Selector(tuple(Requirement(key, "in", frozenset([labels[key]])) for key in sorted(labels)))


def from_selector(selector: meta.LabelSelector | None) -> Selector:
    """From the structured form. None selects nothing, an empty one everything. ValueError for an unknown operator."""
    if selector is None:
        return NOTHING
    made = list(from_map(selector.match_labels).requirements)
    for one in selector.match_expressions:
        operator = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!exists"}.get(one.operator)
        if operator is None:
            raise ValueError(f'"{one.operator}" is not a valid label selector operator')
        made.append(Requirement(one.key, operator, frozenset(one.values)))
    return Selector(tuple(made))


def text(selector: Selector) -> str:
    """The text form, which `parse` reads back."""
    return ",".join(_text(one) for one in selector.requirements)


def _text(one: Requirement) -> str:
    values = sorted(one.values)
    match one.operator:
        case "exists":
            return one.key
        case "!exists":
            return "!" + one.key
        case "gt" | "lt":
            return f"{one.key}{'>' if one.operator == 'gt' else '<'}{values[0]}"
        case "in" if len(values) == 1:
            return f"{one.key}={values[0]}"
        case "notin" if len(values) == 1:
            return f"{one.key}!={values[0]}"
    return f"{one.key} {one.operator} ({','.join(values)})"


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    path: str
    equal: bool
    value: str


def parse_fields(text: str) -> tuple[FieldRequirement, ...]:
    """A field selector: `metadata.name=a,status.phase!=Running`. ValueError says what cannot be read."""
    out: list[FieldRequirement] = []
    for part in filter(None, (one.strip() for one in re.split(r"(?<!\\),", text))):
        match = re.match(r"^([^=!]+)(!=|==|=)(.*)$", part)
        if not match:
            raise ValueError(f"invalid selector: '{text}'; can't understand '{part}'")
        value = re.sub(r"\\(.)", r"\1", match.group(3))
        out.append(FieldRequirement(match.group(1), match.group(2) != "!=", value))
    return tuple(out)


def fields_match(requirements: Iterable[FieldRequirement], fields: Mapping[str, str]) -> bool:
    """Whether an object with these field values is selected; a field that is absent counts as empty."""
    return all((fields.get(one.path, "") == one.value) == one.equal for one in requirements)
