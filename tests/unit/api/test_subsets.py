"""Packing of subsets: E28-E33 and the vectors of G2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api import codec
from skerry.api.subsets import repack
from skerry.api.types import core

A, B = "1.2.3.4", "5.6.7.8"


def address(ip: str, uid: str = "") -> core.EndpointAddress:
    return core.EndpointAddress(ip=ip, target_ref=core.ObjectReference(uid=uid) if uid else None)


def subset(text: str) -> core.EndpointSubset:
    """`A!B:a1,b2`: addresses (uid after a slash), those after ! not ready, ports by name and number."""
    hosts, _, ports = text.partition(":")
    out = core.EndpointSubset()
    for host in hosts.split(" "):
        ready = not host.startswith("!")
        name, _, uid = host.lstrip("!").partition("/")
        one = address({"A": A, "B": B}.get(name, name), uid)
        (out.addresses if ready else out.not_ready_addresses).append(one)
    out.ports = [core.EndpointPort(name=one[0], port=int(one[1:]), protocol="TCP") for one in ports.split(",") if one]
    return out


def shown(one: core.EndpointSubset) -> str:
    names = {A: "A", B: "B"}

    def host(address: core.EndpointAddress, mark: str) -> str:
        uid = f"/{address.target_ref.uid}" if address.target_ref else ""
        return f"{mark}{names.get(address.ip, address.ip)}{uid}"

    hosts = [host(each, "") for each in one.addresses] + [host(each, "!") for each in one.not_ready_addresses]
    return f"{' '.join(hosts)}:{','.join(f'{port.name}{port.port}' for port in one.ports)}"


@pytest.mark.parametrize(
    ("given_", "wanted"),
    [
        (["A:a1", "A:b2"], ["A:a1,b2"]),
        (["A:a1", "B:a1"], ["A B:a1"]),
        (["A B:a1", "A:b2"], ["A B:a1", "A:b2"]),
        (["A:a1", "!A:a1"], ["!A:a1"]),
        (["!A:a1", "A:a1"], ["!A:a1"]),
        (["A:a1", "!A:b2"], ["A:a1", "!A:b2"]),
        (["A/1:a1", "A/2:a1"], ["A/1 A/2:a1"]),
        (["A:", "B:"], ["A B:"]),
        (["A:", "A:a1"], ["A:", "A:a1"]),
        (["A:w8080", "B:w9090"], ["A:w8080", "B:w9090"]),
        # E32: by the text of the IP, and an entry without target before one with.
        (["10.0.0.2:a1", "10.0.0.10:a1"], ["10.0.0.10 10.0.0.2:a1"]),
        (["A/1:a1", "A:a1"], ["A A/1:a1"]),
        (["B:b2", "A:a1"], ["A:a1", "B:b2"]),
        ([], []),
    ],
)
def test_g2(given_: list[str], wanted: list[str]) -> None:
    assert [shown(one) for one in repack([subset(one) for one in given_])] == wanted


def test_e28_first_full_address_is_kept() -> None:
    first, second = address(A, "u"), address(A, "u")
    first.hostname, second.hostname = "one", "two"
    port = core.EndpointPort(name="a", port=1, protocol="TCP")
    packed = repack([core.EndpointSubset(addresses=[one], ports=[port]) for one in (first, second)])
    assert [one.hostname for one in packed[0].addresses] == ["one"]


NAMES = [f"{mark}10.0.0.{i}{uid}" for mark in ("", "!") for i in (1, 2, 10) for uid in ("", "/u")]
hosts = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4)
ports = st.lists(st.sampled_from(["a1", "a2", "b1", "c3"]), max_size=3, unique=True)
texts = st.lists(st.builds(lambda h, p: f"{' '.join(h)}:{','.join(p)}", hosts, ports), max_size=6)


def pairs(subsets: list[core.EndpointSubset]) -> dict[tuple[str, str, str], bool]:
    """(ip, uid, port) -> ready, not ready winning."""
    out: dict[tuple[str, str, str], bool] = {}
    for one in subsets:
        for ready, group in ((True, one.addresses), (False, one.not_ready_addresses)):
            for each in group:
                for port in [f"{port.name}{port.port}" for port in one.ports] or [""]:
                    key = (each.ip, each.target_ref.uid if each.target_ref else "", port)
                    out[key] = out.get(key, True) and ready
    return out


@given(texts)
def test_repack_keeps_every_pair_is_stable_and_ignores_order(given_: list[str]) -> None:
    before = [subset(one) for one in given_]
    copies = [codec.copy(one) for one in before]
    packed = repack(before)
    assert before == copies
    assert pairs(packed) == pairs(before)
    assert repack(packed) == packed
    assert repack(reversed(before)) == packed
    # E31: no two subsets have the same addresses, unless one has no ports (E30).
    seen = [(shown(one).split(":")[0], bool(one.ports)) for one in packed]
    assert len(seen) == len(set(seen))
