"""What the DNS server counts about itself, under CoreDNS' names, for the dashboards that people have.

Called by the server. An answer that is kept counts its own hits; they are added up when somebody looks, or it goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from skerry import metrics
from skerry.metrics import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from skerry.dns.cache import UpstreamCache
    from skerry.dns.packed import Answers, Packed

_SECONDS = metrics.doubling(0.000015625, 20)
"""CoreDNS' own begin at 0.25 ms, four of these further."""
_PROGRAMMING = metrics.doubling(0.0001, 20)
_BYTES = (0.0, 100.0, 200.0, 300.0, 400.0, 511.0, 1023.0, 2047.0, 4095.0, 8291.0, 16e3, 32e3, 48e3, 64e3)
_KNOWN_TYPES = frozenset(["A", "AAAA", "ANY", "CNAME", "HTTPS", "MX", "NS", "PTR", "SOA", "SRV", "SVCB", "TXT"])
_SERVER = "dns://:53"


class About(NamedTuple):
    """What is counted of an exchange. `zone`: the cluster's, or "." for what was asked upstream."""

    zone: str
    proto: str
    type: str
    rcode: str
    asked: int
    """Bytes of the question."""


class DnsMetrics:
    """A registry of a server's own: a test may have several in one process."""

    def __init__(self) -> None:
        self.registry = metrics.Registry()
        add = self.registry.add
        place = ["server", "zone"]
        self.requests = add(Counter("coredns_dns_requests_total", "Questions", [*place, "proto", "family", "type"]))
        self.responses = add(Counter("coredns_dns_responses_total", "Replies", [*place, "rcode"]))
        self.seconds = add(
            Histogram("coredns_dns_request_duration_seconds", "Time from question to reply", place, _SECONDS)
        )
        self.asked = add(Histogram("coredns_dns_request_size_bytes", "Length of questions", [*place, "proto"], _BYTES))
        self.said = add(Histogram("coredns_dns_response_size_bytes", "Length of replies", [*place, "proto"], _BYTES))
        self.panics = add(Counter("coredns_panics_total", "Questions that met a bug of ours"))
        self.walks = add(Counter("coredns_autopath_success_total", "Search paths walked to their end", ["server"]))
        self.programming = add(
            Histogram(
                "coredns_kubernetes_dns_programming_duration_seconds",
                "Time from the change of a pod or Service to the answer",
                ["service_kind"],
                _PROGRAMMING,
            )
        )
        kind = ["server", "type"]
        self.entries = add(Gauge("coredns_cache_entries", "Upstream's answers that are kept", kind))
        self.hits = add(Gauge("coredns_cache_hits_total", "Questions that one of them answered", kind))
        self.misses = add(Gauge("coredns_cache_misses_total", "Questions that none of them answered", ["server"]))
        self.evictions = add(Gauge("coredns_cache_evictions_total", "Those that made room", ["server"]))
        self.upstream = add(
            Histogram(
                "coredns_proxy_request_duration_seconds",
                "Time that upstream servers took",
                ["proxy_name", "to", "rcode"],
                metrics.doubling(0.00025, 16),
            )
        )
        self.dropped = add(Counter("skerry_dns_dropped_total", "Packets that got no reply", ["reason"]))
        self.packed = add(Gauge("skerry_dns_packed_answers", "Answers kept as packets"))

    def exchanged(self, about: About, said: int, times: int = 1) -> None:
        """So many questions of one kind were answered with `said` bytes each."""
        kind = about.type if about.type in _KNOWN_TYPES else "other"
        self.requests.add(times, _SERVER, about.zone, about.proto, "1", kind)
        self.responses.add(times, _SERVER, about.zone, about.rcode)
        self.asked.observe(about.asked, _SERVER, about.zone, about.proto, times=times)
        self.said.observe(said, _SERVER, about.zone, about.proto, times=times)

    def took(self, seconds: float, zone: str) -> None:
        """A reply went out so long after its question came in."""
        self.seconds.observe(seconds, _SERVER, zone)

    def fold(self, one: Packed) -> None:
        """Counts the hits of a kept answer."""
        if one.hits and isinstance(one.about, About):
            self.exchanged(one.about, one.length, one.hits)
            one.hits = 0

    def walked(self) -> None:
        """A search path was walked to a name that exists."""
        self.walks.add(1, _SERVER)

    def asked_upstream(self, server: str, rcode: str, seconds: float) -> None:
        """An upstream server answered, or did not (rcode "")."""
        self.upstream.observe(seconds, "forward", server, rcode)

    def scrape(self, answers: Answers, cache: UpstreamCache | None) -> str:
        """All of it, as a scraper reads it."""
        for one in answers:
            self.fold(one)
        self.packed.set(len(answers.kept))
        if cache is not None:
            for kind, count in cache.sizes().items():
                self.entries.set(count, _SERVER, kind)
                self.hits.set(cache.hits[kind], _SERVER, kind)
            self.misses.set(cache.misses, _SERVER)
            self.evictions.set(cache.evictions, _SERVER)
        return self.registry.text()
