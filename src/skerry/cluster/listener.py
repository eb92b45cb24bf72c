"""The API server's socket on this machine's loopback, and which port it gets: one for the cluster's whole life.

Called by lifecycle.py, before there is a daemon: a port that is taken is known at once.
"""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Mapping

from skerry.cluster.errors import ClusterError

DEFAULT_PORT = 6443
_OTHERS = range(20000, 30000)
"""Below the node ports and below those that the kernel gives to outgoing connections, which would take one that a
stopped cluster will want again."""
_TRIES = 100


def listen(fixed: int, asked: int | None, others: Mapping[int, str]) -> socket.socket:
    """A listening socket on 127.0.0.1: on port `fixed` if that is not 0, else on 6443 or some free port.

    `asked`: what --api-port says, for the message. `others`: ports that other clusters have for life, with their names.
    ClusterError if `fixed` cannot be had.
    """
    if fixed:
        try:
            return _bound(fixed)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            raise ClusterError(_taken(fixed, asked, error.errno, others.get(fixed, ""))) from None
    ports = [DEFAULT_PORT, *random.SystemRandom().sample(_OTHERS, _TRIES), 0]
    for port in ports:
        if port in others:
            continue
        try:
            return _bound(port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise ClusterError("No port of 127.0.0.1 is free: choose an --api-port.")


def _bound(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        # Connections inherit it, and their TIME_WAIT does not keep the next start off the port. Without SO_REUSEPORT,
        # so that a port that somebody else serves is noticed.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
        made.listen(1024)
    except BaseException:
        made.close()
        raise
    return made


def _taken(port: int, asked: int | None, code: int, other: str) -> str:
    if code == errno.EACCES:
        return f"Port {port} is for root alone: choose an --api-port from 1024 on."
    if other:
        end = "choose another --api-port" if asked is not None else f"`skerry down --name {other}` first"
        return f'Port {port} of 127.0.0.1 is used by cluster "{other}", which has the same --api-port: {end}.'
    if asked is not None:
        return f"Port {port} of 127.0.0.1 is taken by another program: choose another --api-port."
    return (
        f"Port {port} of 127.0.0.1, which this cluster's kubeconfig names, is taken by another program: stop that one "
        "(`ss -ltnp` names it) and try again."
    )
