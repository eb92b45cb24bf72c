"""The three kinds of patch: JSON patch (RFC 6902), merge patch (RFC 7396), strategic merge patch."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api import patch
from skerry.api.patch import PatchError


def op(verb: str, path: str, **more: Any) -> dict[str, Any]:
    return {"op": verb, "path": path, **{key.rstrip("_"): value for key, value in more.items()}}


# RFC 6902, appendix A


@pytest.mark.parametrize(
    ("before", "operations", "after"),
    [
        ({"foo": "bar"}, [op("add", "/baz", value="qux")], {"foo": "bar", "baz": "qux"}),  # A.1
        ({"foo": ["bar", "baz"]}, [op("add", "/foo/1", value="qux")], {"foo": ["bar", "qux", "baz"]}),  # A.2
        ({"baz": "qux", "foo": "bar"}, [op("remove", "/baz")], {"foo": "bar"}),  # A.3
        ({"foo": ["bar", "qux", "baz"]}, [op("remove", "/foo/1")], {"foo": ["bar", "baz"]}),  # A.4
        ({"baz": "qux"}, [op("replace", "/baz", value="boo")], {"baz": "boo"}),  # A.5
        (
            {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
            [op("move", "/qux/thud", from_="/foo/waldo")],
            {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
        ),  # A.6
        ({"foo": ["all", "grass", "cows"]}, [op("move", "/foo/2", from_="/foo/1")], {"foo": ["all", "cows", "grass"]}),
        ({"baz": "qux", "foo": ["a", 2]}, [op("test", "/baz", value="qux"), op("test", "/foo/1", value=2)], None),
        ({"foo": "bar"}, [op("add", "/child", value={"a": {}})], {"foo": "bar", "child": {"a": {}}}),  # A.10
        ({"foo": "bar"}, [op("add", "/baz", value="qux", xyz=123)], {"foo": "bar", "baz": "qux"}),  # A.11
        ({"/": 9, "~1": 10}, [op("test", "/~01", value=10), op("test", "/~1", value=9)], None),  # A.14
        ({"foo": ["bar"]}, [op("add", "/foo/-", value=["abc"])], {"foo": ["bar", ["abc"]]}),  # A.16
        ({"foo": [1, 2]}, [op("remove", "/foo/-1")], {"foo": [1]}),  # from the end, as upstream allows
        ({"foo": {"a": [1]}}, [op("copy", "/bar", from_="/foo"), op("add", "/bar/a/0", value=0)], {
            "foo": {"a": [1]}, "bar": {"a": [0, 1]}}),
        ({"a": 1}, [op("replace", "", value={"b": 2})], {"b": 2}),
        ({"": 1}, [op("replace", "/", value=2)], {"": 2}),
        ({"a": None}, [op("test", "/a", value=None)], None),
    ],
)  # fmt: skip
def test_json_patch(before: Any, operations: Any, after: Any) -> None:
    kept = copy.deepcopy((before, operations))
    assert patch.json_patch(before, operations) == (before if after is None else after)
    assert (before, operations) == kept


@pytest.mark.parametrize(
    ("operations", "text"),
    [
        ([op("test", "/a/b", value=2)], "testing value /a/b failed"),
        ([op("test", "/a/b", value=True)], "testing value /a/b failed"),
        ([op("test", "/a/x", value=1)], "error in test for path: '/a/x'"),
        ([op("add", "/x/y", value=1)], 'add operation does not apply: doc is missing path: "/x/y"'),
        ([op("add", "/list/3", value=1)], "Unable to access invalid index: 3"),
        ([op("add", "/list/x", value=1)], "not a proper array index: 'x'"),
        ([op("remove", "/x")], "Unable to remove nonexistent key: x"),
        ([op("remove", "/list/2")], "Unable to access invalid index: 2"),
        ([op("replace", "/x", value=1)], "replace operation does not apply: doc is missing key: /x"),
        ([op("replace", "/x/y", value=1)], "replace operation does not apply: doc is missing path: /x/y"),
        ([op("move", "/y", from_="/x")], "move operation does not apply: doc is missing from path: /x"),
        ([op("move", "/a/b/c", from_="/a")], "is inside of /a"),
        ([op("copy", "/y", from_="/x")], "copy operation does not apply: doc is missing from path: /x"),
        ([op("add", "/y")], "missing value"),
        ([{"op": "add", "value": 1}], "failed to decode path"),
        ([op("move", "/y")], "failed to decode from"),
        ([op("frobnicate", "/y")], "Unexpected kind: frobnicate"),
        ([op("add", "a", value=1)], "doc is missing path"),
        ([op("replace", "", value=1)], "must be object or array"),
    ],
)
def test_a_json_patch_that_does_not_apply_is_422(operations: Any, text: str) -> None:
    with pytest.raises(PatchError) as caught:
        patch.json_patch({"a": {"b": 1}, "list": [1, 2]}, operations)
    assert text in str(caught.value)
    assert caught.value.code == 422


def test_a_json_patch_that_is_none_or_too_much() -> None:
    for bad in ({}, "x", [1], None):
        with pytest.raises(PatchError) as caught:
            patch.json_patch({}, bad)
        assert caught.value.code == 400
    with pytest.raises(PatchError) as caught:
        patch.json_patch({"a": 1}, [op("test", "/a", value=1)] * 10_001)
    assert caught.value.code == 413
    with pytest.raises(PatchError) as caught:  # doubles each time
        patch.json_patch({"a": ["x" * 1000]}, [op("copy", "/a/-", from_="/a")] * 40)
    assert caught.value.code == 413
    with pytest.raises(PatchError, match="exceeded max depth"):
        patch.json_patch({"a": {}}, [op("add", "/a" * n, value={}) for n in range(1, 2000)])


# RFC 7396, appendix A


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"a": "foo"}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    ],
)
def test_merge_patch(before: Any, change: Any, after: Any) -> None:
    kept = copy.deepcopy((before, change))
    assert patch.merge(before, change) == after
    assert (before, change) == kept


@pytest.mark.parametrize("bad", [None, [], "x", 1])
def test_a_merge_patch_that_is_no_object(bad: Any) -> None:
    for apply in (lambda: patch.merge({}, bad), lambda: patch.strategic("core", "Pod", {}, bad)):
        with pytest.raises(PatchError) as caught:
            apply()
        assert caught.value.code == 400


# Strategic merge patch


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(containers), **spec}}


def strategic(before: Any, change: Any, kind: str = "Pod", module: str = "core") -> Any:
    kept = copy.deepcopy((before, change))
    after = patch.strategic(module, kind, before, change)
    assert (before, change) == kept
    return after


def names(value: Any, field: str = "containers") -> list[str]:
    return [one["name"] for one in value["spec"][field]]


A, B, C = {"name": "a", "image": "1"}, {"name": "b", "image": "2"}, {"name": "c", "image": "3"}


def test_lists_with_a_merge_key_are_merged_element_by_element() -> None:
    after = strategic(pod(A, B), pod({"name": "b", "image": "9", "env": [{"name": "X", "value": "y"}]}))
    assert after == pod(A, {"name": "b", "image": "9", "env": [{"name": "X", "value": "y"}]})


def test_a_new_element_comes_where_the_patch_has_it() -> None:
    assert names(strategic(pod(A, B), pod(C))) == ["c", "a", "b"]
    assert names(strategic(pod(A, B), pod(C, {"name": "a"}))) == ["c", "a", "b"]
    assert names(strategic(pod(A, B), pod({"name": "b"}, C))) == ["a", "b", "c"]


def test_other_lists_are_replaced() -> None:
    before = pod({**A, "args": ["x", "y"]})
    assert strategic(before, pod({"name": "a", "args": ["z"]})) == pod({**A, "args": ["z"]})


def test_nulls_take_out_and_are_never_stored() -> None:
    before = {"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"nodeName": "n"}}
    change = {"metadata": {"labels": {"a": None, "zz": None}, "annotations": {"x": None, "y": "1"}}, "spec": None}
    assert strategic(before, change) == {"metadata": {"labels": {"b": "2"}, "annotations": {"y": "1"}}}


def test_an_element_is_deleted_by_its_key() -> None:
    assert strategic(pod(A, B), pod({"name": "a", "$patch": "delete"})) == pod(B)
    assert strategic(pod(A), pod({"name": "zz", "$patch": "delete"})) == pod(A)


def test_a_list_or_an_object_is_replaced_whole() -> None:
    assert strategic(pod(A, B), pod(C, {"$patch": "replace"})) == pod(C)
    before = {"metadata": {"labels": {"a": "1"}}}
    assert strategic(before, {"metadata": {"labels": {"$patch": "replace", "b": "2"}}}) == {
        "metadata": {"labels": {"b": "2"}}
    }
    assert strategic(before, {"metadata": {"labels": {"$patch": "delete"}}}) == {"metadata": {"labels": {}}}
    assert strategic(before, {"metadata": {"annotations": {"$patch": "delete"}}}) == before


def test_sets_of_scalars_are_merged_and_taken_from() -> None:
    before = {"metadata": {"finalizers": ["a", "b"]}}
    assert strategic(before, {"metadata": {"finalizers": ["b", "c"]}})["metadata"]["finalizers"] == ["a", "b", "c"]
    change = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a", "zz"]}}
    assert strategic(before, change) == {"metadata": {"finalizers": ["b"]}}
    assert strategic({}, change) == {"metadata": {}}


def test_the_order_of_a_list_is_set() -> None:
    change = {"spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}], "containers": [C]}}
    assert names(strategic(pod(A, B), change)) == ["c", "a", "b"]
    only_order = {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}
    assert names(strategic(pod(A, B), only_order)) == ["b", "a"]
    finalizers = {"metadata": {"$setElementOrder/finalizers": ["c", "a"], "finalizers": ["c"]}}
    assert strategic({"metadata": {"finalizers": ["a", "b"]}}, finalizers)["metadata"]["finalizers"] == ["c", "a", "b"]
    nothing_there = {"spec": {"$setElementOrder/volumes": [{"name": "x"}]}}
    assert strategic({"spec": {"a": 1}}, nothing_there) == {"spec": {"a": 1}}


def test_what_kubectl_edit_sends_when_a_container_is_removed() -> None:
    change = {
        "spec": {
            "$setElementOrder/containers": [{"name": "b"}],
            "containers": [{"$patch": "delete", "name": "a"}],
        }
    }
    assert strategic(pod(A, B), change) == pod(B)


def test_only_retained_keys_stay() -> None:
    before = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    change = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic(before, change, "Deployment", "apps") == {"spec": {"strategy": {"type": "Recreate"}}}
    volume = {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}
    swap = {"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}}
    assert strategic(volume, swap) == {"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}}


def test_service_ports_are_told_apart_by_port() -> None:
    before = {"spec": {"ports": [{"port": 80, "nodePort": 30080}, {"port": 443}]}}
    after = strategic(before, {"spec": {"ports": [{"port": 443, "nodePort": 30443}]}}, "Service")
    assert after == {"spec": {"ports": [{"port": 80, "nodePort": 30080}, {"port": 443, "nodePort": 30443}]}}


def test_elements_that_share_a_key_all_stay() -> None:
    before = {"spec": {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}, {"port": 80}]}}
    after = strategic(before, {"spec": {"ports": [{"port": 80, "name": "web"}]}}, "Service")
    assert after["spec"]["ports"] == [*before["spec"]["ports"][:2], {"port": 80, "name": "web"}]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (pod({"image": "x"}), "map: map[image:x] does not contain declared merge key: name"),
        (pod({"name": "a", "$patch": "zap"}), "unknown patch type: zap in map: map[$patch:zap name:a]"),
        ({"spec": {"$patch": "zap"}}, "unknown patch type: zap"),
        (pod({"$patch": "merge"}), "merging lists cannot yet be specified in the patch"),
        (pod("a"), "expected a map"),  # type: ignore[arg-type]
        (pod([A]), "lists of lists are not supported"),  # type: ignore[arg-type]
        ({"metadata": {"$deleteFromPrimitiveList/finalizers": "a"}}, "invalid patch format of primitive list"),
        ({"metadata": {"$deleteFromPrimitiveListfinalizers": ["a"]}}, "invalid patch format of primitive list"),
        ({"spec": {"$setElementOrder/containers": "a"}}, "invalid patch format of setElementOrder list"),
        ({"spec": {"$setElementOrder/containers": [{"name": "b"}], "containers": [A]}}, "The order in patch list"),
        (
            {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [A, B]}},
            "The order in patch list",
        ),
        ({"spec": {"$retainKeys": ["containers"], "volumes": []}}, "invalid patch format of retainKeys"),
        ({"spec": {"$retainKeys": "x"}}, "invalid patch format of retainKeys"),
    ],
)
def test_malformed_strategic_patches(change: Any, text: str) -> None:
    with pytest.raises(PatchError) as caught:
        patch.strategic("core", "Pod", pod(A, B) | {"metadata": {"finalizers": ["a"]}}, change)
    assert text in str(caught.value)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "delete", "replace", "merge"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("name", "spec", "containers", "metadata", "finalizers", "$patch", "$retainKeys"),
                    *("$setElementOrder/containers", "$setElementOrder/finalizers"),
                    "$deleteFromPrimitiveList/finalizers",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["spec", "metadata"]), PLAIN), PLAIN)
def test_no_patch_does_worse_than_a_patch_error(before: Any, change: Any) -> None:
    for apply in (
        lambda: patch.strategic("core", "Pod", before, change),
        lambda: patch.merge(before, change),
        lambda: patch.json_patch(before, change),
    ):
        try:
            apply()
        except PatchError:
            pass
