"""Pods of images that were loaded into the node: entrypoint, user, stop signal, and what lies where (step c)."""

from __future__ import annotations

from pathlib import Path

from tests.integration.node.world import archive, in_world, ready, state
from tests.integration.runtime.clusters import busybox

from skerry.api import codec
from skerry.api.types import core


def test_a_pod_of_an_image(tmp_path: Path) -> None:
    root = busybox(tmp_path / "root")
    script = 'trap "echo quit; exit 7" QUIT; echo $0 $GREETING; id; pwd; while :; do sleep 0.02; done'
    config = {
        "Entrypoint": ["sh", "-c", script],
        "Cmd": ["from-cmd"],
        "Env": ["GREETING=hello", "PATH=/bin"],
        "WorkingDir": "/www",
        "User": "web",
        "StopSignal": "SIGQUIT",
    }
    data = archive(root, "example.test/box:1", config)

    async def work(world):
        code, body = await world.ask("/images/load", "POST", data)
        assert (code, codec.parse(body)) == (200, {"images": ["example.test/box:1"]})
        code, body = await world.ask("/images/load", "POST", b"this is no archive")
        assert code == 400 and body
        await world.create(core.Container(name="web", image="example.test/box:1"))
        pod = await world.until(ready)
        one = pod.status.container_statuses[0]
        assert one.image == "example.test/box:1" and one.image_id.startswith("sha256:")
        assert await world.events() == [
            (
                "Pulled",
                'Container image "example.test/box:1" already present on machine and can be accessed by the pod',
            ),
            ("Created", "Container created"),
            ("Started", "Container started"),
        ]
        await world.client.delete(core.Pod, "p", "default")
        pod = await world.until(lambda one: one.metadata.deletion_timestamp is not None)
        text = await world.logs("follow=true")
        assert text.splitlines()[-4:] == ["from-cmd hello", "uid=101(web) gid=102 groups=102", "/www", "quit"]
        await world.gone()
        assert world.seen[-1].status.container_statuses[0].state.terminated.exit_code == 7

        security = core.SecurityContext(run_as_user=5, run_as_group=6, read_only_root_filesystem=True)
        box = core.Container(
            name="web",
            image="example.test/box:1",
            command=["sh", "-c", "id; pwd; touch /x 2>&1 || echo $(GREETING) refused"],
            working_dir="/etc",
            security_context=security,
            env=[core.EnvVar(name="GREETING", value="politely")],
        )
        await world.create(box, name="q", restart_policy="Never")
        pod = await world.until(lambda one: one.status.phase == "Succeeded", "q")
        text = await world.logs(name="q")
        # Two pipes: within each the order holds, between them there is none.
        said = text.splitlines()
        assert [line for line in said if not line.startswith("touch")] == [
            "uid=5 gid=6 groups=6",
            "/etc",
            "politely refused",
        ]
        assert "touch: /x: Read-only file system" in said

        box = core.Container(
            name="web",
            image="example.test/box:1",
            security_context=core.SecurityContext(run_as_non_root=True, run_as_user=0),
        )
        await world.create(box, name="r")
        pod = await world.until(lambda one: state(one) == "CreateContainerConfigError", "r")
        assert "runAsNonRoot" in pod.status.container_statuses[0].state.waiting.message

    in_world(tmp_path, work)
