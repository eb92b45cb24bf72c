"""The machine as the node of a cluster (`--network host`): what changes in its network, and putting it back.

Called by controlplane.py, before there are nodes, and where a cluster that was killed is tidied up (place.py). Pods'
links end with their processes, as everywhere. What would stay is little, and written down before anything is changed:

    skerry0       a bridge without ports: the machine's address among its pods', the DNS servers' addresses, and the
                  route to the cluster IPs, so that programs of the machine reach them without a default route
    a route       that refuses the node's pods' addresses which no pod has
    tables        of nf_tables: the service proxy's, that of host ports, and `skerry-machine`, which masquerades pods
                  that speak to others
    sysctls       forwarding, and what it brings along

A process of its own, the caretaker, waits for the end of the control plane and of all nodes, however it comes, and puts
the machine back. If that was killed too, the next `up`, `down` or `delete` does it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from skerry import linux, packets
from skerry.cluster import surroundings
from skerry.cluster.alone import alone
from skerry.cluster.errors import ClusterError
from skerry.cluster.files import write_private
from skerry.cluster.networks import MachineNetworks, Networks
from skerry.netlink import nft, nft_expr
from skerry.netlink.nft_expr import register
from skerry.netlink.route import HOST, Routes
from skerry.node.network import hostports
from skerry.node.network.links import pod_links
from skerry.proxy.nftables import schema

LINK = MachineNetworks.dns_link
TABLE = "skerry-machine"
_TABLES = (schema.TABLE, hostports.TABLE, TABLE)
_MASQUERADE = 101
"""Just after the service proxy's own rules."""
_WANTED = {
    "net/ipv4/ip_forward": "1",
    # P26: else a packet out of its window is not translated back, and its receiver resets the connection.
    "net/netfilter/nf_conntrack_tcp_be_liberal": "1",
}
_LATER = {"net/ipv4/conf/all/route_localnet": "1"}
"""Set by the first pod with a host port."""
_FORWARDING = "net/ipv4/ip_forward"
_FORWARDING_SETS = "net/ipv4/conf/*/forwarding", "net/ipv4/conf/all/accept_redirects"
"""What the kernel sets beside it, of every link."""
_SYSCTLS = Path("/proc/sys")


class Footing(NamedTuple):
    """Where the node is in the networks of this machine."""

    address: str
    interfaces: tuple[str, ...]
    """On which balancers' addresses are announced."""


class Used(NamedTuple):
    """The machine while it is a node."""

    footing: Footing
    born: Callable[[int], None]
    """To be called with the id of the cluster's first process before that does anything."""


@contextlib.contextmanager
def used(networks: Networks, interfaces: tuple[str, ...], record: Path, lock: int) -> Iterator[Used]:
    """Makes this machine's network that of a node for as long as the block lasts. ClusterError where it cannot be.

    `interfaces`: where to announce, none for that of the default route. `record`: where it is written down what is to
    be put back. `lock`: the descriptor of the cluster's lock, which is held until that is done.
    """
    _require_nftables()
    with alone():
        put_back(record)
        where = footing(interfaces)
        found = surroundings.shared(surroundings.routes(), networks)
        if found is not None:
            others = found.options or "--pod-cidr and --service-cidr"
            raise ClusterError(f"{found.sentence}, which would be hidden: take others, with {others}.")
        _write_down(networks, record)
        caretaker = _Caretaker(record, lock)
        try:
            try:
                _furnish(networks)
            except OSError as error:
                raise ClusterError(f"This machine's network could not be made a node's: {error}.") from error
            yield Used(where, caretaker.look_after)
        finally:
            caretaker.end()
            put_back(record)  # if somebody has killed the caretaker


def footing(interfaces: tuple[str, ...]) -> Footing:
    """The IPv4 address by which others know this machine. ClusterError if it has none."""
    with Routes() as routes:
        links = {one.index: one for one in routes.links()}
        addresses = [
            (links[index].name, text.partition("/")[0]) for index, text in routes.addresses() if ":" not in text
        ]
        default = next((links[one.link].name for one in routes.routes() if one.destination == "default"), "")
    names = {one.name for one in links.values()}
    for one in interfaces:
        if one not in names:
            raise ClusterError(f'--announce: this machine has no interface "{one}" (`ip link` shows those it has).')
    wanted = [*interfaces, default] if interfaces or default else [name for name, _ in addresses if name != "lo"]
    for name in wanted:
        for link, address in addresses:
            if link == name:
                return Footing(address, interfaces or (name,))
    raise ClusterError(
        "This machine has no IPv4 address that others reach, which its node needs: give an interface one, and name "
        "that with --announce if the default route leads elsewhere."
    )


def put_back(record: Path) -> None:
    """Undoes what was written down, and then forgets it. Nothing written down: nothing.

    What a machine had before its last start, or another network namespace has, is only forgotten.
    """
    try:
        found: dict[str, Any] = json.loads(record.read_bytes())
    except FileNotFoundError:
        return
    if found["where"] == _where():
        _delete_tables(*_TABLES)
        with Routes() as routes:
            routes.delete_links([LINK, *pod_links(routes)])
            for pods in found["unreachable"]:
                routes.delete_route(pods)
        for name, (before, ours) in found["sysctls"].items():
            _restore(name, before, ours)
    record.unlink()


def forget_pods() -> None:
    """Takes away what an earlier life of the node has left of its pods; the kernel may be on its way to do so."""
    with Routes() as routes:
        routes.delete_links(pod_links(routes))
    _delete_tables(hostports.TABLE)


def _delete_tables(*names: str) -> None:
    with nft.Nft(nft.IPV4) as kernel:
        there = kernel.tables()
        kernel.commit([nft.delete_table(one) for one in names if one in there])


def _require_nftables() -> None:
    try:
        with nft.Nft(nft.IPV4) as kernel:
            kernel.tables()
    except OSError as error:
        raise ClusterError(
            f"--network host needs nftables, and the kernel says: {error.strerror}. Load it with `modprobe nf_tables`; "
            "in a container, it takes --cap-add NET_ADMIN."
        ) from error


# --- what changes ----------------------------------------------------------------------------------------------------


def _where() -> list[str]:
    """What tells this network namespace from others, and this life of the machine from those before."""
    boot = (_SYSCTLS / "kernel/random/boot_id").read_text().strip()
    return [boot, str(os.stat("/proc/self/ns/net").st_ino)]


def _write_down(networks: Networks, record: Path) -> None:
    """States what is there now and will be changed. What is as it is wanted will not be."""
    changed: dict[str, tuple[str, str]] = {}
    for name, ours in (_WANTED | _LATER).items():
        before = _read(name)
        if before not in ("", ours):
            changed[name] = (before, ours)
    if _FORWARDING in changed:
        for pattern in _FORWARDING_SETS:
            for path in sorted(_SYSCTLS.glob(pattern)):
                changed[str(path.relative_to(_SYSCTLS))] = (path.read_text().strip(), "")
    table = {"where": _where(), "unreachable": networks.node_pods(1), "sysctls": changed}
    write_private(record, json.dumps(table).encode())


def _restore(name: str, before: str, ours: str) -> None:
    """Unless somebody else has set it since. `ours` "": it was set along with another one."""
    with contextlib.suppress(OSError):  # a link that has gone
        if not ours or _read(name) == ours:
            linux.sysctl(name, before)


def _read(name: str) -> str:
    try:
        return (_SYSCTLS / name).read_text().strip()
    except OSError:
        return ""


def _furnish(networks: Networks) -> None:
    for name, value in _WANTED.items():
        if _read(name) not in ("", value):
            linux.sysctl(name, value)
    with Routes() as routes:
        link = routes.add_link("bridge", LINK)
        routes.add_address(link, networks.api_address)
        for one in networks.dns_ips:
            routes.add_address(link, one, HOST)
        for services in networks.service_cidrs:
            routes.add_route(services, link=link, source=networks.api_address)
        for pods in networks.node_pods(1):
            routes.add_unreachable(pods)
    with nft.Nft(nft.IPV4) as kernel:
        kernel.commit(list(_table(networks.pod_cidrs[0])))


def _table(pods: str) -> Iterator[nft.Request]:
    address = register(0)
    outward = (
        nft_expr.source(address)
        + nft_expr.in_prefix(address, pods)
        + nft_expr.destination(address)
        + nft_expr.in_prefix(address, pods, inside=False)
    )
    yield nft.add_table(TABLE, "Skerry: pods that speak to others")
    yield nft.add_base_chain(TABLE, "postrouting", "nat", nft.Hook.POSTROUTING, _MASQUERADE)
    yield nft.add_rule(TABLE, "postrouting", outward, nft_expr.masquerade(), comment="as this machine")


# --- the caretaker ---------------------------------------------------------------------------------------------------


class _Caretaker:
    """A process that puts the machine back when this one has ended, and all that it was told of."""

    def __init__(self, record: Path, lock: int) -> None:
        self._socket, theirs = packets.pair()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                _take_care(theirs, record, lock)
            finally:
                os._exit(1)
        theirs.close()

    def look_after(self, pid: int) -> None:
        """The end of this process is waited for, too."""
        handle = os.pidfd_open(pid)
        with contextlib.suppress(OSError):  # it was killed
            packets.send(self._socket, {}, [handle])
        os.close(handle)

    def end(self) -> None:
        """Has it do its work; returns when it is done."""
        self._socket.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def _take_care(control: socket.socket, record: Path, lock: int) -> NoReturn:
    linux.reset_signals()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when there is nothing left to care for
    os.setsid()
    keep = {control.fileno(), lock}
    for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
        if fd > 2 and fd not in keep:
            with contextlib.suppress(OSError):  # the directory that was listed
                os.close(fd)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):
        os.dup2(null, fd)
    linux.set_name("skerry caretaker")
    handles: list[int] = []
    while (received := packets.receive(control)) is not None:
        handles += received[1]
    for handle in handles:
        select.select([handle], [], [])
    put_back(record)
    os._exit(0)
