"""Hooks, sidecars, users and what a container may do, as real processes."""

from __future__ import annotations

from pathlib import Path

from tests.integration.node.test_volumes import logged
from tests.integration.node.world import in_world, ready, server, shell, state

from skerry.api.types import core


def run(*command):
    return core.LifecycleHandler(exec=core.ExecAction(command=list(command)))


def hooks(**more):
    return core.Lifecycle(**more)


def test_post_start_hooks(tmp_path: Path) -> None:
    """All kinds at once; each holds its container back from being ready, and a failure costs the container."""

    async def work(world):
        script = "until test -e /v/go; do sleep 0.01; done; echo hooked; exec sleep 1000"
        volume = core.Volume(name="v", empty_dir=core.EmptyDirVolumeSource())
        mount = [core.VolumeMount(name="v", mount_path="/v")]
        wait = "until test -e /v/go; do sleep 0.01; done"
        boxes = [
            shell(script, volume_mounts=mount, lifecycle=hooks(post_start=run("sh", "-c", wait))),
            shell(
                "exec sleep 1000",
                name="sleepy",
                lifecycle=hooks(post_start=core.LifecycleHandler(sleep=core.SleepAction(seconds=0))),
            ),
            server(80, name="server", volume_mounts=mount),
        ]
        await world.create(*boxes, volumes=[volume], termination_grace_period_seconds=0)
        pod = await world.until(lambda one: state(one, "sleepy") == state(one, "server") == "running")
        assert state(pod) == "ContainerCreating" and pod.status.phase == "Pending" and not ready(pod)
        made = next(one for one in pod.status.container_statuses if one.name == "server").container_id
        await world.runtime.exec(made.removeprefix("skerry://"), ["touch", "/v/go"])
        await world.until(ready)
        ip = (await world.client.get(core.Pod, "p", "default")).status.pod_ip

        for name, hook, says in (
            (
                "exec",
                run("sh", "-c", "echo broken; exit 3"),
                "PostStartHook failed: command 'sh -c echo broken; exit 3' exited with 3: broken\n",
            ),
            (
                "web",
                core.LifecycleHandler(http_get=core.HTTPGetAction(port=81, host=ip)),
                ":81: connect: connection refused",
            ),
        ):
            spec = {"restart_policy": "Never", "termination_grace_period_seconds": 0}
            await world.create(shell("exec sleep 1000", lifecycle=hooks(post_start=hook)), name=name, **spec)
            pod = await world.until(lambda one: one.status.phase == "Failed", name)
            assert pod.status.container_statuses[0].state.terminated.exit_code == 137
            said = await world.events(name)
            assert [reason for reason, _ in said] == ["Created", "Started", "FailedPostStartHook", "Killing"]
            assert says in said[2][1] and said[3][1] == "FailedPostStartHook"
        # Whatever a web server answers is well, and a port that takes a connection too.
        for name, hook in (
            ("answered", core.LifecycleHandler(http_get=core.HTTPGetAction(port=80, host=ip, path="/nothing"))),
            ("connected", core.LifecycleHandler(tcp_socket=core.TCPSocketAction(port=80, host=ip))),
        ):
            await world.create(shell("exec sleep 1000", lifecycle=hooks(post_start=hook)), name=name)
            await world.until(ready, name)

    in_world(tmp_path, work)


def test_containers_of_a_pod_share_memory(tmp_path: Path) -> None:
    async def work(world):
        wait = "until test -e /dev/shm/there; do sleep 0.01; done; stat -f -c '%T %b' /dev/shm; exec sleep 1000"
        await world.create(shell(wait), shell("touch /dev/shm/there; exec sleep 1000", name="other"))
        await world.until(ready)
        assert await logged(world, 1) == ["tmpfs 16384"]
        await world.client.delete(core.Pod, "p", "default", grace_period_seconds=0)
        await world.cleaned_up()

    in_world(tmp_path, work)


def test_how_a_container_is_asked_to_end(tmp_path: Path) -> None:
    """preStop that fails, a stop signal of its own, and a liveness probe with its own patience."""

    async def work(world):
        script = "trap 'echo usr1; exit 7' USR1; echo up; while :; do sleep 0.01; done"
        life = hooks(pre_stop=run("sh", "-c", "echo no; exit 1"), stop_signal="SIGUSR1")
        await world.create(shell(script, lifecycle=life))
        await logged(world, 1)
        await world.client.delete(core.Pod, "p", "default")
        await world.gone()
        says = "PreStopHook failed: command 'sh -c echo no; exit 1' exited with 1: no\n"
        assert ("FailedPreStopHook", says) in await world.events()
        last = [one for one in world.seen if one.metadata.name == "p"][-1]
        assert last.status.container_statuses[0].state.terminated.exit_code == 7

        deaf = "trap '' TERM; while :; do sleep 0.05; done"
        sick = core.Probe(
            exec=core.ExecAction(command=["false"]),
            period_seconds=1,
            failure_threshold=1,
            termination_grace_period_seconds=1,
        )
        await world.create(shell(deaf, liveness_probe=sick), name="deaf", termination_grace_period_seconds=60)
        pod = await world.until(lambda one: any(box.restart_count for box in one.status.container_statuses), "deaf")
        assert pod.status.container_statuses[0].last_state.terminated.exit_code == 137
        await world.client.delete(core.Pod, "deaf", "default", grace_period_seconds=0)

    in_world(tmp_path, work)


def test_sidecars(tmp_path: Path) -> None:
    """They start in order, hold back who comes after them, are restarted, and go last and in reverse order."""

    async def work(world):
        volume = core.Volume(name="v", empty_dir=core.EmptyDirVolumeSource())
        mount = [core.VolumeMount(name="v", mount_path="/v")]

        def box(name, script="", **more):
            text = f"echo {name} >> /v/log; trap 'echo end {name} >> /v/log; exit 0' TERM; {script}"
            return shell(text + "while :; do sleep 0.01; done", name=name, volume_mounts=mount, **more)

        def ask(*command, **more):
            return core.Probe(exec=core.ExecAction(command=list(command)), period_seconds=1, **more)

        once = shell("echo once >> /v/log", name="once", volume_mounts=mount)
        first = box("first", restart_policy="Always", startup_probe=ask("test", "-e", "/v/go", failure_threshold=60))
        second = box("second", restart_policy="Always", readiness_probe=ask("test", "!", "-e", "/v/sick"))
        main = box("web")
        await world.create(main, init_containers=[first, once, second], volumes=[volume])
        pod = await world.until(lambda one: state(one, "first") == "running")
        assert state(pod, "once") == state(pod) == "PodInitializing"
        made = {one.name: one.container_id for one in pod.status.init_container_statuses}
        sidecar = made["first"].removeprefix("skerry://")
        await world.runtime.exec(sidecar, ["touch", "/v/go"])
        pod = await world.until(ready)
        read = await world.runtime.exec(sidecar, ["cat", "/v/log"])
        assert read.output.split() == [b"first", b"once", b"second", b"web"]
        await world.runtime.exec(sidecar, ["touch", "/v/sick"])
        await world.until(lambda one: not ready(one))
        await world.runtime.exec(sidecar, ["rm", "/v/sick"])
        await world.until(ready)
        second_id = next(one.container_id for one in pod.status.init_container_statuses if one.name == "second")
        await world.runtime.signal(second_id.removeprefix("skerry://"), 15)
        await world.until(lambda one: ready(one) and one.status.init_container_statuses[2].restart_count == 1)
        log = next(tmp_path.glob("node/pods/*/_volumes/v/log"))  # noqa: ASYNC240
        with log.open() as file:  # it stays readable when its directory goes
            await world.client.delete(core.Pod, "p", "default")
            await world.gone()
            ends = [line for line in file.read().splitlines() if line.startswith("end ")]
        assert ends == ["end second", "end web", "end second", "end first"]

    in_world(tmp_path, work)


def test_who_a_container_is_and_what_it_may_do(tmp_path: Path) -> None:
    script = (
        "id -u; id -g; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status | cut -f2; "
        "touch /x 2>&1 | grep -o Read-only"
    )

    async def work(world):
        more = core.Capabilities(add=["NET_ADMIN"], drop=["ALL"])
        strict = core.SecurityContext(
            run_as_user=1000, run_as_group=1001, capabilities=more, allow_privilege_escalation=False
        )
        root = core.SecurityContext(capabilities=core.Capabilities(add=["CAP_SYS_TIME"], drop=["CHOWN"]))
        alone = core.SecurityContext(privileged=True)
        for name, security in (("plain", None), ("strict", strict), ("root", root), ("alone", alone)):
            box = shell(script, security_context=security)
            await world.create(box, name=name, restart_policy="Never")
        found = {}
        for name in ("plain", "strict", "root", "alone"):
            await world.until(lambda one: one.status.phase in ("Succeeded", "Failed"), name)
            found[name] = (await world.logs(name=name)).split()
        default = 0xA80425FB
        assert found["plain"] == ["0", "0", f"{default:016x}", f"{default:016x}", "0", "Read-only"]
        assert found["strict"] == ["1000", "1001", f"{0:016x}", f"{1 << 12:016x}", "1", "Read-only"]
        mask = default & ~1 | 1 << 25
        assert found["root"][2:4] == [f"{mask:016x}"] * 2
        assert int(found["alone"][2], 16) & 1 << 21 and int(found["alone"][2], 16).bit_count() >= 38

        refused = core.SecurityContext(run_as_non_root=True)
        await world.create(shell("true", security_context=refused), name="refused")
        pod = await world.until(lambda one: state(one) == "CreateContainerConfigError", "refused")
        where = f'(pod: "refused_default({pod.metadata.uid})", container: web)'
        says = f"container has runAsNonRoot and image will run as root {where}"
        assert pod.status.container_statuses[0].state.waiting.message == says

        context = core.PodSecurityContext(
            sysctls=[core.Sysctl(name="net.ipv4.ip_local_port_range", value="2000\t3000")]
        )
        await world.create(
            shell("cat /proc/sys/net/ipv4/ip_local_port_range"),
            name="sysctl",
            security_context=context,
            restart_policy="Never",
        )
        await world.until(lambda one: one.status.phase == "Succeeded", "sysctl")
        assert await world.logs(name="sysctl") == "2000\t3000\n"

    in_world(tmp_path, work)
