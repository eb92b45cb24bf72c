"""Findings about the machine: each one sentence with its cure."""

from __future__ import annotations

import errno

import pytest

from skerry.cluster.idmap import Facts
from skerry.cluster.obstacles import Machine
from skerry.cluster.probes import Trial, judge, warnings

MAP = "0 0 4294967295"
ROOT = Facts(0, 0, "root", MAP, MAP, "", "", tools=False)
USER = Facts(1000, 1000, "ann", MAP, MAP, "ann:100000:65536", "ann:100000:65536", tools=True)


def test_a_good_machine_has_no_findings() -> None:
    assert judge(Trial("", 0), Machine(root=True), ROOT) == []
    assert judge(Trial("", 0), Machine(), USER) == []


@pytest.mark.parametrize(
    ("trial", "machine", "name", "cure"),
    [
        (Trial("user", errno.ENOSPC), Machine(limit="0"), "user-namespaces", "sysctl user.max_user_namespaces"),
        (Trial("user", errno.EPERM), Machine(clone="0"), "user-namespaces", "sysctl kernel.unprivileged_userns_clone"),
        (Trial("user", errno.EPERM), Machine(root=True), "user-namespaces", "seccomp=unconfined"),
        (
            Trial("the namespaces of a node", errno.EPERM),
            Machine(apparmor=True),
            "user-namespaces",
            "apparmor_restrict_unprivileged_userns=0",
        ),
        (Trial("proc", errno.EPERM), Machine(), "proc", "systempaths=unconfined"),
        (Trial("nftables", errno.EINVAL), Machine(), "nftables", "modprobe nf_tables"),
    ],
)
def test_what_keeps_nodes_from_starting(trial: Trial, machine: Machine, name: str, cure: str) -> None:
    (finding,) = judge(trial, machine, USER)
    assert finding.name == name and finding.fatal
    assert cure in finding.sentence
    assert finding.sentence.endswith(".") and "\n" not in finding.sentence


@pytest.mark.parametrize(
    ("facts", "cure"),
    [
        (USER._replace(tools=False), "uidmap"),
        (USER._replace(subuid=""), "--add-subuids"),
        (USER._replace(subgid="bob:1:65536"), "--add-subgids"),
    ],
)
def test_missing_sub_uids_are_a_warning(facts: Facts, cure: str) -> None:
    (finding,) = warnings(facts)
    assert not finding.fatal and cure in finding.sentence
