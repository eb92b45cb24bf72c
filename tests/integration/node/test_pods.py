"""Pods of this machine's own files, from the API to processes and back (issue: a pod answers)."""

from __future__ import annotations

import time
from pathlib import Path

from tests.integration.node.test_volumes import logged
from tests.integration.node.world import condition, in_world, ready, server, shell, state

from skerry.api.types import core


def http_probe(**more):
    return core.Probe(http_get=core.HTTPGetAction(port=80), **more)


def test_a_pod_runs_gets_ready_and_goes(tmp_path: Path) -> None:
    async def work(world):
        began = time.monotonic()
        await world.create(server(readiness_probe=http_probe(period_seconds=1)), termination_grace_period_seconds=1)
        pod = await world.until(ready)
        print("ready after", time.monotonic() - began)
        assert pod.status.phase == "Running"
        assert pod.status.pod_ip.startswith("10.244.1.") and pod.status.host_ip == world.node.node_ip
        assert {one.type for one in pod.status.conditions if one.status == "True"} == {
            "PodReadyToStartContainers",
            "Initialized",
            "Ready",
            "ContainersReady",
            "PodScheduled",
        }
        one = pod.status.container_statuses[0]
        assert one.ready and one.started and one.container_id.startswith("skerry://") and one.image == "host"
        assert [reason for reason, _ in await world.events()] == ["Created", "Started"]
        await world.client.delete(core.Pod, "p", "default")
        await world.gone()
        assert ("Killing", "Stopping container web") in await world.events()
        last = world.seen[-1]
        assert last.status.phase == "Failed" and state(last) == "Error"
        assert last.status.container_statuses[0].state.terminated.exit_code in (137, 143)
        await world.cleaned_up()

    in_world(tmp_path, work)


def test_what_a_container_sees(tmp_path: Path) -> None:
    script = (
        "hostname; cat /etc/hostname; grep p$ /etc/hosts; cat /etc/resolv.conf; "
        "echo $KUBERNETES_SERVICE_HOST $A $POD_IP; cat /config/key; echo x > /scratch/file && cat /scratch/file"
    )
    env = [
        core.EnvVar(name="A", value="$(KUBERNETES_SERVICE_PORT)!"),
        core.EnvVar(
            name="POD_IP", value_from=core.EnvVarSource(field_ref=core.ObjectFieldSelector(field_path="status.podIP"))
        ),
    ]
    mounts = [
        core.VolumeMount(name="config", mount_path="/config"),
        core.VolumeMount(name="scratch", mount_path="/scratch"),
    ]
    volumes = [
        core.Volume(name="config", config_map=core.ConfigMapVolumeSource(name="c")),
        core.Volume(name="scratch", empty_dir=core.EmptyDirVolumeSource()),
    ]

    async def work(world):
        from skerry.api.types import meta

        await world.create(shell(script, env=env, volume_mounts=mounts), volumes=volumes, restart_policy="Never")
        pod = await world.until(lambda one: one.status.pod_ip == "" and condition(one, "Initialized") == "True")
        await world.said("FailedMount")
        text = 'MountVolume.SetUp failed for volume "config" : configmap "c" not found'
        assert ("FailedMount", text) in await world.events()
        await world.client.create(
            core.ConfigMap(metadata=meta.ObjectMeta(name="c", namespace="default"), data={"key": "configured\n"})
        )
        pod = await world.until(lambda one: one.status.phase == "Succeeded")
        assert state(pod) == "Completed"
        ip = pod.status.pod_ip
        assert (await world.logs()).splitlines() == [
            "p",
            "p",
            f"{ip}\tp",
            "nameserver 10.96.0.10",
            "search default.svc.cluster.local svc.cluster.local cluster.local corp.example",
            "options ndots:5",
            f"10.96.0.1 443! {ip}",
            "configured",
            "x",
        ]

    in_world(tmp_path, work)


def test_restarts_logs_and_crash_loops(tmp_path: Path) -> None:
    async def work(world):
        await world.create(shell("echo run; echo oops >&2; exit 3"))
        pod = await world.until(lambda one: state(one) == "CrashLoopBackOff")
        one = pod.status.container_statuses[0]
        assert one.restart_count == 1 and one.last_state.terminated.exit_code == 3
        text = f"back-off 10s restarting failed container=web pod=p_default({pod.metadata.uid})"
        assert one.state.waiting.message == text
        assert pod.status.phase == "Running" and condition(pod) == "False"
        assert sorted((await world.logs()).split()) == ["oops", "run"]
        assert (await world.logs("tailLines=1")) in ("run\n", "oops\n")
        assert "web" in dict(await world.events())["BackOff"]
        assert (await world.logs(container="no")).startswith("400 container no is not valid for pod p")

        await world.create(
            shell("echo last words > /dev/termination-log; exit 1"), name="never", restart_policy="Never"
        )
        pod = await world.until(lambda one: one.status.phase == "Failed", "never")
        ended = pod.status.container_statuses[0].state.terminated
        assert (ended.reason, ended.exit_code, ended.message) == ("Error", 1, "last words\n")
        await world.until(lambda one: condition(one, "PodReadyToStartContainers") == "False", "never")
        assert (await world.logs("previous=true", name="never")).startswith("400 previous terminated container")

    in_world(tmp_path, work)


def test_what_cannot_start(tmp_path: Path) -> None:
    async def work(world):
        await world.create(core.Container(name="web", image="host", command=["nosuch"]), name="command")
        await world.create(core.Container(name="web", image="docker.io/no/such:1"), name="image")
        await world.create(core.Container(name="web", image="Bad Name"), name="name")
        await world.create(core.Container(name="web", image="no/such:1", image_pull_policy="Never"), name="never")
        env = [
            core.EnvVar(
                name="A", value_from=core.EnvVarSource(config_map_key_ref=core.ConfigMapKeySelector(name="c", key="k"))
            )
        ]
        await world.create(shell("true", env=env), name="env")

        pod = await world.until(lambda one: state(one) == "RunContainerError", "command")
        assert (
            'exec: "nosuch": executable file not found in $PATH'
            in pod.status.container_statuses[0].state.waiting.message
        )
        pod = await world.until(lambda one: state(one) == "CrashLoopBackOff", "command")
        assert pod.status.container_statuses[0].last_state.terminated.reason == "StartError"

        pod = await world.until(lambda one: state(one) == "ImagePullBackOff", "image")
        assert "ErrImagePull" in [state(one) for one in world.seen if one.metadata.name == "image"]
        assert pod.status.container_statuses[0].state.waiting.message.startswith(
            'Back-off pulling image "docker.io/no/such:1": ErrImagePull: '
        )
        reasons = [reason for reason, _ in await world.events("image")]
        assert reasons == ["Pulling", "Failed", "Failed", "BackOff", "Failed"]
        assert (await world.logs(name="image")).startswith('400 container "web" in pod "image" is waiting to start: ')

        await world.until(lambda one: state(one) == "InvalidImageName", "name")
        await world.until(lambda one: state(one) == "ErrImageNeverPull", "never")
        pod = await world.until(lambda one: state(one) == "CreateContainerConfigError", "env")
        assert pod.status.container_statuses[0].state.waiting.message == 'configmap "c" not found'

    in_world(tmp_path, work)


def test_probes(tmp_path: Path) -> None:
    async def work(world):
        probe = core.Probe(
            exec=core.ExecAction(command=["test", "-e", "/tmp/ready"]), period_seconds=1, failure_threshold=1
        )
        script = "while :; do sleep 0.1; done"
        await world.create(
            shell(
                script,
                readiness_probe=probe,
                liveness_probe=core.Probe(
                    exec=core.ExecAction(command=["sh", "-c", "! test -e /tmp/sick"]),
                    period_seconds=1,
                    failure_threshold=1,
                ),
            ),
            termination_grace_period_seconds=1,
        )
        pod = await world.until(lambda one: state(one) == "running")
        assert not ready(pod)
        instance = pod.status.container_statuses[0].container_id.removeprefix("skerry://")
        await world.runtime.exec(instance, ["touch", "/tmp/ready"])
        await world.until(ready)
        await world.runtime.exec(instance, ["rm", "/tmp/ready"])
        pod = await world.until(lambda one: not ready(one))
        assert pod.status.container_statuses[0].restart_count == 0
        await world.runtime.exec(instance, ["touch", "/tmp/sick"])
        pod = await world.until(lambda one: one.status.container_statuses[0].restart_count == 1)
        assert ("Killing", "Container web failed liveness probe, will be restarted") in await world.events()
        assert "Unhealthy" in dict(await world.events())

    in_world(tmp_path, work)


def test_init_containers(tmp_path: Path) -> None:
    async def work(world):
        mount = [core.VolumeMount(name="v", mount_path="/v")]
        await world.create(
            shell("cat /v/*; sleep 100", volume_mounts=mount),
            init_containers=[
                shell("echo 1 > /v/a", name="first", volume_mounts=mount),
                shell("echo 2 > /v/b", name="second", volume_mounts=mount),
            ],
            volumes=[core.Volume(name="v", empty_dir=core.EmptyDirVolumeSource())],
        )
        pod = await world.until(ready)
        assert state(pod, "first") == state(pod, "second") == "Completed"
        assert await logged(world, 2) == ["1", "2"]
        states = [
            [state(one, name) for name in ("first", "second", "web")] for one in world.seen if one.status.start_time
        ]
        assert states[0] == ["PodInitializing"] * 3

    in_world(tmp_path, work)


def test_deletion(tmp_path: Path) -> None:
    """R14-R16: the stop signal, the grace, and who goes when."""

    async def work(world):
        polite = "trap 'echo bye; sleep 0.2; exit 0' TERM; echo up; while :; do sleep 0.02; done"
        deaf = "trap '' TERM; echo up; while :; do sleep 0.02; done"
        for name, script in (("polite", polite), ("deaf", deaf), ("forced", deaf)):
            await world.create(shell(script), name=name, termination_grace_period_seconds=20)
        for name in ("polite", "deaf", "forced"):
            await world.until(ready, name)
        began = time.monotonic()
        await world.client.delete(core.Pod, "polite", "default")
        pod = await world.until(lambda one: one.metadata.deletion_timestamp is not None, "polite")
        assert ready(pod)
        await world.gone("polite")
        assert time.monotonic() - began < 5
        last = [one for one in world.seen if one.metadata.name == "polite"][-1]
        assert last.status.phase == "Succeeded"
        began = time.monotonic()
        await world.client.delete(core.Pod, "deaf", "default", grace_period_seconds=1)
        await world.gone("deaf")
        assert 0.9 < time.monotonic() - began < 5
        uid = (await world.client.get(core.Pod, "forced", "default")).metadata.uid
        await world.client.delete(core.Pod, "forced", "default", grace_period_seconds=0)
        await world.gone("forced")
        again = await world.create(shell("sleep 100"), name="forced")
        assert again.metadata.uid != uid
        await world.until(ready, "forced")

    in_world(tmp_path, work)


def test_a_node_says_what_it_is(tmp_path: Path) -> None:
    async def work(world):
        from skerry.api.types import coordination

        node = await world.client.get(core.Node, "node-1")
        assert {one.type: one.status for one in node.status.conditions} == {
            "MemoryPressure": "False",
            "DiskPressure": "False",
            "PIDPressure": "False",
            "LimitsNotEnforced": "True",  # nobody claimed cgroups for this world
            "Ready": "True",
        }
        assert node.spec.pod_cidr == "10.244.1.0/24"
        assert node.metadata.labels["kubernetes.io/hostname"] == "node-1"
        assert node.status.capacity["pods"] == "110" and "cpu" in node.status.allocatable
        assert node.status.node_info.kubelet_version.startswith("v1.36.0")
        lease = await world.client.get(coordination.Lease, "node-1", "kube-node-lease")
        assert lease.spec.holder_identity == "node-1"
        assert await world.ask("/healthz") == (200, b"ok")
        assert (await world.ask("/nothing"))[0] == 404

    in_world(tmp_path, work)
