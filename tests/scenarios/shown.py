"""How the transcripts write down addresses, endpoints and ports. Called by world.py."""

from __future__ import annotations

from typing import Any

from skerry.api.types import core, discovery
from skerry.controllers.endpoints import endpoints as controller
from skerry.controllers.endpoints import members


def ports(ports: list[Any]) -> str:
    return ", ".join(f"{one.name or '-'}:{one.port}/{one.protocol}" for one in ports) or "no ports"


def address(one: core.EndpointAddress) -> str:
    who = f" {one.target_ref.name}" if one.target_ref is not None else ""
    return one.ip + who + (f" as {one.hostname}" if one.hostname else "")


def endpoint(one: discovery.Endpoint) -> str:
    who = f" {one.target_ref.name}" if one.target_ref is not None else ""
    conditions = [name for name in ("serving", "terminating") if getattr(one.conditions, name)]
    if one.conditions.ready is not False:  # not said is ready (L3)
        conditions.insert(0, "ready")
    zone = f" in {one.zone}" if one.zone else ""
    if one.hints is not None:
        zone += f" for {' '.join(each.name for each in (*one.hints.for_zones, *one.hints.for_nodes))}"
    return f"{','.join(one.addresses)}{who}{zone}{f' as {one.hostname}' if one.hostname else ''}: " + (
        ", ".join(conditions) or "not ready"
    )


def notes(obj: Any) -> list[tuple[str, str]]:
    """The annotations and labels that mean something."""
    found = obj.metadata.annotations
    notes = [
        ("last change", found.get(members.TRIGGER_ANNOTATION)),
        ("capacity", found.get(controller.CAPACITY_ANNOTATION)),
    ]
    if members.HEADLESS_LABEL in obj.metadata.labels:
        notes.append(("headless", "yes"))
    return [(name, value) for name, value in notes if value]
