"""Which names a definition gets, and what it is told of that. Pure; called by definitions.py.

A name belongs to the first definition of a group that has it; who comes later waits until it is free.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from skerry.api.types import apiextensions
from skerry.clock import rfc3339

Definition = apiextensions.CustomResourceDefinition
Condition = apiextensions.CustomResourceDefinitionCondition


def settled(
    definition: Definition, others: Iterable[Definition], now: float
) -> apiextensions.CustomResourceDefinitionStatus:
    """The status of a definition beside others of its group (any others are left out of account)."""
    group = [one.status.accepted_names for one in others if one.spec.group == definition.spec.group]
    taken = {name for one in group for name in (one.plural, one.singular, *one.short_names)}
    kinds = {name for one in group for name in (one.kind, one.list_kind)}
    asked, accepted = definition.spec.names, replace(definition.status.accepted_names)
    problem: tuple[str, str] | None = None
    for attribute, reason, used in (
        ("plural", "PluralConflict", taken),
        ("singular", "SingularConflict", taken),
        ("short_names", "ShortNamesConflict", taken),
        ("kind", "KindConflict", kinds),
        ("list_kind", "ListKindConflict", kinds),
    ):
        wanted, has = getattr(asked, attribute), getattr(accepted, attribute)
        clash = _clash(wanted, has, used)
        if clash:
            problem = (reason, clash)
        else:
            setattr(accepted, attribute, wanted)
    accepted.categories = asked.categories
    if problem:
        names = Condition(type="NamesAccepted", status="False", reason=problem[0], message=problem[1])
    else:
        names = Condition(type="NamesAccepted", status="True", reason="NoConflicts", message="no conflicts found")
    known = next((one for one in definition.status.conditions if one.type == "Established"), None)
    ready = known
    if known is None or known.status != "True":
        if problem:
            ready = Condition(
                type="Established", status="False", reason="NotAccepted", message="not all names are accepted"
            )
        else:
            ready = Condition(
                type="Established",
                status="True",
                reason="InitialNamesAccepted",
                message="the initial names have been accepted",
            )
    assert ready is not None
    conditions = _with(definition.status.conditions, [names, ready], now)
    return replace(definition.status, accepted_names=accepted, conditions=conditions)


def _clash(wanted: str | list[str], has: str | list[str], used: set[str]) -> str:
    if isinstance(wanted, str):
        return f'"{wanted}" is already in use' if wanted != has and wanted in used else ""
    found = [f'"{one}" is already in use' for one in wanted if one not in has and one in used]
    return found[0] if len(found) == 1 else f"[{', '.join(found)}]" if found else ""


def _with(known: Sequence[Condition], made: Sequence[Condition], now: float) -> list[Condition]:
    """Conditions with some set; what says the same as before keeps its time."""
    out = list(known)
    for one in made:
        old = next((found for found in out if found.type == one.type), None)
        if old is None:
            out.append(replace(one, last_transition_time=rfc3339(now)))
            continue
        since = old.last_transition_time if old.status == one.status else rfc3339(now)
        out[out.index(old)] = replace(one, last_transition_time=since)
    return out
