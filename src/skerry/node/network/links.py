"""Links that have the IPv6 addresses which they are given, and no others.

Called by whoever makes links: cluster/init.py (small, so this imports nothing) and pods.py.
"""

from __future__ import annotations

from skerry import linux


def quiet_link(name: str) -> None:
    """Lets a link have the IPv6 addresses that it is given, and no others; before it is up. OSError without IPv6."""
    linux.sysctl(f"net/ipv6/conf/{name}/addr_gen_mode", "1")
    linux.sysctl(f"net/ipv6/conf/{name}/accept_ra", "0")
    linux.sysctl(f"net/ipv6/conf/{name}/disable_ipv6", "0")
