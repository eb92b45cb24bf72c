"""How a node reads what its pods refer to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from skerry.api.status import ApiError, not_found
from skerry.api.types import core, meta
from skerry.clock import FakeClock
from skerry.node.agent.objects import Objects, Ref

MAP = Ref(core.ConfigMap, "default", "settings")


class Api:
    """Answers a reading with the number of those that had begun by then, when it is let."""

    def __init__(self) -> None:
        self.begun = 0
        self.free = asyncio.Event()
        self.refusal: ApiError | None = None

    async def get(self, kind: type[Any], name: str, namespace: str) -> Any:
        self.begun += 1
        version = str(self.begun)
        await self.free.wait()
        if self.refusal is not None:
            raise self.refusal
        return kind(metadata=meta.ObjectMeta(name=name, namespace=namespace, resource_version=version))


async def test_a_burst_shares_one_reading_that_is_never_older_than_the_question() -> None:
    api = Api()
    objects = Objects(api, FakeClock())  # type: ignore[arg-type]  # all that it asks for
    early = [asyncio.create_task(objects.read(MAP)) for _ in range(50)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert api.begun == 1
    late = [asyncio.create_task(objects.read(MAP)) for _ in range(50)]
    await asyncio.sleep(0)
    late[0].cancel()  # one that gives up leaves the others theirs
    api.free.set()
    versions = [one.metadata.resource_version for one in await asyncio.gather(*early, *late[1:])]
    assert versions == ["1"] * 50 + ["2"] * 49
    assert (await objects.read(MAP)).metadata.resource_version == "3"
    await objects.close()


async def test_all_hear_of_a_refusal_and_the_next_tries_again() -> None:
    api = Api()
    objects = Objects(api, FakeClock())  # type: ignore[arg-type]  # all that it asks for
    api.free.set()
    api.refusal = ApiError(503, "later")
    found = await asyncio.gather(objects.read(MAP), objects.read(MAP), return_exceptions=True)
    assert [str(one) for one in found] == ["later", "later"] and api.begun == 1
    api.refusal = not_found("", "configmaps", "settings")
    assert await objects.read(MAP) is None
    api.refusal = ApiError(500, "broken")
    with pytest.raises(ApiError, match="broken"):
        await objects.read(MAP)
    await objects.close()
