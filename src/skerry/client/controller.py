"""The loop of every controller: take a key, bring its world in line, try again if that failed."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from skerry.api import status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from skerry.client.workqueue import Queue

_log = logging.getLogger(__name__)


async def run(queue: Queue, sync: Callable[[str], Awaitable[None]], *, workers: int = 1) -> None:
    """Works on the queue until cancelled. Conflicts are ordinary (the cache was behind) and are tried again quietly."""
    await asyncio.gather(*(_worker(queue, sync) for _ in range(workers)))


async def _worker(queue: Queue, sync: Callable[[str], Awaitable[None]]) -> None:
    while True:
        key = await queue.get()
        try:
            await sync(key)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  (one key's trouble must not end the others')
            if not isinstance(error, status.ApiError):
                _log.exception("working on %s failed", key)
            elif not status.is_conflict(error):
                _log.warning("working on %s failed: %s", key, error)
            queue.retry(key)
        else:
            queue.forget(key)
        finally:
            queue.done(key)
