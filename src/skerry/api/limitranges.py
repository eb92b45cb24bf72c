"""What a LimitRange gives to pods and what it refuses. Pure; called by apiserver/limits.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api import podresources, quantity
from skerry.api.quotas import text
from skerry.api.types import core

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ANNOTATION = "kubernetes.io/limit-ranger"
_Said = dict[str, str]


def fill(pod: core.Pod, ranges: Iterable[core.LimitRange]) -> None:
    """Gives containers the requests and limits that they do not have; an annotation says which."""
    requests, limits = _Said(), _Said()
    for item in (item for one in ranges for item in one.spec.limits if item.type == "Container"):
        requests |= item.default_request
        limits |= item.default
    if not requests and not limits:
        return
    said: list[str] = []
    for kind, group in (("container", pod.spec.containers), ("init container", pod.spec.init_containers)):
        for container in group:
            for what, wanted, has in (
                ("request", requests, container.resources.requests),
                ("limit", limits, container.resources.limits),
            ):
                missing = sorted(name for name in wanted if name not in has)
                has.update({name: wanted[name] for name in missing})
                if missing:
                    said.append(f"{', '.join(missing)} {what} for {kind} {container.name}")
    if said:
        pod.metadata.annotations[ANNOTATION] = f"LimitRanger plugin set: {'; '.join(said)}"


def refused_pod(pod: core.Pod, one: core.LimitRange) -> list[str]:
    """What a pod does that a LimitRange does not allow, in upstream's words."""
    out: list[str] = []
    for item in one.spec.limits:
        if item.type == "Container":
            for container in [*pod.spec.containers, *pod.spec.init_containers]:
                out += _checked(item, container.resources.requests, container.resources.limits)
        elif item.type == "Pod":
            asked, most = podresources.requests(pod), podresources.said_limits(pod)
            out += _checked(item, *({name: text(name, number) for name, number in of.items()} for of in (asked, most)))
    return out


def refused_claim(claim: core.PersistentVolumeClaim, one: core.LimitRange) -> list[str]:
    """The same of a PersistentVolumeClaim: what it requests."""
    asked = claim.spec.resources.requests
    checks = [(item, which, check) for item in one.spec.limits if item.type == "PersistentVolumeClaim"
              for which, check in ((item.min, _least), (item.max, _most_asked))]  # fmt: skip
    return [
        said
        for item, which, check in checks
        for name in sorted(which)
        if (said := check(item.type, name, which[name], asked, {}))
    ]


def _checked(item: core.LimitRangeItem, requests: Mapping[str, str], limits: Mapping[str, str]) -> Iterator[str]:
    asked, most = dict(requests), dict(limits)
    for which, check in ((item.min, _least), (item.max, _most), (item.max_limit_request_ratio, _ratio)):
        for name in sorted(which):
            said = check(item.type, name, which[name], asked, most)
            if said:
                yield said


def _least(kind: str, name: str, bound: str, requests: _Said, limits: _Said) -> str:
    rule = f"minimum {name} usage per {kind} is {bound}"
    if name not in requests:
        return f"{rule}.  No request is specified"
    for what, said in (("request", requests), ("limit", limits)):
        if name in said and quantity.parse(said[name]) < quantity.parse(bound):
            return f"{rule}, but {what} is {said[name]}"
    return ""


def _most(kind: str, name: str, bound: str, requests: _Said, limits: _Said) -> str:
    rule = f"maximum {name} usage per {kind} is {bound}"
    if name not in limits:
        return f"{rule}.  No limit is specified"
    for what, said in (("limit", limits), ("request", requests)):
        if name in said and quantity.parse(said[name]) > quantity.parse(bound):
            return f"{rule}, but {what} is {said[name]}"
    return ""


def _most_asked(kind: str, name: str, bound: str, requests: _Said, limits: _Said) -> str:  # noqa: ARG001
    rule = f"maximum {name} usage per {kind} is {bound}"
    if name not in requests:
        return f"{rule}.  No request is specified"
    return f"{rule}, but request is {requests[name]}" if quantity.parse(requests[name]) > quantity.parse(bound) else ""


def _ratio(kind: str, name: str, bound: str, requests: _Said, limits: _Said) -> str:
    rule = f"{name} max limit to request ratio per {kind} is {bound}"
    for what, said in (("request", requests), ("limit", limits)):
        if not quantity.parse(said.get(name, "0")):
            return f"{rule}, but no {what} is specified or {what} is 0"
    found = quantity.parse(limits[name]) / quantity.parse(requests[name])
    return f"{rule}, but provided ratio is {float(found):f}" if found > quantity.parse(bound) else ""
