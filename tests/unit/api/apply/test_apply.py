"""Server-side apply on plain values: tables of what is known of upstream's behaviour, and properties."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api import codec
from skerry.api.apply import applying, checking, fields, fresh, managed, merging, types, walk
from skerry.api.apply.managed import Writer

DEPLOYMENT, SERVICE, POD = types.of("apps", "Deployment"), types.of("core", "Service"), types.of("core", "Pod")
SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "n": {"type": "integer"},
                "m": {"type": "object", "additionalProperties": {"type": "string"}},
                "whole": {"type": "object", "x-kubernetes-map-type": "atomic"},
                "plain": {"type": "array", "items": {"type": "string"}},
                "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "list": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object", "properties": {"name": {"type": "string"}, "v": {"type": "integer"}}},
                },
                "free": {"x-kubernetes-preserve-unknown-fields": True},
            },
        }
    },
}
THING = types.custom(SCHEMA)


def pruned(value: Any) -> Any:
    """Nulls left out, as the server brings values into their usual form."""
    if isinstance(value, dict):
        return {key: pruned(one) for key, one in value.items() if one is not None}
    return [pruned(one) for one in value] if isinstance(value, list) else value


APPLIER = applying.Applier(THING, {}, pruned)


def run(live: Any, spec: Any, entries: managed.Managed, manager: str, *, force: bool = False) -> applying.Applied:
    return applying.apply(APPLIER, live, {"spec": spec}, entries, Writer(manager, "x/v1", time="T"), force=force)


@pytest.mark.parametrize(
    ("kind", "value", "wanted"),
    [
        (SERVICE, {"spec": {"ports": [{"port": 80}, {"port": 80, "protocol": "UDP"}]}},
         ['.spec.ports[port=80,protocol="TCP"]', '.spec.ports[port=80,protocol="UDP"]',
          '.spec.ports[port=80,protocol="TCP"].port', '.spec.ports[port=80,protocol="UDP"].port',
          '.spec.ports[port=80,protocol="UDP"].protocol']),
        (DEPLOYMENT, {"spec": {"selector": {"matchLabels": {"a": "b"}}, "replicas": None}},
         [".spec.replicas", ".spec.selector"]),
        (POD, {"metadata": {"finalizers": ["a/b"], "labels": {}, "annotations": {"x": "y"}}},
         [".metadata.labels", ".metadata.annotations.x", '.metadata.finalizers[="a/b"]']),
        (POD, {"spec": {"nodeSelector": {"a": "b"}, "tolerations": [{}], "containers": []}},
         [".spec.nodeSelector", ".spec.tolerations"]),
        (POD, {"spec": {"containers": [{"name": "c", "args": ["a"], "resources": {"requests": {"cpu": "1"}}}]}},
         ['.spec.containers[name="c"]', '.spec.containers[name="c"].args', '.spec.containers[name="c"].name',
          '.spec.containers[name="c"].resources.requests.cpu']),
        (THING, {"spec": {"free": {"a": [1], "b": {}}, "whole": {"x": 1}, "plain": ["a"], "set": ["a", "b"]}},
         [".spec.plain", ".spec.whole", ".spec.free.a", ".spec.free.b", '.spec.set[="a"]', '.spec.set[="b"]']),
        (types.custom(None), {"spec": {"a": {"b": [{}]}}}, [".spec", ".spec.a", ".spec.a.b"]),
    ],
)  # fmt: skip
def test_what_a_configuration_owns(kind: types.Type, value: Any, wanted: list[str]) -> None:
    assert sorted(map(fields.shown, fields.paths(walk.owned(kind, value)))) == sorted(wanted)


@pytest.mark.parametrize(
    ("old", "new", "merged"),
    [
        ([("a", 1), ("b", 1)], [("b", 2)], [("a", 1), ("b", 2)]),
        ([("a", 1), ("b", 1)], [("c", 1)], [("a", 1), ("b", 1), ("c", 1)]),
        ([("a", 1), ("b", 1), ("c", 1)], [("c", 2), ("a", 2)], [("b", 1), ("c", 2), ("a", 2)]),
        ([("a", 1), ("b", 1)], [("x", 1), ("b", 2)], [("a", 1), ("x", 1), ("b", 2)]),
        ([], [("a", 1)], [("a", 1)]),
    ],
)
def test_lists_are_merged_by_their_keys(old: Any, new: Any, merged: Any) -> None:
    def items(pairs: list[tuple[str, int]]) -> Any:
        return {"spec": {"list": [{"name": name, "v": v} for name, v in pairs]}}

    assert merging.merge(THING, items(old), items(new)) == items(merged)


def test_null_leaves_maps_and_clears_scalars() -> None:
    live = {"spec": {"n": 1, "m": {"a": "b"}, "plain": ["a"]}}
    assert merging.merge(THING, live, {"spec": {"n": None, "m": None}}) == {
        "spec": {"n": None, "m": {"a": "b"}, "plain": ["a"]}
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"spec": {"list": [{"v": 1}]}}, ".spec.list: element 0: associative list with keys has an element that omits"),
        ({"spec": {"list": [None]}}, "may not have a null element"),
        ({"spec": {"set": ["a", "a"]}}, '.spec.set: duplicate entries for key [="a"]'),
        ({"spec": {"set": [{}]}}, "associative list without keys has an element that's a map type"),
        ({"spec": {"n": "1"}}, ".spec.n: expected numeric (int or float), got string"),
        ({"spec": {"m": []}}, ".spec.m: expected map, got []"),
        ({"spec": {"x": 1, "y": 1}}, "errors:\n  .spec.x: field not declared in schema\n  .spec.y: field not"),
    ],
)
def test_what_is_no_value_of_its_type(value: Any, text: str) -> None:
    with pytest.raises(walk.Unfit) as caught:
        checking.check(THING, value)
    assert text in str(caught.value)


def test_an_element_that_both_own_stays_until_both_leave() -> None:
    one = run(None, {"list": [{"name": "a", "v": 1}], "set": ["x"]}, {}, "one")
    two = run(one.value, {"list": [{"name": "a", "v": 1}]}, one.managed, "two")
    left = run(two.value, {}, two.managed, "one")
    assert left.value["spec"]["list"] == [{"name": "a", "v": 1}]
    assert "set" not in left.value["spec"]
    gone = run(left.value, {}, left.managed, "two")
    assert gone.value.get("spec", {}).get("list") is None
    assert gone.managed == {}


def test_an_element_goes_with_its_applier_whoever_wrote_into_it() -> None:
    one = run(None, {"list": [{"name": "a"}], "n": 1}, {}, "one")
    live = {"spec": {"list": [{"name": "a", "v": 5}], "n": 1, "m": {"x": "y"}}}
    entries = managed.update(THING, one.managed, one.value, live, Writer("hand", "x/v1", time="U"))
    assert entries["hand", "Update", "x/v1", ""].fields == {
        "f:spec": {"f:list": {'k:{"name":"a"}': {"f:v": {}}}, "f:m": {".": {}, "f:x": {}}}
    }
    left = run(live, {"n": 1}, entries, "one")
    assert left.value == {"spec": {"n": 1, "m": {"x": "y"}}}
    assert left.managed["hand", "Update", "x/v1", ""].fields == {"f:spec": {"f:m": {".": {}, "f:x": {}}}}


def test_the_oldest_updaters_become_one() -> None:
    entries: managed.Managed = {}
    live: Any = {"spec": {}}
    for i in range(managed.MAX_UPDATERS + 5):
        new = {"spec": {**live["spec"], "m": {**live["spec"].get("m", {}), f"k{i:02}": "v"}}}
        entries = managed.update(THING, entries, live, new, Writer(f"m{i}", "x/v1", time=f"2026-01-01T00:00:{i:02}Z"))
        live = new
    assert len(entries) == managed.MAX_UPDATERS
    old = entries["ancient-changes", "Update", "x/v1", ""]
    assert {path[-1] for path in fields.paths(old.fields)} >= {"f:k00", "f:k05"}
    assert old.time == "2026-01-01T00:00:05Z"


def test_sets_are_written_as_go_writes_them() -> None:
    assert fields.key(("b", "a"), (True, '<&"')) == 'k:{"a":"\\u003c\\u0026\\"","b":true}'
    assert fields.value(1.5) == "v:1.5"
    read = fields.read({'k:{ "protocol":"TCP", "port":80 }': {".": {}, "f:port": {}}})
    assert list(read) == ['k:{"port":80,"protocol":"TCP"}']
    wrongs: list[Any] = [[], {"x": {}}, {"q:x": {}}, {"k:[]": {}}, {"v:{}": {}}, {"i:a": {}}, {"f:a": 1}]
    for wrong in wrongs:
        with pytest.raises(ValueError):
            fields.read(wrong)


NAMES = st.sampled_from("abcd")
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "n": st.integers(0, 3),
        "m": st.dictionaries(NAMES, st.sampled_from("xy"), max_size=3),
        "whole": st.dictionaries(NAMES, st.integers(0, 2), min_size=1, max_size=2),
        "plain": st.lists(NAMES, min_size=1, max_size=2),
        "set": st.lists(NAMES, unique=True, max_size=3),
        "list": st.lists(
            st.fixed_dictionaries({"name": NAMES}, optional={"v": st.integers(0, 2)}),
            unique_by=lambda one: one["name"],
            max_size=3,
        ),
        "free": st.dictionaries(NAMES, st.one_of(st.integers(0, 2), st.dictionaries(NAMES, st.integers(0, 2)))),
    },
)


@given(SPECS, SPECS)
def test_apply_is_idempotent_and_what_was_applied_is_there(first: Any, second: Any) -> None:
    one = run(None, first, {}, "one")
    two = run(one.value, second, one.managed, "two", force=True)
    again = run(two.value, second, two.managed, "two")
    assert (again.value, again.managed) == two
    for name, value in second.items():
        found = two.value["spec"].get(name)
        if name in ("n", "whole", "plain"):
            assert found == value
        elif name == "list":
            assert {one["name"] for one in value} <= {one["name"] for one in found or ()}
    owned = walk.owned(THING, {"spec": second})
    assert (two.managed["two", "Apply", "", ""].fields if owned else {}) == fields.in_order(owned)


def bare(value: Any) -> Any:
    """Without anything empty."""
    if isinstance(value, dict):
        found = {key: bare(one) for key, one in value.items()}
        return {key: one for key, one in found.items() if one not in (None, {}, [])}
    return [bare(one) for one in value] if isinstance(value, list) else value


@given(SPECS, SPECS)
def test_applying_and_leaving_gives_back(first: Any, second: Any) -> None:
    """Who adds to what another owns, and then applies nothing, leaves no trace of what was only its own."""
    first, second = bare(first), bare(second)
    one = run(None, first, {}, "one")
    try:
        two = run(one.value, second, one.managed, "two")
    except applying.Conflicts:
        return
    left = applying.apply(APPLIER, two.value, {}, two.managed, Writer("two", "x/v1"))
    assert not any(identity[0] == "two" for identity in left.managed)
    assert walk.owned(THING, bare(left.value)) == walk.owned(THING, bare(one.value))


@given(SPECS, SPECS, SPECS)
def test_every_changed_field_has_exactly_the_writer(first: Any, second: Any, third: Any) -> None:
    entries: managed.Managed = {}
    live: Any = {}
    for name, spec in (("a", first), ("b", second), ("c", third)):
        new = {"spec": spec}
        changes = walk.compare(THING, live, new)
        entries = managed.update(THING, entries, live, new, Writer(name, "x/v1"))
        owners = {key[0]: entry.fields for key, entry in entries.items()}
        for path in fields.paths(fields.union(changes.added, changes.modified)):
            assert [key for key, owned in owners.items() if fields.contains(owned, path)] == [name]
        for path in fields.paths(changes.removed):
            assert not any(fields.contains(owned, path) for owned in owners.values())
        live = new


@given(SPECS, SPECS)
def test_sets_are_sets(left: Any, right: Any) -> None:
    one, two = (walk.owned(THING, {"spec": spec}) for spec in (left, right))
    first, second = set(fields.paths(one)), set(fields.paths(two))
    assert set(fields.paths(fields.union(one, two))) == first | second
    assert set(fields.paths(fields.difference(one, two))) == first - second
    assert set(fields.paths(fields.intersection(one, two))) == first & second
    assert fields.read(json.loads(json.dumps(fields.in_order(one)))) == one


@given(SPECS)
def test_a_new_object_is_written_as_an_update_of_nothing(spec: Any) -> None:
    writer = Writer("me", "x/v1", time="T", ignored={"f:status": {}})
    value = {"kind": "T", "metadata": {"name": "a", "labels": {"b": 'c"'}}, "spec": spec, "status": {"a": 1}}
    empties: list[dict[str, Any]] = [{}, {"metadata": {}}, {"metadata": {}, "spec": {"list": [], "m": {}}}]
    for empty in empties:
        slow = managed.dump(managed.update(THING, {}, empty, value, writer))
        content = fresh.content(THING, empty, value, writer.ignored)
        quick = fresh.entries(THING, empty, value["metadata"], content, writer)
        if "metadata" in empty:
            assert quick == slow
        else:  # metadata itself is nobody's
            assert codec.parse(quick)[0]["fieldsV1"].get("f:spec") == codec.parse(slow)[0]["fieldsV1"].get("f:spec")
