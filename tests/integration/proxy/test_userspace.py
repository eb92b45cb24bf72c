"""What is the userspace back end's own: its room, its sockets' beginnings and ends, and when it is chosen."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest
from tests.helpers.namespaces import in_network_namespace
from tests.integration.proxy.net import NODE, NODE_IP, Host, Network
from tests.unit.proxy.build import endpoint, port, service, slice_of, terminating

from skerry import linux
from skerry.api.types import discovery
from skerry.clock import FakeClock, SystemClock
from skerry.netlink import nft
from skerry.netlink.route import Routes
from skerry.proxy import modes
from skerry.proxy.brain import Brain
from skerry.proxy.nftables.backend import Nftables
from skerry.proxy.relay.udp import UDP_IDLE_SECONDS
from skerry.proxy.table import Backend, Frontend
from skerry.proxy.userspace import places
from skerry.proxy.userspace.backend import Userspace

VIP = "10.96.0.9"
DNS = [discovery.EndpointPort(name="dns", protocol="UDP", port=5353)]


def userspace(clock: FakeClock | None = None) -> Network:
    return Network(clock, mode="userspace")


def links() -> set[str]:
    with Routes() as routes:
        return {one.name for one in routes.links()}


async def held(network: Network, client: Host, pod: Host) -> tuple[socket.socket, socket.socket]:
    """A connection from a client through the Service to a pod that only accepts: both ends."""
    server = pod.do(lambda: socket.create_server(("0.0.0.0", 8080)))
    server.setblocking(False)
    network.endpoints(pod)
    loop = asyncio.get_running_loop()
    ours = client.socket()
    await loop.sock_connect(ours, (VIP, 80))
    theirs, _ = await loop.sock_accept(server)
    theirs.setblocking(False)
    server.close()
    return ours, theirs


@in_network_namespace
async def test_servers_on_all_addresses_of_the_node_and_services_on_the_same_port_do_not_meet() -> None:
    """As of a pod with hostNetwork: it neither takes a Service's port nor gets what comes to unknown ones (P25)."""
    network = userspace()
    client, pod = network.pod(), network.pod()
    await pod.serve()
    before = await network.node.serve(80)
    network.service(service(), pod)
    after = await network.node.serve(81)
    for host in (client, network.node, network.outside):
        assert (await host.connect(VIP, 80))[0] == pod.ip
        with pytest.raises(ConnectionRefusedError):
            await host.connect(VIP, 81)
    before.close()
    after.close()
    network.finish()


@in_network_namespace
async def test_the_proxy_leaves_nothing_behind_and_a_second_one_takes_over() -> None:
    """Listeners are opened again; connections of the proxy before end with a reset."""
    network = userspace()
    client, pod, other = network.pod(), network.pod(), network.pod()
    network.service(service())
    ours, theirs = await held(network, client, pod)
    await other.serve()
    network.endpoints(other)
    assert places.LINK in links()
    network.kernel.close()
    assert places.LINK not in links()
    loop = asyncio.get_running_loop()
    for end in (ours, theirs):
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(loop.sock_recv(end, 10), 2)
        end.close()
    network.kernel = Userspace(NODE, SystemClock(), places.find(NODE))
    network.kernel.start(network.brain.table)
    assert (await client.connect(VIP, 80))[0] == other.ip
    network.finish()


@in_network_namespace
async def test_a_whole_table_is_taken_over_a_few_listeners_at_a_time() -> None:
    """Ten thousand take seconds, in which health checks are answered and watches read; at the end all are open."""
    network = userspace()
    client, pod = network.pod(), network.pod()
    await pod.serve()
    vips = [f"10.96.{number // 200}.{number % 200 + 1}" for number in range(200)]
    brain = Brain(NODE)
    for number, vip in enumerate(vips):
        brain.apply_service(f"default/s-{number}", service(f"s-{number}", vip))
        found = slice_of(endpoint(pod.ip), of=f"s-{number}", name=f"s-{number}-a")
        brain.apply_slice(f"default/s-{number}-a", found)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    working = asyncio.create_task(others())
    await network.kernel.take_over(brain.table.snapshot())
    working.cancel()
    assert turns >= len(vips) / 20
    for vip in vips[::10]:
        assert (await client.connect(vip, 80))[0] == pod.ip
    await network.kernel.take_over(Brain(NODE).table.snapshot())  # and gone again, a few at a time
    with pytest.raises(TimeoutError):
        await client.connect(vips[0], 80, 0.2)
    network.finish()


@in_network_namespace
async def test_a_service_that_goes_refuses_and_its_connections_go_on_until_they_end() -> None:
    network = userspace()
    client, pod = network.pod(), network.pod()
    network.service(service())
    ours, theirs = await held(network, client, pod)
    network.kernel.program(network.brain.table, network.brain.apply_service("default/web", None))
    with pytest.raises(ConnectionRefusedError):
        await client.connect(VIP, 80)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(theirs, b"still here")
    assert await asyncio.wait_for(loop.sock_recv(ours, 20), 2) == b"still here"
    ours.close()
    assert await asyncio.wait_for(loop.sock_recv(theirs, 20), 2) == b""
    theirs.close()
    async with asyncio.timeout(20):
        while network.kernel._addresses:
            await network.kernel.intact(network.brain.table)
            await asyncio.sleep(0.01)
    with pytest.raises(TimeoutError):  # now nobody has the address any more
        await client.connect(VIP, 80, seconds=0.2)
    network.finish()


@in_network_namespace
async def test_a_backend_that_refuses_is_passed_over_and_a_client_that_resets_resets_its_backend() -> None:
    network = userspace()
    client, pod, silent = network.pod(), network.pod(), network.pod()
    network.service(service())
    ours, theirs = await held(network, client, pod)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    ours.close()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(asyncio.get_running_loop().sock_recv(theirs, 20), 2)
    theirs.close()
    server = await pod.serve()
    network.endpoints(pod, silent)
    assert set(await client.spread(VIP, 80, 20)) == {pod.ip}  # nobody listens in the other one
    server.close()
    with pytest.raises(ConnectionResetError):  # accepted before anybody knew
        await client.connect(VIP, 80)
    network.finish()


@in_network_namespace
async def test_p33_datagrams_leave_a_backend_that_has_gone_and_stay_with_one_that_still_serves() -> None:
    clock = FakeClock()
    network = userspace(clock)
    client, one, two = network.pod(), network.pod(), network.pod()
    for pod in (one, two):
        await pod.serve_udp(5353)
    network.service(service("web", VIP, port(53, "dns", "UDP")))
    network.endpoints(one, ports=DNS)
    with client.socket(socket.SOCK_DGRAM) as ours:
        await asyncio.get_running_loop().sock_connect(ours, (VIP, 53))
        assert (await client.ask(VIP, 53, ours))[0] == one.ip
        leaving = slice_of(terminating(one.ip, node="a"), endpoint(two.ip, node="a"), ports=DNS)
        network.kernel.program(network.brain.table, network.brain.apply_slice("default/web-1", leaving))
        assert (await client.ask(VIP, 53, ours))[0] == one.ip  # it serves those whom it has
        assert {(await client.ask(VIP, 53))[0] for _ in range(6)} == {two.ip}
        network.endpoints(two, ports=DNS)
        assert (await client.ask(VIP, 53, ours))[0] == two.ip
        await clock.advance(UDP_IDLE_SECONDS)
        network.endpoints(one, ports=DNS)
        assert (await client.ask(VIP, 53, ours))[0] == one.ip
        network.endpoints(ports=DNS)
        with pytest.raises(ConnectionRefusedError):
            await client.ask(VIP, 53, ours)
    network.finish()


@in_network_namespace
async def test_connections_are_counted_until_their_endpoint_leaves() -> None:
    network = userspace()
    client, pod = network.pod(), network.pod()
    await pod.serve()
    network.service(service("web", VIP, port(80, node_port=30080), type="NodePort"), pod)
    await client.spread(VIP, 80, 3)
    await client.spread(NODE_IP, 30080, 2)
    assert list(network.kernel.connections()) == [("default/web", "", "TCP", Backend(pod.ip, 8080), 5)]
    network.endpoints()
    network.endpoints(pod)
    assert list(network.kernel.connections()) == []
    network.finish()


@in_network_namespace
async def test_a_node_port_that_somebody_has_is_told_and_tried_again_at_each_check() -> None:
    network = userspace()
    client, pod = network.pod(), network.pod()
    await pod.serve()
    taken = await network.node.serve(30080)
    network.service(service("web", VIP, port(80, node_port=30080), type="NodePort"), pod)
    assert network.kernel.unserved == {Frontend(NODE_IP, "TCP", 30080): "Address already in use"}
    assert (await client.connect(VIP, 80))[0] == pod.ip
    assert (await client.connect(NODE_IP, 30080))[0] == NODE_IP
    taken.close()
    await network.check()
    assert (await client.connect(NODE_IP, 30080))[0] == pod.ip
    network.finish()


@in_network_namespace
async def test_sctp_is_not_carried() -> None:
    network = userspace()
    network.service(service("web", VIP, port(80, "", "SCTP")))
    sctp = [discovery.EndpointPort(name="", protocol="SCTP", port=8080)]
    network.endpoints(network.pod(), ports=sctp)
    assert list(network.kernel.unserved) == [Frontend(VIP, "SCTP", 80)]
    network.finish(unserved=1)


def without_net_admin() -> None:
    """This process may do with its network what any program may, as where seccomp or missing rights are in the way."""
    linux.set_capabilities([])


@in_network_namespace
async def test_auto_falls_back_where_the_kernel_refuses_nftables_and_says_so() -> None:
    chosen = modes.choose("auto", NODE, SystemClock())
    assert isinstance(chosen.back_end, Nftables)
    assert chosen.condition()[:3] == ("ServicesInUserspace", False, "Nftables")
    chosen.back_end.close()
    without_net_admin()
    with pytest.raises(OSError, match="Operation not permitted"):
        modes.choose("nftables", NODE, SystemClock())
    chosen = modes.choose("auto", NODE, SystemClock())
    assert isinstance(chosen.back_end, Userspace)
    assert chosen.conntrack is None
    kind, true, reason, message = chosen.condition()
    assert (kind, true, reason) == ("ServicesInUserspace", True, "NoNftables")
    assert "the kernel refuses nftables: Operation not permitted" in message
    assert "on loopback only, 10.96.0.1 as 127.96.0.1" in message  # nor does it let us have a network namespace
    chosen.back_end.close()


@in_network_namespace
async def test_without_any_right_services_are_on_loopback() -> None:
    with Routes() as routes:
        routes.add_address(routes.index("lo"), "10.244.1.9/32")
    linux.sysctl("net.ipv4.ip_unprivileged_port_start", "0")
    without_net_admin()
    chosen = modes.choose("auto", NODE, SystemClock())
    brain, node = Brain(NODE), Host("10.244.1.9", None)  # pods take rights: a server of the node's own stands for one
    await node.serve()
    brain.apply_service("default/web", service())
    brain.apply_slice("default/web-1", slice_of(endpoint("10.244.1.9", node="a")))
    chosen.back_end.start(brain.table)
    assert (await node.connect("127.96.0.9", 80))[0] == "10.244.1.9"
    with pytest.raises(ConnectionRefusedError):
        await node.connect("127.96.0.9", 81)
    chosen.back_end.close()


@in_network_namespace
async def test_userspace_takes_the_place_of_a_table_that_is_in_the_kernel() -> None:
    network = Network()
    client, pod = network.pod(), network.pod()
    await pod.serve()
    network.service(service(), pod)
    network.kernel.close()
    network.mode, network.kernel = "userspace", modes.choose("userspace", NODE, SystemClock()).back_end
    network.kernel.start(network.brain.table)
    assert await client.connect(VIP, 80) == (pod.ip, NODE_IP)
    network.finish()
    with nft.Nft() as kernel:
        assert "skerry" not in kernel.tables()
