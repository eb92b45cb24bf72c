"""The endpoints controllers under every bad luck there is, for minutes: the state machine of the unit tests, longer."""

from __future__ import annotations

import hypothesis
import pytest
from tests.unit.controllers.endpoints.test_state_machine import Machine

pytestmark = pytest.mark.long


class TestStaleCachesForLong(Machine.TestCase):  # type: ignore[misc,name-defined]
    settings = hypothesis.settings(
        max_examples=300, stateful_step_count=60, suppress_health_check=list(hypothesis.HealthCheck), deadline=None
    )
