"""What the server itself writes into metadata: names, uids, times, deletion. Called by verbs and deletion; pure."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from skerry.api import status
from skerry.clock import rfc3339

if TYPE_CHECKING:
    from skerry.api.resources import Resource
    from skerry.api.types import meta

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_PREFIX = 58


def generated(prefix: str) -> str:
    """A name out of generateName: at most 63 characters, five of them random (A2)."""
    return prefix[:_PREFIX] + "".join(random.choices(ALPHABET, k=5))


def unique() -> str:
    """A new UUID, of version 4."""
    bits = f"{random.getrandbits(128):032x}"
    return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-{'89ab'[int(bits[16], 16) & 3]}{bits[17:20]}-{bits[20:]}"


def begin(obj: Any, resource: Resource, namespace: str, now: float) -> None:
    """Makes a client's metadata that of a new object. ApiError 400 if it says what only the server may say."""
    found: meta.ObjectMeta = obj.metadata
    if found.resource_version:
        raise status.bad_request("resourceVersion should not be set on objects to be created")
    place(found, resource, namespace)
    if not found.name and found.generate_name:
        found.name = generated(found.generate_name)
    found.uid = unique()
    found.creation_timestamp = rfc3339(now)
    found.deletion_timestamp = found.deletion_grace_period_seconds = None
    found.self_link = ""
    found.generation = 1 if resource.generation else 0


def place(found: meta.ObjectMeta, resource: Resource, namespace: str) -> None:
    """Puts the namespace of the URL into metadata. ApiError 400 if the object names another."""
    if not resource.namespaced:
        found.namespace = ""
    elif found.namespace and namespace and found.namespace != namespace:
        raise status.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    else:
        found.namespace = namespace


def carry(new: Any, old: Any) -> None:
    """Keeps what no update may change: identity, times, deletion (managedFields: tracking.py)."""
    to: meta.ObjectMeta = new.metadata
    known: meta.ObjectMeta = old.metadata
    to.uid = known.uid
    to.creation_timestamp = known.creation_timestamp
    to.deletion_timestamp = known.deletion_timestamp
    to.deletion_grace_period_seconds = known.deletion_grace_period_seconds
    to.generation = known.generation
    to.generate_name = to.generate_name or known.generate_name
    to.self_link = ""


def check_preconditions(obj: Any, resource: Resource, uid: str, version: str) -> None:
    """ApiError 409 if the object is not the one that the client means."""
    known: meta.ObjectMeta = obj.metadata
    for said, found, what in ((uid, known.uid, "UID"), (version, known.resource_version, "ResourceVersion")):
        if said and said != found:
            raise status.conflict(
                resource.group,
                resource.plural,
                known.name,
                f"Precondition failed: {what} in precondition: {said}, {what} in object meta: {found}",
            )
