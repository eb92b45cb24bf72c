"""A machine of a test's own: a shell in new namespaces, with links, routes and rules as machines have them.

Everything that happens there can be seen and compared to the letter, whatever other tests do meanwhile: its processes
are those of one PID namespace, its network is one network namespace. Called by the tests of containment.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.helpers.kubectl import Done

_FURNITURE = """\
mount -t tmpfs tmpfs /run && mkdir /run/netns
mount -t tmpfs tmpfs /dev/shm
ip link set lo up
ip link add lan0 type veth peer name lan1
ip link set lan0 addrgenmode none up
ip link set lan1 addrgenmode none up
ip addr add 192.168.7.5/24 dev lan0
ip -6 addr add fd00:7::5/64 dev lan0 nodad || true
ip route add default via 192.168.7.1
ip route add 10.0.0.0/8 via 192.168.7.9 table 100
ip -6 route add fd00:8::/64 dev lan0 table 100 || true
ip rule add from 192.168.7.99 table 100 priority 1000
ip route add blackhole 203.0.113.0/24
nft -f - <<'EOT'
table inet house {
  chain input { type filter hook input priority 0; policy accept; tcp dport 23 drop; }
  set blocked { type ipv4_addr; elements = { 198.51.100.7 }; }
}
table ip nat {
  chain out { type nat hook postrouting priority 100; ip saddr 172.18.0.0/16 masquerade; }
}
EOT
ip netns add elsewhere
"""

_LOOK = """\
look() { echo "=== $*"; "$@" 2>&1; }
look ip -d -o addr | sed -E 's/(valid_lft|preferred_lft) [^ ]+//g'
look ip route show table all
look ip -6 route show table all | sed -E 's/expires [^ ]+//'
look ip rule
look ip -6 rule
look ip neigh show nud permanent
look nft --stateless list ruleset
for program in iptables-save ip6tables-save; do command -v $program >/dev/null && look $program; done
look ip netns list
look cat /proc/self/mountinfo
look hostname
look cat /proc/net/unix | awk '{print $8}' | sort
look find /run /dev/shm "$TMPDIR" -mindepth 1
echo '=== sysctls'; grep -r '' /proc/sys/net 2>/dev/null
"""

_MOVING = re.compile(r"^/proc/sys/net/(netfilter/nf_conntrack_count|ipv4/tcp_fastopen_key|.*/stable_secret)")


class OwnMachine:
    """`sh` runs a line there; `look` is all that a cluster must not change."""

    def __init__(self, home: Path) -> None:
        """`home`: a directory that is the same inside and outside; `home`/tmp is where its programs put such files."""
        self.temporary = home / "tmp"
        self.temporary.mkdir()
        own = ["unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"]
        if os.geteuid() != 0:
            own[1:1] = ["--user", "--map-root-user"]
        environment = os.environ | {"TMPDIR": str(self.temporary), "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
        pipe = subprocess.PIPE
        self._shell = subprocess.Popen([*own, "sh"], stdin=pipe, stdout=pipe, text=True, cwd="/", env=environment)
        try:
            made = self.sh(f"set -e; {_FURNITURE}")
        except BrokenPipeError:
            pytest.skip("no namespaces of our own can be made here")
        assert made.code == 0, made.err

    def sh(self, line: str, **environment: str) -> Done:
        """Runs lines of shell to their end; what goes on in the background there is not waited for."""
        stdin, stdout = self._shell.stdin, self._shell.stdout
        assert stdin and stdout
        exports = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in environment.items())
        with tempfile.TemporaryDirectory() as directory:
            script = Path(directory, "script")
            script.write_text(exports + line)
            stdin.write(f"sh {script} </dev/null >{directory}/out 2>{directory}/err; echo $?\n")
            stdin.flush()
            code = int(stdout.readline() or -1)
            return Done(code, Path(directory, "out").read_text(), Path(directory, "err").read_text())

    def look(self) -> list[str]:
        """Network, mounts, namespaces with names, sockets, files in memory and sysctls, line by line."""
        shown = self.sh(_LOOK).out.splitlines()
        return [line for line in shown if not _MOVING.match(line)]

    def processes(self) -> dict[int, str]:
        """Every process there but the shell and what looks."""
        one = "echo ${p#/proc/} $(tr '\\0' ' ' <$p/cmdline) '|' $(cat $p/stat)"
        script = f"for p in /proc/[0-9]*; do {one}; done 2>/dev/null"
        found = {}
        for line in self.sh(script).out.splitlines():
            pid, _, rest = line.partition(" ")
            name, _, stat = rest.rpartition("|")
            if stat and int(pid) != 1 and "/script" not in name and stat.split(") ")[1][0] not in "ZX":
                found[int(pid)] = name.strip()
        return found

    def close(self) -> None:
        """The end of all that is in it."""
        with contextlib.suppress(BrokenPipeError):
            self._shell.communicate("exit\n", timeout=10)
