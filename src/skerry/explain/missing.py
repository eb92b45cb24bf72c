"""What to say of a Service that is not there: where one of that name is, or what the name may be a slip of.

Pure but for `look`, which reads. Called by cluster.explaining when the API server knows no such Service.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from skerry.api import status
from skerry.api.types import core
from skerry.client.client import Client
from skerry.explain.selectors import nearest_name

_SHOWN = 5
Place = tuple[str, str]
"""Namespace and name of a Service."""


async def look(client: Client, namespace: str, name: str) -> str:
    """The sentence about a Service that was not found. Nothing is raised for what may not be read."""
    try:
        services = (await client.list(core.Service)).items
        namespaces = {one.metadata.name for one in (await client.list(core.Namespace)).items}
    except status.ApiError:
        return f'There is no Service "{name}" in namespace {namespace}.'
    return sentence(namespace, name, [(one.metadata.namespace, one.metadata.name) for one in services], namespaces)


def sentence(namespace: str, name: str, services: Collection[Place], namespaces: Collection[str]) -> str:
    """One sentence; the namespace is looked at first, then the name in other namespaces, then what comes near."""
    elsewhere = sorted(place for place, known in services if known == name)
    if namespace not in namespaces:
        said = f'There is no namespace "{namespace}"'
        near = nearest_name(namespace, sorted(namespaces))
        if elsewhere:
            meant = near if near in elsewhere else elsewhere[0]
            return f'{said}; a Service "{name}" is in {_some(elsewhere)} (-n {meant}).'
        return _ending(said, near)
    said = f'There is no Service "{name}" in namespace {namespace}'
    own = sorted(known for place, known in services if place == namespace)
    if elsewhere:
        return f"{said}; there is one in {_some(elsewhere)} (-n {elsewhere[0]})."
    near = nearest_name(name, own) or next((one for one in own if name in one or one in name), "")
    if near:
        return _ending(said, near)
    return f"{said}, which has {_some(own)}." if own else f"{said}, which has no Service at all."


def _ending(said: str, near: str) -> str:
    return f"{said}; the nearest is {near}." if near else f"{said}."


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
