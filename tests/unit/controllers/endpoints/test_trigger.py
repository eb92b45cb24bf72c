"""The trigger time: E48, U52."""

from __future__ import annotations

from tests.unit.controllers.endpoints import build

from skerry.controllers.endpoints import trigger

T0 = build.CREATED


def _see(memory: trigger.Memory | None, **pods: str) -> tuple[str, trigger.Memory]:
    return trigger.observe(memory, build.service(), [build.pod(key, "10.0.0.1", since=at) for key, at in pods.items()])


def test_the_first_sync_tells_the_services_creation_whatever_the_pods_say() -> None:
    assert _see(None)[0] == T0
    assert _see(None, a="2025-01-01T00:00:00Z", b="2027-01-01T00:00:00Z")[0] == T0


def test_later_the_earliest_new_transition() -> None:
    _, memory = _see(None, a="2026-01-01T00:00:01Z")
    time, memory = _see(memory, a="2026-01-01T00:00:01Z", b="2026-01-01T00:00:09Z", c="2026-01-01T00:00:08Z")
    assert time == "2026-01-01T00:00:08Z"
    time, memory = _see(memory, a="2026-01-01T00:01:00Z", b="2026-01-01T00:00:09Z", c="2026-01-01T00:00:08Z")
    assert time == "2026-01-01T00:01:00Z"
    assert _see(memory, a="2026-01-01T00:01:00Z", b="2026-01-01T00:00:09Z", c="2026-01-01T00:00:08Z")[0] == ""
    assert _see(memory, a="2026-01-01T00:01:00Z", b="2026-01-01T00:00:09Z")[0] == ""  # a pod is gone: no time


def test_a_pod_that_went_and_came_back() -> None:
    _, memory = _see(None, a="2026-01-01T00:00:01Z")
    _, memory = _see(memory)
    assert _see(memory, a="2026-01-01T00:00:03Z")[0] == "2026-01-01T00:00:03Z"


def test_a_service_that_was_deleted_and_made_again() -> None:
    _, memory = _see(None, a="2026-01-01T00:00:01Z")
    again = build.service()
    again.metadata.creation_timestamp = "2026-02-01T00:00:00Z"
    assert trigger.observe(memory, again, [])[0] == "2026-02-01T00:00:00Z"


def test_fractions_and_zones_of_time() -> None:
    _, memory = _see(None, a="2026-01-01T00:00:05Z")
    assert _see(memory, a="2026-01-01T00:00:05.25Z")[0] == "2026-01-01T00:00:05.25Z"
    assert _see(memory, a="2026-01-01T00:00:05.250000Z")[0] == "2026-01-01T00:00:05.25Z"
    assert _see(memory, a="2026-01-01T02:00:09+01:00")[0] == "2026-01-01T01:00:09Z"
    assert _see(memory, a="")[0] == ""
