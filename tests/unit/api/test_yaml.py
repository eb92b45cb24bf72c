"""YAML bodies as upstream reads them, and the ones that want to hurt."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api import yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1\nb: [x, 'y', \"z\"]", {"a": 1, "b": ["x", "y", "z"]}),
        ("[yes, No, ON, off, true, FALSE, y, n]", [True, False, True, False, True, False, True, False]),
        ("['yes', \"no\", !!str on]", ["yes", "no", "on"]),
        ("[~, null, ]", [None, None]),
        ("a:", {"a": None}),
        ("[1, -2, 0x10, 0b11, 0777, 0o17, 1_000, +5]", [1, -2, 16, 3, 511, 15, 1000, 5]),
        ("[1.5, .5, 1e3, 1.0, -2.5e-3]", [1.5, 0.5, 1000, 1, -0.0025]),
        ("[1:20, 08, 2026-01-02, 2026-01-02T03:04:05Z, 1.2.3, 10.0.0.1, 1e, 0x, .]", [
            "1:20", 8, "2026-01-02", "2026-01-02T03:04:05Z", "1.2.3", "10.0.0.1", "1e", "0x", "."]),
        ("a: !!binary aGk=", {"a": "aGk="}),
        ("{1: a, true: b, 1.5: c, on: d}", {"1": "a", "true": "d", "1.5": "c"}),
        ("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}\nf: {b: 9, <<: *x}", {
            "a": {"b": 1}, "c": {"b": 1}, "d": {"e": 2, "b": 1}, "f": {"b": 9}}),
        ("a: |\n  x\n  y\nb: >\n  x\n  y\n", {"a": "x\ny\n", "b": "x y\n"}),
        ("# nothing", None),
        ("---\na: 1\n...\n", {"a": 1}),
        ('{"json": [1, {"is": "yaml"}]}', {"json": [1, {"is": "yaml"}]}),
    ],
)  # fmt: skip
def test_values(text: str, value: Any) -> None:
    found = yaml.load(text.encode())
    assert found == value
    assert repr(found) == repr(value)  # True is not 1


def test_aliases_are_copies() -> None:
    found = yaml.load(b"a: &x {b: 1}\nc: *x")
    found["a"]["b"] = 2
    assert found["c"] == {"b": 1}


def test_keys_given_twice_are_told_and_the_last_wins() -> None:
    told: list[str] = []
    assert yaml.load(b"a: 1\nb:\n  c: 1\n  c: 2\na: 3\n", told) == {"a": 3, "b": {"c": 2}}
    assert told == [
        'yaml: unmarshal errors:\n  line 4: key "c" already set in map\n  line 5: key "a" already set in map'
    ]
    told.clear()
    yaml.load(b"a: &x {b: 1}\nc: {<<: *x, b: 2}", told)
    assert told == []


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b: c", "yaml: line 1: mapping values are not allowed in this context"),
        ("a: 1\nb: [", "yaml: line "),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("a: *x", "unknown anchor 'x' referenced"),
        ("a: !!python/object/apply:os.system [x]", "unsupported tag"),
        ("a: !foo b", "cannot decode"),
        ("a: !!int x", "cannot decode"),
        ("a: .inf", "cannot be written as JSON"),
        ("? [a]\n: b", "a map key must be a scalar"),
        ("a: {<<: 1}", "map merge requires map"),
        ("a: &a [*a]", "unknown anchor"),
        (BOMB, "excessive aliasing"),
        ("[" * 5000, "yaml: "),
        ("- " * 5000, "exceeded max depth"),
        ("a: \x00", "yaml: "),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        yaml.load(text.encode())
    assert message in str(caught.value)


@given(st.binary(max_size=30) | st.text(alphabet="ab:-[]{}&*<>!|?#'\" \n\t1.~", max_size=30).map(str.encode))
def test_nothing_does_worse_than_value_error(data: bytes) -> None:
    try:
        yaml.load(data)
    except ValueError:
        pass
