"""A machine's network becomes a node's and is put back, whoever is killed: in a namespace that plays the machine."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.helpers.namespaces import in_network_namespace

from skerry.cluster import machine, place, state
from skerry.cluster.alone import alone
from skerry.cluster.errors import ClusterError
from skerry.cluster.networks import MachineNetworks
from skerry.cluster.paths import ClusterPaths, cluster_paths

pytestmark = pytest.mark.root

SEEN = """\
ip -o addr show | sed -E 's/(valid|preferred)_lft [^ ]+//g'; ip route show table all; nft list ruleset
grep -r '' /proc/sys/net/ipv4/conf /proc/sys/net/ipv4/ip_forward /proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal
"""


def look() -> list[str]:
    return subprocess.run(["sh", "-c", SEEN], capture_output=True, text=True, check=False).stdout.splitlines()


def furniture() -> None:
    """Links as a router has them of which one forwards already, though the machine as a whole does not."""
    script = """\
set -e
ip link add lan0 type veth peer name lan1
for link in lan0 lan1; do ip link set $link addrgenmode none up; done
ip addr add 192.168.7.5/24 dev lan0
ip addr add 192.168.8.5/24 dev lan1
ip route add default via 192.168.7.1
echo 0 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/ipv4/conf/lan1/forwarding
echo 0 >/proc/sys/net/ipv4/conf/all/accept_redirects
"""
    subprocess.run(["sh", "-c", script], check=True)


@contextlib.contextmanager
def used(paths: ClusterPaths, *interfaces: str, lock: int = -1) -> Iterator[machine.Used]:
    with machine.used(MachineNetworks(), interfaces, paths.machine, lock) as found:
        yield found


def victim(paths: ClusterPaths) -> int:
    """A process that uses the machine and holds the cluster's lock, until it is killed; its id when that is so."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        held = state.acquire(paths)
        assert held is not None
        with used(paths, lock=held.fd):
            os.write(writer, b"1")
            os.close(writer)
            signal.pause()
        os._exit(1)
    os.close(writer)
    assert select.select([reader], [], [], 10)[0] and os.read(reader, 1)
    os.close(reader)
    return pid


def caretaker_of(pid: int) -> int:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        (found,) = file.read().split()
    return int(found)


def kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pids[0], 0)


@in_network_namespace
def test_it_is_put_back_whoever_is_killed(tmp_path: Path) -> None:
    furniture()
    paths = cluster_paths("x", tmp_path)
    state.prepare(paths)
    before = look()
    with used(paths) as found:
        assert found.footing == ("192.168.7.5", ("lan0",))
        during = "\n".join(look())
        for words in ("skerry0    inet 10.244.1.1/32", "10.96.0.0/12 dev skerry0", "unreachable 10.244.1.0/24"):
            assert words in during
        assert "table ip skerry-machine" in during and "/lan0/forwarding:1" in during
    assert look() == before

    # The control plane: its caretaker does it, and lets go of the lock when it is done.
    pid = victim(paths)
    assert state.acquire(paths) is None
    kill(pid)
    lock = state.acquire(paths, 10)
    assert lock is not None and look() == before and not paths.machine.exists()
    lock.close()

    # Both: the next command does it.
    pid = victim(paths)
    kill(pid, caretaker_of(pid))
    lock = state.acquire(paths, 10)  # their last descriptor is closed
    assert lock is not None
    lock.close()
    assert look() != before and paths.machine.exists()
    place.sweep(paths)
    assert look() == before and not paths.machine.exists()


@in_network_namespace
def test_what_was_written_down_before_the_machine_started_is_only_forgotten(tmp_path: Path) -> None:
    record = tmp_path / "machine"
    record.write_text(
        json.dumps({"where": ["before", "1"], "unreachable": [], "sysctls": {"net/ipv4/ip_forward": ["1", ""]}})
    )
    before = look()
    machine.put_back(record)
    assert look() == before and not record.exists()


@in_network_namespace
def test_what_is_refused_changes_nothing(tmp_path: Path) -> None:
    paths = cluster_paths("x", tmp_path)
    state.prepare(paths)

    def refused(words: str, *interfaces: str) -> None:
        before = look()
        with pytest.raises(ClusterError, match=words), used(paths, *interfaces):
            pass
        assert look() == before and not paths.machine.exists()

    refused("This machine has no IPv4 address that others reach")
    furniture()
    refused('this machine has no interface "wan0"', "wan0")
    with alone():
        refused("A `skerry proxy`, or a cluster with --network host, runs in this network namespace already")
    subprocess.run(["ip", "route", "add", "10.244.77.0/24", "via", "192.168.7.9"], check=True)
    refused("reaches 10.244.77.0/24 through lan0, and the cluster's pods are in 10.244.0.0/16, which would be hidden")
