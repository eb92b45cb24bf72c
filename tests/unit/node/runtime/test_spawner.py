"""The spawner's bookkeeping of descriptors; what it forks is shown in tests/integration/runtime."""

from __future__ import annotations

import os
import socket

from skerry import packets
from skerry.node.runtime.rootfs import Settings
from skerry.node.runtime.spawner import _Process, _Spawner


def test_a_number_given_anew_in_the_same_turn_is_not_taken_for_the_old_one() -> None:
    """poll() named a pipe that was closed since; a container that was just forked has its number now, and is silent."""
    ours, agent = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    spawner = _Spawner(ours, 0, Settings("", "", "", ()))
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    spawner._starting[reader] = _Process("web", 1, 7, reader)
    spawner._poll.register(reader)
    with ours, agent:
        spawner._heed(reader)
        assert reader in spawner._starting
        os.close(writer)
        spawner._heed(reader)
        assert not spawner._starting
        assert packets.receive(agent) == ({"answer": 7, "pid": 1}, [])
