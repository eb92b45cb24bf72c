"""Telling systemd that the cluster is ready, or ends: the protocol of sd_notify, one datagram. Called by `skerry up`.

Without $NOTIFY_SOCKET, as at a terminal, nothing is said.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping


class Notifier:
    """Takes the way to the service manager out of the environment, so that no process of the cluster inherits it."""

    def __init__(self, environment: MutableMapping[str, str] | None = None) -> None:
        found = (os.environ if environment is None else environment).pop("NOTIFY_SOCKET", "")
        # "@" stands for the zero with which an abstract name begins.
        self._address = "\0" + found[1:] if found.startswith("@") else found

    def ready(self, sentence: str) -> None:
        """The service is up; `sentence` is shown by `systemctl status`."""
        self._send(f"READY=1\nSTATUS={sentence}")

    def stopping(self) -> None:
        """It was asked to end, and does."""
        self._send("STOPPING=1\nSTATUS=stopping")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.sendto(text.encode(), self._address)
        except OSError:
            pass  # the cluster does not depend on being heard
