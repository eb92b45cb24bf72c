"""Which user and group numbers the cluster's user namespace has, and writing them into the kernel.

Called by namespaces.py. Root shows every number as itself. An ordinary user is root (0) inside and lends the
cluster the numbers of its /etc/subuid and /etc/subgid ranges as 1, 2, 3, ...; only the setuid programs newuidmap and
newgidmap may write such a map. Without them a map of the one user remains: images that use other users do not work.
"""

from __future__ import annotations

import os
import pwd
from typing import NamedTuple

from skerry.cluster.obstacles import NamespaceError

Range = tuple[int, int, int]
"""First number inside, first number outside, how many."""


class IdMap(NamedTuple):
    """What to write into uid_map and gid_map, and how."""

    uids: tuple[Range, ...]
    gids: tuple[Range, ...]
    tools: bool = False
    """Written by newuidmap and newgidmap."""
    single: bool = False
    """Only one user and one group exist inside; setgroups is refused there."""


class Facts(NamedTuple):
    """What the plan depends on."""

    uid: int
    gid: int
    user: str
    uid_map: str
    """/proc/self/uid_map: the numbers that exist here."""
    gid_map: str
    subuid: str
    """/etc/subuid, "" if there is none."""
    subgid: str
    tools: bool
    """newuidmap and newgidmap are installed."""

    @classmethod
    def look(cls) -> Facts:
        """Reads them from this machine."""
        uid = os.geteuid()
        try:
            user = pwd.getpwuid(uid).pw_name
        except KeyError:
            user = str(uid)
        return cls(
            *(uid, os.getegid(), user, _read("/proc/self/uid_map"), _read("/proc/self/gid_map")),
            *(_read("/etc/subuid"), _read("/etc/subgid")),
            tools=bool(_find("newuidmap") and _find("newgidmap")),
        )


def plan(facts: Facts, *, allow_single: bool = False) -> IdMap:
    """The map for a user.

    NamespaceError, with the cure, where an ordinary user has no newuidmap or no ranges; with `allow_single` the map of
    one user instead.
    """
    if facts.uid == 0:
        return IdMap(_as_here(facts.uid_map), _as_here(facts.gid_map))
    uids = _lent(facts.subuid, facts.user, facts.uid)
    gids = _lent(facts.subgid, facts.user, facts.uid)
    if facts.tools and uids and gids:
        return IdMap(((0, facts.uid, 1), *uids), ((0, facts.gid, 1), *gids), tools=True)
    if allow_single:
        return IdMap(((0, facts.uid, 1),), ((0, facts.gid, 1),), single=True)
    if not facts.tools:
        raise NamespaceError(
            "newuidmap and newgidmap are not installed, and without them containers have no users of their own: "
            "install them (Debian, Ubuntu: `sudo apt install uidmap`; Fedora: `sudo dnf install shadow-utils`)."
        )
    missing = "/etc/subuid" if not uids else "/etc/subgid"
    raise NamespaceError(
        f"The user {facts.user} has no range in {missing}, and without one containers have no users of their own: "
        f"run `sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {facts.user}`."
    )


def write(pid: int, ids: IdMap) -> None:
    """Gives process `pid`, which is in a new user namespace, its map. NamespaceError if newuidmap refuses; OSError."""
    if ids.tools:
        _run("newuidmap", pid, ids.uids)
        _run("newgidmap", pid, ids.gids)
        return
    if ids.single:
        _write(f"/proc/{pid}/setgroups", "deny")
    _write(f"/proc/{pid}/uid_map", _lines(ids.uids))
    _write(f"/proc/{pid}/gid_map", _lines(ids.gids))


def _as_here(text: str) -> tuple[Range, ...]:
    """Every number of this user namespace as itself: for the machine's own, 0 to 4294967294."""
    rows = [[int(word) for word in line.split()] for line in text.splitlines()]
    return tuple((inside, inside, count) for inside, _, count in rows)


def _lent(text: str, user: str, uid: int) -> tuple[Range, ...]:
    """The ranges of `user` in the text of /etc/subuid, laid out from 1 on."""
    found: list[Range] = []
    start = 1
    for line in text.splitlines():
        owner, _, numbers = line.strip().partition(":")
        first, _, count = numbers.partition(":")
        if owner not in (user, str(uid)) or not first.isdigit() or not count.isdigit() or int(count) == 0:
            continue
        found.append((start, int(first), int(count)))
        start += int(count)
    return tuple(found)


def _lines(ranges: tuple[Range, ...]) -> str:
    return "\n".join(" ".join(str(number) for number in one) for one in ranges)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())  # the kernel wants it in one piece
    finally:
        os.close(fd)


def _run(tool: str, pid: int, ranges: tuple[Range, ...]) -> None:
    # posix_spawn, since importing subprocess costs more than everything else here.
    numbers = [str(number) for one in ranges for number in one]
    reader, writer = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, writer, 1), (os.POSIX_SPAWN_DUP2, writer, 2)]
    child = os.posix_spawnp(tool, [tool, str(pid), *numbers], os.environ, file_actions=actions)
    os.close(writer)
    with open(reader, errors="replace") as pipe:
        said = " ".join(pipe.read().split())
    _, status = os.waitpid(child, 0)
    if status:
        raise NamespaceError(
            f"{tool} refused ({said or 'no reason given'}): check that the ranges in /etc/subuid and /etc/subgid are "
            f"this user's alone and that {_find(tool) or tool} is setuid root."
        )


def _find(tool: str) -> str:
    for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(directory, tool)
        if os.access(path, os.X_OK):
            return path
    return ""


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
