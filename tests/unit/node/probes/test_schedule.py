"""When probes run and what counts (rules R1, R3, R4; ready in milliseconds)."""

from __future__ import annotations

from skerry.api.types import core
from skerry.node.probes.schedule import Kind, Schedule

T0 = 1000.0


def outcomes(schedule, seconds, answer):
    """Runs the probe for `seconds`; `answer(at)` is its outcome. [(time since T0, passed)] of each change."""
    changes = []
    while schedule.due <= T0 + seconds:
        at = schedule.due
        verdict = schedule.record(answer(at - T0), at, at)
        if verdict.passed is not None:
            changes.append((round(at - T0, 3), verdict.passed))
    return changes


def test_results_before_the_first_run_r3():
    probe = core.Probe()
    found = [Schedule(kind, probe, T0, T0).passed for kind in (Kind.READINESS, Kind.LIVENESS, Kind.STARTUP)]
    assert found == [False, True, None]


def test_defaults_r1():
    schedule = Schedule(Kind.READINESS, core.Probe(), T0, T0)
    assert (schedule.period, schedule.timeout) == (10, 1)


def test_readiness_runs_at_once_and_backs_off_from_10_ms():
    schedule = Schedule(Kind.READINESS, core.Probe(period_seconds=1), T0, T0)
    times = []
    while schedule.due < T0 + 4:
        times.append(round(schedule.due - T0, 3))
        schedule.record(False, schedule.due, schedule.due)
    assert times == [0.0, 0.01, 0.03, 0.07, 0.15, 0.31, 0.63, 1.27, 2.27, 3.27]


def test_after_the_first_success_it_follows_the_period():
    schedule = Schedule(Kind.READINESS, core.Probe(period_seconds=5), T0, T0)
    assert outcomes(schedule, 1, lambda at: at >= 0.029) == [(0.03, True)]
    assert schedule.due == T0 + 5.03


def test_readiness_falls_after_three_failures_in_a_row_r4():
    schedule = Schedule(Kind.READINESS, core.Probe(period_seconds=1), T0, T0)
    bad = {1, 2, 4, 5, 6, 7}
    changes = outcomes(schedule, 9, lambda at: round(at) not in bad)
    assert changes == [(0.0, True), (6.0, False), (8.0, True)]


def test_success_threshold_r4():
    schedule = Schedule(Kind.READINESS, core.Probe(period_seconds=2, success_threshold=3), T0, T0)
    assert outcomes(schedule, 10, lambda at: True) == [(4.0, True)]


def test_nothing_before_the_initial_delay_r4():
    for kind in Kind:
        assert Schedule(kind, core.Probe(initial_delay_seconds=7), T0, T0).due == T0 + 7


def test_liveness_fails_after_three_periods():
    schedule = Schedule(Kind.LIVENESS, core.Probe(period_seconds=2), T0, T0)
    assert outcomes(schedule, 7, lambda at: False) == [(6.0, False)]


def test_fast_failures_of_a_startup_probe_do_not_count():
    """A container gets failureThreshold x periodSeconds to start, however often it is asked."""
    schedule = Schedule(Kind.STARTUP, core.Probe(period_seconds=1, failure_threshold=5), T0, T0)
    ((at, passed),) = outcomes(schedule, 5.9, lambda at: False)
    assert not passed and at >= 5.0


def test_an_error_changes_nothing_r4():
    schedule = Schedule(Kind.LIVENESS, core.Probe(period_seconds=1), T0, T0)
    assert outcomes(schedule, 60, lambda at: None) == []


def test_events_come_once_a_period_and_not_in_the_first_second():
    schedule = Schedule(Kind.READINESS, core.Probe(period_seconds=1), T0, T0)
    said = []
    while schedule.due < T0 + 5:
        at = schedule.due
        if schedule.record(False, at, at).say:
            said.append(round(at - T0, 2))
    assert said == [1.27, 2.27, 3.27, 4.27]
