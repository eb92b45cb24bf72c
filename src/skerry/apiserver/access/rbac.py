"""What roles and bindings allow whom. Called by authorizer.py and escalation.py.

The bindings of a user are looked up once and then kept until a role or a binding changes, and so is the answer for a
verb on a kind of things in a namespace: the usual question costs one look into a dictionary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from skerry.api import rbac as rules
from skerry.api import resources
from skerry.api.types import rbac
from skerry.apiserver import known
from skerry.apiserver.access.follow import Follow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from skerry.api.rbac import Question
    from skerry.api.resources import Resource
    from skerry.api.wire import User
    from skerry.store.base import Record, Store

_ACCOUNT = "system:serviceaccount:"
_MOST_USERS, _MOST_ANSWERS = 1024, 4096
"""How many users, and answers of one, are kept; then all are forgotten. Clients choose what they ask for."""


class Granted(NamedTuple):
    """A rule, and the sentence that says by which binding somebody has it."""

    rule: rbac.PolicyRule
    why: str


class Missing(NamedTuple):
    """A binding whose role is not there."""

    namespace: str
    text: str


class Grants:
    """What one user may do."""

    def __init__(self) -> None:
        self.everywhere: list[Granted] = []
        self.within: dict[str, list[Granted]] = {}
        self.missing: list[Missing] = []
        self._answers: dict[tuple[str, str, str, str], list[Granted]] = {}

    def rules(self, namespace: str) -> Iterator[Granted]:
        """All that hold in a namespace; "" for the cluster."""
        yield from self.everywhere
        if namespace:
            yield from self.within.get(namespace, ())

    def allows(self, asked: Question) -> str | None:
        """Why it is allowed; None if nothing allows it."""
        if asked.path:
            return next((one.why for one in self.everywhere if rules.matches(one.rule, asked)), None)
        verb, group, resource, namespace, name, _ = asked
        key = (verb, group, resource, namespace)
        found = self._answers.get(key)
        if found is None:
            found = [one for one in self.rules(namespace) if rules.matches_kind(one.rule, verb, group, resource)]
            if len(self._answers) >= _MOST_ANSWERS:
                self._answers.clear()
            self._answers[key] = found
        for one in found:
            if not one.rule.resource_names or name in one.rule.resource_names:
                return one.why
        return None

    def trouble(self, namespace: str) -> str:
        """What could not be looked up, as upstream says it; "" if all could."""
        texts = list(dict.fromkeys(one.text for one in self.missing if one.namespace in ("", namespace)))
        if len(texts) < 2:
            return texts[0] if texts else ""
        return f"[{', '.join(texts)}]"


class Roles:
    """The roles and bindings of the store, indexed by whom they are for."""

    def __init__(self, store: Store) -> None:
        kinds = (rbac.Role, rbac.ClusterRole, rbac.RoleBinding, rbac.ClusterRoleBinding)
        self._store, self._seen = store, -1
        self._follows = [Follow(store, resources.of(one), self) for one in kinds]
        self._roles: dict[tuple[str, str, str], list[rbac.PolicyRule]] = {}
        """Kind, namespace and name to rules."""
        self._bindings: dict[str, rbac.RoleBinding | rbac.ClusterRoleBinding] = {}
        self._by_subject: dict[tuple[str, str], dict[str, rbac.Subject]] = {}
        """Kind (User or Group) and name to the bindings' keys."""
        self._users: dict[tuple[str, tuple[str, ...]], Grants] = {}

    async def catch_up(self) -> None:
        """Returns when everything that was written counts."""
        now = self._store.revision
        if now != self._seen:
            for one in self._follows:
                await one.catch_up()
            self._seen = now

    def reset(self, row: Resource) -> None:
        """See follow.Sees."""
        self._users.clear()
        self._roles = {key: one for key, one in self._roles.items() if key[0] != row.kind}
        for key in [key for key in self._bindings if key.startswith(row.prefix)]:
            self._unbind(key)

    def changed(self, row: Resource, record: Record, *, gone: bool) -> None:
        """See follow.Sees."""
        self._users.clear()
        obj = known.typed(row, record)
        if isinstance(obj, rbac.Role | rbac.ClusterRole):
            key = (row.kind, obj.metadata.namespace, obj.metadata.name)
            if gone:
                self._roles.pop(key, None)
            else:
                self._roles[key] = obj.rules
            return
        self._unbind(record.key)
        if not gone:
            self._bindings[record.key] = obj
            for subject in obj.subjects:
                self._by_subject.setdefault(_subject_key(subject, obj.metadata.namespace), {})[record.key] = subject

    def _unbind(self, key: str) -> None:
        old = self._bindings.pop(key, None)
        for subject in old.subjects if old is not None else ():
            assert old is not None
            index = _subject_key(subject, old.metadata.namespace)
            found = self._by_subject.get(index, {})
            found.pop(key, None)
            if not found:
                self._by_subject.pop(index, None)

    def rules_of(self, ref: rbac.RoleRef, namespace: str) -> list[rbac.PolicyRule] | None:
        """The rules of a role that a binding in `namespace` names; None if there is no such role."""
        return self._roles.get((ref.kind, namespace if ref.kind == "Role" else "", ref.name))

    def grants(self, user: User) -> Grants:
        """What a user may do by its name and groups; kept until a role or a binding changes."""
        key = (user.name, user.groups)
        found = self._users.get(key)
        if found is None:
            if len(self._users) >= _MOST_USERS:
                self._users.clear()
            found = self._users[key] = self._find(user)
        return found

    def _find(self, user: User) -> Grants:
        out = Grants()
        bound: dict[str, rbac.Subject] = {}
        for index in (("User", user.name), *(("Group", one) for one in user.groups)):
            for key, subject in self._by_subject.get(index, {}).items():
                bound.setdefault(key, subject)
        for key in sorted(bound):
            self._add(out, self._bindings[key], bound[key])
        return out

    def _add(self, out: Grants, binding: rbac.RoleBinding | rbac.ClusterRoleBinding, subject: rbac.Subject) -> None:
        namespace, name, ref = binding.metadata.namespace, binding.metadata.name, binding.role_ref
        found = self.rules_of(ref, namespace)
        if found is None:
            out.missing.append(Missing(namespace, f'{ref.kind.lower()}.{rules.GROUP} "{ref.name}" not found'))
            return
        of = f'ClusterRoleBinding "{name}"' if not namespace else f'RoleBinding "{name}/{namespace}"'
        whom = f"{subject.name}/{subject.namespace}" if subject.kind == "ServiceAccount" else subject.name
        why = f'RBAC: allowed by {of} of {ref.kind} "{ref.name}" to {subject.kind} "{whom}"'
        into = out.within.setdefault(namespace, []) if namespace else out.everywhere
        into.extend(Granted(rule, why) for rule in found)


def _subject_key(subject: rbac.Subject, namespace: str) -> tuple[str, str]:
    if subject.kind == "ServiceAccount":
        return "User", f"{_ACCOUNT}{subject.namespace or namespace}:{subject.name}"
    return subject.kind, subject.name
