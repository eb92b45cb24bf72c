"""Limits on the disk that pods use: what they are, what is said of who exceeds them, and how bytes are counted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests.unit.node.pods.play import Play
from tests.unit.node.pods.play import pod as made

from skerry.api import codec
from skerry.api.types import core
from skerry.node.pods.state import Kill, RemoveSandbox, Terminate
from skerry.node.pods.storage import Limits, excess, limits
from skerry.node.volumes.usage import used

MI = 1 << 20


def container(name: str, limit: str = "", **more: Any) -> dict[str, Any]:
    return {"name": name, "resources": {"limits": {"ephemeral-storage": limit} if limit else {}}, **more}


def pod(*containers: dict[str, Any], volumes: dict[str, Any] | None = None, **spec: Any) -> core.Pod:
    found = [{"name": name, "emptyDir": source} for name, source in (volumes or {}).items()]
    value = {
        "containers": list(containers) or [container("c")],
        "volumes": [*found, {"name": "h", "hostPath": {"path": "/"}}],
    }
    return codec.convert(core.Pod, {"spec": {**value, **spec}})


def test_what_is_limited() -> None:
    volumes = {"a": {"sizeLimit": "1Mi"}, "b": {}, "m": {"medium": "Memory", "sizeLimit": "1Mi"}}
    assert limits(pod(volumes=volumes)) == Limits({"a": "1Mi"})
    assert not limits(pod(volumes={"b": {}}))
    assert limits(pod(container("c", "2Mi"), container("d"))) == Limits({}, {"c": "2Mi"}, "2Mi")
    assert limits(pod(container("c", "1536Ki"), container("d", "512Ki"))).pod == "2Mi"
    assert limits(pod(container("c", "1M"), container("d", "1Mi"))).pod == "2048576"
    sidecar = container("s", "1Mi", restartPolicy="Always")
    assert limits(pod(container("c", "1Mi"), initContainers=[sidecar, container("i", "9Mi")])).pod == "2Mi"


@pytest.mark.parametrize(
    ("volumes", "containers", "said"),
    [
        ({"x": MI}, {"c": MI}, ""),
        ({"x": MI + 1}, {}, 'Usage of EmptyDir volume "x" exceeds the limit "1Mi". '),
        ({"y": 3 * MI}, {"c": 1}, "Pod ephemeral local storage usage exceeds the total limit of containers 3Mi. "),
        ({}, {"c": MI + 1}, 'Container c exceeded its local ephemeral storage limit "1Mi". '),
        ({}, {"d": 2 * MI + 1}, 'Container d exceeded its local ephemeral storage limit "2Mi". '),
        ({}, {"free": 2 * MI}, ""),
    ],
)
def test_what_is_said_of_who_uses_more(volumes: dict[str, int], containers: dict[str, int], said: str) -> None:
    allowed = Limits({"x": "1Mi"}, {"c": "1Mi", "d": "2Mi"}, "3Mi")
    assert excess(allowed, volumes, containers) == said


def test_bytes_are_those_on_disk(tmp_path: Path) -> None:
    """Deep directories count, links once and what they lead to not at all; holes are not on disk."""
    empty = used(str(tmp_path))
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "data").write_bytes(os.urandom(100_000))
    os.link(inner / "data", tmp_path / "again")
    (tmp_path / "root").symlink_to("/usr")
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(1 << 30)
    assert empty <= 8192 and 100_000 <= used(str(tmp_path)) < 200_000
    assert used(str(tmp_path / "missing")) == 0


def test_a_pod_that_is_evicted_fails_and_ends_soon() -> None:
    """Upstream's second of grace, whatever the pod wishes; it is not started again."""
    play = Play(made())
    (web,) = play.up("web")
    play.m.on_evicted("too much. ")
    assert play.step() == [Terminate("web", web)] and play.wake == 1
    assert play.status.phase == "Running" and ("Evicted", "too much. ") in play.events
    play.m.on_evicted("once more")
    assert play.step(1) == [Kill("web", web)]
    play.exit("web", web, 137)
    assert play.step() == [RemoveSandbox()]
    assert (play.status.phase, play.status.reason, play.status.message) == ("Failed", "Evicted", "too much. ")
    told = play.condition("DisruptionTarget")
    assert (told.status, told.reason, told.message) == ("True", "TerminationByKubelet", "too much. ")


def test_a_pod_that_goes_anyhow_is_not_evicted() -> None:
    play = Play(made())
    play.up("web")
    play.delete(grace=30)
    play.m.on_evicted("too much. ")
    play.step()
    assert play.status.reason == "" and "Evicted" not in [reason for reason, _ in play.events]
