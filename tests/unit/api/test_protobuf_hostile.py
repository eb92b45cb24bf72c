"""Protobuf bodies damaged on purpose: each is read, or refused with a ValueError, of which the server makes a 400."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers import hostile

from skerry.api import protobuf, protowire
from skerry.api.types import _build


def _bodies() -> list[bytes]:
    modules = {(content.group, kind): name for name, content in _build.table().items() for kind in content.kinds}
    kinds = (
        "Pod",
        "Service",
        "Deployment",
        "Job",
        "EndpointSlice",
        "Lease",
        "Secret",
        "Ingress",
        "ClusterRole",
        "Event",
    )
    return [
        protobuf.encode(modules[group, kind], kind, value)
        for (group, kind), value in hostile.GOOD.items()
        if kind in kinds
    ]


BODIES = _bodies()
change = st.tuples(st.sampled_from(["set", "cut", "insert", "repeat"]), st.integers(0, 1 << 16), st.binary(max_size=6))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(BODIES), st.lists(change, min_size=1, max_size=6))
def test_a_damaged_body_is_read_or_refused(body: bytes, changes: list[tuple[str, int, bytes]]) -> None:
    for verb, where, data in changes:
        at = len(protobuf.MAGIC) + where % max(1, len(body) - len(protobuf.MAGIC))
        if verb == "set":
            body = body[:at] + data + body[at + len(data) :]
        elif verb == "cut":
            body = body[:at] + body[at + len(data) :]
        else:
            body = body[:at] + (data if verb == "insert" else body[at : at + 40]) + body[at:]
    try:
        version, kind, value = protobuf.decode(body)
    except ValueError:
        return
    assert (value["apiVersion"], value["kind"]) == (version, kind)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        protobuf.decode(protobuf.MAGIC + data)
    except ValueError:
        pass


def test_messages_within_messages_end_somewhere() -> None:
    """Only fields of the table are entered, and no kind that is sent so is made of itself, so depth is bounded."""
    deep = b""
    for _ in range(20_000):
        deep = protowire.sized(1, deep[:100_000])
    with pytest.raises(ValueError, match=r"no kind|wrong|unexpected|codec"):
        protobuf.decode(protobuf.MAGIC + deep)
