"""Ingress (T14) and IngressClass (T15)."""

from __future__ import annotations

from typing import Any

from skerry.api.tables.column import AGE, NAME, NONE, column, first
from skerry.api.tables.duration import since
from skerry.api.tables.service import ingress_addresses
from skerry.api.types import networking

INGRESS_COLUMNS = (
    NAME,
    column("Class", "The IngressClass that implements it."),
    column("Hosts", "Names that requests are matched against."),
    column("Address", "Where it is reached from outside."),
    column("Ports", "Ports it listens on."),
    AGE,
)
INGRESSCLASS_COLUMNS = (
    NAME,
    column("Controller", "Who implements Ingresses of this class."),
    column("Parameters", "An object with settings for that controller."),
    AGE,
)


def _hosts(rules: list[networking.IngressRule]) -> str:
    # As upstream counts: the rest is of all rules, with or without a host.
    named = [one.host for one in rules if one.host]
    if len(named) >= 3 and len(rules) > 3:
        return f"{','.join(named[:3])} + {len(rules) - 3} more..."
    return first(named) or "*"


def ingress_cells(obj: networking.Ingress, now: float) -> list[Any]:
    return [
        obj.metadata.name,
        obj.spec.ingress_class_name or NONE,
        _hosts(obj.spec.rules),
        ",".join(ingress_addresses(obj.status.load_balancer)),
        "80, 443" if obj.spec.tls else "80",
        since(obj.metadata.creation_timestamp, now),
    ]


def ingressclass_cells(obj: networking.IngressClass, now: float) -> list[Any]:
    parameters, shown = obj.spec.parameters, NONE
    if parameters is not None:
        group = f".{parameters.api_group}" if parameters.api_group else ""
        shown = f"{parameters.kind}{group}/{parameters.name}"
    return [obj.metadata.name, obj.spec.controller, shown, since(obj.metadata.creation_timestamp, now)]
