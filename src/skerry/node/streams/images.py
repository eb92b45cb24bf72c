"""POST /images/load: takes in a docker or OCI archive, for `skerry load`. Called by server.py."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from skerry.api import codec, status
from skerry.node.images.errors import ImageError

if TYPE_CHECKING:
    from skerry.node.agent.manager import PodManager
    from skerry.node.agent.services import NodeServices
    from skerry.node.streams.call import Call


async def load(call: Call, _manager: PodManager, services: NodeServices) -> None:
    """Answers {"images": [names]}; what is wrong with the archive as plain text with 400."""
    if call.path != ["images", "load"]:
        raise status.ApiError(404, "the node only serves /images/load")
    path = services.images.store.scratch_file()
    try:
        with open(path, "wb", buffering=0) as file:  # noqa: ASYNC230 - into the page cache
            async for piece in call.body():
                file.write(piece)
        names = await services.images.load(str(path))
    except ImageError as error:
        await call.answer(400, error.message.encode(), "text/plain")
    except OSError as error:
        await call.answer(507, f"the archive was not stored: {error.strerror}".encode(), "text/plain")
    else:
        await call.answer(200, codec.encode({"images": names}))
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
