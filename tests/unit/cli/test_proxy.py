"""The options of `skerry proxy`: what they mean, and what is said of those that mean nothing."""

from __future__ import annotations

import argparse

import pytest

from skerry.cli import main as cli
from skerry.cli import proxy


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    proxy.arguments(parser)
    return parser.parse_args(words)


def test_ranges_have_one_of_each_family_and_places_may_be_none() -> None:
    found = parsed("--service-cidr", "10.96.0.0/12,fd00:10:96::/112", "--cluster-cidr", "10.244.0.0/16")
    assert found.service_cidr == ("10.96.0.0/12", "fd00:10:96::/112")
    assert found.cluster_cidr == ("10.244.0.0/16",)
    assert (found.healthz_bind_address, found.metrics_bind_address) == (("0.0.0.0", 10256), ("127.0.0.1", 10249))
    assert parsed("--healthz-bind-address", "").healthz_bind_address is None
    assert parsed("--metrics-bind-address", "[::1]:9").metrics_bind_address == ("::1", 9)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--cluster-cidr", "10.0.0.0/16,10.1.0.0/16"],
            '"10.0.0.0/16,10.1.0.0/16" has two ranges of one family: give one of IPv4, one of IPv6, or both',
        ),
        (
            ["--service-cidr", "fd00::/112,fd01::/112"],
            '"fd00::/112,fd01::/112" has two ranges of one family: give one of IPv4, one of IPv6, or both',
        ),
        (["--service-cidr", "10.0.0.1/8"], '"10.0.0.1/8" is no range of addresses: 10.0.0.1/8 has host bits set'),
        (["--healthz-bind-address", "1.2.3.4"], '"1.2.3.4" is not ADDRESS:PORT'),
    ],
)
def test_what_cannot_be_meant_is_told_in_a_sentence(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["proxy", "--kubeconfig", "f", *words]) == 2
    assert f"{words[0]}: {said}" in capsys.readouterr().err
