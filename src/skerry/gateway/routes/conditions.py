"""What the statuses of the Gateway API's objects say, as plain values for a patch. Pure. Called by publish.py.

A condition's time is that of its last change, so it needs to know what is there. Conditions and parents of others stay.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from skerry.api.unstructured import Unstructured
from skerry.gateway.routes.model import Condition, GatewayVerdict, ListenerVerdict, ParentVerdict
from skerry.gateway.routes.objects import CONTROLLER, GROUP

Json = dict[str, Any]

_WAITING = "Waiting for Envoy."


def class_status(one: Unstructured, verdict: Condition, now: str) -> Json:
    """`now`: RFC 3339."""
    return {"conditions": _conditions(_status(one), [verdict], one, now)}


def gateway_status(
    one: Unstructured, verdict: GatewayVerdict, addresses: Sequence[Json], *, up: bool, now: str
) -> Json:
    """`addresses`: type and value of each; `up`: does Envoy take requests?"""
    before = _status(one)
    listeners = {each.get("name"): each for each in before.get("listeners") or ()}
    if not verdict.accepted.holds:
        programmed = Condition("Programmed", False, "Invalid", verdict.accepted.message)
    elif not addresses:
        programmed = Condition("Programmed", False, "AddressNotAssigned", "The Gateway's Service has no address yet.")
    elif not up:
        programmed = Condition("Programmed", False, "Pending", _WAITING)
    else:
        programmed = Condition("Programmed", True, "Programmed")
    return {
        "addresses": list(addresses),
        "conditions": _conditions(before, [verdict.accepted, programmed], one, now),
        "listeners": [_listener(listeners.get(each.name, {}), each, one, up, now) for each in verdict.listeners],
    }


def _listener(before: Json, verdict: ListenerVerdict, one: Unstructured, up: bool, now: str) -> Json:
    if not verdict.valid:
        programmed = Condition("Programmed", False, "Invalid", "The listener is not valid.")
    else:
        programmed = Condition("Programmed", up, "Programmed" if up else "Pending", "" if up else _WAITING)
    return {
        "name": verdict.name,
        "attachedRoutes": verdict.attached,
        "supportedKinds": [{"group": GROUP, "kind": kind} for kind in verdict.kinds],
        "conditions": _conditions(before, [*verdict.conditions, programmed], one, now),
    }


def route_status(one: Unstructured, verdicts: Iterable[ParentVerdict], now: str) -> Json:
    """What we say replaces what we said."""
    before = _status(one).get("parents") or []
    known = {json.dumps(each.get("parentRef"), sort_keys=True): each for each in before if _is_ours(each)}
    return {
        "parents": [each for each in before if not _is_ours(each)]
        + [
            {
                "parentRef": json.loads(each.parent),
                "controllerName": CONTROLLER,
                "conditions": _conditions(known.get(each.parent, {}), each.conditions, one, now),
            }
            for each in verdicts
        ]
    }


def speaks_of_us(one: Unstructured) -> bool:
    """Has a route's status anything that we said?"""
    return any(_is_ours(each) for each in _status(one).get("parents") or ())


def _is_ours(parent: Json) -> bool:
    return bool(parent.get("controllerName") == CONTROLLER)


def _status(one: Unstructured) -> Json:
    return one.content.get("status") or {}


def _conditions(before: Json, wanted: Iterable[Condition], one: Unstructured, now: str) -> list[Json]:
    known = {each["type"]: each for each in before.get("conditions") or ()}
    made: dict[str, Json] = {}
    for each in wanted:
        status = "True" if each.holds else "False"
        old = known.get(each.type)
        since = old["lastTransitionTime"] if old is not None and old["status"] == status else now
        made[each.type] = {
            "type": each.type,
            "status": status,
            "reason": each.reason,
            "message": each.message,
            "observedGeneration": one.metadata.generation or 0,
            "lastTransitionTime": since,
        }
    return [each for kind, each in known.items() if kind not in made] + list(made.values())
