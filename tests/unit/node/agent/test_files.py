"""The directory of a pod: what a node that was killed left in it goes when the pod begins again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from skerry.api.types import core, meta
from skerry.node.agent.files import PodFiles

POD = core.Pod(metadata=meta.ObjectMeta(name="web", namespace="default", uid="u1"))


def services() -> Any:
    found = SimpleNamespace(
        name="node-1", cluster_dns="10.96.0.10", cluster_domain="cluster.local", host_resolv_conf=""
    )
    return cast(Any, found)


def test_messages_of_killed_instances_are_deleted_when_the_pod_begins_again(tmp_path: Path) -> None:
    files = PodFiles(tmp_path, POD)
    files.write_own(services(), POD, ["10.244.1.2"])
    container = core.Container(name="c")
    for instance in ("1" * 64, "2" * 64):
        assert Path(files.message_mount(container, instance).source).exists()
    log = files.log("c", 0)
    log.parent.mkdir()
    log.write_text("kept")
    files.write_own(services(), POD, ["10.244.1.3"])
    assert sorted(one.name for one in (files.root / "_files").iterdir()) == ["hostname", "hosts", "resolv.conf"]
    assert log.read_text() == "kept"
    assert "10.244.1.3" in (files.root / "_files" / "hosts").read_text()
