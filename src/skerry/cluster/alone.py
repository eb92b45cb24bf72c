"""One service proxy a network namespace: two would write the same table.

Called by kubeproxy.py (`skerry proxy`) and machine.py (`skerry up --network host`).
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator

from skerry.cluster.errors import ClusterError

_NAME = "\0skerry-proxy"


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Nobody else proxies here meanwhile. ClusterError if somebody does."""
    # Names of this kind reach as far as a network namespace does.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as lock:
        try:
            lock.bind(_NAME)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise ClusterError(
                "A `skerry proxy`, or a cluster with --network host, runs in this network namespace already: "
                "stop it first."
            ) from error
        yield
