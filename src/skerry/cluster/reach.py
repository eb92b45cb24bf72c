"""First contact of `skerry proxy` with an API server: waits for it and for the Node, and says what waiting cannot mend.

Called by kubeproxy.py.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from skerry.api import resources, status
from skerry.api.types import core, discovery
from skerry.cluster.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from skerry.client.client import Client
    from skerry.client.http import HttpTransport
    from skerry.clock import Clock

PATIENCE = 30.0
"""Seconds for which a Node may be missing at the start: the machine may be joining."""
RETRY_FIRST, RETRY_MOST = 0.2, 5.0
"""Seconds until an API server that did not answer is asked again; doubled each time."""
TOKEN_AGE = 60.0
"""Seconds after which a token file is read again: such tokens are replaced while they are in use."""
_RIGHTS = "bind its user to the ClusterRole system:node-proxier, for example."

_log = logging.getLogger(__name__)


async def node(client: Client, clock: Clock, name: str, where: str) -> core.Node:
    """The Node `name`, when the server (at `where`, in text) answers and lets us read what a proxy needs.

    ClusterError for what does not change by asking again, and for a Node that stays away.
    """
    delay, said, since = RETRY_FIRST, "", clock.monotonic()
    while True:
        try:
            for kind in (core.Service, discovery.EndpointSlice):
                await client.raw("GET", resources.of(kind).path(""), {"limit": "1"})
            found = await client.list(core.Node, field_selector=f"metadata.name={name}")
            if found.items:
                return found.items[0]
            if clock.monotonic() - since > PATIENCE:
                raise ClusterError(await _no_node(client, name))
            text = f'node "{name}" does not exist at {where}'
        except status.ApiError as error:
            text = _retried(error, where)
        if text != said:
            _log.warning("%s; trying again", text)
            said = text
        await clock.sleep(delay)
        delay = min(2 * delay, RETRY_MOST)


def _retried(error: status.ApiError, where: str) -> str:
    """Why we ask again. ClusterError for what trying again does not change."""
    if error.code == 401:
        raise ClusterError(
            f"The API server at {where} does not know this user (401): are the credentials still good?"
        ) from error
    if error.code == 403:
        raise ClusterError(
            f"The kubeconfig's user may not read what a proxy needs (list and watch of services, endpointslices "
            f"and nodes): {error.message.rstrip('.')}; {_RIGHTS}"
        ) from error
    if error.code == 404:
        raise ClusterError(f"{where} is no Kubernetes API server: {error.message.rstrip('.')}.") from error
    return error.message


async def _no_node(client: Client, name: str) -> str:
    known = sorted(one.metadata.name for one in (await client.list(core.Node)).items)
    names = ", ".join(known[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
    return f'There is no node "{name}"; there is {names or "none"}. Choose one with --node.'


async def keep_token(transport: HttpTransport, clock: Clock, read: Callable[[], str]) -> None:
    """Until cancelled: a token that is in a file is replaced there before it ends. `read` may raise ClusterError."""
    while True:
        await clock.sleep(TOKEN_AGE)
        try:
            transport.token = read()
        except ClusterError as error:
            _log.warning("%s", error)
