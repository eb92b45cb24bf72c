"""Adopt, never flush: a proxy that starts goes on from what the kernel has, and mends what somebody damaged."""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import replace
from typing import Any

import pytest
from tests.helpers.namespaces import in_network_namespace
from tests.integration.proxy.net import IPV4, IPV6, NODE, Host, Network, eventually, nft_program
from tests.unit.proxy.build import endpoint, port, service, slice_of

from skerry.api.types import core, discovery
from skerry.clock import FakeClock, SystemClock
from skerry.netlink import nft, nft_set, wire
from skerry.proxy.nftables import read, schema
from skerry.proxy.nftables.backend import LINGER, Nftables
from skerry.proxy.table import Node

VIP = "10.96.0.9"
SHAPE = schema.Shape.of(NODE, "IPv4")


def restarted(network: Network, clock: FakeClock | None = None, node: Node = NODE) -> Nftables:
    """Another proxy takes over."""
    network.kernel.close()
    network.kernel = Nftables(node, clock or SystemClock())
    network.kernel.start(network.brain.table)
    return network.kernel


def handle(network: Network) -> int:
    """The number that the kernel gave our table when it was made."""
    with nft.Nft(network.kernel_family) as kernel:
        for one in kernel.dump(nft.GET_TABLE):
            parts = wire.table(one)
            if nft.text(parts[1]) == schema.TABLE:
                return int.from_bytes(parts[4], "big")
    raise LookupError("no table")


def everything(network: Network, *pods: Host) -> None:
    """Services of all kinds, so that every map holds something."""
    config = core.SessionAffinityConfig(client_ip=core.ClientIPConfig(timeout_seconds=77))
    found = service(
        "web",
        VIP,
        port(80, node_port=30080),
        type="LoadBalancer",
        external_traffic_policy="Local",
        session_affinity="ClientIP",
        session_affinity_config=config,
        load_balancer_source_ranges=["192.0.2.0/24", "10.243.0.0/16"],
        ingress=[core.LoadBalancerIngress(ip="203.0.113.6", ip_mode="VIP")],
    )
    network.service(found, *pods)
    others: list[tuple[str, str, dict[str, Any], list[str]]] = [
        ("plain", "10.96.0.10", {"external_i_ps": ["203.0.113.8"]}, ["a", "b"]),
        ("empty", "10.96.0.11", {"external_i_ps": ["203.0.113.7"]}, []),
        ("elsewhere", "10.96.0.12", {"internal_traffic_policy": "Local"}, ["b"]),
    ]
    for name, ip, spec, nodes in others:
        network.put_service(service(name, ip, port(80), **spec))
        ends = [endpoint(f"10.244.9.{last}", node=node) for last, node in enumerate(nodes, 1)]
        network.put_slice(slice_of(*ends, of=name, name=f"{name}-1"))


def held(network: Network) -> dict[str, Any]:
    """What the kernel holds, by family."""
    found = {}
    for family in network.families:
        with nft.Nft(nft.IPV6 if family == IPV6 else nft.IPV4) as kernel:
            found[family] = read.maps(kernel, schema.TABLE)
    return found


@pytest.mark.parametrize("families", [(IPV4,), (IPV6,), (IPV4, IPV6)])
@in_network_namespace
async def test_a_restarted_proxy_changes_nothing_where_nothing_differs(families: tuple[str, ...]) -> None:
    clock = FakeClock()
    network = Network(clock, families=families)
    client = network.pod()
    pods = [network.pod() for _ in range(4)]
    for pod in pods:
        await pod.serve()
    everything(network, *pods)
    network.endpoints(*pods[:3])
    await clock.advance(LINGER)
    (first,) = await client.spread(VIP, 80, 5)
    made = handle(network)
    before = held(network)
    for family, maps in before.items():
        assert all(maps.values()), [(family, name) for name, found in maps.items() if not found]
    restarted(network, clock, network.here)
    assert held(network) == before
    assert network.kernel.changed == 0
    assert handle(network) == made
    assert set(await client.spread(VIP, 80, 5)) == {first}  # its record is still there
    network.endpoints(*[one for one in pods if one.ip != first])
    for family in families:
        assert (await client.connect(VIP, 80, family=family))[0] != first
    for name in ("web", "plain", "empty", "elsewhere"):
        network.kernel.program(network.brain.table, network.brain.apply_service(f"default/{name}", None))
    for _ in range(2):  # a sweep takes what was stale when it was planned
        await clock.advance(LINGER)
    left = {name for maps in held(network).values() for name, found in maps.items() if found}
    assert left <= {"dispatch"}
    network.finish()


@in_network_namespace
async def test_each_family_is_mended_for_itself_and_none_takes_the_other_for_a_stranger() -> None:
    clock = FakeClock()
    network = Network(clock, families=(IPV4, IPV6))
    client, pod = network.pod(), network.pod()
    await pod.serve()
    everything(network, pod)
    await clock.advance(LINGER)
    before = held(network)
    for _ in range(2):
        assert not await network.check()
        network.endpoints()
        network.endpoints(pod)
        await clock.advance(LINGER)
    for damage in ("flush map ip6 skerry counts", "delete table ip6 skerry", "add rule ip6 skerry balance drop"):
        made = handle(network)
        nft_program(damage)
        assert await network.check(), damage
        await clock.advance(LINGER)
        assert handle(network) == made, damage  # that of IPv4 was left alone
        assert {name: len(each) for name, each in held(network)[IPV6].items()} == {
            name: len(each) for name, each in before[IPV6].items()
        }
        for family in (IPV4, IPV6):
            assert await client.connect(VIP, 80, family=family) == (pod.ip, client.ip), damage
        assert not await network.check(), damage
    network.finish(mended=True)


@in_network_namespace
async def test_what_a_restarted_proxy_missed_is_all_that_it_changes() -> None:
    clock = FakeClock()
    network = Network(clock)
    client = network.pod()
    pods = [network.pod() for _ in range(3)]
    for pod in pods:
        await pod.serve()
    everything(network, *pods)
    network.kernel.close()
    brain = network.brain
    brain.apply_service("default/plain", None)
    brain.apply_service("default/new", service("new", "10.96.0.20"))
    brain.apply_slice("default/new-1", slice_of(endpoint(pods[0].ip, node="a"), of="new", name="new-1"))
    brain.apply_slice("default/web-1", slice_of(*(endpoint(one.ip, node="a") for one in pods[1:])))
    made = handle(network)
    restarted(network, clock)
    assert handle(network) == made
    assert 0 < network.kernel.changed < 30
    assert (await client.connect("10.96.0.20", 80))[0] == pods[0].ip
    assert (await client.connect(VIP, 80))[0] in {one.ip for one in pods[1:]}
    await clock.advance(LINGER)
    with nft.Nft() as kernel:
        held = read.maps(kernel, schema.TABLE)
    assert len(held["endpoints"]) == sum(len(found) for found in brain.table.lists.values())
    assert set(held["addresses"]) == set(brain.table.addresses)
    network.finish()


@in_network_namespace
async def test_connections_live_on_and_new_ones_never_fail_while_proxies_restart() -> None:
    network = Network()
    client, pod = network.pod(), network.pod()
    await pod.serve()
    network.service(service(), pod)
    listener = pod.do(lambda: socket.create_server(("0.0.0.0", 9000)))
    listener.setblocking(False)
    long = service("long", "10.96.0.30", port(80, "long"))
    network.kernel.program(network.brain.table, network.brain.apply_service("default/long", long))
    ports = [discovery.EndpointPort(name="long", protocol="TCP", port=9000)]
    found = slice_of(endpoint(pod.ip, node="a"), of="long", name="long-1", ports=ports)
    network.kernel.program(network.brain.table, network.brain.apply_slice("default/long-1", found))
    loop = asyncio.get_running_loop()
    ours = client.socket()
    await loop.sock_connect(ours, ("10.96.0.30", 80))
    theirs, _ = await loop.sock_accept(listener)
    theirs.setblocking(False)
    with nft.Nft() as kernel:
        kernel.commit(list(SHAPE.skeleton("skerry-next")))  # somebody died half-way
        kernel.commit([nft.add_table("foreign", "not ours")])
    failed: list[BaseException] = []
    done = asyncio.Event()

    async def connect() -> None:
        while not done.is_set():
            try:
                await client.connect(VIP, 80, seconds=0.9)
            except (OSError, TimeoutError) as error:
                failed.append(error)

    connecting = asyncio.create_task(connect())
    for number in range(20):
        if number % 2:  # its rules are another version's: replaced
            restarted(network, node=replace(NODE, service_cidrs=("10.96.0.0/16",)))
        else:
            restarted(network)
        await asyncio.sleep(0.002)
        await loop.sock_sendall(ours, b"still")
        assert await loop.sock_recv(theirs, 10) == b"still"
    done.set()
    await connecting
    assert not failed
    restarted(network)
    with nft.Nft() as kernel:
        assert set(kernel.tables()) == {"skerry", "foreign"}
    ours.close()
    theirs.close()
    network.finish()


DAMAGES = {
    "a map emptied": "flush map ip skerry counts",
    "all elements of lists gone": "flush map ip skerry endpoints",
    "no list known": "flush map ip skerry lists",
    "places gone": "flush map ip skerry places",
    "a frontend that nobody asked for": "add element ip skerry counts { 10.96.0.99 . tcp . 1 : 0x1 }",
    "an element that we never write": "add element ip skerry counts { 10.96.0.99 . gre . 1 : 0x1 }",
    "a rule more": "add rule ip skerry balance drop",
    "a chain emptied": "flush chain ip skerry pick",
    "the hooks gone": "delete chain ip skerry nat-prerouting",
    "switched off": "add table ip skerry { flags dormant; }",
    "a guard opened": "flush set ip skerry guarded",
    "a guard put up": "add element ip skerry guarded { 10.96.0.10 . tcp . 80 }",
    "a pair that is no hairpin": "add element ip skerry hairpin { 10.244.1.2 . 10.244.1.3 }",
    "an address taken away": "delete element ip skerry addresses { 10.96.0.9 }",
    "all gone": "delete table ip skerry",
}


@in_network_namespace
async def test_a_damaged_table_is_mended_and_reported() -> None:
    clock = FakeClock()
    network = Network(clock)
    client = network.pod()
    pods = [network.pod() for _ in range(2)]
    for pod in pods:
        await pod.serve()
    everything(network, *pods)
    nft_program('add table ip foreign { comment "not ours"; }')
    await clock.advance(LINGER)
    kernel = nft.Nft()
    assert not await network.check()  # another's table is not our damage
    whole = {name: len(held) for name, held in read.maps(kernel, schema.TABLE).items()}
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("skerry.proxy").addHandler(handler)
    for what, done in DAMAGES.items():
        said.clear()
        nft_program(done)
        assert await network.check(), what
        assert "somebody else changed" in said[0], what
        await clock.advance(LINGER)
        assert (await client.connect(VIP, 80))[0] in {one.ip for one in pods}, what
        held = read.maps(kernel, schema.TABLE)
        assert {name: len(each) for name, each in held.items()} == whole, what
        assert read.intact(kernel, schema.TABLE, SHAPE, held), what
        assert not await network.check(), what
    assert set(kernel.tables()) == {"skerry", "foreign"}
    kernel.close()
    assert network.kernel.repairs == len(DAMAGES)
    assert 0 < network.kernel.rebuilds < len(DAMAGES)
    network.finish(mended=True)


@in_network_namespace
async def test_damage_is_found_while_endpoints_never_come_to_rest() -> None:
    clock = FakeClock()
    network = Network(clock)
    pods = [network.pod() for _ in range(2)]
    network.service(service(), *pods)
    network.endpoints(pods[0])  # the last index is stale, and under steady changes some always are
    nft_program("delete element ip skerry addresses { 10.96.0.9 }")
    assert await network.check()
    await clock.advance(LINGER)
    assert not await network.check()
    assert network.kernel.rebuilds == 0
    network.finish(mended=True)


@in_network_namespace
async def test_damage_that_a_change_runs_into_is_mended_at_once() -> None:
    network = Network()
    client, pod = network.pod(), network.pod()
    await pod.serve()
    network.service(service(), pod)
    nft_program("flush map ip skerry counts")
    with pytest.raises(ConnectionRefusedError):
        await client.connect(VIP, 80)
    with pytest.raises(OSError):
        network.endpoints()
    network.brain.apply_slice("default/web-1", slice_of(endpoint(pod.ip, node="a")))
    network.kernel.start(network.brain.table)
    assert (await client.connect(VIP, 80))[0] == pod.ip
    assert (network.kernel.repairs, network.kernel.rebuilds) == (1, 0)
    with nft.Nft() as kernel:
        await eventually(lambda: len(nft_set.dump_elements(kernel, "skerry", "endpoints")) == 1)
    network.finish(mended=True)


LARGE_DAMAGES = (
    "add element ip skerry endpoints { 0x1 . 0x1 : 10.244.9.9 . 80 }",
    "delete element ip skerry endpoints { NUMBER . 0x5 }",
    (
        "delete element ip skerry endpoints { NUMBER . 0x5 }; "
        "add element ip skerry endpoints { NUMBER . 0x5 : 10.0.0.1 . 8 }"
    ),
    "delete element ip skerry ids { NUMBER . 10.245.1.7 . 8080 }",
)
"""More, less, another value, another key."""


@in_network_namespace
async def test_large_maps_are_read_by_their_keys_and_compared_some_elements_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(read, "MANY", 500)
    network = Network()
    network.put_service(service(session_affinity="ClientIP"))
    ends = [endpoint(f"10.245.{n >> 8}.{n & 255}") for n in range(1, 1201)]
    network.put_slice(slice_of(*ends))
    before = held(network)
    whole = {name: len(found) for name, found in before[IPV4].items()}
    dumped: list[str] = []
    dump = nft_set.dump_elements

    def noted(kernel: nft.Nft, owner: str, name: str) -> list[nft_set.Element]:
        dumped.append(name)
        return dump(kernel, owner, name)

    monkeypatch.setattr(nft_set, "dump_elements", noted)
    restarted(network)
    assert network.kernel.changed == 0
    assert held(network) == before
    assert not {"endpoints", "ids", "places"} & set(dumped)
    (number,) = {number for number, _ in before[IPV4]["endpoints"]}
    nft_program('add table ip foreign { comment "not ours"; }')
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    assert not await network.check()
    counting.cancel()
    assert turns > 10  # others had their turns meanwhile
    for damage in LARGE_DAMAGES:
        nft_program(damage.replace("NUMBER", hex(number)))
        assert await network.check(), damage
        await eventually(lambda: len(held(network)[IPV4]["endpoints"]) == len(ends))
        after = held(network)[IPV4]
        assert {name: len(found) for name, found in after.items()} == whole, damage
        assert set(after["endpoints"].values()) == set(before[IPV4]["endpoints"].values()), damage
        assert not await network.check(), damage
    network.finish(mended=True)


@in_network_namespace
async def test_p38_a_sweep_that_is_refused_is_counted_and_its_cause_mended() -> None:
    clock = FakeClock()
    network = Network(clock)
    pods = [network.pod() for _ in range(2)]
    network.service(service(), *pods)
    network.endpoints(pods[0])
    nft_program("flush map ip skerry endpoints")  # also the index that is stale
    await clock.advance(LINGER)
    assert network.kernel.unswept() == {IPV4: 1}
    assert await network.check()
    network.finish(mended=True)
