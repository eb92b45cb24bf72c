"""A client that sends whatever it likes to every path and verb of the served OpenAPI never sees a 5xx that is ours.

SKERRY_EXAMPLES=N asks each verb N times with new requests; the usual ones are always the same, so that what fails once
fails always.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from tests.helpers import hostile, server

from skerry.api.wire import Request

pytestmark = pytest.mark.long

EXAMPLES = int(os.environ.get("SKERRY_EXAMPLES", "6"))
"""Requests to each verb of each path."""
PATIENCE = 10.0


class Loop:
    """A server and its event loop, asked one request at a time."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.api = self.loop.run_until_complete(server.start())
        self.asked = 0
        self.seeded = [self.ask(one)[0] for one in hostile.seeds()]
        self.operations = hostile.operations(self.loop.run_until_complete(self.documents()))

    async def documents(self) -> list[dict[str, Any]]:
        index = json.loads((await self.api.ask("GET", "/openapi/v3"))[1])
        return [json.loads((await self.api.ask("GET", f"/openapi/v3/{path}"))[1]) for path in index["paths"]]

    def ask(self, asked: hostile.Asked) -> tuple[int, bytes]:
        self.asked += 1
        if self.asked % 50 == 0:
            for one in hostile.seeds():  # most are still there
                self.ask(one)
        return self.loop.run_until_complete(asyncio.wait_for(self._ask(asked), PATIENCE))

    async def _ask(self, asked: hostile.Asked) -> tuple[int, bytes]:
        request = Request(asked.method, asked.path, asked.query, asked.headers, asked.body, server.ADMIN)
        response = await self.api.app(request)
        if isinstance(response.body, bytes):
            return response.status, response.body
        begun = b""
        async for piece in response.body:  # of a watch, what comes at once
            begun += piece
            if not piece:
                break
        await response.body.aclose()  # type: ignore[attr-defined]
        return response.status, begun

    def close(self) -> None:
        self.loop.run_until_complete(self.api.store.close())
        self.loop.close()


@pytest.fixture(scope="module")
def served() -> Any:
    logging.getLogger("skerry").setLevel(logging.CRITICAL)
    made = Loop()
    yield made
    made.close()


def good(code: int, body: bytes) -> bool:
    """No error of the server's; of errors, a Status that says so. 501 and 503 are said of nodes that are not there."""
    if code < 400:
        return True
    said = json.loads(body)
    return said["kind"] == "Status" and said["code"] == code and bool(said["message"]) and code != 500


def test_no_request_to_any_served_path_is_answered_with_500(served: Loop) -> None:
    answers: Counter[tuple[str, int]] = Counter()
    assert len(served.operations) > 400
    for number, operation in enumerate(served.operations):
        ask_anything(served, operation, number, answers)
    assert served.ask(hostile.Asked("GET", "/api/v1/pods"))[0] == 200
    print(sorted(answers.items()))
    for method, code in (("GET", 200), ("POST", 201), ("PUT", 200), ("PATCH", 200), ("DELETE", 200)):
        assert answers[method, code] > 10  # it is not all refused at the first look
        assert sum(count for (asked, code), count in answers.items() if asked == method and code >= 400) > 10


def ask_anything(served: Loop, operation: hostile.Operation, number: int, answers: Counter[tuple[str, int]]) -> None:
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(hostile.requests(operation))
    def run(asked: hostile.Asked) -> None:
        code, body = served.ask(asked)
        assert good(code, body), (asked, code, body[:500])
        answers[asked.method, code] += 1

    (run if "SKERRY_EXAMPLES" in os.environ else seed(number)(run))()
