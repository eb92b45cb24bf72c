"""How Jobs come to their end, and that every pod is counted exactly once."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.api import defaults
from skerry.api.types import batch, core, meta
from skerry.clock import parse_rfc3339, rfc3339
from skerry.controllers.job import decide, policies
from skerry.controllers.job import pods as facts

NOW = parse_rfc3339("2026-01-01T01:00:00Z")
START = "2026-01-01T00:59:00Z"


def job(**spec: Any) -> batch.Job:
    template = core.PodTemplateSpec(spec=core.PodSpec(restart_policy=spec.pop("restart", "Never")))
    status = batch.JobStatus(start_time=START, **spec.pop("status", {}))
    one = batch.Job(
        metadata=meta.ObjectMeta(name="work", namespace="default", uid="j"),
        spec=batch.JobSpec(template=template, **spec),
        status=status,
    )
    defaults.apply(one)
    return one


def pod(name: str, state: str = "running", *, index: int = -1, tracked: bool = True, **more: Any) -> core.Pod:
    """`state`: running, done, failed or going."""
    code, ago = more.pop("code", 1 if state == "failed" else 0), more.pop("ago", 100.0)
    annotations = {facts.INDEX: str(index)} if index >= 0 else {}
    if "failures" in more:
        annotations[facts.FAILURES] = str(more.pop("failures"))
    ended = core.ContainerStateTerminated(exit_code=code, finished_at=rfc3339(NOW - ago))
    state_ = core.ContainerState(terminated=ended if state in ("done", "failed") else None)
    return core.Pod(
        metadata=meta.ObjectMeta(
            name=name,
            namespace="default",
            uid=name,
            annotations=annotations,
            finalizers=[facts.FINALIZER] if tracked else [],
            deletion_timestamp=START if state == "going" else None,
            owner_references=[meta.OwnerReference(kind="Job", uid="j", controller=True)],
        ),
        status=core.PodStatus(
            phase={"done": "Succeeded", "failed": "Failed"}.get(state, "Running"),
            container_statuses=[core.ContainerStatus(name="c", state=state_, restart_count=more.pop("restarts", 0))],
            conditions=more.pop("conditions", []),
        ),
    )


def target(found: decide.Decision) -> str:
    """Why it is to end."""
    return next((one.reason for one in found.status.conditions if one.type in decide._TARGETS), "")


def over(found: decide.Decision) -> str:
    return next((one.type for one in found.status.conditions if one.type in ("Complete", "Failed")), "")


def uncounted(succeeded: tuple[str, ...] = (), failed: tuple[str, ...] = ()) -> dict[str, Any]:
    found = batch.UncountedTerminatedPods(succeeded=list(succeeded), failed=list(failed))
    return {"status": {"uncounted_terminated_pods": found}}


RULES = [
    batch.PodFailurePolicyRule(
        action="Ignore",
        on_pod_conditions=[batch.PodFailurePolicyOnPodConditionsPattern(type="DisruptionTarget", status="True")],
    ),
    batch.PodFailurePolicyRule(
        action="FailJob",
        on_exit_codes=batch.PodFailurePolicyOnExitCodesRequirement(container_name="c", operator="In", values=[42]),
    ),
    batch.PodFailurePolicyRule(
        action="FailIndex", on_exit_codes=batch.PodFailurePolicyOnExitCodesRequirement(operator="NotIn", values=[1, 2])
    ),
]
POLICY = batch.PodFailurePolicy(rules=RULES)
DISRUPTED = [core.PodCondition(type="DisruptionTarget", status="True")]


@pytest.mark.parametrize(
    ("spec", "pods", "made", "dropped"),
    [
        ({}, [], 1, []),
        ({"completions": 5, "parallelism": 3}, [], 3, []),
        ({"completions": 5, "parallelism": 3}, [pod("a", "done"), pod("b", "done"), pod("c", "done")], 2, []),
        ({"completions": 5, "parallelism": 0}, [pod("a")], 0, ["a"]),
        ({"completions": 5, "parallelism": 1}, [pod("a"), pod("b")], 0, ["a"]),
        ({"parallelism": 3}, [pod("a", "done"), pod("b")], 0, []),  # a work queue: no more once one succeeded
        ({"parallelism": 3}, [pod("a")], 2, []),
        ({"suspend": True, "parallelism": 3}, [pod("a")], 0, ["a"]),
        ({}, [pod("a", "going")], 1, []),
        ({"pod_replacement_policy": "Failed"}, [pod("a", "going")], 0, []),
        ({}, [pod("a", "failed", ago=9)], 0, []),
        ({}, [pod("a", "failed", ago=11)], 1, []),
        ({}, [pod("a", "failed", ago=12), pod("b", "failed", ago=19, tracked=False)], 0, []),
        ({"completions": 3}, [pod("a", "failed", ago=5), pod("b", "done", ago=4)], 1, []),
        ({"pod_failure_policy": POLICY}, [pod("a", "failed", ago=1, conditions=DISRUPTED)], 1, []),
    ],
)  # fmt: skip
def test_how_many_pods(spec: dict[str, Any], pods: list[core.Pod], made: int, dropped: list[str]) -> None:
    found = decide.decide(job(**spec), pods, NOW)
    assert (len(found.create), sorted(one.metadata.name for one in found.drop)) == (made, dropped)
    if not made and not dropped and any(one.status.phase == "Failed" for one in pods):
        assert found.wait and found.wait > 0


@pytest.mark.parametrize(
    ("spec", "pods", "wanted"),
    [
        ({}, [pod("a", "done")], "CompletionsReached"),
        ({"parallelism": 2}, [pod("a", "done"), pod("b")], ""),
        ({"parallelism": 2}, [pod("a", "done")], "CompletionsReached"),
        ({"backoff_limit": 1}, [pod("a", "failed")], ""),
        ({"backoff_limit": 0}, [pod("a", "failed")], "BackoffLimitExceeded"),
        ({"backoff_limit": 0}, [pod("a", "going")], "BackoffLimitExceeded"),
        ({"backoff_limit": 0, "pod_replacement_policy": "Failed"}, [pod("a", "going")], ""),
        ({"backoff_limit": 2, "restart": "OnFailure"}, [pod("a", restarts=1)], ""),
        ({"backoff_limit": 2, "restart": "OnFailure"}, [pod("a", restarts=2)], "BackoffLimitExceeded"),
        ({"active_deadline_seconds": 61}, [pod("a")], ""),
        ({"active_deadline_seconds": 60}, [pod("a")], "DeadlineExceeded"),
        ({"pod_failure_policy": POLICY}, [pod("a", "failed", code=42), pod("b")], "PodFailurePolicy"),
        ({"pod_failure_policy": POLICY, "backoff_limit": 0}, [pod("a", "failed", conditions=DISRUPTED)], ""),
    ],
)  # fmt: skip
def test_when_it_is_over(spec: dict[str, Any], pods: list[core.Pod], wanted: str) -> None:
    found = decide.decide(job(**spec), pods, NOW)
    assert target(found) == wanted and over(found) == ""
    if wanted:
        assert not found.create and {id(one) for one in found.stop} == {
            id(one) for one in pods if one.status.phase == "Running" and one.metadata.deletion_timestamp is None
        }


def indexed(**spec: Any) -> batch.Job:
    return job(completion_mode="Indexed", completions=spec.pop("completions", 4), **spec)


def test_indexes_are_made_in_order_and_once() -> None:
    pods = [pod("a", "done", index=0), pod("b", index=2), pod("c", index=2), pod("d", index=9)]
    found = decide.decide(indexed(parallelism=3), pods, NOW)
    assert [one.number for one in found.create] == [1, 3]
    assert sorted(one.metadata.name for one in found.drop) in (["b", "d"], ["c", "d"])
    assert (found.status.completed_indexes, found.status.succeeded) == ("0", 1)


def test_a_limit_for_each_index() -> None:
    one = indexed(parallelism=4, backoff_limit_per_index=1)
    pods = [pod("a", "failed", index=0, failures=0), pod("b", "failed", index=1, failures=1), pod("c", index=2)]
    found = decide.decide(one, pods, NOW)
    assert found.create == [decide.New(0, 1, 0), decide.New(3, 0, 0)]
    assert found.status.failed_indexes == "1"
    # The one that is to be replaced is kept until its successor knows how often it failed.
    assert [each.metadata.name for each in found.settled] == ["b"]
    pods.append(pod("e", index=0, failures=1))
    found = decide.decide(one, pods, NOW)
    assert [each.metadata.name for each in found.settled] == ["a", "b"]
    found = decide.decide(indexed(parallelism=4, backoff_limit_per_index=0, max_failed_indexes=0), pods[:1], NOW)
    assert target(found) == "MaxFailedIndexesExceeded"
    found = decide.decide(indexed(completions=1, backoff_limit_per_index=0), pods[:1], NOW)
    assert target(found) == "FailedIndexes"
    other = indexed(parallelism=4, backoff_limit_per_index=5, pod_failure_policy=POLICY)
    found = decide.decide(other, [pod("a", "failed", index=0, failures=0, code=7)], NOW)
    assert found.status.failed_indexes == "0"


def test_enough_indexes() -> None:
    rules = [batch.SuccessPolicyRule(succeeded_indexes="1-2", succeeded_count=1)]
    one = indexed(parallelism=4, success_policy=batch.SuccessPolicy(rules=rules))
    assert target(decide.decide(one, [pod("a", "done", index=0), pod("b", index=1)], NOW)) == ""
    found = decide.decide(one, [pod("a", "done", index=2), pod("b", index=1)], NOW)
    assert (target(found), [each.metadata.name for each in found.stop]) == ("SuccessPolicy", ["b"])
    assert policies.of_success(one, {2}) == "Matched rules at index 0"


def test_a_pod_of_an_index_is_told_which() -> None:
    one = indexed()
    one.spec.template.spec.containers = [core.Container(name="c")]
    made = facts.new_pod(one, 3, 1, 2)
    assert made.metadata.generate_name == "work-3-" and made.spec.hostname == "work-3"
    assert made.metadata.annotations == {facts.INDEX: "3", facts.FAILURES: "1", facts.IGNORED: "2"}
    assert made.spec.containers[0].env[0].value_from.field_ref.field_path == f"metadata.labels['{facts.INDEX}']"


def test_counting_waits_for_the_finalizer() -> None:
    first = decide.decide(job(completions=3), [pod("a", "done"), pod("b", "failed")], NOW)
    noted = first.status.uncounted_terminated_pods
    assert noted and (noted.succeeded, noted.failed, first.status.succeeded) == (["a"], ["b"], 0)
    one = job(completions=3, **uncounted(("a",), ("b",)))
    still = decide.decide(one, [pod("a", "done"), pod("b", "failed", tracked=False)], NOW)
    assert (still.status.succeeded, still.status.failed) == (0, 1)
    assert [each.metadata.name for each in still.settled] == ["a"]


@settings(max_examples=60)
@given(
    st.sampled_from(["NonIndexed", "Indexed"]), st.integers(1, 5), st.integers(1, 4), st.integers(0, 3),
    st.booleans(), st.integers(),
)  # fmt: skip
def test_every_end_is_counted_once_whatever_is_lost_on_the_way(
    mode: str, completions: int, parallelism: int, limit: int, per_index: bool, seed: int
) -> None:
    """Steps of the controller that stop anywhere, pods that end in any way: the numbers are those of what happened."""
    chance, now = random.Random(seed), NOW
    more = {"backoff_limit_per_index": limit} if per_index and mode == "Indexed" else {"backoff_limit": limit}
    one = job(completion_mode=mode, completions=completions, parallelism=parallelism, **more)
    pods: dict[str, core.Pod] = {}
    succeeded: set[str] = set()
    failed: set[str] = set()
    for number in range(400):
        found = decide.decide(one, list(pods.values()), now)
        working = [each for each in pods.values() if not facts.has_ended(each)]
        assert len(working) + len(found.create) <= max(parallelism, len(working))
        for new in found.create:
            made = facts.new_pod(one, *new)
            name = f"p{number}-{new.number}-{len(pods)}-{chance.random()}"
            found_meta = msgspec.structs.replace(made.metadata, name=name, uid=name, namespace="default")
            pods[name] = msgspec.structs.replace(made, metadata=found_meta, status=core.PodStatus(phase="Running"))
        for each in (*found.stop, *found.drop):
            pods.pop(each.metadata.uid)
            if each in found.stop:
                failed.add(each.metadata.uid)
                gone = pod(each.metadata.uid, "failed", index=facts.index_of(each))
                pods[each.metadata.uid] = gone
        if chance.random() < 0.7:  # else the write was lost, and all after it
            one = msgspec.structs.replace(one, status=found.status)
            for each in found.settled:
                if chance.random() < 0.7 and each.metadata.uid in pods:
                    bare = msgspec.structs.replace(pods[each.metadata.uid].metadata, finalizers=[])
                    pods[each.metadata.uid] = msgspec.structs.replace(pods[each.metadata.uid], metadata=bare)
        if decide.ended(one) is not None:
            break
        for name, each in list(pods.items()):
            if facts.has_ended(each) or chance.random() < 0.5:
                continue
            good = chance.random() < 0.6
            (succeeded if good else failed).add(name)
            index, failures = facts.index_of(each), facts.count_of(each, facts.FAILURES)
            state = "done" if good else "failed"
            pods[name] = pod(name, state, index=index, failures=failures, ago=NOW - now)
        now += 700
    last = decide.ended(one)
    assert last is not None
    assert one.status.failed == len(failed)
    if mode == "NonIndexed":
        assert one.status.succeeded == len(succeeded)
    assert not any(facts.is_tracked(each) for each in pods.values())
    assert (last.type == "Complete") == (one.status.succeeded >= completions)
