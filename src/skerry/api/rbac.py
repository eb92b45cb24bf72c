"""Role-based access as data: what a rule allows, what it covers, and how it is written. Pure.

Called by apiserver/access and by controllers/clusterroles.py.

A question is one request as rules see it. Rules only ever allow.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from skerry.api import labels

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from skerry.api.types import rbac

GROUP = "rbac.authorization.k8s.io"
ALL = "*"


class Question(NamedTuple):
    """May somebody do this? `resource` has its subresource with it (`pods/log`); of a path that is no resource only
    `verb` and `path` are set.
    """

    verb: str
    group: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


def matches(rule: rbac.PolicyRule, asked: Question) -> bool:
    """Whether the rule allows it, its names included."""
    if asked.path:
        return matches_path(rule, asked.verb, asked.path)
    if not matches_kind(rule, asked.verb, asked.group, asked.resource):
        return False
    return not rule.resource_names or asked.name in rule.resource_names


def matches_kind(rule: rbac.PolicyRule, verb: str, group: str, resource: str) -> bool:
    """Whether the rule speaks of this verb on this resource, whatever the names."""
    if not _has(rule.verbs, verb) or not _has(rule.api_groups, group):
        return False
    if _has(rule.resources, resource):
        return True
    _, slash, part = resource.partition("/")
    return bool(slash) and f"*/{part}" in rule.resources


def matches_path(rule: rbac.PolicyRule, verb: str, path: str) -> bool:
    """Whether the rule allows a verb on a path that is no resource; `*` at the end of a pattern means the rest."""
    return _has(rule.verbs, verb) and any(_path_has(one, path) for one in rule.non_resource_ur_ls)


def _has(said: Sequence[str], wanted: str) -> bool:
    return wanted in said or ALL in said


def _path_has(pattern: str, path: str) -> bool:
    return pattern in (ALL, path) or (pattern.endswith("*") and path.startswith(pattern.rstrip("*")))


# What somebody may give to others: no more than they have.


def uncovered(held: Iterable[rbac.PolicyRule], wanted: Iterable[rbac.PolicyRule]) -> list[str]:
    """What `wanted` allows and `held` does not, as upstream writes it; empty if all is covered."""
    have = list(held)
    missing = [one for rule in wanted for one in _atoms(rule) if not any(_covers(own, one) for own in have)]
    verbs: dict[_Atom, list[str]] = {}
    for one in missing:
        found = verbs.setdefault(one._replace(verb=""), [])
        if one.verb not in found:
            found.append(one.verb)
    return sorted(_written(atom, found) for atom, found in verbs.items())


class _Atom(NamedTuple):
    verb: str
    group: str = ""
    resource: str = ""
    name: str | None = None
    path: str | None = None


def _atoms(rule: rbac.PolicyRule) -> Iterator[_Atom]:
    names: list[str | None] = [*rule.resource_names] or [None]
    for verb in rule.verbs:
        for group in rule.api_groups:
            for resource in rule.resources:
                for name in names:
                    yield _Atom(verb, group, resource, name)
        for path in rule.non_resource_ur_ls:
            yield _Atom(verb, path=path)


def _covers(own: rbac.PolicyRule, atom: _Atom) -> bool:
    if atom.path is not None:
        return matches_path(own, atom.verb, atom.path)
    if not matches_kind(own, atom.verb, atom.group, atom.resource):
        return False
    return not own.resource_names or (atom.name is not None and atom.name in own.resource_names)


def _written(atom: _Atom, verbs: list[str]) -> str:
    parts: list[tuple[str, list[str]]] = []
    if atom.path is None:
        parts = [("APIGroups", [atom.group]), ("Resources", [atom.resource])]
    else:
        parts = [("NonResourceURLs", [atom.path])]
    if atom.name is not None:
        parts.append(("ResourceNames", [atom.name]))
    parts.append(("Verbs", verbs))
    return "{" + ", ".join(f"{name}:[{_quoted(values)}]" for name, values in parts) + "}"


def _quoted(values: list[str]) -> str:
    return " ".join(json.dumps(one, ensure_ascii=False) for one in values)


# Roles that are made of roles.


def aggregated(role: rbac.ClusterRole, roles: Iterable[rbac.ClusterRole]) -> list[rbac.PolicyRule]:
    """The rules of a role with an aggregationRule: all those of the roles that it selects, each once."""
    assert role.aggregation_rule is not None
    selectors = [labels.from_selector(one) for one in role.aggregation_rule.cluster_role_selectors]
    out: list[rbac.PolicyRule] = []
    for one in sorted(roles, key=lambda each: each.metadata.name):
        if one.metadata.name != role.metadata.name and any(each.matches(one.metadata.labels) for each in selectors):
            out += [rule for rule in one.rules if rule not in out]
    return out
