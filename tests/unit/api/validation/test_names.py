"""Forms of names and the sentences about bad ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api import labels
from skerry.api.validation import names

LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


@pytest.mark.parametrize(
    ("check", "value", "wanted"),
    [
        (names.dns1123_label, "web-1", []),
        (names.dns1123_label, "1", []),
        (names.dns1123_label, "Web", [LABEL]),
        (names.dns1123_label, "a.b", ["must not contain dots"]),
        (names.dns1123_label, "a" * 64, ["must be no more than 63 characters"]),
        (names.dns1123_subdomain, "a.b-c.d", []),
        (names.dns1123_subdomain, "a..b", [SUBDOMAIN]),
        (names.dns1123_subdomain, "a\n", [SUBDOMAIN]),
        (names.dns1123_subdomain, "a" * 254, ["must be no more than 253 characters"]),
        (names.port_name, "http", []),
        (names.port_name, "a--b", ["must not contain consecutive hyphens"]),
        (names.port_name, "80", ["must contain at least one letter (a-z)"]),
        (names.port_name, "-a", ["must not begin or end with a hyphen"]),
        (names.port_name, "a" * 16, ["must be no more than 15 characters"]),
        (names.port_name, "Http", ["must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"]),
        (names.env_name, "A.b-1", []),
        (names.env_name, "A B", []),
        (names.env_name, "", ["environment variable name must be non-empty"]),
        (names.config_key, "..a", ["must not start with '..'"]),
        (names.config_key, "..", ["must not be '..'"]),
        (names.path_segment, "a/b%", ["may not contain '/'", "may not contain '%'"]),
        (names.path_segment, ".", ["may not be '.'"]),
        (names.wildcard_subdomain, "*.a.b", []),
        (names.qualified_name, "example.com/A_b.c", []),
        (names.qualified_name, "/a", ["prefix part must be non-empty"]),
        (names.as_prefix(names.dns1123_label), "web-", []),
    ],
)
def test_names(check: names.Check, value: str, wanted: list[str]) -> None:
    assert check(value) == wanted


@pytest.mark.parametrize("value", ["*", "*a.b", "a.*.b", "*.*.b"])
def test_i2_bad_wildcards(value: str) -> None:
    assert names.wildcard_subdomain(value)


@pytest.mark.parametrize("value", ["0", "65536", "-1"])
def test_s12_port_numbers(value: str) -> None:
    assert names.port_number(int(value)) == ["must be between 1 and 65535, inclusive"]


@given(st.text(alphabet="aA0-_./é\n", max_size=80))
def test_label_keys_agree_with_selectors(key: str) -> None:
    """What a label's key may be is decided in two places; they must not differ."""
    assert (not names.qualified_name(key)) == labels.valid_key(key) or key.count("/") > 1


@given(st.text(alphabet="aA0-_./é\n", max_size=70))
def test_label_values_agree_with_selectors(value: str) -> None:
    assert (not names.label_value(value)) == labels.valid_value(value)


@given(st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True))
def test_every_label_is_a_subdomain_and_a_prefix_of_one(value: str) -> None:
    assert not names.dns1123_label(value)
    assert not names.dns1123_subdomain(f"{value}.{value}")
    assert not names.as_prefix(names.dns1123_label)(f"{value}-")
