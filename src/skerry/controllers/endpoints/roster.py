"""The pods of one Service as addresses of its Endpoints, kept packed as they come and go. Called by `endpoints`.

What `api.subsets.repack` makes of all pods at once (E27-E32) is kept here from one change to the next: pods whose
ports resolve alike are one group, its addresses in the order of their text. A subset is one or several groups, so that
a change costs a search in a sorted list, and the answer costs the addresses that fit into an object (E35), however
many pods there are.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from skerry.api.types import core
from skerry.controllers.endpoints import members
from skerry.controllers.endpoints.truncate import CAPACITY, shares

_Port = tuple[str, int, str, str | None]  # name, number, protocol, appProtocol
_Place = tuple[str, str, str]  # IP, UID, pod: the order of addresses in a subset (E32)


class _Row(NamedTuple):
    """One pod's entry."""

    ports: tuple[_Port, ...]
    ready: bool
    place: _Place
    address: core.EndpointAddress


class _Group:
    """Pods with the same ports."""

    __slots__ = ("addresses", "ready", "waiting")

    def __init__(self) -> None:
        self.ready: list[_Place] = []
        self.waiting: list[_Place] = []
        self.addresses: dict[_Place, core.EndpointAddress] = {}

    def of(self, ready: bool) -> list[_Place]:
        return self.ready if ready else self.waiting


class Roster:
    """`service` is the one whose Endpoints these are, fixed for the life of the roster."""

    def __init__(self, service: core.Service, pods: Iterable[core.Pod] = ()) -> None:
        self.service = service
        spec = service.spec
        self._everyone = spec.publish_not_ready_addresses
        self._silent = not spec.ports and spec.cluster_ip != "None"  # E24
        self._fixed = None if members.named_ports(service) else _ports(service, core.Pod())
        self._rows: dict[str, _Row] = {}
        self._groups: dict[tuple[_Port, ...], _Group] = {}
        for pod in pods:
            self.put(pod)

    def put(self, pod: core.Pod) -> None:
        """Takes in a pod that the selector matches, in place of what was known of it."""
        key = members.key(pod)
        row = self._row(pod)
        if self._rows.get(key) == row:
            return
        self.remove(key)
        if row is None:
            return
        self._rows[key] = row
        group = self._groups.get(row.ports)
        if group is None:
            group = self._groups[row.ports] = _Group()
        insort(group.of(row.ready), row.place)
        group.addresses[row.place] = row.address

    def remove(self, key: str) -> None:
        """Forgets a pod; unknown ones are fine."""
        row = self._rows.pop(key, None)
        if row is None:
            return
        group = self._groups[row.ports]
        places = group.of(row.ready)
        del places[bisect_left(places, row.place)]
        del group.addresses[row.place]
        if not group.addresses:
            del self._groups[row.ports]

    def _row(self, pod: core.Pod) -> _Row | None:
        """What a pod is in the Endpoints, None if nothing (E13-E26)."""
        if self._silent or not members.is_member(pod, include_terminating=self._everyone):
            return None
        ip = members.endpoint_address(self.service, pod)
        if not ip:
            return None
        ports = _ports(self.service, pod) if self._fixed is None else self._fixed
        if self.service.spec.ports and not ports:
            return None
        address = core.EndpointAddress(
            ip=ip,
            hostname=members.hostname(self.service, pod),
            node_name=pod.spec.node_name,
            target_ref=members.reference(pod),
        )
        return _Row(ports, self._everyone or members.is_ready(pod), (ip, pod.metadata.uid, members.key(pod)), address)

    def subsets(self, capacity: int = CAPACITY) -> tuple[list[core.EndpointSubset], bool]:
        """(the packed subsets with at most `capacity` addresses, whether any had to go)."""
        packed = self._packed()
        sizes = [(sum(len(one.ready) for one in of), sum(len(one.waiting) for one in of)) for of, _ in packed]
        kept, over = shares(sizes, capacity)
        made = [
            core.EndpointSubset(
                addresses=_first(groups, True, ready),
                not_ready_addresses=_first(groups, False, waiting),
                ports=[
                    core.EndpointPort(name=name, port=number, protocol=protocol, app_protocol=app)
                    for name, number, protocol, app in ports
                ],
            )
            for (groups, ports), (ready, waiting) in zip(packed, kept, strict=True)
            if ready or waiting
        ]
        return made, over

    def _packed(self) -> list[tuple[list[_Group], list[_Port]]]:
        """Ports that have the same pods share a subset (E31): (the groups those pods are in, the ports)."""
        having: dict[_Port, list[_Group]] = {}
        for ports, group in self._groups.items():
            if not ports:
                return [([group], [])]  # the Service has no ports, so there is no other group (E30)
            for port in ports:
                having.setdefault(port, []).append(group)
        subsets: dict[tuple[int, ...], tuple[list[_Group], list[_Port]]] = {}
        for port in sorted(having, key=_order):
            groups = having[port]
            subsets.setdefault(tuple(sorted(map(id, groups))), (groups, []))[1].append(port)
        return list(subsets.values())


def _order(port: _Port) -> tuple[str, int, str, str]:
    return (*port[:3], port[3] or "")


def _ports(service: core.Service, pod: core.Pod) -> tuple[_Port, ...]:
    found = members.resolved_ports(service, pod)
    return tuple((one.name, number, one.protocol or "TCP", one.app_protocol) for one, number in found)


def _first(groups: list[_Group], ready: bool, count: int) -> list[core.EndpointAddress]:
    if len(groups) == 1:
        addresses = groups[0].addresses
        return [addresses[place] for place in groups[0].of(ready)[:count]]
    merged: Iterator[tuple[_Place, int]] = heapq.merge(
        *([(place, at) for place in group.of(ready)[:count]] for at, group in enumerate(groups))
    )
    return [groups[at].addresses[place] for place, at in islice(merged, count)]
