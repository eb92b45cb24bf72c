"""What can be seen of a cluster from the machine's side: its processes, and the network that it must not touch."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import socket
import subprocess
from pathlib import Path

_SHOW = {
    "ip addr": ["ip", "-o", "addr"],
    "ip route": ["ip", "route", "show", "table", "all"],
    "nft list ruleset": ["nft", "--stateless", "list", "ruleset"],
}


def api_port() -> tuple[str, str]:
    """The option of `skerry up` for a port that no other cluster takes while this one is down, as it might 6443."""
    chance = random.SystemRandom()
    while True:
        port = chance.randrange(20000, 30000)  # below the kernel's own choices
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return "--api-port", str(port)


def processes(mark: str) -> dict[int, str]:
    """Every living process that carries `mark` in its command line or its environment, by process id.

    The processes of a cluster are forked by `skerry up --name NAME` and keep its command line; a pod's process carries
    the name when its manifest puts it into the environment. Our own family is not meant, it may well name the cluster.
    """
    found = {}
    family = _ancestors()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in family:
            continue
        try:
            line = (entry / "cmdline").read_bytes()
            text = line + (entry / "environ").read_bytes()
        except PermissionError:
            text = line
        except OSError:
            continue  # it ended meanwhile
        if mark.encode() in text:
            found[int(entry.name)] = line.replace(b"\0", b" ").decode(errors="replace")
    return found


def _ancestors() -> set[int]:
    found = {os.getpid()}
    pid = os.getpid()
    while pid > 1:
        pid = parent(pid)
        found.add(pid)
    return found


def parent(pid: int) -> int:
    """The parent's process id; 0 if there is none or no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(text[text.rindex(")") + 2 :].split()[1])


def children(pid: int) -> list[int]:
    """The process ids of a process's children."""
    entries = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return sorted(entry for entry in entries if parent(entry) == pid)


def host() -> dict[str, str]:
    """The machine's addresses, routes, rules and mounts, as text that stays the same while nobody changes them."""
    shown = {"mounts": Path("/proc/self/mountinfo").read_text()}
    path = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
    for name, command in _SHOW.items():
        program = shutil.which(command[0], path=path)
        if program is None:
            continue
        done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
        shown[name] = re.sub(r"(valid_lft|preferred_lft|expires) \S+", "", done.stdout + done.stderr)
    return shown
