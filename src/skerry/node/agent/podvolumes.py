"""The volumes of one pod through its life: made before its containers, then kept as their sources are.

Called by worker.py and sandboxes.py. What a volume is made of may change: ConfigMaps and Secrets (objects.py tells),
the pod's own labels and annotations, and tokens, which grow old. Then its content is made anew within the second.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from skerry.api import codec, status
from skerry.api.types import authentication, core
from skerry.clock import parse_rfc3339
from skerry.node.agent import hostpaths
from skerry.node.agent.capacity import machine_resources
from skerry.node.agent.objects import Following, refs
from skerry.node.pods.downward import addresses
from skerry.node.volumes import payload, setup
from skerry.node.volumes.payload import TokenKey, VolumeError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from skerry.clock import Timer
    from skerry.node.agent.services import NodeServices
    from skerry.node.agent.worker import PodWorker
    from skerry.node.volumes.payload import Sources

_log = logging.getLogger(__name__)

RENEW_AT = 0.8
"""The part of its life after which a token is replaced, and at the latest after OLDEST seconds."""
OLDEST = 24 * 3600.0
AGAIN = 10.0
"""Seconds until a refresh that failed is tried again."""


class PodVolumes:
    """`paths`: where the volumes are, by name, once `make` has returned."""

    def __init__(self, services: NodeServices, worker: PodWorker) -> None:
        self._services, self._worker = services, worker
        self.paths: dict[str, str] = {}
        self.following = Following(services.objects, worker.sources_changed)
        self._ips: Sequence[str] = ()
        self._told: tuple[dict[str, str], dict[str, str]] = ({}, {})
        self._tokens: dict[TokenKey, tuple[str, float]] = {}
        """Each with the time from when on there should be a newer one."""
        self._timer: Timer | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._again = False
        self._closed = asyncio.Event()

    @property
    def tell_the_address(self) -> bool:
        """Whether a volume tells the pod's address, which is known only when its sandbox is made."""
        return any(path.startswith("status.podIP") for path in payload.downward_paths(self._worker.pod))

    async def make(self, ips: Sequence[str]) -> None:
        """Makes all volumes. VolumeError, ApiError: not all could be; `sources_changed` tells when to try again."""
        pod = self._worker.pod
        self._ips = ips
        if pod.spec.volumes:
            sources = await self._sources()
            resolved = await hostpaths.resolved(self._services.client, pod, self._services.data)
            self.paths = await asyncio.to_thread(
                setup.prepare, resolved, self._directory, sources, self._facts(), self._written
            )
        self._told = (pod.metadata.labels, pod.metadata.annotations)

    def pod_changed(self) -> None:
        """There is a newer object of the pod: it may tell of itself something else."""
        meta = self._worker.pod.metadata
        if (meta.labels, meta.annotations) != self._told:
            self._told = (meta.labels, meta.annotations)
            if any(True for _ in payload.downward_paths(self._worker.pod)):
                self.refresh()

    def sources_changed(self) -> None:
        """What a volume is made of is another, or gone.

        A pod that ends keeps what it has, as upstream's do: what it refers to may be going with its namespace, and the
        node loses the right to read it with the pod's object.
        """
        if not self._worker.pod.metadata.deletion_timestamp:
            self.refresh()

    def refresh(self) -> None:
        """Brings the content up to date soon."""
        self._again = True
        if self.paths and not self._closed.is_set() and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = self._worker.spawn(self._refresh())

    def close(self) -> None:
        """Nothing is brought up to date any more."""
        self._closed.set()
        self.following.close()
        if self._timer is not None:
            self._timer.cancel()

    async def end(self) -> None:
        """The same; returns when nobody writes to the volumes."""
        self.close()
        if self._refreshing is not None:
            await asyncio.wait([self._refreshing])

    @property
    def _directory(self) -> Path:
        return self._worker.files.volumes

    @property
    def _written(self) -> Path:
        return self._worker.files.written

    def _facts(self) -> dict[str, str]:
        return {**addresses(self._ips, self._services.ips), **machine_resources()}

    async def _refresh(self) -> None:
        while self._again and not self._closed.is_set():
            self._again = False
            pod = self._worker.pod
            try:
                sources = await self._sources()
            except (status.ApiError, VolumeError) as error:
                _log.warning("the volumes of pod %s/%s: %s", pod.metadata.namespace, pod.metadata.name, error)
                self._call_at(self._services.clock.now() + AGAIN)
                return
            if self._closed.is_set():
                self.close()  # what was just read is followed again
                return
            for message in await asyncio.to_thread(setup.refresh, pod, self._written, sources, self._facts()):
                self._worker.say("Warning", "FailedMount", message)

    async def _sources(self) -> Sources:
        pod = self._worker.pod
        maps, secrets = payload.needs(pod.spec.volumes)
        sources = await self.following.sources(refs(pod.metadata.namespace, maps, secrets))
        for key in payload.tokens(pod.spec.volumes):
            sources.tokens[key] = await self._token(key)
        if self._tokens:
            self._call_at(min(due for _, due in self._tokens.values()))
        return sources

    def _call_at(self, time: float) -> None:
        clock = self._services.clock
        if self._closed.is_set():
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = clock.call_later(max(0.0, time - clock.now()), self.refresh)

    async def _token(self, key: TokenKey) -> str:
        """A token that is good for a while yet. VolumeError."""
        now = self._services.clock.now()
        known = self._tokens.get(key)
        if known is not None and now < known[1]:
            return known[0]
        pod = self._worker.pod
        asked = authentication.TokenRequest(
            spec=authentication.TokenRequestSpec(
                audiences=[key.audience] if key.audience else [],
                expiration_seconds=key.seconds,
                bound_object_ref=authentication.BoundObjectReference(
                    kind="Pod", api_version="v1", name=pod.metadata.name, uid=pod.metadata.uid
                ),
            )
        )
        account = pod.spec.service_account_name
        try:
            body = await self._services.client.post(
                core.ServiceAccount, account, "token", asked, pod.metadata.namespace
            )
        except status.ApiError as error:
            raise VolumeError(f"failed to fetch token: {error.message}") from error
        answer = codec.decode(authentication.TokenRequest, body).status
        until = parse_rfc3339(answer.expiration_timestamp) if answer.expiration_timestamp else now
        self._tokens[key] = (answer.token, now + min(RENEW_AT * (until - now), OLDEST))
        return answer.token
