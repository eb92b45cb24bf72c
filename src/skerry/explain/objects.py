"""Whether Endpoints and EndpointSlices say what the rules give, and what the endpoints are. Pure; called by `why`.

What should be is asked of the controllers' own pure functions; here it is only compared, as sets of plain rows, so that
neither packing nor order, hints nor labels make a difference that is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from skerry.api.types import core, discovery
from skerry.controllers.endpoints import endpoints as rules
from skerry.controllers.endpoints import members, mirroring, placement, slices
from skerry.controllers.endpoints.truncate import ANNOTATION, CAPACITY
from skerry.explain.findings import Finding, Row, finding
from skerry.explain.seen import Place, Seen

_SHOWN = 3


class _Told(NamedTuple):
    """One address at one port, as an object tells it."""

    ip: str
    port: int | None
    ready: bool
    serving: bool
    terminating: bool

    @property
    def place(self) -> str:
        return self.ip if self.port is None else f"{f'[{self.ip}]' if ':' in self.ip else self.ip}:{self.port}"


def compare(seen: Seen, matching: Sequence[core.Pod]) -> Iterator[Finding]:
    """What of the written objects differs from what `matching`, the pods that the selector matches, give."""
    if members.wants_endpoints(seen.service):
        yield from _endpoints(seen, matching)
        yield from _slices(seen, matching)
    elif seen.service.spec.type != members.EXTERNAL_NAME:
        yield from _mirror(seen)


def _endpoints(seen: Seen, matching: Sequence[core.Pod]) -> Iterator[Finding]:
    name, current = seen.service.metadata.name, seen.endpoints
    if "endpoints" in seen.unread:
        return
    if current is None:
        if seen.service.metadata.deletion_timestamp is None:
            yield finding("EndpointsMissing", f"There is no Endpoints object {name}: its controller has not made it.",
                          obj=f"Endpoints/{name}")  # fmt: skip
        return
    if current.metadata.annotations.get(ANNOTATION):
        count = sum(len(one.addresses) + len(one.not_ready_addresses) for one in current.subsets)
        text = (
            f"Endpoints {name} is cut to {count} addresses, since it holds at most {CAPACITY}; the EndpointSlices have "
            "all, and proxies use those."
        )
        yield finding("EndpointsTruncated", text, obj=f"Endpoints/{name}",
                      details={"addresses": count, "pods": len(matching)})  # fmt: skip
        return
    wanted = rules.decide(seen.service, matching, current)
    if wanted is None or rules.same_subsets(current.subsets, wanted.subsets):
        return
    difference = _difference(_of_subsets(current.subsets), _of_subsets(wanted.subsets))
    if difference is None:
        return
    text = (
        f"Endpoints {name} is not what its pods give: it {difference[0]}. "
        "Somebody edited it, or its controller is behind."
    )
    yield finding("EndpointsEdited", text, obj=f"Endpoints/{name}", details=difference[1])


def _of_subsets(subsets: Iterable[core.EndpointSubset]) -> set[_Told]:
    return {
        _Told(one.ip, port, ready, ready, False)
        for subset in subsets
        for group, ready in ((subset.addresses, True), (subset.not_ready_addresses, False))
        for one in group
        for port in _numbers(subset.ports)
    }


def _slices(seen: Seen, matching: Sequence[core.Pod]) -> Iterator[Finding]:
    if "endpointslices" in seen.unread:
        return
    service, own = seen.service, []
    for one in seen.slices:
        manager, named = one.metadata.labels.get(slices.MANAGED_BY, ""), f"EndpointSlice/{one.metadata.name}"
        if manager != slices.CONTROLLER:
            who = f"is managed by {manager}" if manager else "says nobody manages it"
            text = (
                f"EndpointSlice {one.metadata.name} {who}, though the Service has a selector: its "
                f"{_count(len(one.endpoints), 'endpoint')} get{'s' if len(one.endpoints) == 1 else ''} connections too."
            )
            yield finding("SliceForeign", text, obj=named, details={"managedBy": manager or None})
        elif not slices.is_owned(one, service):
            text = f"EndpointSlice {one.metadata.name} belongs to an earlier Service of this name that is gone."
            yield finding("SliceOrphaned", text, obj=named)
        else:
            own.append(one)
    some = core.Node()
    plan = placement.reconcile(service, matching, lambda name: seen.node(name) if seen.nodes is not None else some, ())
    wanted, found = _of_slices(plan.create), _of_slices(own)
    if service.metadata.deletion_timestamp is not None or wanted == found:
        return
    lacking = {one.place for one in wanted} - {one.place for one in found}
    if lacking:
        text = f"No EndpointSlice of the Service has {_some(sorted(lacking))}: the controller has not written it."
        yield finding("SlicesMissing", text, details={"lacks": sorted(lacking)})
    for one in own:
        difference = _difference(_of_slices([one]), wanted, partial=True)
        if difference is not None:
            text = (
                f"EndpointSlice {one.metadata.name} is not what its pods give: it {difference[0]}. "
                "Somebody edited it, or its controller is behind."
            )
            yield finding("SliceEdited", text, obj=f"EndpointSlice/{one.metadata.name}", details=difference[1])


def _of_slices(found: Iterable[discovery.EndpointSlice]) -> set[_Told]:
    return {
        _Told(ip, port, *_conditions(one))
        for each in found
        for one in each.endpoints
        for ip in one.addresses
        for port in _numbers(each.ports)
    }


def _numbers(ports: Sequence[core.EndpointPort | discovery.EndpointPort]) -> list[int | None]:
    return [one.port for one in ports] or [None]


def _conditions(one: discovery.Endpoint) -> tuple[bool, bool, bool]:
    """(ready, serving, terminating) as consumers take what is left out."""
    ready = one.conditions.ready is not False
    serving = ready if one.conditions.serving is None else one.conditions.serving
    return ready, serving, bool(one.conditions.terminating)


def _difference(
    found: set[_Told], wanted: set[_Told], *, partial: bool = False
) -> tuple[str, dict[str, list[str]]] | None:
    """(what is different as the end of a sentence, the same as data); None if nothing that can be said.

    `partial`: what is found may lack something, since others have it.
    """
    by_place = {one.place: one for one in wanted}
    has = {one.place: one for one in found}
    extra = sorted(set(has) - set(by_place))
    lacks = [] if partial else sorted(set(by_place) - set(has))
    wrong = sorted(place for place, one in has.items() if place in by_place and one not in wanted)
    said = [f"has {_some(extra)}, which no pod gives"] if extra else []
    said += [f"lacks {_some(lacks)}"] if lacks else []
    said += [f"says that {_some(wrong)} {'is' if len(wrong) == 1 else 'are'} {_as(has[wrong[0]])}"] if wrong else []
    return (", and ".join(said), {"extra": extra, "lacks": lacks, "wrong": wrong}) if said else None


def _as(one: _Told) -> str:
    return "ready" if one.ready else "terminating" if one.terminating else "not ready"


def _some(places: Sequence[str]) -> str:
    more = len(places) - _SHOWN
    return ", ".join(places[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _mirror(seen: Seen) -> Iterator[Finding]:
    """X1-X9: hand-written Endpoints count only once slices say the same."""
    name, current = seen.service.metadata.name, seen.endpoints
    if current is None or not current.subsets or "endpointslices" in seen.unread:
        return
    mirrored = [one for one in seen.slices if one.metadata.labels.get(slices.MANAGED_BY) == mirroring.CONTROLLER]
    if not mirroring.is_mirrored(current, seen.service):
        if not seen.slices:
            text = (
                f"Endpoints {name} was written by hand and says that it is not to be mirrored "
                f"({mirroring.SKIP_LABEL}), and there is no EndpointSlice: proxies use slices only."
            )
            yield finding("SlicesMissing", text, obj=f"Endpoints/{name}")
        return
    wanted, found = _of_subsets(current.subsets), {one._replace(serving=one.ready) for one in _of_slices(mirrored)}
    if {one.place for one in wanted} - {one.place for one in found}:
        text = f"Endpoints {name} was written by hand, and no EndpointSlice has its addresses: proxies use slices only."
        yield finding("SlicesMissing", text, obj=f"Endpoints/{name}")
    difference = _difference(found, wanted, partial=True)
    if difference is not None:
        text = f"The EndpointSlices are not what the hand-written Endpoints {name} gives: one {difference[0]}."
        yield finding("SliceEdited", text, obj=f"Endpoints/{name}", details=difference[1])


def rows(seen: Seen) -> list[Row]:
    """The endpoints that proxies see: those of all slices, or of Endpoints where there are none."""
    pods = {one.metadata.name: one for one in seen.pods}
    found: list[Row] = []
    for each in seen.slices:
        for one in each.endpoints:
            target = one.target_ref.name if one.target_ref is not None and one.target_ref.kind == "Pod" else None
            pod = pods.get(target or "")
            ready, serving, terminating = _conditions(one)
            for ip in one.addresses:
                found += [
                    Row(
                        ip=ip,
                        port=known.port,
                        port_name=known.name or "",
                        protocol=known.protocol or "TCP",
                        pod=target,
                        node=one.node_name,
                        since=_since(pod),
                        ready=ready,
                        serving=serving,
                        terminating=terminating,
                        connections=_connections(
                            seen, Place(ip, known.port, known.name or "", known.protocol or "TCP")
                        ),
                    )
                    for known in each.ports or [discovery.EndpointPort(name="", protocol="", port=None)]
                ]
    return sorted(found, key=lambda one: (not one.ready, one.terminating, one.pod or "", one.ip, one.port or 0))


def _connections(seen: Seen, place: Place) -> dict[str, int] | None:
    return {node: found.get(place, 0) for node, found in seen.connections.items()} or None


def _since(pod: core.Pod | None) -> str | None:
    return (members.ready_since(pod) or None) if pod is not None else None
