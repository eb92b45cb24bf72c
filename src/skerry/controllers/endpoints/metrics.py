"""What the EndpointSlice controllers count (L41), under upstream's names. Called by their shells."""

from __future__ import annotations

from collections import Counter as Tally

from skerry import metrics
from skerry.controllers.endpoints import hints
from skerry.controllers.endpoints.mirroring import Mirrored
from skerry.controllers.endpoints.plan import Plan

_SIZES = metrics.doubling(2, 15)
_DURATIONS = metrics.doubling(0.001, 15)


class SliceMetrics:
    """`subsystem` is endpoint_slice_controller or endpoint_slice_mirroring_controller."""

    def __init__(self, subsystem: str, what: str, registry: metrics.Registry = metrics.PROCESS) -> None:
        def name(text: str) -> str:
            return f"{subsystem}_{text}"

        add = registry.add
        self.added = add(
            metrics.Histogram(
                name("endpoints_added_per_sync"), f"Number of endpoints added on each {what} sync", buckets=_SIZES
            )
        )
        self.removed = add(
            metrics.Histogram(
                name("endpoints_removed_per_sync"), f"Number of endpoints removed on each {what} sync", buckets=_SIZES
            )
        )
        self.desired = add(metrics.Gauge(name("endpoints_desired"), "Number of endpoints desired"))
        self.slices = add(metrics.Gauge(name("num_endpoint_slices"), "Number of EndpointSlices"))
        self.desired_slices = add(
            metrics.Gauge(
                name("desired_endpoint_slices"),
                "Number of EndpointSlices that would exist with perfect endpoint allocation",
            )
        )
        self.changes = add(metrics.Counter(name("changes"), "Number of EndpointSlice changes", ["operation"]))
        self._sizes: dict[str, tuple[int, int, int]] = {}
        self._totals = [0, 0, 0]

    def wrote(self, plan: Plan) -> None:
        """A plan was carried out."""
        self.added.observe(plan.added)
        self.removed.observe(plan.removed)
        for operation, done in (("create", plan.create), ("update", plan.update), ("delete", plan.delete)):
            if done:
                self.changes.add(len(done), operation)

    def holds(self, key: str, endpoints: int, slices: int, perfect: int) -> None:
        """How many endpoints and slices there are of one Service or Endpoints, and how many slices would do."""
        before, now = self._sizes.get(key, (0, 0, 0)), (endpoints, slices, perfect)
        if any(now):
            self._sizes[key] = now
        else:
            self._sizes.pop(key, None)
        for at in range(3):
            self._totals[at] += now[at] - before[at]
        for gauge, total in zip((self.desired, self.slices, self.desired_slices), self._totals, strict=True):
            gauge.set(total)

    def forget(self, key: str) -> None:
        self.holds(key, 0, 0, 0)


class MirrorMetrics(SliceMetrics):
    """Those that only the mirroring controller has."""

    def __init__(self, registry: metrics.Registry = metrics.PROCESS) -> None:
        prefix = "endpoint_slice_mirroring_controller"
        super().__init__(prefix, "Endpoints", registry)
        add = registry.add
        self.updated = add(
            metrics.Histogram(
                f"{prefix}_endpoints_updated_per_sync",
                "Number of endpoints updated on each Endpoints sync",
                buckets=_SIZES,
            )
        )
        self.skipped = add(
            metrics.Histogram(
                f"{prefix}_addresses_skipped_per_sync",
                "Number of addresses skipped on each Endpoints sync: they are invalid, or more than a subset may have",
                buckets=_SIZES,
            )
        )
        self.duration = add(
            metrics.Histogram(
                f"{prefix}_endpoints_sync_duration", "Duration of the sync of an Endpoints, in seconds",
                buckets=_DURATIONS,
            )
        )  # fmt: skip

    def synced(self, mirrored: Mirrored) -> None:
        """A sync ended well."""
        self.wrote(mirrored.plan)
        self.updated.observe(mirrored.updated)
        self.skipped.observe(mirrored.skipped)


class ServiceMetrics(SliceMetrics):
    """Those that only the controller of Services' slices has."""

    def __init__(self, registry: metrics.Registry = metrics.PROCESS) -> None:
        prefix = "endpoint_slice_controller"
        super().__init__(prefix, "Service", registry)
        self.changed = registry.add(
            metrics.Histogram(
                f"{prefix}_endpointslices_changed_per_sync",
                "Number of EndpointSlices changed on each Service sync",
                ["topology", "traffic_distribution"],
            )
        )
        self.syncs = registry.add(metrics.Counter(f"{prefix}_syncs", "Number of EndpointSlice syncs", ["result"]))
        self.services = registry.add(
            metrics.Gauge(
                f"{prefix}_services_count_by_traffic_distribution",
                "Number of Services using some specific trafficDistribution",
                ["traffic_distribution"],
            )
        )
        self._distributions: dict[str, str] = {}
        self._tally: Tally[str] = Tally()

    def synced(self, key: str, mode: str, plan: Plan) -> None:
        """A sync ended well; `mode` is what hints.mode() says of the Service."""
        self.wrote(plan)
        topology, distribution = (hints.AUTO, "") if mode == hints.AUTO else ("Disabled", mode)
        self.changed.observe(len(plan.create) + len(plan.update) + len(plan.delete), topology, distribution)
        self._count(key, distribution)

    def forget(self, key: str) -> None:
        super().forget(key)
        self._count(key, "")

    def _count(self, key: str, distribution: str) -> None:
        before = self._distributions.pop(key, "")
        if distribution:
            self._distributions[key] = distribution
        if before == distribution:
            return
        for one, step in ((before, -1), (distribution, 1)):
            if one:
                self._tally[one] += step
                self.services.set(self._tally[one], one)
