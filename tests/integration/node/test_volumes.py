"""Volumes inside real containers: what they hold, and that they follow their sources while the container runs."""

from __future__ import annotations

import asyncio
import base64
import time
from pathlib import Path

from tests.integration.node.world import PATIENCE, in_world, ready, shell, state

from skerry.api.types import core, meta
from skerry.node.agent import storage


def config(name, data, **more):
    return core.ConfigMap(metadata=meta.ObjectMeta(name=name, namespace="default"), data=data, **more)


def secret(name, **data):
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return core.Secret(metadata=meta.ObjectMeta(name=name, namespace="default"), data=encoded)


async def read(world, instance, *command):
    return (await world.runtime.exec(instance, list(command))).output.decode()


async def comes(world, instance, path, text):
    """Seconds until a file in the container has this text."""
    began = time.monotonic()
    async with asyncio.timeout(PATIENCE):
        while await read(world, instance, "cat", path) != text:  # noqa: ASYNC110 - nobody tells of files
            await asyncio.sleep(0.01)
    return time.monotonic() - began


async def logged(world, lines):
    """What a container wrote, once it is so many lines."""
    async with asyncio.timeout(PATIENCE):
        while len(found := await world.written()) < lines:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


def field(path, of):
    return core.DownwardAPIVolumeFile(path=path, field_ref=core.ObjectFieldSelector(field_path=of))


def test_content_follows_its_sources(tmp_path: Path) -> None:
    amount = core.ResourceFieldSelector(container_name="web", resource="limits.memory", divisor="1Mi")
    parts = [
        core.VolumeProjection(config_map=core.ConfigMapProjection(name="c")),
        core.VolumeProjection(secret=core.SecretProjection(name="s", optional=True)),
        core.VolumeProjection(downward_api=core.DownwardAPIProjection(items=[field("name", "metadata.name")])),
    ]
    items = [core.DownwardAPIVolumeFile(path="memory", resource_field_ref=amount), field("labels", "metadata.labels")]
    volumes = [
        core.Volume(name="map", config_map=core.ConfigMapVolumeSource(name="c", default_mode=0o640)),
        core.Volume(name="all", projected=core.ProjectedVolumeSource(sources=parts)),
        core.Volume(name="fixed", config_map=core.ConfigMapVolumeSource(name="fixed")),
        core.Volume(name="self", downward_api=core.DownwardAPIVolumeSource(items=items)),
        core.Volume(name="maybe", secret=core.SecretVolumeSource(secret_name="s", optional=True)),
    ]
    mounts = [core.VolumeMount(name=one.name, mount_path=f"/{one.name}", read_only=True) for one in volumes]
    mounts.append(core.VolumeMount(name="map", mount_path="/part", sub_path="key"))

    async def work(world):
        await world.client.create(config("c", {"key": "1", "gone": "x"}))
        await world.client.create(config("fixed", {"key": "1"}, immutable=True))
        limits = core.ResourceRequirements(limits={"memory": "64Mi"})
        await world.create(shell("sleep 1000", volume_mounts=mounts, resources=limits), volumes=volumes)
        pod = await world.until(ready)
        box = pod.status.container_statuses[0].container_id.removeprefix("skerry://")
        told = ("/map/key", "/part", "/fixed/key", "/all/name", "/self/memory", "/self/labels")
        assert await read(world, box, "grep", "-h", "", *told) == '1\n1\n1\np\n64\napp="p"\n'
        assert await read(world, box, "stat", "-Lc", "%a %U", "/map/key") == "640 root\n"
        assert await read(world, box, "ls", "/maybe", "/part") == "/part\n\n/maybe:\n"
        assert "Read-only" in await read(world, box, "touch", "/map/new")

        # A writer of the map and of the secret that was not there; the pod is not touched.
        await world.client.update(config("c", {"key": "2", "new": "y"}))
        assert await comes(world, box, "/map/key", "2") < 1
        await comes(world, box, "/all/key", "2")
        assert await read(world, box, "ls", "/map") == "key\nnew\n"
        assert await read(world, box, "cat", "/part") == "1"  # a subPath stays what it was
        await world.client.create(secret("s", word="open"))
        assert await comes(world, box, "/maybe/word", "open") < 1
        await comes(world, box, "/all/word", "open")
        await world.client.patch(core.Pod, "p", {"metadata": {"labels": {"tier": "front"}}}, "default")
        assert await comes(world, box, "/self/labels", 'app="p"\ntier="front"') < 1
        # What is gone and not optional leaves the content that there was.
        await world.client.delete(core.ConfigMap, "c", "default")
        await world.said("FailedMount")
        assert await read(world, box, "cat", "/map/key") == "2"
        await world.client.create(config("c", {"key": "3"}))
        await comes(world, box, "/map/key", "3")
        restarts = (await world.client.get(core.Pod, "p", "default")).status.container_statuses[0].restart_count
        assert restarts == 0

    in_world(tmp_path, work)


def test_what_is_missing_is_waited_for_and_no_longer(tmp_path: Path) -> None:
    """The volumes' sources hold back the pod, the variables' sources the container; both go on at once."""
    env = core.EnvVar(
        name="WORD", value_from=core.EnvVarSource(secret_key_ref=core.SecretKeySelector(name="s", key="word"))
    )
    volume = core.Volume(name="v", config_map=core.ConfigMapVolumeSource(name="c"))
    mount = core.VolumeMount(name="v", mount_path="/v")

    async def work(world):
        script = "echo $WORD; cat /v/key; exec sleep 1000"
        await world.create(shell(script, env=[env], volume_mounts=[mount]), volumes=[volume])
        await world.said("FailedMount")
        pod = await world.client.get(core.Pod, "p", "default")
        assert state(pod) == "ContainerCreating"
        began = time.monotonic()
        await world.client.create(config("c", {"key": "here\n"}))
        pod = await world.until(lambda one: state(one) == "CreateContainerConfigError")
        assert time.monotonic() - began < 1
        assert pod.status.container_statuses[0].state.waiting.message == 'secret "s" not found'
        began = time.monotonic()
        await world.client.create(secret("s", word="open"))
        await world.until(ready)
        assert time.monotonic() - began < 1
        assert await logged(world, 2) == ["open", "here"]

    in_world(tmp_path, work)


def test_memory_group_and_sub_paths(tmp_path: Path) -> None:
    """emptyDir of medium Memory with a limit, fsGroup on what it covers, subPathExpr."""
    volumes = [
        core.Volume(name="memory", empty_dir=core.EmptyDirVolumeSource(medium="Memory", size_limit="1Mi")),
        core.Volume(name="disk", empty_dir=core.EmptyDirVolumeSource()),
        core.Volume(name="map", config_map=core.ConfigMapVolumeSource(name="c", default_mode=0o400)),
    ]
    mounts = [core.VolumeMount(name=one.name, mount_path=f"/{one.name}") for one in volumes]
    mounts.append(core.VolumeMount(name="disk", mount_path="/mine", sub_path_expr="$(WHO)/x"))
    script = (
        "id -u; id -G; stat -Lc '%g %a' /memory /disk /mine /map/key; cat /map/key; "
        "stat -f -c '%T %b' /memory | tr '\\n' ' '; echo $(($(stat -f -c '%S * %b' /memory))); "
        "touch /mine/file && ls /disk; exec sleep 1000"
    )

    async def work(world):
        await world.client.create(config("c", {"key": "mine\n"}))
        user = core.PodSecurityContext(run_as_user=1234, run_as_group=1235, fs_group=1236, supplemental_groups=[1237])
        await world.create(
            shell(script, volume_mounts=mounts, env=[core.EnvVar(name="WHO", value="me")]),
            volumes=volumes,
            security_context=user,
        )
        await world.until(ready)
        lines = await logged(world, 9)
        assert lines[:2] == ["1234", "1235 1236 1237"]
        assert lines[2:6] == ["1236 2777", "1236 2777", "1236 2777", "1236 440"]
        assert lines[6:] == ["mine", "tmpfs 256 1048576", "me"]
        await world.client.delete(core.Pod, "p", "default", grace_period_seconds=1)
        await world.gone()
        await world.cleaned_up()  # the file system in memory too, or its directory could not go

    in_world(tmp_path, work)


def test_what_the_node_writes_for_a_pod_is_in_memory(tmp_path: Path) -> None:
    """Secrets and tokens never reach the disk; what the pod itself writes does."""

    async def work(world):
        await world.client.create(secret("s", k="v1"))
        mounts = [core.VolumeMount(name="secret", mount_path="/s"), core.VolumeMount(name="own", mount_path="/o")]
        kinds = "stat -f -c %T /s /etc/hosts /dev/termination-log; touch /o/here; cat /s/k; echo; exec sleep 1000"
        await world.create(
            shell(kinds, volume_mounts=mounts),
            volumes=[
                core.Volume(name="secret", secret=core.SecretVolumeSource(secret_name="s")),
                core.Volume(name="own", empty_dir=core.EmptyDirVolumeSource()),
            ],
        )
        assert await logged(world, 4) == ["tmpfs", "tmpfs", "tmpfs", "v1"]
        assert list((world.data / "pods").glob("*/_volumes/own/here"))
        directory = next((world.data / "memory").iterdir())
        assert sorted(one.name for one in directory.iterdir()) == ["_files", "_volumes"]
        await world.client.delete(core.Pod, "p", "default", grace_period_seconds=0)
        await world.cleaned_up()
        assert not directory.exists()

    in_world(tmp_path, work)


def test_a_pod_that_uses_more_disk_than_it_may_is_evicted(tmp_path: Path, monkeypatch) -> None:
    """sizeLimit of an emptyDir on disk; ephemeral-storage of a container, whose log counts too."""
    monkeypatch.setattr(storage, "LOOK_EVERY", 0.05)
    limited = core.EmptyDirVolumeSource(size_limit="1Mi")
    mount = core.VolumeMount(name="x", mount_path="/x")
    fills = "trap '' TERM; while [ ! -e /x/go ]; do sleep 0.02; done; head -c 2M /dev/zero > /x/big; sleep 1000 & wait"
    talks = core.ResourceRequirements(limits={"ephemeral-storage": "256Ki"})

    async def work(world):
        volumes = [core.Volume(name="x", empty_dir=limited)]
        pod = await world.create(shell(fills, volume_mounts=[mount]), volumes=volumes)
        await world.create(shell("head -c 1M /dev/zero; exec sleep 1000", resources=talks), name="talker")
        await world.until(ready)
        await world.create(shell("sleep 1000", volume_mounts=[mount]), name="modest", volumes=volumes)
        await world.until(ready, "modest")
        next((world.data / "pods").glob(f"*_{pod.metadata.uid}/_volumes/x")).joinpath("go").touch()
        text = 'Usage of EmptyDir volume "x" exceeds the limit "1Mi". '
        gone = await world.until(lambda one: one.status.phase == "Failed")
        assert (gone.status.reason, gone.status.message) == ("Evicted", text)
        told = next(one for one in gone.status.conditions if one.type == "DisruptionTarget")
        assert (told.status, told.reason, told.message) == ("True", "TerminationByKubelet", text)
        assert ("Evicted", text) in await world.events()
        talker = await world.until(lambda one: one.status.phase == "Failed", "talker")
        whole = "Pod ephemeral local storage usage exceeds the total limit of containers 256Ki. "
        assert (talker.status.reason, talker.status.message) == ("Evicted", whole)
        modest = await world.client.get(core.Pod, "modest", "default")
        assert (modest.status.phase, modest.status.reason) == ("Running", "")

    in_world(tmp_path, work)
