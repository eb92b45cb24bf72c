"""How subsets of an Endpoints object are packed (E28-E33). Called by the API server on every write of one, and by the
endpoints controller on what it computed.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from itertools import islice

from skerry.api.types import core

_Port = tuple[str, int, str, str | None]
_Identity = tuple[str, str]
_NO_PORT: _Port = ("", -1, "", None)


def repack(subsets: Iterable[core.EndpointSubset]) -> list[core.EndpointSubset]:
    """The same endpoints in as few subsets as possible, in a fixed order.

    Ports with exactly the same (address, readiness) pairs share a subset (E31); an address that is both ready and not
    ready at a port is not ready (E29); addresses are the same if IP and target's UID are (E28); subsets without ports
    stay among themselves (E30). Addresses are ordered by the text of their IP, then UID (E32); ports and subsets by
    port name, number and protocol. The input is not changed; address and port objects are shared with it.
    """
    subsets = list(subsets)
    if len(subsets) == 1 and _is_packed(subsets[0]):  # nearly always, and may be a thousand addresses
        return subsets
    addresses: dict[_Identity, core.EndpointAddress] = {}
    ports: dict[_Port, core.EndpointPort | None] = {}
    ready_at: dict[_Port, dict[_Identity, bool]] = {}
    for subset in subsets:
        identities: dict[_Identity, bool] = {}
        for ready, group in ((True, subset.addresses), (False, subset.not_ready_addresses)):
            for address in group:
                identity = _identity(address)
                addresses.setdefault(identity, address)
                identities[identity] = ready
        if not identities:
            continue
        keyed = [((one.name, one.port, one.protocol, one.app_protocol), one) for one in subset.ports]
        for key, port in keyed:
            ports.setdefault(key, port)
        if not keyed:
            ports.setdefault(_NO_PORT, None)
        for key in [key for key, _ in keyed] or [_NO_PORT]:
            states = ready_at.setdefault(key, {})
            for identity, ready in identities.items():
                states[identity] = ready and states.get(identity, True)
    groups: dict[frozenset[tuple[_Identity, bool]], list[_Port]] = {}
    for key in sorted(ports, key=lambda one: (one[0], one[1], one[2], one[3] or "")):
        groups.setdefault(frozenset(ready_at[key].items()), []).append(key)
    # Portless endpoints may have the very addresses of some port; they are grouped apart all the same.
    return [
        _subset(members, [key for key in keys if (key is _NO_PORT) == portless], addresses, ports)
        for members, keys in groups.items()
        for portless in (True, False)
        if any((key is _NO_PORT) == portless for key in keys)
    ]


def _is_packed(subset: core.EndpointSubset) -> bool:
    """Whether a subset that is alone is what packing would make of it."""
    if len(subset.ports) > 1:
        return False
    groups = [[_identity(one) for one in group] for group in (subset.addresses, subset.not_ready_addresses)]
    ascending = all(all(map(operator.lt, group, islice(group, 1, None))) for group in groups)
    return ascending and any(groups) and (not all(groups) or not set(groups[0]).intersection(groups[1]))


def _identity(address: core.EndpointAddress) -> _Identity:
    return address.ip, address.target_ref.uid if address.target_ref is not None else ""


def _subset(
    members: frozenset[tuple[_Identity, bool]],
    keys: list[_Port],
    addresses: dict[_Identity, core.EndpointAddress],
    ports: dict[_Port, core.EndpointPort | None],
) -> core.EndpointSubset:
    ordered = sorted(members)
    found = [ports[key] for key in keys]
    return core.EndpointSubset(
        addresses=[addresses[identity] for identity, ready in ordered if ready],
        not_ready_addresses=[addresses[identity] for identity, ready in ordered if not ready],
        ports=[one for one in found if one is not None],
    )
