"""What the gateway counts. Envoy's own numbers stand beside these where they are shown (cluster/nodeingress.py)."""

from __future__ import annotations

from skerry.metrics import Counter, Gauge, Histogram, Registry, doubling


class Metrics:
    """`registry.text()` is what a scraper reads."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.programming = self.registry.add(
            Histogram(
                "gateway_programming_duration_seconds",
                "From the change of a pod or Service until Envoy has applied it.",
                buckets=doubling(0.001, 16),
            )
        )
        self.computed = self.registry.add(
            Histogram(
                "gateway_compute_duration_seconds",
                "What it takes to make Envoy's configuration of all Ingresses.",
                buckets=doubling(0.001, 14),
            )
        )
        self.ingresses = self.registry.add(Gauge("gateway_ingresses", "Ingresses whose class is ours."))
        self.starts = self.registry.add(Counter("gateway_envoy_starts_total", "How often Envoy was started."))
        self.up = self.registry.add(Gauge("gateway_envoy_up", "1 while Envoy answers."))
