"""IP addresses and CIDRs, their spellings, and those that nobody may use (S17, V5).

`10.0.0.010` and `::ffff:10.0.0.1` were good once: since 1.36 they are refused, except where an object has them already.
`parse` reads them all the same, `canonical` tells what they mean.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Collection

from skerry.api.status import FieldError, field_invalid

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LONGEST = 64  # what is longer is not worth remembering
_IP_SAYS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_CIDR_SAYS = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def parse(text: str) -> Address | None:
    """The address that `text` means, leading zeros being no octal; None if it is none. Zones are not addresses."""
    return _read(text) if len(text) <= _LONGEST else _read.__wrapped__(text)


@functools.lru_cache(4096)
def _read(text: str) -> Address | None:
    """Every address is looked at five times on its way into the store, by one check after another."""
    if "%" in text or not text.isascii():
        return None
    try:
        if ":" not in text:
            return ipaddress.IPv4Address(".".join(str(int(one)) for one in text.split(".") if _octet(one)))
        found = ipaddress.IPv6Address(text)
    except ValueError:
        return None
    return found.ipv4_mapped or found


def _octet(text: str) -> bool:
    if not text.isdecimal():
        raise ValueError(text)
    return True


def canonical(text: str) -> str | None:
    """The one right spelling of an address, or None if it is none."""
    found = parse(text)
    return None if found is None else str(found)


def as_name(text: str) -> list[str]:
    """What is wrong with an address as the name of an object: it must be written in the one right way."""
    found = canonical(text)
    if found is None:
        return [f'ParseAddr("{text}"): unable to parse IP']
    return [] if found == text else ["must be a canonical format IP address"]


def family(text: str) -> str:
    """`IPv4`, `IPv6`, or empty if `text` is no address."""
    found = parse(text)
    return "" if found is None else f"IPv{found.version}"


def _leading_zero(text: str) -> bool:
    return any(len(part) > 1 and part[0] == "0" for part in text.split("."))


def _mapped(text: str) -> bool:
    return ":" in text and ipaddress.IPv6Address(text).ipv4_mapped is not None


def address(path: str, text: str, known: Collection[str] = ()) -> list[FieldError]:
    """An address; one of `known` (the object's old ones) may be spelled oddly."""
    if parse(text) is None:
        return [field_invalid(path, text, _IP_SAYS)]
    if text in known:
        return []
    if _mapped(text):
        return [field_invalid(path, text, "must not be an IPv4-mapped IPv6 address")]
    if ":" not in text and _leading_zero(text):
        return [field_invalid(path, text, "must not have leading 0s")]
    return []


def cidr(path: str, text: str, known: Collection[str] = ()) -> list[FieldError]:
    """A network; one of `known` (the object's old ones) may be spelled oddly."""
    ip, slash, bits = text.partition("/")
    found = parse(ip)
    if not slash or found is None or not bits.isdecimal() or int(bits) > (128 if ":" in ip else 32):
        return [field_invalid(path, text, _CIDR_SAYS)]
    if text in known:
        return []
    if _mapped(ip):
        return [field_invalid(path, text, "must not have an IPv4-mapped IPv6 address")]
    if (":" not in ip and _leading_zero(ip)) or (len(bits) > 1 and bits[0] == "0"):
        return [field_invalid(path, text, "must not have leading 0s in IP or prefix length")]
    if ipaddress.ip_interface(f"{found}/{bits}").network.network_address != found:
        return [field_invalid(path, text, "must not have bits set beyond the prefix length")]
    return []


def not_special(path: str, text: str) -> list[FieldError]:
    """V5: no address that can never be a service's or an endpoint's. Empty for what is no address at all."""
    found = parse(text)
    if found is None:
        return []
    out: list[FieldError] = []
    if found.is_unspecified:
        out.append(field_invalid(path, text, f"may not be unspecified ({text})"))
    if found.is_loopback:
        out.append(field_invalid(path, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)"))
    if found.is_link_local:
        out.append(field_invalid(path, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"))
    if _link_local_multicast(found):
        why = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        out.append(field_invalid(path, text, why))
    return out


def _link_local_multicast(found: Address) -> bool:
    packed = found.packed
    if found.version == 4:
        return packed[:3] == b"\xe0\x00\x00"
    return packed[0] == 0xFF and packed[1] & 0x0F == 0x02


def endpoint(path: str, text: str, known: Collection[str] = ()) -> list[FieldError]:
    """An address and not a special one."""
    return address(path, text, known) or not_special(path, text)
