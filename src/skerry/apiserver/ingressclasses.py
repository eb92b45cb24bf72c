"""The class of Ingresses that name none (I7). Called by verbs.py when an Ingress is created."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api import codec, resources
from skerry.api.types import networking

if TYPE_CHECKING:
    from skerry.store.base import Store

_DEFAULT = "ingressclass.kubernetes.io/is-default-class"
_ANNOTATION = "kubernetes.io/ingress.class"


async def admit(store: Store, ingress: networking.Ingress) -> None:
    """Fills in the default class, of several the newest (then the first by name), unless a class is named already."""
    if ingress.spec.ingress_class_name is not None or _ANNOTATION in ingress.metadata.annotations:
        return
    records, _ = await store.range(resources.of(networking.IngressClass).prefix)
    classes = sorted((codec.decode(networking.IngressClass, one.value) for one in records), key=_name)
    defaults = [one for one in classes if one.metadata.annotations.get(_DEFAULT) == "true"]
    if defaults:
        ingress.spec.ingress_class_name = max(defaults, key=_made).metadata.name


def _name(one: networking.IngressClass) -> str:
    return one.metadata.name


def _made(one: networking.IngressClass) -> str:
    return one.metadata.creation_timestamp or ""
