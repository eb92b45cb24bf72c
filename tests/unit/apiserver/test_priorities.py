"""PriorityClasses: the two that are always there, what pods get of them, and what is refused in upstream's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.helpers import server as helper

from skerry.api import status
from skerry.api.types import core, meta, scheduling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from skerry.client.client import Client


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    made = await helper.start()
    yield made.client
    await made.store.close()


def kind(name: str, value: int = 100, **more: Any) -> scheduling.PriorityClass:
    return scheduling.PriorityClass(metadata=meta.ObjectMeta(name=name), value=value, **more)


def pod(name: str = "web", **spec: Any) -> core.Pod:
    return core.Pod(
        metadata=meta.ObjectMeta(name=name, namespace="default"),
        spec=core.PodSpec(containers=[core.Container(name="c", image="nginx")], **spec),
    )


def importance(one: core.Pod) -> tuple[str, int | None, str | None]:
    return one.spec.priority_class_name, one.spec.priority, one.spec.preemption_policy


async def test_a_pod_gets_what_its_class_says(client: Client) -> None:
    await client.create(kind("high", preemption_policy="Never"))
    assert importance(await client.create(pod("none"))) == ("", 0, "PreemptLowerPriority")
    assert importance(await client.create(pod("high", priority_class_name="high"))) == ("high", 100, "Never")
    vital = await client.create(pod("vital", priority_class_name="system-node-critical"))
    assert importance(vital) == ("system-node-critical", 2000001000, "PreemptLowerPriority")
    # The pod keeps what it got.
    await client.delete(scheduling.PriorityClass, "high")
    assert importance(await client.get(core.Pod, "high", "default")) == ("high", 100, "Never")


async def test_the_default_class_is_given_to_pods_without_one(client: Client) -> None:
    await client.create(kind("usual", 7, global_default=True))
    assert importance(await client.create(pod())) == ("usual", 7, "PreemptLowerPriority")
    only = (
        'priorityclasses.scheduling.k8s.io "second" is forbidden: PriorityClass usual is already marked as default. '
        "Only one default can exist"
    )
    with pytest.raises(status.ApiError) as caught:
        await client.create(kind("second", global_default=True))
    assert str(caught.value) == only
    second = await client.create(kind("second"))
    second.global_default = True
    with pytest.raises(status.ApiError) as caught:
        await client.update(second)
    assert str(caught.value) == only
    usual = await client.get(scheduling.PriorityClass, "usual")
    usual.description = "said again"
    assert (await client.update(usual)).global_default


def given(what: str, computed: str) -> str:
    return (
        f"the {what} must not be provided in pod spec; priority admission controller computed {computed} "
        "from the given PriorityClass name"
    )


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"priority_class_name": "gold"}, "no PriorityClass with name gold was found"),
        (
            {"priority": 5},
            given("integer value of priority (5)", "0"),
        ),
        (
            {"priority_class_name": "system-cluster-critical", "preemption_policy": "Never"},
            given("string value of PreemptionPolicy (Never)", "PreemptLowerPriority"),
        ),
    ],
)
async def test_pods_that_are_refused(client: Client, spec: dict[str, Any], why: str) -> None:
    with pytest.raises(status.ApiError) as caught:
        await client.create(pod(**spec))
    assert (caught.value.code, str(caught.value)) == (403, f'pods "web" is forbidden: {why}')


RESERVED = "priority class names with 'system-' prefix are reserved for system use only. error: "


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (kind("a", 1_000_000_001), "value: Forbidden: maximum allowed value of a user defined priority is 1000000000"),
        (kind("system-a"), f"metadata.name: Forbidden: {RESERVED}system-a is not a known system priority class"),
        (
            kind("a", preemption_policy="Always"),
            'preemptionPolicy: Unsupported value: "Always": supported values: "Never", "PreemptLowerPriority"',
        ),
    ],
)
async def test_classes_that_are_refused(client: Client, wanted: scheduling.PriorityClass, text: str) -> None:
    with pytest.raises(status.ApiError) as caught:
        await client.create(wanted)
    name = wanted.metadata.name
    assert str(caught.value) == f'PriorityClass.scheduling.k8s.io "{name}" is invalid: {text}'


async def test_what_a_class_says_of_pods_does_not_change(client: Client) -> None:
    made = await client.create(kind("a"))
    assert (made.metadata.generation, made.preemption_policy) == (1, "PreemptLowerPriority")
    made.value = 200
    with pytest.raises(status.ApiError, match=r"value: Forbidden: may not be changed in an update\."):
        await client.update(made)
    made.value, made.preemption_policy = 100, "Never"
    with pytest.raises(status.ApiError, match='preemptionPolicy: Invalid value: "Never": field is immutable'):
        await client.update(made)


async def test_the_classes_of_the_system_are_there_and_stay(client: Client) -> None:
    found = {one.metadata.name: one.value for one in (await client.list(scheduling.PriorityClass)).items}
    assert found == {"system-cluster-critical": 2000000000, "system-node-critical": 2000001000}
    with pytest.raises(status.ApiError, match="this is a system priority class and cannot be deleted"):
        await client.delete(scheduling.PriorityClass, "system-node-critical")
