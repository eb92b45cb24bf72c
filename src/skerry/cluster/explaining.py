"""Explaining a Service of a cluster of this machine, or of any that a kubeconfig leads to: what `skerry why` calls."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from skerry.api import status
from skerry.api.types import skerry
from skerry.client import kubeconfig
from skerry.client.client import Client
from skerry.client.http import Address, HttpTransport
from skerry.clock import Clock, SystemClock
from skerry.cluster import lifecycle, state, tokens
from skerry.cluster.errors import ClusterError
from skerry.cluster.paths import DEFAULT_NAME
from skerry.controllers.endpoints import members
from skerry.explain import counting, listening, missing, ports
from skerry.explain.read import OBJECTS, Reader
from skerry.explain.seen import ready
from skerry.explain.why import explain as decide
from skerry.proxy.brain import proxied

if TYPE_CHECKING:
    from skerry.explain.findings import Report
    from skerry.explain.seen import Seen

SECONDS = 30.0
"""How long an API server may take for everything that is asked of it."""


class Place(NamedTuple):
    """An API server, and the namespace that is meant where none is said."""

    address: Address
    token: str
    namespace: str


def place(name: str | None, config: str | None, context: str) -> Place:
    """Of cluster `name` (None: the default one), or of a kubeconfig's context. ClusterError if there is none."""
    if config is not None:
        try:
            target = kubeconfig.load(Path(config).expanduser(), context)
        except kubeconfig.KubeconfigError as error:
            raise ClusterError(str(error)) from error
        return Place(target.address, target.token, target.namespace)
    paths, _ = lifecycle.existing(name or DEFAULT_NAME)
    if state.holder(paths) is None:
        raise ClusterError(f'Cluster "{name or DEFAULT_NAME}" is not running: `skerry up` starts it.')
    token = tokens.token_of(tokens.read(paths.tokens), tokens.ADMIN)
    return Place(Address(unix=str(paths.api_socket)), token, "default")


def explain(where: Place, namespace: str, name: str) -> Report:
    """The report. ClusterError if the Service cannot be looked at."""
    return asyncio.run(ask(where, namespace, name, SystemClock()))


async def ask(where: Place, namespace: str, name: str, clock: Clock) -> Report:
    """As `explain`, for callers with an event loop."""
    transport = HttpTransport(where.address, token=where.token)
    try:
        async with asyncio.timeout(SECONDS):
            client = Client(transport, agent="skerry-why")
            reader = Reader(client, clock, namespace, name)
            try:
                report = decide(await _look(transport, client, reader, namespace))
            except status.ApiError as error:
                if error.code == 404 and (error.details or {}).get("kind") == "services":
                    raise ClusterError(await missing.look(client, namespace, name)) from error
                raise
            if any(one.reason in OBJECTS for one in report.findings):
                # Objects that were read one after the other may contradict each other for a moment.
                await reader.settle()
                report = decide(await _look(transport, client, reader, namespace))
            return report
    except TimeoutError:
        raise ClusterError(f"The API server at {where.address.text} did not answer within {SECONDS:.0f} s.") from None
    except status.ApiError as error:
        raise ClusterError(_sentence(error, where)) from error
    except msgspec.DecodeError as error:
        raise ClusterError(
            f"The API server at {where.address.text} answered what is no Kubernetes: {error}."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            await transport.close()


def _sentence(error: status.ApiError, where: Place) -> str:
    text = f"{error.message.rstrip('.')}."
    if error.code == 401:
        return f"The API server at {where.address.text} does not know this user (401): are the credentials still good?"
    return text[0].upper() + text[1:]


async def _look(transport: HttpTransport, client: Client, reader: Reader, namespace: str) -> Seen:
    seen = await reader.seen()
    if not await _is_ours(client):
        return seen
    tried = [
        (pod.metadata.name, number)
        for pod in members.wants_selector(seen.service, seen.pods)
        if members.wants_endpoints(seen.service)
        and members.is_ready(pod)
        and members.is_member(pod, include_terminating=False)
        for number in ports.to_try(seen.service, pod)
    ]
    key = f"{namespace}/{seen.service.metadata.name}"
    nodes = [name for name, node in (seen.nodes or {}).items() if ready(node)]
    listens, counted = await asyncio.gather(
        listening.look(transport, namespace, tried), counting.look(client, key, nodes if proxied(seen.service) else ())
    )
    return replace(seen, listening=listens, connections=counted)


async def _is_ours(client: Client) -> bool:
    """Whether the server is Skerry's: no other has acknowledgements of nodes."""
    try:
        await client.list(skerry.Acknowledgement)
    except status.ApiError:
        return False
    return True
