"""What does not work on a machine although nodes start there: from facts."""

from __future__ import annotations

import errno

import pytest

from skerry.cluster.networks import Networks
from skerry.cluster.surroundings import Ground, Surroundings, ground, judge, no_overlay, overlap, wsl

DISK = Ground("/data", "ext4", frozenset({"rw", "relatime"}))
GOOD = Surroundings("6.1.0-18-amd64", ground=DISK)

MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:26 / /home rw,nosuid,noexec - nfs4 server:/home rw
31 22 0:27 / /with\\040space rw - xfs /dev/vdb rw
32 22 0:28 / /home/ann rw - tmpfs tmpfs rw
33 22 0:29 / /home/ann rw,nodev - overlay overlay rw,lowerdir=/a
broken line
"""


def test_a_good_machine_has_no_findings() -> None:
    assert judge(GOOD) == []
    assert judge(Surroundings()) == []


@pytest.mark.parametrize(
    ("path", "kind", "option"),
    [
        ("/data", "ext4", "relatime"),
        ("/home", "nfs4", "noexec"),
        ("/homes/x", "ext4", "rw"),
        ("/home/bob/data", "nfs4", "noexec"),
        ("/home/ann/data", "overlay", "nodev"),
        ("/with space/data", "xfs", "rw"),
    ],
)
def test_the_file_system_of_a_path(path: str, kind: str, option: str) -> None:
    found = ground(path, MOUNTS)
    assert (found.path, found.kind) == (path, kind) and option in found.options


def test_no_mounts_to_be_seen() -> None:
    assert ground("/data", "") == Ground("/data", "unknown", frozenset())


@pytest.mark.parametrize(
    ("about", "name", "words"),
    [
        (GOOD._replace(open_files=1024), "open-files", "ulimit -Hn 65536"),
        (GOOD._replace(watchers=8), "inotify", "sysctl fs.inotify.max_user_instances=1024"),
        (GOOD._replace(ground=DISK._replace(options=frozenset({"noexec"}))), "data-directory", "noexec"),
    ],
)
def test_what_pods_may_miss(about: Surroundings, name: str, words: str) -> None:
    (finding,) = judge(about)
    assert finding.name == name and not finding.fatal and words in finding.sentence
    assert finding.sentence.endswith(".") and "\n" not in finding.sentence


@pytest.mark.parametrize(
    ("about", "words"),
    [
        (GOOD._replace(ground=DISK._replace(kind="nfs4")), "(nfs4) on which images cannot be mounted"),
        (GOOD._replace(ground=DISK._replace(kind="overlay"), container=True), "docker run -v"),
        (GOOD._replace(ground=DISK._replace(kind="9p")), "--data-dir"),
    ],
)
def test_images_that_cannot_be_mounted(about: Surroundings, words: str) -> None:
    finding = no_overlay(about, errno.EINVAL)
    assert finding.name == "data-directory" and not finding.fatal
    assert words in finding.sentence and "only `image: host` works" in finding.sentence


@pytest.mark.parametrize(
    ("routes", "words"),
    [
        ([("10.0.0.0/8", "tun0")], "reaches 10.0.0.0/8 through tun0, and the cluster's Services are in 10.96.0.0/12"),
        ([("10.244.7.0/24", "wg0")], "the cluster's pods are in 10.244.0.0/16"),
        ([("10.96.3.4/32", "eth0")], "10.96.3.4/32 through eth0"),
        ([("172.30.0.0/16", "br0"), ("10.0.0.0/8", "tun0")], "--pod-cidr 172.31.0.0/16 --service-cidr 192.168.192"),
    ],
)
def test_a_vpn_in_the_cluster_s_addresses(routes: list[tuple[str, str]], words: str) -> None:
    finding = overlap(routes, Networks())
    assert finding is not None and words in finding.sentence and not finding.fatal
    other = Networks("172.20.0.0/16", "172.21.0.0/16")
    assert overlap(routes, other) is None


def test_what_is_proposed_can_be_had() -> None:
    finding = overlap([("10.0.0.0/8", "tun0")], Networks())
    assert finding is not None
    words = finding.sentence.split("`")[1].split()
    chosen = Networks(words[words.index("--pod-cidr") + 1], words[words.index("--service-cidr") + 1])
    assert overlap([("10.0.0.0/8", "tun0")], chosen) is None


def test_routes_that_take_everything_are_default_ones() -> None:
    assert overlap([("0.0.0.0/1", "tun0"), ("128.0.0.0/1", "tun0"), ("192.168.1.0/24", "eth0")], Networks()) is None


@pytest.mark.parametrize(
    ("release", "which"),
    [("6.1.0-18-amd64", 0), ("4.4.0-19041-Microsoft", 1), ("5.15.153.1-microsoft-standard-WSL2", 2)],
)
def test_windows(release: str, which: int) -> None:
    assert wsl(release) == which
