"""Addresses out of configured pools: what is read, what is given out, and what happens when pools change."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.controllers.loadbalancer.test_loadbalancer import World, world

from skerry.api.types import core, meta
from skerry.controllers.loadbalancer import decide, pools
from skerry.controllers.loadbalancer.decide import FINALIZER


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("192.168.7.200/30", ["192.168.7.200", "192.168.7.201", "192.168.7.202", "192.168.7.203"]),
        ("192.168.7.9 - 192.168.7.11", ["192.168.7.9", "192.168.7.10", "192.168.7.11"]),
        ("192.168.7.9", ["192.168.7.9"]),
        ("10.0.0.1, 10.0.0.5\n\n10.0.0.3  # the third\n", ["10.0.0.1", "10.0.0.5", "10.0.0.3"]),
    ],
)
def test_what_is_written_in_pools(text: str, wanted: list[str]) -> None:
    found, problems = pools.read({"house": text})
    assert list(found.addresses("IPv4")) == wanted and not problems
    assert all(one in found for one in wanted) and "192.168.7.8" not in found and "what" not in found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("192.168.7.1/24", "has host bits set"),
        ("nonsense", "does not appear to be"),
        ("10.0.0.9-10.0.0.1", "from an address to a higher one"),
        ("10.0.0.9-fd00::1", "from an address to a higher one"),
        ("127.0.0.0/8", "no address that balancers can have"),
        ("224.0.0.0/24", "no address that balancers can have"),
        ("fe80::/64", "no address that balancers can have"),
        ("0.0.0.0/0", "no address that balancers can have"),
    ],
)
def test_a_range_that_is_none_is_left_out_and_said(text: str, why: str) -> None:
    found, problems = pools.read({"a": text, "b": "10.0.0.1"})
    assert list(found.addresses("IPv4")) == ["10.0.0.1"]
    (said,) = problems
    assert said.startswith(f'pool a: "{text}" is left out: ') and why in said


@given(st.text(max_size=40))
def test_no_text_is_an_error(text: str) -> None:
    pools.read({"x": text})


def test_a_large_range_costs_nothing() -> None:
    found, _ = pools.read({"six": "fd00::/64"})
    assert next(found.addresses("IPv6")) == "fd00::" and "fd00::ffff" in found
    assert not list(found.addresses("IPv4"))


async def config(w: World, **data: str) -> None:
    made = core.ConfigMap(metadata=meta.ObjectMeta(name=pools.NAME, namespace=pools.NAMESPACE), data=data)
    with contextlib.suppress(Exception):
        await w.client.create(made)
        return
    await w.client.patch(core.ConfigMap, pools.NAME, {"data": data}, pools.NAMESPACE)


async def says_ports(w: World, name: str) -> None:
    """What the node says that opens ports on the loopback."""
    says = {"type": decide.PORTS_CONDITION, "status": "True", "reason": "Open", "message": "x"}
    says["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    change = {"status": {"conditions": [says]}}
    await w.client.patch(core.Service, name, change, "default", type="strategic", subresource="status")


async def given_to(w: World, name: str, *wanted: str, mode: str = "VIP") -> None:
    """Returns when the Service has these addresses."""
    async with asyncio.timeout(5):
        while True:
            found = (await w.get(name)).status.load_balancer.ingress
            if [one.ip for one in found] == list(wanted):
                assert all(one.ip_mode == mode for one in found)
                return
            await asyncio.sleep(0)


async def test_addresses_come_out_of_the_pool_and_go_back_into_it() -> None:
    async with world() as w:
        await config(w, house="192.168.7.200/31")
        await w.create("a")
        await given_to(w, "a", "192.168.7.200")
        await w.create("b", load_balancer_ip="192.168.7.201")
        await given_to(w, "b", "192.168.7.201")
        await w.create("web")
        told = await w.events("SyncLoadBalancerFailed")
        why = "all 2 IPv4 addresses of ConfigMap kube-system/load-balancer-pools are in use"
        text = f"Error syncing load balancer: failed to ensure load balancer: {why}"
        assert told == [("Warning", "SyncLoadBalancerFailed", text)]
        await w.client.delete(core.Service, "a", "default")
        await given_to(w, "web", "192.168.7.200")


async def test_an_address_that_is_in_no_pool_cannot_be_asked_for() -> None:
    async with world() as w:
        await config(w, house="192.168.7.200/31")
        await w.create("web", load_balancer_ip="192.168.8.1")
        ((_, _, text),) = await w.events("SyncLoadBalancerFailed")
        assert "loadBalancerIP 192.168.8.1 is not in a pool of ConfigMap kube-system/load-balancer-pools" in text


async def test_when_pools_change_services_move_and_those_that_fit_stay() -> None:
    async with world() as w:
        await w.create("a")
        first = await w.address("a")  # of the loopback
        await says_ports(w, "a")
        await config(w, one="10.7.0.1", two="10.8.0.1")
        await given_to(w, "a", "10.7.0.1")
        assert not (await w.get("a")).status.conditions  # which was about ports on the loopback
        await w.create("b")
        await given_to(w, "b", "10.8.0.1")
        await config(w, one="10.9.0.1")
        await given_to(w, "a", "10.9.0.1")
        await given_to(w, "b", "10.8.0.1")
        await w.client.delete(core.ConfigMap, pools.NAME, pools.NAMESPACE)
        await given_to(w, "a", first, mode="Proxy")


async def test_a_bad_range_is_told_at_the_config_map() -> None:
    async with world() as w:
        await config(w, house="10.0.0.0/33")
        async with asyncio.timeout(5):
            found: list[Any] = []
            while not found:
                found = (await w.client.list(core.Event, pools.NAMESPACE)).items
                await asyncio.sleep(0)
        assert (found[0].reason, found[0].involved_object.kind) == ("InvalidPool", "ConfigMap")


async def test_each_family_that_a_service_and_the_pools_have() -> None:
    async with world() as w:
        await config(w, six="fd00:7::10/127")
        await w.create("web")
        ((_, _, text),) = await w.events("SyncLoadBalancerFailed")
        assert text.endswith("the pools of ConfigMap kube-system/load-balancer-pools have no IPv4 addresses")
        await config(w, four="10.7.0.1")
        await given_to(w, "web", "10.7.0.1")


def test_both_families() -> None:
    space, _ = pools.read({"six": "fd00:7::10/127", "four": "10.7.0.1-10.7.0.2"})
    service = core.Service(spec=core.ServiceSpec(type="LoadBalancer", ip_families=["IPv6", "IPv4"]))
    held = {"fd00:7::10": {"default/other": frozenset({("TCP", 80)})}}
    assert decide.choose("default/web", service, held, space) == ["fd00:7::11", "10.7.0.1"]
    service.status.load_balancer.ingress = [core.LoadBalancerIngress(ip="10.7.0.2")]
    assert decide.choose("default/web", service, held, space) == ["fd00:7::11", "10.7.0.2"]


def test_the_address_of_a_node_is_given_to_nobody() -> None:
    space, _ = pools.read({"house": "10.7.0.1-10.7.0.2"})
    service = core.Service(spec=core.ServiceSpec(type="LoadBalancer", ip_families=["IPv4"]))
    machines = frozenset({"10.7.0.1"})
    assert decide.choose("default/web", service, {}, space, machines) == ["10.7.0.2"]
    service.spec.load_balancer_ip = "10.7.0.1"
    with pytest.raises(decide.Refused, match="is the address of a node"):
        decide.choose("default/web", service, {}, space, machines)


async def test_b7_without_nodes_and_pools_services_wait_and_with_pools_they_do_not() -> None:
    async with world(cluster=None) as w:
        await w.create("web")
        await w.create("classy", load_balancer_class="example.com/lb")
        for _ in range(20):
            await asyncio.sleep(0)
        assert not (await w.get("web")).metadata.finalizers
        await config(w, house="10.7.0.1")
        await given_to(w, "web", "10.7.0.1")
        assert (await w.get("web")).metadata.finalizers == [FINALIZER]
        assert not (await w.get("classy")).metadata.finalizers


async def test_b7_where_only_a_pool_can_help_an_event_says_so() -> None:
    async with world(cluster=None, without_pools="there is no pool") as w:
        await w.create("web")
        text = "Error syncing load balancer: failed to ensure load balancer: there is no pool"
        assert await w.events("SyncLoadBalancerFailed") == [("Warning", "SyncLoadBalancerFailed", text)]
        await config(w, house="10.7.0.1")
        await given_to(w, "web", "10.7.0.1")
        assert len(await w.events("EnsuredLoadBalancer")) == 3
