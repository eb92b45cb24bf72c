"""Which strings are good names, and what upstream says of those that are not.

Every function takes a value and returns the complaints about it, none if it is good; callers in this folder put the
field's path in front. The forms and the sentences are part of the API: clients show them and tests compare them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

Check = Callable[[str], list[str]]

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_UNDERSCORED = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SUBDOMAIN_UNDERSCORED = rf"{_UNDERSCORED}(\.{_UNDERSCORED})*"
_WILDCARD = rf"\*\.{_SUBDOMAIN}"
_KEY = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_KEY})?"
_HTTP_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"
_PERCENT = "[0-9]+%"
_HEADER = "[-A-Za-z0-9]+"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"

_label = re.compile(_LABEL)
_label_1035 = re.compile(_LABEL_1035)
_subdomain = re.compile(_SUBDOMAIN)
_subdomain_underscored = re.compile(_SUBDOMAIN_UNDERSCORED)
_wildcard = re.compile(_WILDCARD)
_key = re.compile(_KEY)
_value = re.compile(_VALUE)
_http_path = re.compile(_HTTP_PATH)
_percent = re.compile(_PERCENT)
_header = re.compile(_HEADER)
_config_key = re.compile(_CONFIG_KEY)
_env = re.compile("[ -<>-~]*")
_port_name = re.compile("[-a-z0-9]+")

_LABEL_SAYS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character"
)
_LABEL_1035_SAYS = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
    "start with an alphabetic character, and end with an alphanumeric character"
)
_SUBDOMAIN_SAYS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, {}'-' or '.', "
    "and must start and end with an alphanumeric character"
)
_WILDCARD_SAYS = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
    "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character"
)
_KEY_SAYS = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
_VALUE_SAYS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)
_PERCENT_SAYS = "a valid percent string must be a numeric string followed by an ending '%'"
_CONFIG_KEY_SAYS = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
_ENV_SAYS = "a valid environment variable name must consist only of printable ASCII characters other than '='"


def regex_text(says: str, regex: str, *examples: str) -> str:
    """A complaint with its examples and regular expression, in upstream's form."""
    if not examples:
        return f"{says} (regex used for validation is '{regex}')"
    shown = " or ".join(f"'{one}', " for one in examples)
    return f"{says} (e.g. {shown}regex used for validation is '{regex}')"


def range_text(low: int, high: int) -> str:
    """`must be between 1 and 65535, inclusive`."""
    return f"must be between {low} and {high}, inclusive"


def _length(value: str, limit: int, unit: str = "characters") -> list[str]:
    return [f"must be no more than {limit} {unit}"] if len(value.encode()) > limit else []


def dns1123_label(value: str) -> list[str]:
    """One DNS label: at most 63 of a-z, 0-9 and hyphens inside."""
    out = _length(value, 63)
    if not _label.fullmatch(value):
        if _subdomain.fullmatch(value):
            return [*out, "must not contain dots"]
        out.append(regex_text(_LABEL_SAYS, _LABEL, "my-name", "123-abc"))
    return out


def dns1035_label(value: str) -> list[str]:
    """One DNS label that begins with a letter (S8)."""
    out = _length(value, 63)
    if not _label_1035.fullmatch(value):
        out.append(regex_text(_LABEL_1035_SAYS, _LABEL_1035, "my-name", "abc-123"))
    return out


def dns1123_subdomain(value: str) -> list[str]:
    """Labels with dots between, at most 253 characters."""
    out = _length(value, 253)
    if not _subdomain.fullmatch(value):
        out.append(regex_text(_SUBDOMAIN_SAYS.format(""), _SUBDOMAIN, "example.com"))
    return out


def dns1123_subdomain_underscored(value: str) -> list[str]:
    """The same with underscores allowed, as DNS search paths have them."""
    out = _length(value, 253)
    if not _subdomain_underscored.fullmatch(value):
        out.append(regex_text(_SUBDOMAIN_SAYS.format("'_', "), _SUBDOMAIN_UNDERSCORED, "example.com"))
    return out


def wildcard_subdomain(value: str) -> list[str]:
    """`*.` and a subdomain (I2)."""
    out = _length(value, 253)
    if not _wildcard.fullmatch(value):
        out.append(regex_text(_WILDCARD_SAYS, _WILDCARD, "*.example.com"))
    return out


def qualified_name(value: str) -> list[str]:
    """A label's key: an optional DNS subdomain and slash, then a name of at most 63 characters."""
    parts = value.split("/")
    if len(parts) > 2:
        says = regex_text(_KEY_SAYS, _KEY, "MyName", "my.name", "123-abc")
        return [f"a valid label key {says} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
    out: list[str] = []
    if len(parts) == 2:
        if not parts[0]:
            out.append("prefix part must be non-empty")
        else:
            out += [f"prefix part {one}" for one in dns1123_subdomain(parts[0])]
    name = parts[-1]
    if not name:
        out.append("name part must be non-empty")
    else:
        out += [f"name part {one}" for one in _length(name, 63, "bytes")]
    if not _key.fullmatch(name):
        out.append(f"name part {regex_text(_KEY_SAYS, _KEY, 'MyName', 'my.name', '123-abc')}")
    return out


def label_value(value: str) -> list[str]:
    """A label's value: empty, or at most 63 characters that begin and end alphanumeric."""
    out = _length(value, 63, "bytes")
    if not _value.fullmatch(value):
        out.append(regex_text(_VALUE_SAYS, _VALUE, "MyValue", "my_value", "12345"))
    return out


def path_segment(value: str) -> list[str]:
    """Anything that can be one segment of a URL's path."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{one}'" for one in "/%" if one in value]


def port_number(value: int) -> list[str]:
    """1 to 65535."""
    return [] if 1 <= value <= 65535 else [range_text(1, 65535)]


def port_name(value: str) -> list[str]:
    """An IANA service name: at most 15 of a-z, 0-9 and single hyphens inside, with a letter (S12)."""
    out = _length(value, 15)
    if not _port_name.fullmatch(value):
        out.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value):
        out.append("must contain at least one letter (a-z)")
    if "--" in value:
        out.append("must not contain consecutive hyphens")
    if value and "-" in (value[0], value[-1]):
        out.append("must not begin or end with a hyphen")
    return out


def percent(value: str) -> list[str]:
    """A number and a percent sign."""
    return [] if _percent.fullmatch(value) else [regex_text(_PERCENT_SAYS, _PERCENT, "1%", "93%")]


def http_header(value: str) -> list[str]:
    """The name of an HTTP header."""
    says = "a valid HTTP header must consist of alphanumeric characters or '-'"
    return [] if _header.fullmatch(value) else [regex_text(says, _HEADER, "X-Header-Name")]


def env_name(value: str) -> list[str]:
    """The name of an environment variable: printable ASCII without `=`."""
    if not value:
        return ["environment variable name must be non-empty"]
    return [] if _env.fullmatch(value) else [_ENV_SAYS]


def config_key(value: str) -> list[str]:
    """A key of a ConfigMap or Secret."""
    out = _length(value, 253)
    if not _config_key.fullmatch(value):
        out.append(regex_text(_CONFIG_KEY_SAYS, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    if value in (".", ".."):
        out.append(f"must not be '{value}'")
    elif value.startswith(".."):
        out.append("must not start with '..'")
    return out


def http_path(value: str) -> list[str]:
    """The part after the slash of a domain-prefixed path."""
    return [] if _http_path.fullmatch(value) else [regex_text("Invalid path", _HTTP_PATH)]


@functools.cache
def as_prefix(check: Check) -> Check:
    """The same check for a generateName: a hyphen at its end is no fault, because more follows."""

    def checked(value: str) -> list[str]:
        return check(f"{value[:-2]}a" if len(value) > 1 and value.endswith("-") else value)

    return checked
