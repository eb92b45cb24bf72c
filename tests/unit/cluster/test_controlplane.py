"""The control plane's own life: what it says when somebody ends it."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

from skerry.cluster.config import ClusterConfig, Progress
from skerry.cluster.controlplane import _ControlPlane
from skerry.cluster.networks import Networks
from skerry.cluster.paths import cluster_paths


class Starting(_ControlPlane):
    """One that is told to end while it starts, as `skerry delete` does it."""

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await self._ended.wait()


async def test_one_that_is_ended_while_it_starts_does_not_say_that_it_is_ready(tmp_path: Path) -> None:
    said: list[dict[str, Any]] = []
    config = ClusterConfig(name="x", nodes=0, paths=cluster_paths("x", tmp_path), api_port=1, networks=Networks())
    await Starting(config, Progress(said.append), (), None).run()
    assert said == [{"stopping": True}]
