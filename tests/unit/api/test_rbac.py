"""Rules: what they allow and cover, upstream's tables, and hypothesis against a naive reading of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api import rbac
from skerry.api.rbac import Question
from skerry.api.types import meta
from skerry.api.types.rbac import AggregationRule, ClusterRole, PolicyRule


def rule(verbs="get", groups=("",), resources=(), names=(), paths=()):
    return PolicyRule(
        verbs=verbs.split(),
        api_groups=list(groups) if not paths else [],
        resources=list(resources),
        resource_names=list(names),
        non_resource_ur_ls=list(paths),
    )


@pytest.mark.parametrize(
    ("one", "asked", "allowed"),
    [
        (rule(resources=["pods"]), Question("get", "", "pods", "a", "x"), True),
        (rule(resources=["pods"]), Question("list", "", "pods", "a"), False),
        (rule("*", resources=["pods"]), Question("list", "", "pods", "a"), True),
        (rule(resources=["pods"]), Question("get", "apps", "pods"), False),
        (rule(groups=["*"], resources=["pods"]), Question("get", "made.up", "pods"), True),
        # A part of a thing is not the thing, nor the other way round.
        (rule(resources=["pods"]), Question("get", "", "pods/log"), False),
        (rule(resources=["pods/log"]), Question("get", "", "pods"), False),
        (rule(resources=["pods/log"]), Question("get", "", "pods/log"), True),
        (rule(resources=["*"]), Question("get", "", "pods/log"), True),
        (rule(resources=["*/scale"]), Question("get", "", "deployments/scale"), True),
        (rule(resources=["*/scale"]), Question("get", "", "deployments/status"), False),
        (rule(resources=["*/scale"]), Question("get", "", "scale"), False),
        (rule(resources=["pods/*"]), Question("get", "", "pods/log"), False),  # no such thing
        # Names.
        (rule(resources=["pods"], names=["x"]), Question("get", "", "pods", "a", "x"), True),
        (rule(resources=["pods"], names=["x"]), Question("get", "", "pods", "a", "y"), False),
        (rule("create list", resources=["pods"], names=["x"]), Question("list", "", "pods", "a"), False),
        (rule("create list", resources=["pods"], names=["x"]), Question("create", "", "pods", "a"), False),
        # Paths that are no resources.
        (rule(paths=["/healthz"]), Question("get", path="/healthz"), True),
        (rule(paths=["/healthz"]), Question("get", path="/healthz/ping"), False),
        (rule(paths=["/healthz/*"]), Question("get", path="/healthz/ping"), True),
        (rule(paths=["/healthz/*"]), Question("get", path="/healthz"), False),
        (rule(paths=["*"]), Question("get", path="/x"), True),
        (rule(paths=["*"]), Question("post", path="/x"), False),
        (rule("*", paths=["/a*"]), Question("delete", path="/abc"), True),
        (rule("*", resources=["*"], groups=["*"]), Question("get", path="/healthz"), False),
        (rule("*", paths=["*"]), Question("get", "", "pods"), False),
        # What is asked of reviews may be a star: only a star allows it.
        (rule("*", resources=["pods"]), Question("*", "", "pods"), True),
        (rule("get list", resources=["pods"]), Question("*", "", "pods"), False),
    ],
)
def test_what_a_rule_allows(one: PolicyRule, asked: Question, *, allowed: bool) -> None:
    assert rbac.matches(one, asked) is allowed


@pytest.mark.parametrize(
    ("held", "wanted", "missing"),
    [
        ([rule("get list", resources=["pods"])], [rule("get", resources=["pods"])], []),
        ([rule("get", resources=["pods"]), rule("list", resources=["pods"])], [rule("list get", resources=["pods"])],
         []),
        ([rule("get", resources=["pods"])], [rule("get list watch", resources=["pods"])],
         ['{APIGroups:[""], Resources:["pods"], Verbs:["list" "watch"]}']),
        ([rule("*", groups=["*"], resources=["*"])], [rule("get", resources=["pods/log", "*/scale", "*"])], []),
        ([rule(resources=["pods"])], [rule("*", resources=["pods"])],
         ['{APIGroups:[""], Resources:["pods"], Verbs:["*"]}']),
        ([rule(resources=["pods"], names=["a"])], [rule(resources=["pods"])],
         ['{APIGroups:[""], Resources:["pods"], Verbs:["get"]}']),
        ([rule(resources=["pods"], names=["a"])], [rule(resources=["pods"], names=["a", "b"])],
         ['{APIGroups:[""], Resources:["pods"], ResourceNames:["b"], Verbs:["get"]}']),
        ([rule(resources=["pods"])], [rule(resources=["pods"], names=["a"])], []),
        ([rule(paths=["/a/*"])], [rule(paths=["/a/b", "/a/*"])], []),
        ([rule(paths=["/a"])], [rule(paths=["/b"])], ['{NonResourceURLs:["/b"], Verbs:["get"]}']),
        ([], [rule("get", groups=["", "apps"], resources=["x"])],
         ['{APIGroups:[""], Resources:["x"], Verbs:["get"]}', '{APIGroups:["apps"], Resources:["x"], Verbs:["get"]}']),
    ],
)  # fmt: skip
def test_what_rules_cover(held: list[PolicyRule], wanted: list[PolicyRule], missing: list[str]) -> None:
    assert rbac.uncovered(held, wanted) == missing


def test_a_role_made_of_roles_has_each_rule_once() -> None:
    def role(name, labels, *rules, select=None):
        made = ClusterRole(metadata=meta.ObjectMeta(name=name, labels=labels), rules=list(rules))
        if select:
            made.aggregation_rule = AggregationRule(cluster_role_selectors=[meta.LabelSelector(match_labels=select)])
        return made

    pods, maps = rule(resources=["pods"]), rule(resources=["configmaps"])
    whole = role("a", {"to": "it"}, select={"to": "it"})
    others = [role("c", {"to": "it"}, maps, pods), role("b", {"to": "it"}, pods), role("d", {}, rule(resources=["x"]))]
    assert rbac.aggregated(whole, [*others, whole]) == [pods, maps]


_words = st.sampled_from(["a", "b", "*"])
_rules = st.builds(
    PolicyRule,
    verbs=st.lists(st.sampled_from(["get", "list", "*"]), max_size=2),
    api_groups=st.lists(st.sampled_from(["", "g", "*"]), max_size=2),
    resources=st.lists(st.sampled_from(["a", "b", "a/x", "*/x", "*"]), max_size=2),
    resource_names=st.lists(st.sampled_from(["n", "m"]), max_size=2),
    non_resource_ur_ls=st.lists(st.sampled_from(["/p", "/p/*", "/*", "*"]), max_size=2),
)
_questions = st.one_of(
    st.builds(
        Question,
        st.sampled_from(["get", "list"]),
        st.sampled_from(["", "g"]),
        st.sampled_from(["a", "b", "a/x", "b/x", "b/y"]),
        st.sampled_from(["", "here"]),
        st.sampled_from(["", "n", "m"]),
    ),
    st.builds(lambda verb, path: Question(verb, path=path), st.sampled_from(["get"]), st.sampled_from(["/p", "/p/q"])),
)


@given(held=st.lists(_rules, max_size=3), wanted=st.lists(_rules, max_size=2), asked=_questions)
def test_who_covers_rules_may_do_all_that_they_allow(
    held: list[PolicyRule], wanted: list[PolicyRule], asked: Question
) -> None:
    if not rbac.uncovered(held, wanted) and any(rbac.matches(one, asked) for one in wanted):
        assert any(rbac.matches(one, asked) for one in held)


@given(_rules)
def test_rules_cover_themselves(one: PolicyRule) -> None:
    assert rbac.uncovered([one], [one]) == []
