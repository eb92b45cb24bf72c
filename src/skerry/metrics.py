"""Numbers about a process in Prometheus' text format: counters, gauges and histograms, and nothing to install.

Called by whoever counts something (names are upstream's where upstream has one) and by the API server, whose /metrics
shows what this process has counted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import TypeVar

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The usual buckets, in seconds."""


def doubling(first: float, count: int) -> tuple[float, ...]:
    """Bucket bounds: first, 2 first, 4 first ..."""
    return tuple(first * 2**n for n in range(count))


class _Metric:
    kind = ""

    def __init__(self, name: str, says: str, labels: Sequence[str] = ()) -> None:
        self.name, self._says, self._labels = name, says, tuple(labels)

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {_escaped(self._says)}"
        yield f"# TYPE {self.name} {self.kind}"
        yield from self._samples()

    def _samples(self) -> Iterator[str]:
        raise NotImplementedError

    def _sample(self, values: Sequence[str], number: float, *, suffix: str = "", bound: str = "") -> str:
        pairs = [*zip(self._labels, values, strict=True), *([("le", bound)] if bound else [])]
        labels = ",".join(f'{name}="{_quoted(value)}"' for name, value in pairs)
        return f"{self.name}{suffix}{f'{{{labels}}}' if labels else ''} {_number(number)}"


class Counter(_Metric):
    """Only grows. Values of labels are given in the order of their names."""

    kind = "counter"

    def __init__(self, name: str, says: str, labels: Sequence[str] = ()) -> None:
        super().__init__(name, says, labels)
        self._values: dict[tuple[str, ...], float] = {} if labels else {(): 0.0}

    def add(self, number: float, *labels: str) -> None:
        self._values[labels] = self._values.get(labels, 0.0) + number

    def value(self, *labels: str) -> float:
        return self._values.get(labels, 0.0)

    def _samples(self) -> Iterator[str]:
        for values in sorted(self._values):
            yield self._sample(values, self._values[values])


class Gauge(Counter):
    """Goes up and down."""

    kind = "gauge"

    def set(self, number: float, *labels: str) -> None:
        self._values[labels] = number

    def clear(self) -> None:
        """Forgets all values, of things that may be no more."""
        self._values.clear()


class Histogram(_Metric):
    """How often each size was seen."""

    kind = "histogram"

    def __init__(self, name: str, says: str, labels: Sequence[str] = (), buckets: Sequence[float] = DURATIONS) -> None:
        super().__init__(name, says, labels)
        self._bounds = tuple(buckets)
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}

    def observe(self, number: float, *labels: str, times: int = 1) -> None:
        """`number` was seen, so many times."""
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = [0] * (len(self._bounds) + 1)
        counts[bisect_left(self._bounds, number)] += times
        self._sums[labels] = self._sums.get(labels, 0.0) + number * times

    def count(self, *labels: str) -> int:
        return sum(self._counts.get(labels, ()))

    def sum(self, *labels: str) -> float:
        return self._sums.get(labels, 0.0)

    def _samples(self) -> Iterator[str]:
        for values in sorted(self._counts):
            below = 0
            for bound, count in zip((*map(_number, self._bounds), "+Inf"), self._counts[values], strict=True):
                below += count
                yield self._sample(values, below, suffix="_bucket", bound=bound)
            yield self._sample(values, self._sums[values], suffix="_sum")
            yield self._sample(values, below, suffix="_count")


M = TypeVar("M", bound=_Metric)


class Registry:
    """Metrics by name. A name can be asked for again, by another instance of the same part: it is the same metric."""

    def __init__(self) -> None:
        self._metrics: dict[str, _Metric] = {}

    def add(self, metric: M) -> M:
        """The metric, or the one that has its name already. TypeError if that is of another kind."""
        known = self._metrics.setdefault(metric.name, metric)
        if not isinstance(known, type(metric)):
            raise TypeError(f"{metric.name} is a {known.kind}")
        return known

    def text(self) -> str:
        """All of them, by name, as a scraper reads them."""
        return "".join(line + "\n" for name in sorted(self._metrics) for line in self._metrics[name].lines())


PROCESS = Registry()
"""What this process counts, shown at /metrics."""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
