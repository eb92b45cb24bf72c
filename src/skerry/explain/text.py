"""A Report for a terminal: a summary, the endpoints, what is wrong, what is good to know. Pure; called by the CLI."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from skerry.explain.findings import NOTE, PROBLEM, Finding, Report, Row
from skerry.explain.seen import seconds, span

_ROWS = 20
_GROUPS = 10
_WIDTH = 100


def lines(report: Report, now: float, width: int = _WIDTH) -> Iterator[str]:
    """The lines, at most `width` columns where words allow; `now` in seconds since 1970."""
    yield report.summary
    if report.endpoints:
        yield ""
        yield "Endpoints"
        yield from _table(report.endpoints, now)
    for title, severity in (("Found", PROBLEM), ("Notes", NOTE)):
        some = [one for one in report.findings if one.severity == severity]
        if some:
            yield ""
            yield title
            yield from _list(some, width, numbered=severity == PROBLEM)


def _table(rows: Sequence[Row], now: float) -> Iterator[str]:
    """One line an address."""
    table: dict[tuple[str, ...], list[Row]] = {}
    for one in rows:
        table.setdefault((one.ip, one.pod or "-", one.node or "-", _state(one, now)), []).append(one)
    cells = [
        (_address(ip, list(map(_port, some))), pod, node, state + _connections(some))
        for (ip, pod, node, state), some in table.items()
    ]
    widths = [max(len(row[at]) for row in cells[:_ROWS]) for at in range(3)]
    for row in cells[:_ROWS]:
        yield "  " + "  ".join([*(row[at].ljust(widths[at]) for at in range(3)), row[3]]).rstrip()
    if len(cells) > _ROWS:
        yield f"  and {len(cells) - _ROWS} more (-o json has all)"


def _address(ip: str, ports: Sequence[str]) -> str:
    if not any(ports):
        return ip
    return (f"[{ip}]" if ":" in ip else ip) + ":" + ",".join(ports)


def _connections(some: Sequence[Row]) -> str:
    """How many an endpoint was given, over its ports, and by which nodes' proxies where there are several."""
    counts: Counter[str] = Counter()
    for one in some:
        counts.update(one.connections or {})
    if not counts or not (counts.total() or any(one.ready for one in some)):
        return ""  # who is not ready gets none
    said = f", {counts.total()} connection{'' if counts.total() == 1 else 's'}"
    if len(counts) > 1 and counts.total():
        said += f" ({', '.join(f'{count} by {node}' for node, count in sorted(counts.items()) if count)})"
    return said


def _port(one: Row) -> str:
    if one.port is None:
        return ""
    return str(one.port) if one.protocol in ("", "TCP") else f"{one.port}/{one.protocol}"


def _state(one: Row, now: float) -> str:
    state = "ready" if one.ready else "not ready"
    if one.terminating:
        state = "being deleted" + (", still serving" if one.serving else "")
    elif one.ready and not one.serving:
        state = "not ready, but published"
    since = seconds(one.since)
    return f"{state} for {span(now - since)}" if since and not one.terminating else state


def _list(found: Sequence[Finding], width: int, *, numbered: bool) -> Iterator[str]:
    groups: dict[tuple[str, str], list[Finding]] = {}
    for one in found:
        same = one.message.replace(one.pod, "\0") if one.pod else one.message
        groups.setdefault((one.reason, same), []).append(one)
    for at, group in enumerate(list(groups.values())[:_GROUPS], 1):
        head = f"  {at}. " if numbered and len(groups) > 1 else "  "
        said = " ".join((group[0].message, *group[0].more))
        others = [one.pod for one in group[1:] if one.pod]
        if others:
            more = len(others) - _SHOWN
            names = ", ".join(others[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
            said += f" The same goes for {names}."
        yield from textwrap.wrap(
            said, width, initial_indent=head, subsequent_indent=" " * len(head), break_long_words=False,
            break_on_hyphens=False,
        )  # fmt: skip
    if len(groups) > _GROUPS:
        yield f"  and {len(groups) - _GROUPS} more (-o json has all)"


_SHOWN = 5
