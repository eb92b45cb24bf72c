"""The formats that a schema's strings may have; others are only told of. Called by values.py and rules.py."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from datetime import date, datetime
from urllib.parse import urlsplit

from skerry.api.validation import names

_HEX = "[0-9a-fA-F]"


def _matches(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern, re.ASCII)
    return lambda text: compiled.fullmatch(text) is not None


def _reads(read: Callable[[str], object]) -> Callable[[str], bool]:
    def good(text: str) -> bool:
        try:
            read(text)
        except ValueError:
            return False
        return True

    return good


def _uuid(middle: str) -> Callable[[str], bool]:
    return _matches(f"{_HEX}{{8}}-?{_HEX}{{4}}-?{middle}-?{_HEX}{{12}}")


def _uri(text: str) -> bool:
    try:
        found = urlsplit(text)
    except ValueError:
        return False
    return bool(found.scheme) or text.startswith("/")


def _email(text: str) -> bool:
    address = re.fullmatch(r"[^<>]*<([^<>]+)>", text)
    return re.fullmatch(r"[^@\s]+@[^@\s]+", address[1] if address else text) is not None


def _base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _cidr(text: str) -> bool:
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return False
    return "/" in text and text.rpartition("/")[2].isdigit()


def _isbn(text: str) -> bool:
    digits = text.replace("-", "").replace(" ", "")
    if re.fullmatch(r"\d{9}[\dX]", digits):
        return sum((10 - at) * (10 if one == "X" else int(one)) for at, one in enumerate(digits)) % 11 == 0
    if re.fullmatch(r"\d{13}", digits):
        return sum((3 if at % 2 else 1) * int(one) for at, one in enumerate(digits)) % 10 == 0
    return False


def _card(text: str) -> bool:
    digits = re.sub(r"\D", "", text)
    if not re.fullmatch(r"\d{13,19}", digits):
        return False
    doubled = [int(one) * (1 + at % 2) for at, one in enumerate(reversed(digits))]
    return sum(one - 9 if one > 9 else one for one in doubled) % 10 == 0


_DURATION = r"[+-]?(0|((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)|\d+(\.\d+)?\s*[a-zµμ]+(\s+\d+(\.\d+)?\s*[a-z]+)*"
_DATE_TIME = r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d([.,]\d+)?(Z|z|[+-]\d\d:?\d\d)?"
_HOST = r"(?=.{1,253}$)[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*\.?"


def _moment(text: str) -> bool:
    if not re.fullmatch(_DATE_TIME, text):
        return False
    try:
        datetime.fromisoformat(text.upper().replace(",", "."))
    except ValueError:
        return False
    return True


FORMATS: dict[str, Callable[[str], bool]] = {
    "bsonobjectid": _matches(f"{_HEX}{{24}}"),
    "uri": _uri,
    "email": _email,
    "hostname": _matches(_HOST),
    "ipv4": _reads(ipaddress.IPv4Address),
    "ipv6": _reads(ipaddress.IPv6Address),
    "cidr": _cidr,
    "mac": _matches(f"({_HEX}{{2}}[:-]){{5}}{_HEX}{{2}}|({_HEX}{{4}}\\.){{2}}{_HEX}{{4}}"),
    "uuid": _uuid(f"{_HEX}{{4}}-?{_HEX}{{4}}"),
    "uuid3": _uuid(f"3{_HEX}{{3}}-?{_HEX}{{4}}"),
    "uuid4": _uuid(f"4{_HEX}{{3}}-?[89abAB]{_HEX}{{3}}"),
    "uuid5": _uuid(f"5{_HEX}{{3}}-?[89abAB]{_HEX}{{3}}"),
    "isbn": _isbn,
    "isbn10": lambda text: len(text.replace("-", "").replace(" ", "")) == 10 and _isbn(text),
    "isbn13": lambda text: len(text.replace("-", "").replace(" ", "")) == 13 and _isbn(text),
    "creditcard": _card,
    "ssn": _matches(r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "hexcolor": _matches(f"#?({_HEX}{{3}}|{_HEX}{{6}})"),
    "rgbcolor": _matches(r"rgb\(\s*\d{1,3}\s*,\s*\d{1,3}\s*,\s*\d{1,3}\s*\)"),
    "byte": _base64,
    "password": lambda _: True,
    "date": _reads(date.fromisoformat),
    "duration": _matches(_DURATION),
    "datetime": _moment,
    "k8sshortname": lambda text: not names.dns1123_label(text),
    "k8slongname": lambda text: not names.dns1123_subdomain(text),
}


def find(name: str) -> Callable[[str], bool] | None:
    """The check of a string's format; None if nobody knows it (then every string has it)."""
    return FORMATS.get(name.replace("-", ""))


def known(name: str, kind: str) -> bool:
    """Whether a format means anything for values of a type."""
    if kind in ("", "string"):
        return find(name) is not None
    allowed = {"integer": ("int32", "int64"), "number": ("float", "double")}
    return name in allowed.get(kind, ())
