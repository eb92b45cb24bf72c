"""Which Services all Ready nodes know, and who is behind."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from skerry.controllers.serviceconditions import progress
from skerry.controllers.serviceconditions.progress import Mark, Progress


def test_every_ready_node_has_to_have_it() -> None:
    one = Progress()
    one.need("web", slices=5, services=3)
    assert not one.carried("web"), "there is no node"
    assert one.ready({"n1", "n2"}) == set()
    assert one.acknowledged("n1", Mark(5, 3)) == set()
    assert one.behind("web") == ["n2"]
    assert one.acknowledged("n2", Mark(9, 2)) == set(), "it has the slices, not the Service"
    assert one.behind("web") == ["n2"]
    assert one.acknowledged("n2", Mark(9, 4)) == {"web"}
    assert one.carried("web") and one.behind("web") == []
    one.need("web", slices=6)
    assert not one.carried("web") and one.behind("web") == ["n1"]
    assert one.needs("web") == Mark(6, 3)
    one.need("db", slices=2)
    assert one.carried("db"), "what is old is known already"


def test_nodes_that_are_lost_hold_nothing_up_and_new_ones_do() -> None:
    one = Progress()
    one.ready({"n1", "n2"})
    one.acknowledged("n1", Mark(9, 9))
    one.acknowledged("n2", Mark(1, 1))
    one.need("web", slices=5)
    one.need("db", slices=1)
    assert (one.carried("web"), one.carried("db")) == (False, True)
    assert one.ready({"n1"}) == {"web"}
    assert one.acknowledged("n2", None) == set()
    assert one.ready({"n1", "n3"}) == {"web", "db"}, "a node that says nothing knows nothing"
    assert sorted(one.behind("db")) == ["n3"]
    assert one.acknowledged("n3", Mark(1, 1)) == {"db"}
    assert one.ready({}) == {"db"}
    assert not one.carried("db")


def test_a_service_that_is_gone_comes_no_more() -> None:
    one = Progress()
    one.ready({"n1"})
    one.need("web", slices=5)
    one.forget("web")
    assert one.acknowledged("n1", Mark(9, 9)) == set()
    assert not one.carried("web")


def test_a_stuck_node_lets_nothing_grow() -> None:
    one = Progress()
    one.ready({"n1"})
    for revision in range(3 * progress._SLACK):
        one.need("web", slices=revision)
    assert len(one._for_slices) <= progress._SLACK + 2
    assert one.acknowledged("n1", Mark(10**6, 0)) == {"web"}


steps = st.lists(
    st.tuples(
        st.sampled_from(["need", "service", "ack", "ready", "forget"]),
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, 3),
        st.integers(0, 3),
    ),
    max_size=60,
)


@given(steps)
def test_it_agrees_with_looking_at_everything(script: list[tuple[str, str, int, int]]) -> None:
    """Whatever happens in whatever order: the same as comparing every Service with every Ready node."""
    one = Progress()
    needs: dict[str, Mark] = {}
    marks: dict[str, Mark] = {}
    ready: set[str] = set()
    carried: dict[str, bool] = {}

    def truth(key: str) -> bool:
        return bool(ready) and all(marks.get(name, Mark(-1, -1)).reaches(needs[key]) for name in ready)

    for revision, (what, name, back, gap) in enumerate(script, 1):
        changed: set[str] = set()
        if what in ("need", "service"):
            old = needs.get(name, Mark())
            needs[name] = Mark(revision, old.services) if what == "need" else Mark(old.slices, revision)
            one.need(name, **{"slices" if what == "need" else "services": revision})
            carried[name] = truth(name)
        elif what == "ack":
            marks[name] = Mark(max(0, revision - back), max(0, revision - gap))
            changed = one.acknowledged(name, marks[name])
        elif what == "ready":
            ready ^= {name}
            changed = one.ready(ready)
        else:
            needs.pop(name, None)
            carried.pop(name, None)
            one.forget(name)
        for key in needs:
            assert one.carried(key) == truth(key)
            assert (key in changed) == (truth(key) != carried[key])
            carried[key] = truth(key)
