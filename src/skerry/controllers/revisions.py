"""ControllerRevisions: the versions of a StatefulSet's or DaemonSet's template. Called by both controllers.

The first half is pure; `Revisions` is the shell around it. A revision's data is the strategic patch that puts its
template back, which is what `kubectl rollout undo` sends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from skerry.api import codec, labels, status
from skerry.api.types import apps, core, meta
from skerry.client.client import Client
from skerry.client.informer import Informers, key_of
from skerry.controllers import owners, templates
from skerry.controllers.keeper import NAMESPACE
from skerry.controllers.refusals import was_behind
from skerry.controllers.view import View

HASH_LABEL = "controller-revision-hash"
_UNSAID = ("kubectl.kubernetes.io/last-applied-configuration",)
_OWN_HASH = "controller.kubernetes.io/hash"


def data_of(template: core.PodTemplateSpec) -> dict[str, Any]:
    """What a revision of this template holds."""
    return {"spec": {"template": {**codec.plain(template), "$patch": "replace"}}}


def template_of(revision: apps.ControllerRevision) -> core.PodTemplateSpec:
    """The template that a revision holds."""
    found = dict((revision.data or {}).get("spec", {}).get("template", {}))
    found.pop("$patch", None)
    return codec.convert(core.PodTemplateSpec, found)


def named(owner: Any, number: int) -> apps.ControllerRevision:
    """The revision of an owner's present template, with this number."""
    template: core.PodTemplateSpec = owner.spec.template
    data = data_of(template)
    digest = templates.short(codec.encode(data), owner.status.collision_count or 0)
    noted = {key: value for key, value in owner.metadata.annotations.items() if key not in _UNSAID}
    return apps.ControllerRevision(
        metadata=meta.ObjectMeta(
            name=f"{owner.metadata.name}-{digest}",
            namespace=owner.metadata.namespace,
            labels={**template.metadata.labels, HASH_LABEL: digest, _OWN_HASH: digest},
            annotations=noted,
            owner_references=[owners.reference(owner)],
        ),
        data=data,
        revision=number,
    )


def in_order(revisions: Iterable[apps.ControllerRevision]) -> list[apps.ControllerRevision]:
    """Oldest first."""
    return sorted(revisions, key=lambda one: (one.revision, one.metadata.creation_timestamp or "", one.metadata.name))


def expired(
    revisions: Sequence[apps.ControllerRevision], used: Collection[str], limit: int | None
) -> list[apps.ControllerRevision]:
    """Revisions whose names are not in use, beyond the limit, oldest first. `revisions` are in order."""
    idle = [one for one in revisions if one.metadata.name not in used]
    return idle[: max(0, len(idle) - (10 if limit is None else limit))]


@dataclass
class History:
    """`all` are in order; `newest` is the one of the present template."""

    newest: apps.ControllerRevision
    all: list[apps.ControllerRevision] = field(default_factory=list)

    def find(self, name: str) -> apps.ControllerRevision | None:
        return next((one for one in self.all if one.metadata.name == name), None)


class Collision(Exception):
    """The name for the new revision is taken by something else: the owner has to count that in its status."""


class Revisions:
    """The revisions in a cluster."""

    def __init__(self, client: Client, informers: Informers) -> None:
        self._client = client
        self._known: View[apps.ControllerRevision] = View(informers.of(apps.ControllerRevision))
        self._known.add_index(NAMESPACE, lambda one: [one.metadata.namespace])

    async def synced(self) -> None:
        await self._known.informer.synced()

    async def of(self, owner: Any) -> History:
        """The owner's revisions with that of its present template, which is made, or renumbered if it is an old one.

        ApiError; Collision.
        """
        found = in_order(await self._claimed(owner))
        wanted = named(owner, (found[-1].revision if found else 0) + 1)
        same = [one for one in found if one.data == wanted.data]
        if same:
            newest = same[-1]
            if newest is not found[-1]:
                newest = await self._update(msgspec.structs.replace(newest, revision=wanted.revision))
            rest = [one for one in found if one.metadata.uid != newest.metadata.uid]
            return History(newest, in_order([*rest, newest]))
        try:
            made = await self._client.create(wanted)
        except status.ApiError as error:
            if not status.is_already_exists(error):
                raise
            name, namespace = wanted.metadata.name, wanted.metadata.namespace
            made = await self._client.get(apps.ControllerRevision, name, namespace)
            if made.data != wanted.data or owners.controller_uid(made) != owner.metadata.uid:
                raise Collision from None
        self._known.wrote(made)
        return History(made, [*found, made])

    async def truncate(self, owner: Any, history: History, used: Collection[str]) -> None:
        """Deletes those that are too old and that no pod has."""
        for one in expired(history.all, {*used, history.newest.metadata.name}, owner.spec.revision_history_limit):
            try:
                name, namespace = one.metadata.name, one.metadata.namespace
                await self._client.delete(apps.ControllerRevision, name, namespace, uid=one.metadata.uid)
            except status.ApiError as error:
                if not was_behind(error):
                    raise
            self._known.deleted(one)

    async def _claimed(self, owner: Any) -> list[apps.ControllerRevision]:
        selector = labels.from_selector(owner.spec.selector)
        out: list[apps.ControllerRevision] = []
        for one in self._known.by_index(NAMESPACE, owner.metadata.namespace):
            known = owners.controller_of(one)
            if known is not None:
                if known.uid == owner.metadata.uid:
                    out.append(one)
            elif one.metadata.deletion_timestamp is None and selector.matches(one.metadata.labels):
                out.append(await self._update(owners.adopted(one, owner)))
        return out

    async def _update(self, wanted: apps.ControllerRevision) -> apps.ControllerRevision:
        made = await self._client.update(wanted)
        self._known.wrote(made)
        return made


def digest_of(revision: apps.ControllerRevision) -> str:
    """The hash in a revision's name and labels."""
    return revision.metadata.labels.get(HASH_LABEL, "") or key_of(revision).rpartition("-")[2]
