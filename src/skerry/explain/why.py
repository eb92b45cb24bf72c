"""`explain`: everything that can be said of a Service, the nearest miss first. Pure; for the CLI and `events`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import replace

from skerry.api import labels
from skerry.api.types import core
from skerry.controllers.endpoints import members
from skerry.explain import objects, pods, ports, selectors, traffic, workloads
from skerry.explain.findings import NOTE, PROBLEM, Finding, Report, Row, finding, order
from skerry.explain.seen import Seen

_MISSES = 5
_GONE = frozenset(("PodTerminating", "PodFailed", "PodSucceeded"))


def explain(seen: Seen) -> Report:
    """What there is, and what is wrong with it."""
    service = seen.service
    rows = objects.rows(seen)
    served = {one.pod or one.ip for one in rows if one.ready}
    found = list(traffic.findings(seen, rows))
    matching: list[core.Pod] = []
    if members.wants_endpoints(service):
        matching = members.wants_selector(service, seen.pods)
        found += _of_pods(seen, matching, served)
        found += _misses(seen, matching)
    found += objects.compare(seen, matching)
    found += [finding("NotLookedAt", text, obj=what) for what, text in seen.unread.items() if _matters(what, matching)]
    found.sort(key=order)
    return Report(
        namespace=service.metadata.namespace,
        name=service.metadata.name,
        type=service.spec.type or "ClusterIP",
        selector=dict(service.spec.selector),
        summary=_summary(service, rows, found),
        endpoints=rows,
        findings=found,
    )


def _matters(what: str, matching: Sequence[core.Pod]) -> bool:
    return what != "pods of other namespaces" or not matching


def _of_pods(seen: Seen, matching: Sequence[core.Pod], served: Set[str]) -> Iterator[Finding]:
    """`served` are the names of ready endpoints."""
    published = seen.service.spec.publish_not_ready_addresses
    for pod in matching:
        found = pods.not_ready(seen, pod)
        if found is not None:
            harmless = (served and found.reason in _GONE) or (published and pod.metadata.name in served)
            yield replace(found, severity=NOTE) if harmless else found
        if members.is_member(pod, include_terminating=False):
            yield from ports.unserved(seen, pod)


def _misses(seen: Seen, matching: Sequence[core.Pod]) -> Iterator[Finding]:
    """Pods that nearly match. Where others match, only a slip of a pod that no Service has is worth a word."""
    wanted = seen.service.spec.selector
    near: list[tuple[selectors.Miss, core.Pod]] = []
    for pod in seen.pods:
        miss = selectors.miss(wanted, pod.metadata.labels)
        if miss is None or pod.status.phase in ("Succeeded", "Failed"):
            continue
        slips = all(has is not None and selectors.is_slip_pair(has, (key, value)) for key, value, has in miss.wrong)
        if not matching or slips:
            near.append((miss, pod))
    near.sort(key=lambda one: (one[0].missing, one[0].edits, one[1].metadata.name))
    first = near[: 2 * _MISSES]
    others = _selecting(seen, [pod for _, pod in first])
    nearest = [(any(each.items() <= pod.metadata.labels.items() for each in others), miss, pod) for miss, pod in first]
    nearest = [one for one in nearest if not (matching and one[0])]
    nearest.sort(key=lambda one: one[0])
    for at, (taken, miss, pod) in enumerate(nearest[:_MISSES]):
        details = {
            "wants": {key: value for key, value, _ in miss.wrong},
            "has": {has[0]: has[1] for _, _, has in miss.wrong if has is not None},
            "selectedByAnotherService": taken,
            "others": len(near) - 1,
        }
        yield finding("SelectorMismatch", selectors.sentence(pod.metadata.name, miss), pod=pod.metadata.name,
                      details=details, severity=NOTE if matching else PROBLEM, distance=at)  # fmt: skip
    if not matching:
        made = list(workloads.findings(seen))
        yield from made
        if not near and not made:
            yield from _nothing(seen)


def _selecting(seen: Seen, some: Sequence[core.Pod]) -> list[dict[str, str]]:
    """The selectors of other Services that may select some of these pods."""
    if not some:
        return []
    labels = {pair for pod in some for pair in pod.metadata.labels.items()}
    own = seen.service.metadata.name
    found = [one for one in seen.services if one.spec.selector.items() <= labels and one.metadata.name != own]
    return [one.spec.selector for one in found if members.wants_endpoints(one)]


def _nothing(seen: Seen) -> Iterator[Finding]:
    namespace, wanted = seen.service.metadata.namespace, labels.text(labels.from_map(seen.service.spec.selector))
    for at, pod in enumerate(sorted(seen.elsewhere, key=lambda one: members.key(one))[:_MISSES]):
        text = (
            f"Pod {pod.metadata.name} of namespace {pod.metadata.namespace} would match, but a Service selects pods of "
            f"its own namespace only, which is {namespace}."
        )
        details = {"namespace": pod.metadata.namespace, "others": len(seen.elsewhere) - 1}
        yield finding("OtherNamespace", text, pod=pod.metadata.name, details=details, distance=at)
    if "pods" in seen.unread or seen.elsewhere:
        return
    if not seen.pods:
        text = f"The selector {wanted} matches no pod: there is no pod in namespace {namespace}."
    else:
        count = len(seen.pods)
        text = f"The selector {wanted} matches no pod of namespace {namespace}, and none comes near."
        text = text if count > 1 else f"The selector {wanted} does not match the only pod of namespace {namespace}."
    yield finding("NoPodMatches", text, details={"pods": len(seen.pods)})


def _summary(service: core.Service, rows: Sequence[Row], found: Sequence[Finding]) -> str:
    name = f"{service.metadata.namespace}/{service.metadata.name}"
    problems = len({one.reason for one in found if one.severity == PROBLEM})
    if service.spec.type == members.EXTERNAL_NAME:
        return f"{name} is another name for {service.spec.external_name}{', which cannot work' if problems else ''}."
    ready, total = (len({one.pod or one.ip for one in some}) for some in ([one for one in rows if one.ready], rows))
    if not ready:
        return f"{name} has no ready endpoint."
    said = f"{ready} ready endpoint{'' if ready == 1 else 's'}" + (f" of {total}" if total > ready else "")
    if service.spec.ports and not any(one.ready and one.port is not None for one in rows):
        return f"{name} has {said}, but at none of its ports."
    if not problems:
        return f"{name} works: {said}."
    return f"{name} has {said}, and {problems} {'thing is' if problems == 1 else 'things are'} wrong."
