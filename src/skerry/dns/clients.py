"""Who asks: whether they may, and along which search path the server walks for them. Pure; one a server.

Called for every packet, so an address is looked at once and then remembered as a number: below zero for strangers, who
get no reply at all (a forged sender's address must not turn us against somebody else), 0 for those without a search
path, else the number of one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

STRANGER, PLAIN = -1, 0
_REMEMBERED = 65536


class Clients:
    """`networks`: the ranges (CIDRs) whose addresses may ask; None: everybody may."""

    def __init__(self, networks: Iterable[str] | None = None) -> None:
        self._networks = None if networks is None else [ipaddress.ip_network(one) for one in networks]
        self._paths: list[tuple[str, ...]] = [()]
        self._numbers: dict[tuple[str, ...], int] = {(): PLAIN}
        self._path_of: dict[str, tuple[str, tuple[str, ...]]] = {}  # address -> its pod and that one's search path
        self._of_pod: dict[str, tuple[str, ...]] = {}
        self.walking = True
        self.known: dict[str, int] = {}
        """Addresses that have asked, with their numbers."""

    def number(self, address: str) -> int:
        """The number of whoever has this address."""
        found = self.known.get(address)
        if found is None:
            if len(self.known) >= _REMEMBERED:
                self.known.clear()
            found = self.known[address] = self._judge(address)
        return found

    def path(self, number: int) -> tuple[str, ...]:
        """The search path of a number; () for those without."""
        return self._paths[number] if number > 0 else ()

    def walk(self, on: bool) -> None:
        """Whether search paths are walked at all."""
        self.walking = on
        self.known.clear()

    def pod(self, name: str, addresses: Iterable[str], path: Iterable[str] = ()) -> None:
        """The pod `namespace/name` has these addresses and this search path; none when it is gone."""
        for one in self._of_pod.pop(name, ()):
            if self._path_of[one][0] == name:
                del self._path_of[one]
                self.known.pop(one, None)
        found = tuple(addresses)
        if found:
            self._of_pod[name] = found
            for one in found:
                self._path_of[one] = (name, tuple(path))
                self.known.pop(one, None)

    def _judge(self, address: str) -> int:
        pod = self._path_of.get(address)
        if pod is None:
            if self._networks is None:
                return PLAIN
            ip = ipaddress.ip_address(address)
            return PLAIN if any(ip in one for one in self._networks) else STRANGER
        path = pod[1] if self.walking else ()
        if path not in self._numbers:
            self._numbers[path] = len(self._paths)
            self._paths.append(path)
        return self._numbers[path]
