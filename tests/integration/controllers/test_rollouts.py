"""Rolling updates, Recreate, scaling and history against the real API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tests.integration.controllers import world
from tests.integration.controllers.world import World

from skerry.api.types import apps, core
from skerry.clock import FakeClock


@asynccontextmanager
async def nodes_that_work(here: World, ready: Callable[[core.Pod], bool] = lambda _: True) -> AsyncIterator[None]:
    """A node agent in the background: what is bound runs and gets ready, what is deleted stops at once."""
    todo: asyncio.Queue[core.Pod] = asyncio.Queue()

    def see(_: core.Pod | None, new: core.Pod | None) -> None:
        if (
            new is not None
            and new.spec.node_name
            and (new.metadata.deletion_timestamp or new.status.phase == "Pending")
        ):
            todo.put_nowait(new)

    async def work() -> None:
        while True:
            pod = await todo.get()
            try:
                if pod.metadata.deletion_timestamp:
                    await here.stopped(pod)
                else:
                    await here.runs(pod, ready=ready(pod))
            except world.ApiError:
                pass  # it has moved on meanwhile; its next event comes

    here.caches.of(core.Pod).subscribe(see)
    task = asyncio.create_task(work())
    try:
        yield
    finally:
        task.cancel()


def is_done(here: World, replicas: int, name: str = "web") -> bool:
    found = here.get(apps.Deployment, name)
    if found is None:
        return False
    status = found.status
    return (
        status.observed_generation == found.metadata.generation
        and status.updated_replicas == status.replicas == status.available_replicas == replicas
    )


async def test_a_rolling_update_keeps_within_its_bounds(here: World) -> None:
    await here.node()
    least, most = 100, 0

    def watch(*_: object) -> None:
        nonlocal least, most
        alive = [one for one in here.all(core.Pod) if not one.metadata.deletion_timestamp]
        if counting:
            ready = [p for p in alive for c in p.status.conditions if (c.type, c.status) == ("Ready", "True")]
            least, most = min(least, len(ready)), max(most, len(alive))

    counting = False
    here.caches.of(core.Pod).subscribe(watch)
    async with nodes_that_work(here):
        made = await here.client.create(world.deployment(replicas=8))
        await here.until(lambda: is_done(here, 8))
        counting = True
        made = await here.client.get(apps.Deployment, "web", "default")
        new = world.codec.copy(made)
        new.spec.template.spec.containers[0].image = "nginx:1.16.1"
        generation = (await here.client.update(new)).metadata.generation
        await here.until(
            lambda: (d := here.get(apps.Deployment, "web")) and d.metadata.generation >= generation and is_done(here, 8)
        )
    assert (least, most) == (6, 10)  # 25 % of 8, down and up
    sets = sorted(here.all(apps.ReplicaSet), key=lambda one: one.spec.replicas or 0)
    assert [one.spec.replicas for one in sets] == [0, 8]
    assert [one.metadata.annotations["deployment.kubernetes.io/revision"] for one in sets] == ["1", "2"]
    assert {one.spec.containers[0].image for one in here.pods()} == {"nginx:1.16.1"}
    found = here.get(apps.Deployment, "web")
    assert found is not None and found.metadata.annotations["deployment.kubernetes.io/revision"] == "2"


async def test_going_back_reuses_the_old_set_under_a_new_revision(here: World) -> None:
    await here.node()
    async with nodes_that_work(here):
        await here.client.create(world.deployment(replicas=2))
        await here.until(lambda: is_done(here, 2))
        [first] = here.all(apps.ReplicaSet)
        for image in ("nginx:2", "nginx:1.14.2"):
            made = world.codec.copy(await here.client.get(apps.Deployment, "web", "default"))
            made.spec.template.spec.containers[0].image = image
            generation = (await here.client.update(made)).metadata.generation
            await here.until(
                lambda g=generation: (
                    (d := here.get(apps.Deployment, "web"))
                    and d.status.observed_generation >= g
                    and is_done(here, 2)
                    and all(
                        one.spec.containers[0].image == d.spec.template.spec.containers[0].image for one in here.pods()
                    )
                )
            )
    await here.until(lambda: (one := here.get(apps.ReplicaSet, first.metadata.name)) and one.spec.replicas == 2)
    again = here.get(apps.ReplicaSet, first.metadata.name)
    assert again is not None
    assert again.metadata.annotations["deployment.kubernetes.io/revision"] == "3"
    assert again.metadata.annotations["deployment.kubernetes.io/revision-history"] == "1"


async def test_scaling(here: World) -> None:
    await here.node()
    async with nodes_that_work(here):
        await here.client.create(world.deployment(replicas=2))
        await here.until(lambda: is_done(here, 2))
        for size in (5, 0, 3):
            await here.client.patch(apps.Deployment, "web", {"spec": {"replicas": size}}, "default")
            await here.until(
                lambda n=size: (
                    len(here.pods()) == n
                    and (d := here.get(apps.Deployment, "web"))
                    and d.spec.replicas == n
                    and is_done(here, n)
                )
            )
    [name] = [one.metadata.name for one in here.all(apps.ReplicaSet)]
    said = await here.until(lambda: (e := here.events("ScalingReplicaSet")) and len(e) == 4 and e)
    assert sorted(said) == [
        f"Scaled down replica set {name} from 5 to 0",
        f"Scaled up replica set {name} from 0 to 2",
        f"Scaled up replica set {name} from 0 to 3",
        f"Scaled up replica set {name} from 2 to 5",
    ]


async def test_recreate_never_mixes_versions(here: World) -> None:
    await here.node()
    mixed: list[set[str]] = []

    def watch(*_: object) -> None:
        images = {one.spec.containers[0].image for one in here.all(core.Pod)}
        if len(images) > 1:
            mixed.append(images)

    here.caches.of(core.Pod).subscribe(watch)
    async with nodes_that_work(here):
        recreate = apps.DeploymentStrategy(type="Recreate")
        await here.client.create(world.deployment(replicas=3, strategy=recreate))
        await here.until(lambda: is_done(here, 3))
        made = world.codec.copy(await here.client.get(apps.Deployment, "web", "default"))
        made.spec.template.spec.containers[0].image = "nginx:2"
        await here.client.update(made)
        await here.until(
            lambda: {one.spec.containers[0].image for one in here.pods()} == {"nginx:2"} and is_done(here, 3)
        )
    assert not mixed


async def test_a_version_that_never_gets_ready_does_not_take_the_old_one_down(here: World) -> None:
    await here.node()
    async with nodes_that_work(here, ready=lambda pod: pod.spec.containers[0].image != "broken"):
        await here.client.create(world.deployment(replicas=4))
        await here.until(lambda: is_done(here, 4))
        made = world.codec.copy(await here.client.get(apps.Deployment, "web", "default"))
        made.spec.template.spec.containers[0].image = "broken"
        await here.client.update(made)
        # maxSurge 1, maxUnavailable 1: three old ones stay, two new ones wait.
        await here.until(
            lambda: (
                sorted(one.spec.replicas or 0 for one in here.all(apps.ReplicaSet)) == [2, 3] and len(here.pods()) == 5
            )
        )
        await FakeClock.settle(500)
        assert sorted(one.spec.replicas or 0 for one in here.all(apps.ReplicaSet)) == [2, 3]


async def test_paused_and_resumed(here: World) -> None:
    await here.node()
    async with nodes_that_work(here):
        await here.client.create(world.deployment(replicas=2))
        await here.until(lambda: is_done(here, 2))
        change = {"spec": {"paused": True, "template": {"spec": {"containers": [{"name": "c", "image": "nginx:2"}]}}}}
        await here.client.patch(apps.Deployment, "web", change, "default")
        await here.until(
            lambda: (
                [c.reason for d in here.all(apps.Deployment) for c in d.status.conditions if c.type == "Progressing"]
                == ["DeploymentPaused"]
            )
        )
        assert len(here.all(apps.ReplicaSet)) == 1
        await here.client.patch(apps.Deployment, "web", {"spec": {"paused": False}}, "default")
        await here.until(
            lambda: {one.spec.containers[0].image for one in here.pods()} == {"nginx:2"} and is_done(here, 2)
        )


async def test_history_is_limited(here: World) -> None:
    await here.node()
    async with nodes_that_work(here):
        await here.client.create(world.deployment(replicas=1, revision_history_limit=1))
        await here.until(lambda: is_done(here, 1))
        for image in ("a", "b", "c"):
            change = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}
            await here.client.patch(apps.Deployment, "web", change, "default")
            await here.until(
                lambda i=image: [p.spec.containers[0].image for p in here.pods()] == [i] and is_done(here, 1)
            )
        await here.until(lambda: len(here.all(apps.ReplicaSet)) == 2)
    assert sorted(
        one.metadata.annotations["deployment.kubernetes.io/revision"] for one in here.all(apps.ReplicaSet)
    ) == [
        "3",
        "4",
    ]


async def test_min_ready_seconds_and_the_progress_deadline_run_on_the_clock() -> None:
    clock = FakeClock()
    async with world.world(clock) as here:
        await here.node()
        await here.client.create(world.deployment(replicas=1, min_ready_seconds=30, progress_deadline_seconds=60))
        await here.until(lambda: here.pods() and here.pods()[0].spec.node_name)
        await here.runs(here.pods()[0])
        await here.until(lambda: (d := here.get(apps.Deployment, "web")) and d.status.ready_replicas == 1)
        assert not is_done(here, 1)
        await clock.advance(29)
        assert not is_done(here, 1)
        await clock.advance(2)
        await here.until(lambda: is_done(here, 1))
        change = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "broken"}]}}}}
        await here.client.patch(apps.Deployment, "web", change, "default")
        await here.until(lambda: len(here.pods()) == 2)
        await clock.advance(70)
        await here.until(
            lambda: (
                ("False", "ProgressDeadlineExceeded")
                in [(c.status, c.reason) for d in here.all(apps.Deployment) for c in d.status.conditions]
            )
        )


async def test_slow_start_reaches_the_whole_number(here: World) -> None:
    await here.client.create(world.deployment(replicas=50))
    await here.until(lambda: len(here.pods()) == 50)
    await FakeClock.settle(500)
    assert len(here.all(core.Pod)) == 50
