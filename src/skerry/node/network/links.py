"""How a node's links are known, and links that have the IPv6 addresses which they are given, and no others.

Called by whoever makes or removes links: pods.py, cluster/machine.py and cluster/init.py (small: this imports little).
"""

from __future__ import annotations

import re

from skerry import linux
from skerry.netlink.route import Routes

NODE_MAC = "ee:ee:ee:ee:ee:ee"
"""Of the node's end of each pod's link."""
_POD_LINK = re.compile("veth[0-9a-f]{8}")
"""What pods.link_name makes."""


def pod_links(routes: Routes) -> list[str]:
    """The names of the node's ends of pods' links."""
    ours = (one for one in routes.links() if one.kind == "veth" and one.mac == NODE_MAC)
    return [one.name for one in ours if _POD_LINK.fullmatch(one.name)]


def quiet_link(name: str) -> None:
    """Lets a link have the IPv6 addresses that it is given, and no others; before it is up. OSError without IPv6."""
    linux.sysctl(f"net/ipv6/conf/{name}/addr_gen_mode", "1")
    linux.sysctl(f"net/ipv6/conf/{name}/accept_ra", "0")
    linux.sysctl(f"net/ipv6/conf/{name}/disable_ipv6", "0")
