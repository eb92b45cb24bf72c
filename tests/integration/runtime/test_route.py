"""netlink/route.py against the kernel, in a network namespace of its own."""

from __future__ import annotations

import errno
import os

import pytest
from tests.integration.runtime.kernel import in_child

from skerry import linux
from skerry.netlink.route import Route, Routes
from skerry.netlink.wire import NetlinkError

NEW = linux.CLONE_NEWUSER | linux.CLONE_NEWNET


def test_links_addresses_routes_and_neighbours() -> None:
    def work() -> None:
        with Routes() as routes:
            bridge = routes.add_link("bridge", "fabric0", mac="0a:58:0a:f3:00:01")
            routes.add_address(bridge, "10.243.0.1/24")
            routes.add_address(bridge, "10.243.0.1/24")
            end = routes.add_veth(
                "one", "two", mac="ee:ee:ee:ee:ee:ee", peer_mac="0a:58:00:00:00:02", master=bridge, mtu=1400
            )
            routes.add_route("10.244.2.0/24", via="10.243.0.3")
            routes.add_route("10.244.9.9", link=end)
            routes.add_route("default", via="169.254.1.1", link=end, onlink=True)
            routes.add_route("default", via="169.254.1.2", link=end, onlink=True)  # replaces
            routes.add_neighbour(end, "169.254.1.1", "ee:ee:ee:ee:ee:ee")
            links = {one.name: one for one in routes.links()}
            assert links["fabric0"].kind == "bridge" and links["fabric0"].mac == "0a:58:0a:f3:00:01"
            assert links["one"].master == bridge and links["one"].mtu == 1400 and links["one"].up
            assert links["two"].mac == "0a:58:00:00:00:02" and not links["two"].up
            assert (bridge, "10.243.0.1/24") in routes.addresses()
            assert Route("10.244.2.0/24", "10.243.0.3", bridge) in routes.routes()
            assert Route("10.244.9.9/32", "", end) in routes.routes()
            assert [one for one in routes.routes() if one.destination == "default"] == [
                Route("default", "169.254.1.2", end)
            ]
            assert routes.neighbours() == [(end, "169.254.1.1", "ee:ee:ee:ee:ee:ee")]

            routes.set_link(end, up=False, master=0, mac="02:00:00:00:00:01", mtu=1300)
            routes.set_link(end, name="renamed", up=True)
            link = next(one for one in routes.links() if one.index == end)
            assert (link.name, link.master, link.mtu, link.up) == ("renamed", 0, 1300, True)
            for _ in range(2):  # what is gone stays gone, without an error
                routes.delete_route("10.244.2.0/24")
                routes.delete_route("10.244.9.9")
                routes.delete_address(bridge, "10.243.0.1/24")
            for _ in range(2):
                routes.delete_link("renamed")
            assert {one.name for one in routes.links()} == set(links) - {"one", "two"}
            assert routes.neighbours() == []

    in_child(work, NEW)


def test_a_peer_is_born_in_another_namespace() -> None:
    def work() -> None:
        here = Routes()
        linux.unshare(linux.CLONE_NEWNET)
        there = Routes()
        with open("/proc/self/ns/net") as netns:
            here.add_veth("vethpod", "eth0", peer_netns=netns.fileno(), peer_mac="0a:58:0a:f4:01:02")
        assert "eth0" not in {one.name for one in here.links()}
        assert there.index("eth0") in {one.index for one in there.links()}
        with open("/proc/self/ns/net") as netns:
            here.set_link(here.index("vethpod"), netns=netns.fileno())
        assert {"vethpod", "eth0"} <= {one.name for one in there.links()}
        there.delete_link("vethpod")
        assert "eth0" not in {one.name for one in there.links()}

    in_child(work, NEW)


def test_the_kernel_says_no() -> None:
    def work() -> None:
        with Routes() as routes:
            routes.add_link("bridge", "taken")
            with pytest.raises(NetlinkError) as taken:
                routes.add_link("bridge", "taken")
            assert taken.value.errno == errno.EEXIST
            with pytest.raises(NetlinkError) as absent:
                routes.index("nothing")
            assert absent.value.errno == errno.ENODEV
            with pytest.raises(NetlinkError) as unreachable:
                routes.add_route("10.1.0.0/16", via="192.0.2.1")
            assert unreachable.value.errno == errno.ENETUNREACH
        assert os.getpid()

    in_child(work, NEW)
