"""Guessing from the machine's count of kills."""

from __future__ import annotations

from skerry.node.cgroups.oom import KernelKills


def test_a_kill_is_news_until_the_second_sample_after_it() -> None:
    count = 5
    kills = KernelKills(lambda: count)
    assert not kills.just_now()
    count = 6
    assert kills.just_now()
    kills.sample()  # between the kill and the news that a process has ended
    assert kills.just_now()
    kills.sample()
    assert not kills.just_now()
