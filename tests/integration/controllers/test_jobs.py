"""Jobs and CronJobs against the real API server; the test plays the nodes."""

from __future__ import annotations

from typing import Any

from tests.integration.controllers.world import World, changed, pod_spec, world

from skerry.api.types import batch, core, meta
from skerry.clock import FakeClock


def job(name: str = "work", *, spec: core.PodSpec | None = None, **more: Any) -> batch.Job:
    template = core.PodTemplateSpec(spec=spec or pod_spec(restart_policy="Never"))
    return batch.Job(
        metadata=meta.ObjectMeta(name=name, namespace="default"), spec=batch.JobSpec(template=template, **more)
    )


def pods(here: World, name: str = "work") -> list[core.Pod]:
    """Those that are at work."""
    found = here.pods(**{"batch.kubernetes.io/job-name": name})
    return [one for one in found if one.status.phase not in ("Succeeded", "Failed")]


def said(here: World, name: str = "work") -> batch.JobStatus:
    found = here.get(batch.Job, name)
    return found.status if found is not None else batch.JobStatus()


def is_true(here: World, kind: str, name: str = "work") -> bool:
    return any(one.type == kind and one.status == "True" for one in said(here, name).conditions)


def reason(here: World, kind: str, name: str = "work") -> tuple[str, str]:
    found = next(one for one in said(here, name).conditions if one.type == kind)
    return found.reason, found.message


async def ends(here: World, pod: core.Pod, code: int = 0) -> None:
    """Plays the node: the pod's container ends with this code."""
    pod = await here.runs(pod, ready=False, phase="Failed" if code else "Succeeded")
    ended = core.ContainerStateTerminated(exit_code=code)
    pod.status.container_statuses = [core.ContainerStatus(name="c", state=core.ContainerState(terminated=ended))]
    await here.client.update(pod, subresource="status")


async def test_a_job_counts_every_pod_once(here: World) -> None:
    await here.node()
    await here.client.create(job(completions=5, parallelism=2))
    done: set[str] = set()
    while len(done) < 5:
        found = await here.until(lambda: [one for one in pods(here) if one.metadata.uid not in done])
        assert len(found) <= 2 and all("batch.kubernetes.io/job-tracking" in one.metadata.finalizers for one in found)
        done.add(found[0].metadata.uid)
        await ends(here, found[0])
    await here.until(lambda: is_true(here, "Complete"))
    status = said(here)
    assert (status.succeeded, status.failed, status.active) == (5, 0, 0)
    assert reason(here, "Complete") == ("CompletionsReached", "Reached expected number of succeeded pods")
    assert [one.type for one in status.conditions] == ["SuccessCriteriaMet", "Complete"]
    left = here.pods(**{"job-name": "work"})
    assert len(left) == 5 and not any(one.metadata.finalizers for one in left)
    await here.until(lambda: here.events("Completed") == ["Job completed"])
    # With the Job its pods go.
    await here.client.delete(batch.Job, "work", "default", propagation_policy="Background")
    await here.until(lambda: not here.all(core.Pod))


async def test_pods_of_a_job_that_is_deleted_are_let_go(here: World) -> None:
    await here.client.create(job(parallelism=2, completions=2))
    await here.until(lambda: len(pods(here)) == 2)
    await here.client.delete(batch.Job, "work", "default")  # without a word: they stay
    await here.until(lambda: not here.all(batch.Job) and not any(one.metadata.finalizers for one in pods(here)))
    assert len(pods(here)) == 2 and not any(one.metadata.owner_references for one in pods(here))
    await here.client.create(job("other"))
    await here.until(lambda: len(pods(here, "other")) == 1)
    await here.client.delete(batch.Job, "other", "default", propagation_policy="Foreground")
    await here.until(lambda: not here.all(batch.Job) and not pods(here, "other"))


async def test_failures_end_a_job_and_delay_the_next_pod() -> None:
    clock = FakeClock()
    async with world(clock) as here:
        await here.node()
        await here.client.create(job(backoff_limit=1))
        first = (await here.until(lambda: pods(here)))[0]
        await ends(here, first, 1)
        await here.until(lambda: said(here).failed == 1)
        assert not pods(here)
        await clock.advance(9)
        assert not pods(here)
        await clock.advance(2)
        second = (await here.until(lambda: pods(here)))[0]
        await ends(here, second, 1)
        await here.until(lambda: is_true(here, "Failed"))
        assert reason(here, "Failed") == ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
        assert said(here).failed == 2 and is_true(here, "FailureTarget")


async def test_deadline_suspension_and_time_to_live() -> None:
    clock = FakeClock()
    async with world(clock) as here:
        await here.client.create(job(suspend=True, active_deadline_seconds=60, ttl_seconds_after_finished=100))
        await here.until(lambda: is_true(here, "Suspended"))
        await clock.advance(1000)
        assert not pods(here) and said(here).start_time is None
        await here.node()  # not before: it says nothing for a thousand seconds
        await here.client.update(changed(await here.client.get(batch.Job, "work", "default"), suspend=False))
        await here.until(lambda: len(pods(here)) == 1)
        await here.until(lambda: not is_true(here, "Suspended"))
        await here.client.update(changed(await here.client.get(batch.Job, "work", "default"), suspend=True))
        await here.until(lambda: not pods(here) and is_true(here, "Suspended"))
        for one in here.all(core.Pod):
            await here.stopped(one)
        await here.until(lambda: not here.all(core.Pod))
        assert said(here).failed == 0
        await here.client.update(changed(await here.client.get(batch.Job, "work", "default"), suspend=False))
        await here.until(lambda: len(pods(here)) == 1)
        await here.until(lambda: bool(pods(here)[0].spec.node_name))
        await clock.advance(61)
        going = await here.until(lambda: [one for one in here.all(core.Pod) if one.metadata.deletion_timestamp])
        assert reason(here, "FailureTarget")[0] == "DeadlineExceeded" and not is_true(here, "Failed")
        await here.stopped(going[0])
        await here.until(lambda: is_true(here, "Failed"))
        await clock.advance(99)
        assert here.all(batch.Job)
        await clock.advance(2)
        await here.until(lambda: not here.all(batch.Job) and not here.all(core.Pod))


async def test_indexes(here: World) -> None:
    await here.node()
    await here.client.create(
        job(completions=3, parallelism=3, completion_mode="Indexed", backoff_limit_per_index=0, max_failed_indexes=2)
    )
    found = await here.until(lambda: pods(here) if len(pods(here)) == 3 else [])
    by_index = {one.metadata.labels["batch.kubernetes.io/job-completion-index"]: one for one in found}
    assert sorted(by_index) == ["0", "1", "2"]
    assert by_index["1"].spec.hostname == "work-1" and by_index["1"].metadata.name.startswith("work-1-")
    assert by_index["1"].spec.containers[0].env[0].name == "JOB_COMPLETION_INDEX"
    await ends(here, by_index["0"])
    await ends(here, by_index["2"], 3)
    await here.until(lambda: (said(here).completed_indexes, said(here).failed_indexes) == ("0", "2"))
    await ends(here, by_index["1"])
    await here.until(lambda: is_true(here, "Failed"))
    assert reason(here, "Failed") == ("FailedIndexes", "Job has failed indexes")
    status = said(here)
    assert (status.succeeded, status.failed, status.completed_indexes) == (2, 1, "0-1")


async def test_a_failure_that_ends_the_job_at_once(here: World) -> None:
    await here.node()
    codes = batch.PodFailurePolicyOnExitCodesRequirement(operator="In", values=[42])
    rule = batch.PodFailurePolicyRule(action="FailJob", on_exit_codes=codes)
    await here.client.create(job(pod_failure_policy=batch.PodFailurePolicy(rules=[rule])))
    first = (await here.until(lambda: pods(here)))[0]
    await here.until(lambda: bool(pods(here)[0].spec.node_name))
    first = await here.client.get(core.Pod, first.metadata.name, "default")
    ended = core.ContainerStateTerminated(exit_code=42)
    first.status.container_statuses = [core.ContainerStatus(name="c", state=core.ContainerState(terminated=ended))]
    first.status.phase = "Failed"
    await here.client.update(first, subresource="status")
    await here.until(lambda: is_true(here, "Failed"))
    name = first.metadata.name
    assert reason(here, "Failed") == (
        "PodFailurePolicy",
        f"Container c for pod default/{name} failed with exit code 42 matching FailJob rule at index 0",
    )


async def test_a_cronjob_starts_jobs_in_time() -> None:
    clock = FakeClock()  # 2026-01-01 00:00:00
    async with world(clock) as here:
        template = batch.JobTemplateSpec(spec=job().spec)
        await here.client.create(
            batch.CronJob(
                metadata=meta.ObjectMeta(name="tick", namespace="default"),
                spec=batch.CronJobSpec(
                    schedule="*/5 * * * *", concurrency_policy="Forbid", job_template=template,
                    successful_jobs_history_limit=1,
                ),
            )
        )  # fmt: skip
        await here.until(lambda: here.all(batch.CronJob))

        def tick() -> batch.CronJobStatus:
            return here.all(batch.CronJob)[0].status

        await clock.advance(299)
        assert not here.all(batch.Job)
        await clock.advance(1)
        first = (await here.until(lambda: here.all(batch.Job)))[0]
        assert first.metadata.name == f"tick-{int(clock.now()) // 60}"
        assert first.metadata.annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"] == "2026-01-01T00:05:00Z"
        await here.until(lambda: [one.name for one in tick().active] == [first.metadata.name])
        assert tick().last_schedule_time == "2026-01-01T00:05:00Z"
        await clock.advance(300)
        await here.until(lambda: here.events("JobAlreadyActive"))
        assert len(here.all(batch.Job)) == 1
        await ends(here, pods(here, first.metadata.name)[0])
        # What was due meanwhile is done now, once.
        await here.until(lambda: len(here.all(batch.Job)) == 2 and tick().last_successful_time)
        assert tick().last_schedule_time == "2026-01-01T00:10:00Z"
        second = next(one for one in here.all(batch.Job) if one.metadata.uid != first.metadata.uid)
        assert second.metadata.name != first.metadata.name
        await ends(here, (await here.until(lambda: pods(here, second.metadata.name)))[0])
        await here.until(lambda: [one.metadata.uid for one in here.all(batch.Job)] == [second.metadata.uid])
        await here.until(lambda: here.events("SuccessfulDelete"))
