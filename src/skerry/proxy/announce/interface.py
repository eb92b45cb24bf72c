"""One network interface on which addresses are announced: its packet sockets, its MAC, its networks.

Called by announcer.py. An interface that is not there (yet, or any more) is silent; `look` finds it when it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import ipaddress
import logging
import socket
import struct
from collections.abc import Callable, Iterable

from skerry.netlink.route import Routes, mac_bytes
from skerry.proxy.announce import frames

_log = logging.getLogger(__name__)

_ATTACH_FILTER = 26
_MOST = 256
"""Frames read before others have their turn."""

_NEIGHBOUR_DISCOVERY = [  # (code, jump if true, jump if false, value): asked and claimed addresses, of all IPv6
    (0x30, 0, 0, 14 + 6),  # A = the header that follows IPv6's
    (0x15, 0, 4, 58),
    (0x30, 0, 0, 14 + 40),  # A = the type of the ICMPv6 message
    (0x15, 1, 0, 135),
    (0x15, 0, 1, 136),
    (0x06, 0, 0, 0xFFFF),
    (0x06, 0, 0, 0),
]


def permitted() -> None:
    """OSError (EPERM) if this process may not have packet sockets."""
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()


class Interface:
    """`receive(interface, frame)` is called with each frame that may matter."""

    def __init__(self, name: str, receive: Callable[[Interface, bytes], None]) -> None:
        self.name, self._receive = name, receive
        self.mac = b""
        self._index = self._seen = 0
        self.networks: tuple[frames.Network, ...] = ()
        self._sockets: list[socket.socket] = []
        self._groups: dict[str, socket.socket] = {}

    @property
    def open(self) -> bool:
        """Is it there?"""
        return bool(self._index)

    def has(self, address: str) -> bool:
        """Do neighbours on this interface ask for the address here: is it in one of its networks?"""
        found = ipaddress.ip_address(address)
        return any(found in one for one in self.networks)

    def look(self) -> bool:
        """Opens or closes it as the machine's interfaces are now. Did that change anything?"""
        try:
            index = socket.if_nametoindex(self.name)
        except OSError:
            index = 0
        if index == self._seen:
            return False
        self.close()
        self._seen = index
        if index:
            try:
                self._open(index)
            except OSError as error:
                _log.warning("cannot announce on %s: %s", self.name, error)
                self._close_sockets()
        else:
            _log.warning("interface %s is not there: nothing is announced on it", self.name)
        return True

    def look_at_addresses(self, found: Iterable[tuple[int, str]]) -> None:
        """`found`: the machine's addresses as Routes tells them."""
        mine = (ipaddress.ip_network(text, strict=False) for index, text in found if index == self._index)
        self.networks = tuple({one: None for one in mine if not one.is_link_local})

    def send(self, frame: bytes) -> None:
        """Sends it; a frame that the interface does not take is lost, as frames are."""
        with contextlib.suppress(OSError):
            if self._sockets:
                self._sockets[0].send(frame)

    def listen_for(self, addresses: Iterable[str]) -> None:
        """Hears those who ask for these IPv6 addresses, also over switches that watch who listens."""
        wanted = {frames.group(one) for one in addresses if ":" in one} if self._index else set()
        for gone in self._groups.keys() - wanted:
            self._groups.pop(gone).close()
        for one in wanted - self._groups.keys():
            made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            membership = socket.inet_pton(socket.AF_INET6, one) + struct.pack("@i", self._index)
            try:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
            except OSError as error:
                _log.warning("cannot listen for IPv6 neighbours on %s: %s", self.name, error)
                made.close()
            else:
                self._groups[one] = made

    def close(self) -> None:
        """Silent from now on."""
        self._index = 0
        self.networks = ()
        self.listen_for(())
        self._close_sockets()

    def _close_sockets(self) -> None:
        for one in self._sockets:
            asyncio.get_running_loop().remove_reader(one)
            one.close()
        self._sockets = []

    def _open(self, index: int) -> None:
        with Routes() as routes:
            link = next((one for one in routes.links() if one.index == index), None)
            found = routes.addresses()
        mac = mac_bytes(link.mac) if link is not None else b""
        if len(mac) != 6 or not any(mac):
            raise OSError("it has no MAC address")
        for kind in (frames.ARP, frames.IPV6, frames.HELLO):
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
            self._sockets.append(made)
            if kind == frames.IPV6:
                _filter(made)
            made.bind((self.name, kind))
            asyncio.get_running_loop().add_reader(made, self._read, made)
        self._index, self.mac = index, mac
        self.look_at_addresses(found)

    def _read(self, which: socket.socket) -> None:
        with contextlib.suppress(OSError):  # none left, or the interface has gone, which `look` will see
            for _ in range(_MOST):
                self._receive(self, which.recv(2048))


def _filter(which: socket.socket) -> None:
    """Lets neighbour discovery through alone."""
    program = b"".join(struct.pack("=HBBI", *one) for one in _NEIGHBOUR_DISCOVERY)
    buffer = ctypes.create_string_buffer(program, len(program))
    which.setsockopt(
        socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("@HP", len(_NEIGHBOUR_DISCOVERY), ctypes.addressof(buffer))
    )
