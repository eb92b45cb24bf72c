"""Which images go, and which stay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.node.images.garbage import Disk, Kept, Policy, decide, to_free

NOW = 1_000_000.0
FULL, ROOMY = Disk(1000, 100), Disk(1000, 160)


def kept(name: str, ago: float = 1000, loaded: bool = False, **layers: int) -> Kept:
    return Kept(f"id-{name}", (name, f"{name}@digest"), layers or {name: 10}, NOW - ago, loaded)


def removed(images: list[Kept], disk: Disk = FULL, in_use: tuple[str, ...] = ()) -> list[str]:
    return [one.names[0] for one in decide(images, in_use, disk, NOW).remove]


@pytest.mark.parametrize(
    ("available", "amount"), [(1000, 0), (200, 0), (160, 0), (159, 41), (150, 50), (100, 100), (0, 200)]
)
def test_how_much_is_to_be_freed(available: int, amount: int) -> None:
    """Upstream's marks: above 85 percent, down to 80."""
    assert to_free(Disk(1000, available), Policy()) == amount


def test_a_disk_that_tells_nothing_frees_nothing() -> None:
    assert to_free(Disk(0, 0), Policy()) == 0


def test_the_least_recently_used_go_until_it_is_enough() -> None:
    images = [kept("new", 500, a=60), kept("old", 3000, b=60), kept("middle", 1000, c=60)]
    assert removed(images) == ["old", "middle"]
    assert removed(images, ROOMY) == []


def test_what_stays() -> None:
    images = [kept("used"), kept("pinned", loaded=True), kept("fresh", 119), kept("by-digest"), kept("free", 120)]
    assert removed(images, in_use=("used", "by-digest@digest")) == ["free"]


def test_shared_layers_free_nothing_while_somebody_has_them() -> None:
    images = [kept("a", 3000, base=90, a=10), kept("b", 2000, base=90, b=10), kept("c", 1000, c=500)]
    decision = decide(images, (), FULL, NOW)
    assert [one.names[0] for one in decision.remove] == ["a", "b"]
    assert (decision.wanted, decision.found) == (100, 110)  # 10, then 10 and the 90 that both had


def test_what_was_not_used_for_a_month_goes_anyhow() -> None:
    images = [kept("old", 31 * 86400), kept("older", 40 * 86400, loaded=True), kept("recent", 29 * 86400)]
    assert removed(images, Disk(1000, 900)) == ["old"]


def test_not_enough_is_said() -> None:
    decision = decide([kept("a", a=1), kept("b", 5, b=1000)], (), FULL, NOW)
    assert (decision.wanted, decision.found) == (100, 1)


@given(
    st.lists(
        st.builds(
            lambda number, ago, loaded, layers: Kept(
                f"id-{number}", (f"n{number}",), dict.fromkeys(layers, 10), NOW - ago, loaded
            ),
            st.integers(0, 5),
            st.integers(0, 10**7),
            st.booleans(),
            st.sets(st.sampled_from("abcd")),
        ),
        unique_by=lambda one: one.id,
    ),
    st.sets(st.sampled_from(["n0", "n1", "n2"])),
    st.integers(0, 1000),
)
def test_nothing_in_use_or_loaded_ever_goes(images: list[Kept], in_use: set[str], available: int) -> None:
    decision = decide(images, in_use, Disk(1000, available), NOW)
    assert not any(one.loaded or one.names[0] in in_use or NOW - one.used < 120 for one in decision.remove)
    left = {layer for one in images if one not in decision.remove for layer in one.layers}
    gone = {layer for one in decision.remove for layer in one.layers} - left
    assert decision.found == 10 * len(gone)
