"""What travels between the agent and the spawner comes out as it went in."""

from __future__ import annotations

import json

from skerry.node.runtime.spec import ContainerSpec, HostImage, Mount, Overlay, Tmpfs, decode, encode


def test_a_container_survives_its_journey() -> None:
    specs = [
        ContainerSpec(id="a", pod_uid="p", rootfs=HostImage(), argv=["true"]),
        ContainerSpec(
            id="b",
            pod_uid="p",
            rootfs=Overlay(lowerdirs=["/top", "/bottom"], upper="/u", work="/w"),
            argv=["sh", "-c", "é"],
            env={"A": "ü\n"},
            uid=101,
            groups=[1, 2],
            mounts=[Mount(source="/s", target="/t", read_only=True)],
            tmpfs=[Tmpfs(target="/cache", size=5)],
        ),
    ]
    for spec in specs:
        assert decode(json.loads(json.dumps(encode(spec)))) == spec
