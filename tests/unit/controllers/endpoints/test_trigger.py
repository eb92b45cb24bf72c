"""The trigger time: E48, U52."""

from __future__ import annotations

import pytest
from tests.unit.controllers.endpoints import build

from skerry.controllers.endpoints import trigger

T0 = build.CREATED


def _see(causes: trigger.Causes, created: str = T0, **pods: str) -> str:
    """One sync that ends well, with these pods; the time it tells."""
    service = build.service()
    service.metadata.creation_timestamp = created
    for name, since in pods.items():
        causes.put(build.pod(name, "10.0.0.1", since=since))
    causes.keep_only({f"default/{name}" for name in pods})
    time = causes.time(service)
    causes.told(service)
    return time


@pytest.fixture
def causes() -> trigger.Causes:
    return trigger.Causes()


@pytest.mark.parametrize("pods", [{}, {"a": "2025-01-01T00:00:00Z", "b": "2027-01-01T00:00:00Z"}])
def test_e48_u52_the_first_sync_tells_the_services_creation_whatever_the_pods_say(
    causes: trigger.Causes, pods: dict[str, str]
) -> None:
    assert _see(causes, **pods) == T0


def test_e48_later_the_earliest_new_transition(causes: trigger.Causes) -> None:
    _see(causes, a="2026-01-01T00:00:01Z")
    time = _see(causes, a="2026-01-01T00:00:01Z", b="2026-01-01T00:00:09Z", c="2026-01-01T00:00:08Z")
    assert time == "2026-01-01T00:00:08Z"
    time = _see(causes, a="2026-01-01T00:01:00Z", b="2026-01-01T00:00:09Z", c="2026-01-01T00:00:08Z")
    assert time == "2026-01-01T00:01:00Z"
    assert _see(causes, a="2026-01-01T00:01:00Z", b="2026-01-01T00:00:09Z", c="2026-01-01T00:00:08Z") == ""
    assert _see(causes, a="2026-01-01T00:01:00Z", b="2026-01-01T00:00:09Z") == ""  # a pod is gone: no time


def test_u52_a_pod_that_went_and_came_back(causes: trigger.Causes) -> None:
    _see(causes, a="2026-01-01T00:00:01Z")
    _see(causes)
    assert _see(causes, a="2026-01-01T00:00:03Z") == "2026-01-01T00:00:03Z"


def test_u52_a_service_that_was_deleted_and_made_again(causes: trigger.Causes) -> None:
    _see(causes, a="2026-01-01T00:00:01Z")
    assert _see(causes, created="2026-02-01T00:00:00Z") == "2026-02-01T00:00:00Z"


def test_a_cause_that_could_not_be_told_is_told_later(causes: trigger.Causes) -> None:
    _see(causes, a="2026-01-01T00:00:01Z")
    causes.put(build.pod("a", "10.0.0.1", since="2026-01-01T00:00:05Z"))
    assert causes.time(build.service()) == "2026-01-01T00:00:05Z"  # and the write fails
    causes.put(build.pod("b", "10.0.0.2", since="2026-01-01T00:00:07Z"))
    assert causes.time(build.service()) == "2026-01-01T00:00:05Z"
    causes.told(build.service())
    assert causes.time(build.service()) == ""


def test_fractions_and_zones_of_time(causes: trigger.Causes) -> None:
    _see(causes, a="2026-01-01T00:00:05Z")
    assert _see(causes, a="2026-01-01T00:00:05.25Z") == "2026-01-01T00:00:05.25Z"
    assert _see(causes, a="2026-01-01T00:00:05.250000Z") == ""  # the same instant
    assert _see(causes, a="2026-01-01T02:00:09+01:00") == "2026-01-01T01:00:09Z"
    assert _see(causes, a="") == ""
