"""Findings about the machine: each one sentence with its cure."""

from __future__ import annotations

import errno

import pytest

from skerry.cluster.idmap import Facts
from skerry.cluster.obstacles import Machine
from skerry.cluster.probes import Trial, judge, warnings
from skerry.cluster.surroundings import Surroundings

MAP = "0 0 4294967295"
ROOT = Facts(0, 0, "root", MAP, MAP, "", "", tools=False)
USER = Facts(1000, 1000, "ann", MAP, MAP, "ann:100000:65536", "ann:100000:65536", tools=True)
HERE = Surroundings("6.1.0-18-amd64")


def test_a_good_machine_has_no_findings() -> None:
    assert judge(Trial("", 0), Machine(root=True), ROOT, HERE) == []
    assert judge(Trial("", 0), Machine(), USER, HERE) == []


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
        (Trial("proc", errno.EACCES), Machine(selinux=True), "proc", "systempaths=unconfined"),
        (Trial("the namespaces of a node", errno.EACCES), Machine(selinux=True), "user-namespaces", "ausearch"),
        (Trial("the namespaces of a node", errno.EACCES), Machine(container=True), "user-namespaces", "apparmor=unc"),
    ],
)
def test_what_keeps_nodes_from_starting(trial: Trial, machine: Machine, name: str, cure: str) -> None:
    (finding,) = judge(trial, machine, USER, HERE)
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
    (finding,) = warnings(facts, HERE)
    assert not finding.fatal and cure in finding.sentence


@pytest.mark.parametrize(
    ("about", "cure"),
    [
        (HERE._replace(release="4.4.0-19041-Microsoft"), "wsl --set-version"),
        (HERE._replace(release="5.15.0-microsoft-standard-WSL2"), "wsl --update"),
        (HERE._replace(container=True), "on the machine that this container runs on"),
        (HERE, "load it with `sudo modprobe nf_tables`."),
    ],
)
def test_without_nftables_services_are_carried_in_user_space(about: Surroundings, cure: str) -> None:
    (finding,) = judge(Trial("nftables", errno.EINVAL), Machine(), USER, about)
    assert cure in finding.sentence
    assert finding.fatal or "in user space" in finding.sentence  # WSL 1 has no nodes at all


def test_a_kernel_that_is_too_old() -> None:
    (finding,) = judge(Trial("", 0), Machine(), USER, HERE._replace(release="5.10.0-28-amd64"))
    assert finding.fatal and "Linux 5.10.0-28-amd64, and nodes need 5.12" in finding.sentence


def test_no_overlay_is_no_obstacle_to_a_node() -> None:
    (finding,) = judge(Trial("", 0, errno.EINVAL), Machine(), USER, HERE)
    assert finding.name == "data-directory" and not finding.fatal
