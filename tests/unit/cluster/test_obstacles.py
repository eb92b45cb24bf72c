"""What is in the way, in one sentence with its cure."""

from __future__ import annotations

import errno

import pytest

from skerry.cluster.errors import ClusterError
from skerry.cluster.obstacles import Machine, explain

USER, ROOT = Machine(), Machine(root=True)


@pytest.mark.parametrize(
    ("step", "code", "machine", "words"),
    [
        ("user", errno.EPERM, Machine(apparmor=True), "AppArmor"),
        ("make the mounts private", errno.EACCES, Machine(apparmor=True), "apparmor_restrict_unprivileged_userns=0"),
        ("user", errno.ENOSPC, Machine(limit="0"), "sysctl user.max_user_namespaces=15000"),
        ("user", errno.ENOSPC, Machine(limit="100"), "user.max_user_namespaces is 100"),
        ("user", errno.EPERM, Machine(clone="0"), "sysctl kernel.unprivileged_userns_clone=1"),
        ("user", errno.EPERM, USER, "seccomp=unconfined"),
        ("user", errno.EPERM, Machine(root=True, clone="0", apparmor=True), "seccomp=unconfined"),
        ("user", errno.EINVAL, ROOT, "CONFIG_USER_NS"),
        ("proc", errno.EPERM, ROOT, "systempaths=unconfined"),
        ("listen on 10.243.0.1:6443", errno.EADDRINUSE, ROOT, "listen on 10.243.0.1:6443: details"),
    ],
)
def test_every_obstacle_has_a_sentence(step: str, code: int, machine: Machine, words: str) -> None:
    error = explain(step, code, "details", machine)
    assert isinstance(error, ClusterError)
    assert words in str(error)
    assert str(error).endswith(".") and "\n" not in str(error)
