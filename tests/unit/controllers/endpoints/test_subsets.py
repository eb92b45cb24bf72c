"""Packing of subsets: E28-E32, G2."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from skerry.api.subsets import repack
from skerry.api.types import core

Told = tuple[list[str], list[str], list[tuple[str, int]]]


def subset(ready: str, waiting: str, ports: list[tuple[str, int]]) -> core.EndpointSubset:
    """Addresses are `IP` or `IP/uid`, separated by blanks."""
    return core.EndpointSubset(
        addresses=[address(one) for one in ready.split()],
        not_ready_addresses=[address(one) for one in waiting.split()],
        ports=[core.EndpointPort(name=name, port=port, protocol="TCP") for name, port in ports],
    )


def address(text: str) -> core.EndpointAddress:
    ip, _, uid = text.partition("/")
    return core.EndpointAddress(ip=ip, target_ref=core.ObjectReference(uid=uid) if uid else None)


def told(subsets: list[core.EndpointSubset]) -> list[Told]:
    return [
        (
            [_text(one) for one in each.addresses],
            [_text(one) for one in each.not_ready_addresses],
            [(one.name, one.port) for one in each.ports],
        )
        for each in subsets
    ]


def _text(one: core.EndpointAddress) -> str:
    return f"{one.ip}/{one.target_ref.uid}" if one.target_ref else one.ip


A, B = "1.2.3.4", "5.6.7.8"
P1, P2 = [("a", 1)], [("b", 2)]


def pack(*subsets: core.EndpointSubset) -> list[Told]:
    return told(repack(subsets))


def test_g2() -> None:
    assert pack() == []
    assert pack(subset(A, "", P1), subset(A, "", P2)) == [([A], [], P1 + P2)]
    assert pack(subset(A, "", P1), subset(B, "", P1)) == [([A, B], [], P1)]
    assert pack(subset(f"{A} {B}", "", P1), subset(A, "", P2)) == [([A, B], [], P1), ([A], [], P2)]
    assert pack(subset(A, "", P1), subset("", A, P1)) == [([], [A], P1)]  # E29
    assert pack(subset("", A, P1), subset(A, "", P1)) == [([], [A], P1)]
    assert pack(subset(A, "", P1), subset("", A, P2)) == [([A], [], P1), ([], [A], P2)]
    assert pack(subset(f"{A}/u1", "", P1), subset(f"{A}/u2", "", P1)) == [([f"{A}/u1", f"{A}/u2"], [], P1)]
    assert pack(subset(A, "", []), subset(B, "", [])) == [([A, B], [], [])]  # E30
    assert pack(subset(A, "", []), subset(A, "", P1)) == [([A], [], []), ([A], [], P1)]


def test_duplicates_vanish_and_empty_subsets_too() -> None:
    assert pack(subset(f"{A} {A}", "", P1 + P1), subset("", "", P2)) == [([A], [], P1)]


def test_e32_order_is_that_of_the_text_then_without_target_then_uid() -> None:
    given_ = subset("10.0.0.2 10.0.0.10/z 10.0.0.10/b 10.0.0.10", "", P1)
    assert pack(given_) == [(["10.0.0.10", "10.0.0.10/b", "10.0.0.10/z", "10.0.0.2"], [], P1)]


ADDRESSES = st.lists(st.sampled_from(["1.1.1.1", "1.1.1.2", "1.1.1.10", "1.1.1.1/u", "1.1.1.2/v"]), max_size=4)
SUBSETS = st.lists(
    st.builds(
        lambda ready, waiting, ports: subset(" ".join(ready), " ".join(waiting), ports),
        ADDRESSES,
        ADDRESSES,
        st.lists(st.sampled_from([("a", 1), ("b", 2), ("a", 3)]), max_size=2),
    ),
    max_size=5,
)


def _meaning(subsets: list[core.EndpointSubset]) -> dict[tuple[str, int], dict[str, bool]]:
    """Port by port, which address is ready: what packing must not change."""
    out: dict[tuple[str, int], dict[str, bool]] = {}
    for ready, waiting, ports in told(subsets):
        for port in ports or [("", -1)]:
            states = out.setdefault(port, {}) if ready or waiting else {}
            for one in ready:
                states.setdefault(one, True)
            for one in waiting:
                states[one] = False
    return out


@given(SUBSETS, st.randoms())
def test_packing_keeps_the_meaning_and_has_one_form(subsets: list[core.EndpointSubset], random: object) -> None:
    packed = repack(subsets)
    assert _meaning(packed) == _meaning(subsets)
    assert repack(packed) == packed
    shuffled = list(subsets)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert told(repack(shuffled)) == told(packed)
    sets = [(tuple(one[0]), tuple(one[1])) for one in told(packed) if one[2]]
    assert len(sets) == len(set(sets)), "two subsets with the same addresses would have been one (E31)"
