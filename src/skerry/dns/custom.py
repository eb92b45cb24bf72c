"""The ConfigMap kube-system/kube-dns: stub domains, other servers, records of one's own, how answers are made. Pure.

`stubDomains` and `upstreamNameservers` are those of kube-dns, which clusters have had since 1.6. `parse` takes all of
it or nothing: `follow` calls it with every change, and what is wrong becomes an event while the last good one holds.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import dnslib

from skerry.dns.answer import Record
from skerry.dns.forward import address_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from skerry.dns.records import PodMode

NAMESPACE, NAME = "kube-system", "kube-dns"
TTL, TTL_MOST = 5, 3600
"""Seconds; D9."""
KEYS = ("hosts", "ignoreEmptyServices", "pods", "records", "searchWalk", "stubDomains", "ttl", "upstreamNameservers")
_POD_MODES = ("insecure", "verified", "disabled")
_HOSTS_TTL = 30


class CustomError(ValueError):
    """What is wrong with the ConfigMap, in one sentence."""


@dataclass(frozen=True, slots=True)
class Custom:
    """What a ConfigMap asks for. Without one: the defaults."""

    ttl: int = TTL
    pods: PodMode = "insecure"
    ignore_empty: bool = False
    walk: bool = True
    stubs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    servers: tuple[str, ...] = ()
    records: tuple[Record, ...] = ()


def parse(data: Mapping[str, str], zone: str) -> Custom:
    """What the ConfigMap's data ask for. CustomError for the first thing that cannot be; `zone` is the cluster's."""
    for key in data:
        if key not in KEYS:
            raise CustomError(f'"{key}" is not known here; keys are {", ".join(KEYS)}')
    return Custom(
        ttl=_seconds(data.get("ttl", str(TTL))),
        pods=cast("PodMode", _one_of("pods", data.get("pods", "insecure"), _POD_MODES)),
        ignore_empty=_boolean("ignoreEmptyServices", data.get("ignoreEmptyServices", "false")),
        walk=_boolean("searchWalk", data.get("searchWalk", "true")),
        stubs=_stubs(data.get("stubDomains", "{}"), zone),
        servers=_servers("upstreamNameservers", _json("upstreamNameservers", data.get("upstreamNameservers", "[]"))),
        records=(*_hosts(data.get("hosts", ""), zone), *_records(data.get("records", ""), zone)),
    )


def _json(key: str, text: str) -> Any:
    try:
        return json.loads(text or "null")
    except ValueError as error:
        raise CustomError(f"{key} is not JSON: {error}") from None


def _seconds(text: str) -> int:
    if not text.isdecimal() or int(text) > TTL_MOST:
        raise CustomError(f'ttl is "{text}", and must be a number of seconds from 0 to {TTL_MOST}')
    return int(text)


def _one_of(key: str, text: str, allowed: tuple[str, ...]) -> str:
    if text not in allowed:
        raise CustomError(f'{key} is "{text}", and must be one of {", ".join(allowed)}')
    return text


def _boolean(key: str, text: str) -> bool:
    return _one_of(key, text, ("true", "false")) == "true"


def _stubs(text: str, zone: str) -> dict[str, tuple[str, ...]]:
    found = _json("stubDomains", text)
    if not isinstance(found, dict):
        raise CustomError('stubDomains must be an object, as in {"corp.example": ["192.0.2.53"]}')
    stubs = {}
    for name, servers in found.items():
        domain = _name("stubDomains", name, zone)
        stubs[domain] = _servers(f"stubDomains, {name}", servers)
        if not stubs[domain]:
            raise CustomError(f"stubDomains: {name} has no server")
    return stubs


def _servers(where: str, found: Any) -> tuple[str, ...]:
    if not isinstance(found, list):
        raise CustomError(f'{where} must be a list of addresses, as in ["192.0.2.53"]')
    for one in found:
        try:
            address_of(str(one))
        except ValueError:
            raise CustomError(
                f'{where}: "{one}" is no address of a server, as in 192.0.2.53 or 192.0.2.53:5353'
            ) from None
    return tuple(map(str, found))


def _hosts(text: str, zone: str) -> list[Record]:
    """Lines of /etc/hosts: names at addresses, and the first name of each address for the way back."""
    records: list[Record] = []
    for number, line in _lines(text):
        where = f"hosts, line {number}"
        address, *names = line.partition("#")[0].split()
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            raise CustomError(f'{where}: "{address}" is no address') from None
        if not names:
            raise CustomError(f"{where}: {address} has no name")
        full = [_name(where, one, zone) for one in names]
        records += [Record(one, "AAAA" if ip.version == 6 else "A", _HOSTS_TTL, str(ip)) for one in full]
        back = ip.reverse_pointer + "."
        if not any(one.name == back for one in records):
            records.append(Record(back, "PTR", _HOSTS_TTL, full[0]))
    return records


def _records(text: str, zone: str) -> list[Record]:
    """Lines of a zone file, one record each: NAME [SECONDS] [IN] TYPE DATA."""
    records = []
    for number, line in _lines(text):
        where = f"records, line {number}"
        try:
            (found,) = dnslib.RR.fromZone(line)
            data = _data(found)
        except Exception:  # noqa: BLE001 - whatever dnslib makes of a line that is none
            raise CustomError(
                f'{where}: "{line}" is no record, as in "db.corp.example. 60 IN A 192.0.2.7"; '
                "types are A, AAAA, CNAME, MX, PTR, SRV and TXT"
            ) from None
        name = _name(where, str(found.rname), zone)
        records.append(Record(name, dnslib.QTYPE[found.rtype], int(found.ttl), data))
    names = {one.name for one in records if one.type != "CNAME"}
    for one in records:
        if one.type == "CNAME" and one.name in names:
            raise CustomError(f"records: {one.name} is an alias (CNAME) and can have no other record")
    return records


def _data(found: Any) -> Any:
    rdata = found.rdata
    match dnslib.QTYPE[found.rtype]:
        case "A" | "AAAA":
            return str(ipaddress.ip_address(str(rdata)))
        case "CNAME" | "PTR":
            return _dotted(str(rdata.label))
        case "MX":
            return (int(rdata.preference), _dotted(str(rdata.label)))
        case "SRV":
            return (int(rdata.priority), int(rdata.weight), int(rdata.port), _dotted(str(rdata.target)))
        case "TXT":
            return tuple(part.decode("utf-8", "replace") for part in rdata.data)
    raise ValueError(found.rtype)


def _lines(text: str) -> list[tuple[int, str]]:
    stripped = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return [(number, line) for number, line in stripped if line and line[0] not in "#;"]


def _dotted(name: str) -> str:
    return name.rstrip(".").lower() + "."


def _name(where: str, text: str, zone: str) -> str:
    """A name with its last dot, in lower case, outside of the cluster's zone."""
    name = _dotted(str(text))
    labels = name.split(".")[:-1]
    if len(name) > 254 or not all(0 < len(label) < 64 and label.isascii() for label in labels):
        raise CustomError(f'{where}: "{text}" is no name')
    if ("." + name).endswith("." + zone):
        raise CustomError(f"{where}: {name} is in the cluster's own zone {zone}, which Services alone fill")
    return name
