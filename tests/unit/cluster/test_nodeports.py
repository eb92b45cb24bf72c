"""P22: on which of a machine's addresses node ports answer."""

from __future__ import annotations

import pytest

from skerry.api.types import core, meta
from skerry.cluster.nodeports import choose, primary

OWN = ["127.0.0.1/8", "10.0.0.5/24", "192.168.7.1/16", "fe80::1/64", "fd00::5/64", "::1/128"]


def node(*addresses: tuple[str, str]) -> core.Node:
    listed = [core.NodeAddress(type=kind, address=address) for kind, address in addresses]
    return core.Node(metadata=meta.ObjectMeta(name="a"), status=core.NodeStatus(addresses=listed))


def test_the_primary_addresses_are_the_first_of_each_family_internal_ones_before_external_ones() -> None:
    told = node(
        ("Hostname", "a"), ("ExternalIP", "192.0.2.1"), ("InternalIP", "10.0.0.5"), ("InternalIP", "10.0.0.6"),
        ("ExternalIP", "2001:db8::1"),
    )  # fmt: skip
    assert primary(told) == ("10.0.0.5", "2001:db8::1")
    assert primary(node()) == ()


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (["primary"], ("10.0.0.5",)),
        (["all"], ("10.0.0.5", "192.168.7.1", "fd00::5")),  # neither loopback nor what is valid on one link alone
        (["192.168.0.0/16"], ("192.168.7.1",)),
        (["10.0.0.0/8", "primary", "fd00::/8"], ("10.0.0.5", "fd00::5")),
        (["172.16.0.0/12"], ()),
        (["127.0.0.0/8"], ()),
    ],
)
def test_what_node_ports_answer_on(wanted: list[str], found: tuple[str, ...]) -> None:
    assert choose(wanted, ["10.0.0.5"], OWN) == found
