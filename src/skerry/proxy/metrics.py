"""What the service proxy counts about itself, under kube-proxy's names (P37, P38), and connections per endpoint.

Called by server.py, which counts, and by health.py, which shows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from skerry import metrics
from skerry.metrics import Counter, Gauge, Histogram
from skerry.proxy.table import Empty, ListKey, ServiceTable

_PROGRAMMING = (*metrics.doubling(0.0001, 20), 60.0, 120.0, 300.0)
"""Seconds from 0.1 ms on: upstream's begin at 250 ms, which is where ours end."""


class ProxyMetrics:
    """A registry of a proxy's own: a test may have several in one process."""

    def __init__(self, families: Sequence[str]) -> None:
        """`families`: those that are proxied. kube-proxy has a table for each, and says of each what it does."""
        self._families = families
        self.registry = metrics.Registry()
        self.synced = self._histogram("sync_proxy_rules_duration_seconds", "Time that a change of the table took")
        self.full = self._histogram("sync_full_proxy_rules_duration_seconds", "The same for whole tables")
        self.partial = self._histogram("sync_partial_proxy_rules_duration_seconds", "The same for parts of one")
        self.programming = self.registry.add(
            Histogram(
                "kubeproxy_network_programming_duration_seconds",
                "Time from the change of a pod or Service to the kernel's table",
                ["ip_family"],
                _PROGRAMMING,
            )
        )
        self.last = self._gauge("sync_proxy_rules_last_timestamp_seconds", "When the table was last changed")
        self.queued = self._gauge("sync_proxy_rules_last_queued_timestamp_seconds", "When a change last came in")
        self.endpoints = self._counter("sync_proxy_rules_endpoint_changes_total", "Changes of EndpointSlices")
        self.endpoints_pending = self._gauge("sync_proxy_rules_endpoint_changes_pending", "Those not yet in the kernel")
        self.services = self._counter("sync_proxy_rules_service_changes_total", "Changes of Services")
        self.services_pending = self._gauge("sync_proxy_rules_service_changes_pending", "Those not yet in the kernel")
        self.failures = self._counter("sync_proxy_rules_nftables_sync_failures_total", "Tables that were refused")
        self.cleanups = self._counter("sync_proxy_rules_nftables_cleanup_failures_total", "Sweeps that were refused")
        self.no_local = self.registry.add(
            Gauge(
                "kubeproxy_sync_proxy_rules_no_local_endpoints_total",
                "Service ports with policy Local whose endpoints are all on other nodes",
                ["ip_family", "traffic_policy"],
            )
        )
        self.flows_forgotten = self._counter("conntrack_reconciler_deleted_entries_total", "Outdated UDP flows")
        self.reconciling = self._histogram("conntrack_reconciler_sync_duration_seconds", "Time to look for those")
        self.healthz = self.registry.add(Counter("kubeproxy_proxy_healthz_total", "Answers of /healthz", ["code"]))
        self.livez = self.registry.add(Counter("kubeproxy_proxy_livez_total", "Answers of /livez", ["code"]))
        self.repairs = self.registry.add(
            Counter("skerry_proxy_table_repairs_total", "How often somebody else's damage to the table was mended")
        )
        self.misses = self.registry.add(
            Gauge("skerry_proxy_misses", "Connections that found no endpoint though there was one: 0, or it is a bug")
        )
        labels = ["service", "port", "protocol", "endpoint"]
        self.connections = self.registry.add(
            Gauge("skerry_proxy_endpoint_connections_total", "Connections that an endpoint was given", labels)
        )

    def _histogram(self, name: str, says: str) -> Histogram:
        made = Histogram(f"kubeproxy_{name}", says, ["ip_family"], metrics.doubling(0.001, 15))
        return self.registry.add(made)

    def _counter(self, name: str, says: str) -> Counter:
        return self.registry.add(Counter(f"kubeproxy_{name}", says, ["ip_family"]))

    def _gauge(self, name: str, says: str) -> Gauge:
        return self.registry.add(Gauge(f"kubeproxy_{name}", says, ["ip_family"]))

    def came_in(self, *, service: bool, now: float, family: str = "") -> None:
        """A change of a Service, or else of an EndpointSlice of a family, at this time."""
        total, pending = (self.services, self.services_pending) if service else (self.endpoints, self.endpoints_pending)
        for one in (family,) if family in self._families else self._families if service else ():
            total.add(1, one)
            pending.add(1, one)
            self.queued.set(now, one)

    def applied(self, seconds: float, *, whole: bool, now: float) -> None:
        """All that came in is in the kernel, which took so long for all families."""
        for one in self._families:
            self.synced.observe(seconds, one)
            (self.full if whole else self.partial).observe(seconds, one)
            self.last.set(now, one)
            self.endpoints_pending.set(0, one)
            self.services_pending.set(0, one)

    def programmed(self, seconds: float, family: str) -> None:
        """So long after a pod or Service changed, the kernel followed."""
        if family in self._families:
            self.programming.observe(seconds, family)

    def nowhere_near(self, table: ServiceTable) -> None:
        """Counts the service ports that this node may not answer for, since all their endpoints are elsewhere (P12)."""
        found: dict[tuple[str, str], set[ListKey]] = {}
        for frontend, entry in table.frontends.items():
            if entry.empty is Empty.DROP and not table.lists[entry.list]:
                policy = "internal" if frontend.address in table.addresses else "external"
                found.setdefault((entry.list.family, policy), set()).add(entry.list)
        for family in self._families:
            for policy in ("internal", "external"):
                self.no_local.set(len(found.get((family, policy), ())), family, policy)

    def forgot(self, flows: int, seconds: float, family: str) -> None:
        """So many outdated UDP flows were found, and how long looking for them took."""
        self.flows_forgotten.add(flows, family)
        self.reconciling.observe(seconds, family)

    def failed(self) -> None:
        """The kernel refused."""
        for one in self._families:
            self.failures.add(1, one)

    def unswept(self, failures: Mapping[str, int]) -> None:
        """So often, by family, the kernel refused to take away what nothing leads to any more."""
        for family, number in failures.items():
            self.cleanups.add(number - self.cleanups.value(family), family)
