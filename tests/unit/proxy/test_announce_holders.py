"""Who holds a balancer's address, which addresses there are, and which nodes may."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.proxy.build import endpoint, service, terminating

from skerry.api.types import core, discovery, meta
from skerry.proxy.announce import services
from skerry.proxy.announce.frames import Hello
from skerry.proxy.announce.holders import HELLO, SILENT, Heard, holder

names = st.sets(st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True), min_size=1, max_size=12)
addresses = st.ip_addresses().map(str)


@given(names, addresses)
def test_every_address_has_exactly_one_holder_whoever_reckons(nodes: set[str], address: str) -> None:
    found = holder(address, sorted(nodes))
    assert found in nodes
    assert holder(address, sorted(nodes, reverse=True)) == found


@given(names, st.sets(addresses, max_size=30), st.data())
def test_when_a_node_goes_only_what_it_held_moves(nodes: set[str], all_: set[str], data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(sorted(nodes)))
    for address in all_:
        before = holder(address, nodes)
        if before != gone:
            assert holder(address, nodes - {gone}) == before


def test_addresses_are_spread() -> None:
    nodes = [f"worker-{n}" for n in range(5)]
    count = dict.fromkeys(nodes, 0)
    for n in range(1000):
        count[holder(f"10.1.{n // 256}.{n % 256}", nodes)] += 1
    assert min(count.values()) > 150 and max(count.values()) < 250


def test_nobody_holds_what_nobody_may() -> None:
    assert holder("10.0.0.1", []) == ""


def test_two_seconds_are_enough_to_notice_a_death() -> None:
    assert HELLO + SILENT < 2 and SILENT >= 4 * HELLO


LAN, SIX = ipaddress.ip_network("192.168.7.0/24"), ipaddress.ip_network("fd00:7::/64")


def test_the_silent_are_forgotten_at_the_time_that_was_said() -> None:
    heard = Heard()
    a, b = Hello(b"a", True, (LAN,)), Hello(b"b", True, (LAN,))
    assert heard.next() is None
    assert heard.hear(a, 10.1) and heard.hear(b, 10.3)
    assert not heard.hear(a, 10.5)
    assert heard.next() == 10.3 + SILENT
    assert not heard.expire(10.2 + SILENT)
    assert heard.expire(10.3 + SILENT)
    assert heard.near("192.168.7.9") == [b"a"]
    assert heard.hear(Hello(b"a", False), 11.6)
    assert not heard.hear(Hello(b"a", False), 11.7)
    assert not heard.near("192.168.7.9")


def test_who_has_no_network_with_an_address_is_no_candidate_for_it() -> None:
    heard = Heard()
    heard.hear(Hello(b"a", True, (LAN,)), 1.0)
    heard.hear(Hello(b"b", True, (SIX, LAN)), 1.0)
    assert (
        heard.near("fd00:7::9") == [b"b"] and heard.near("192.168.7.9") == [b"a", b"b"] and not heard.near("10.0.0.1")
    )
    assert heard.hear(Hello(b"a", True, (LAN, SIX)), 1.1)
    assert heard.near("fd00:7::9") == [b"a", b"b"]


def a_node(ready: str = "", *, taint: str = "", gone: str = "", **labels: str) -> core.Node:
    made = core.Node(metadata=meta.ObjectMeta(name="a", labels={k.replace("__", "/"): v for k, v in labels.items()}))
    made.metadata.deletion_timestamp = gone or None
    if ready:
        made.status.conditions = [core.NodeCondition(type="Ready", status=ready)]
    if taint:
        made.spec.taints = [core.Taint(key=taint, effect="NoSchedule")]
    return made


@pytest.mark.parametrize(
    ("node", "may"),
    [
        (a_node(), True),
        (a_node("True"), True),
        (a_node("False"), False),
        (a_node("Unknown"), False),
        (a_node("True", taint=services.LEAVING), False),
        (a_node("True", taint="node-role.kubernetes.io/control-plane"), True),
        (a_node("True", gone="2026-01-01T00:00:00Z"), False),
    ],
)
def test_b6_which_nodes_may_hold_addresses(node: core.Node, may: bool) -> None:
    assert services.eligible(node) is may
    node.metadata.labels[services.EXCLUDED] = ""
    assert not services.eligible(node)


def balancer(*ips: str, mode: str | None = "VIP", name: str = "web", **spec: Any) -> core.Service:
    spec.setdefault("type", "LoadBalancer")
    return service(name, ingress=[core.LoadBalancerIngress(ip=ip, ip_mode=mode) for ip in ips], **spec)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (balancer("192.0.2.1", "2001:DB8::0:1"), {"192.0.2.1", "2001:db8::1"}),
        (balancer("192.0.2.1", mode=None), {"192.0.2.1"}),
        (balancer("192.0.2.1", mode="Proxy"), set()),
        (balancer("127.9.9.9", "224.0.0.1", "::", "what"), set()),
        (balancer("192.0.2.1", load_balancer_class="example.com/other"), set()),
        (balancer("192.0.2.1", type="NodePort"), set()),
        (None, set()),
    ],
)
def test_which_addresses_are_announced(found: core.Service | None, wanted: set[str]) -> None:
    assert services.addresses(found) == wanted


def test_the_book_tells_which_addresses_may_move() -> None:
    book = services.Book()
    assert book.put("default/web", balancer("192.0.2.1")) == {"192.0.2.1"}
    assert not book.put("default/web", balancer("192.0.2.1"))
    assert book.put("default/web", balancer("192.0.2.1", external_traffic_policy="Local")) == {"192.0.2.1"}
    assert book.put("default/too", balancer("192.0.2.1", name="too")) == {"192.0.2.1"}
    assert [one.metadata.name for one in book.services("192.0.2.1")] == ["too", "web"]
    assert book.put("default/web", balancer("192.0.2.2")) == {"192.0.2.1", "192.0.2.2"}
    assert book.put("default/too", None) == {"192.0.2.1"}
    assert book.all() == ["192.0.2.2"] and book.of("default/web") == {"192.0.2.2"}
    assert not book.put("default/never", None)


def a_slice(*endpoints: discovery.Endpoint) -> discovery.EndpointSlice:
    return discovery.EndpointSlice(metadata=meta.ObjectMeta(name="s"), endpoints=list(endpoints))


def test_p8_nodes_with_ready_endpoints_and_without_any_those_that_still_serve() -> None:
    ready, ends = endpoint("10.244.1.1", node="a"), terminating("10.244.2.1", node="b")
    dead = terminating("10.244.3.1", serving=False, node="c")
    nowhere = endpoint("10.244.3.2", node=None)
    assert services.nodes_with_endpoints([a_slice(ready), a_slice(ends, dead, nowhere)]) == {"a"}
    assert services.nodes_with_endpoints([a_slice(ends, dead)]) == {"b"}
    assert services.nodes_with_endpoints([a_slice(dead)]) == frozenset()
