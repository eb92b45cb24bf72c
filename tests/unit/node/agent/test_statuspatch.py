"""The smallest patch, and a writer that only ever writes the newest."""

from __future__ import annotations

import asyncio

from skerry.api import codec
from skerry.api.patch import strategic
from skerry.api.status import ApiError, conflict, not_found
from skerry.api.types import core, meta
from skerry.clock import FakeClock
from skerry.node.agent.statuspatch import StatusWriter, difference


def status(phase="Pending", ip="", conditions=(), **more):
    return core.PodStatus(
        phase=phase,
        pod_ip=ip,
        pod_i_ps=[core.PodIP(ip=ip)] if ip else [],
        conditions=[core.PodCondition(type=kind, status=value, reason=reason) for kind, value, reason in conditions],
        **more,
    )


def applied(old, new):
    """What the API makes of the difference."""
    pod = {"metadata": {"name": "p"}, "status": codec.plain(old)}
    patched = strategic("core", "Pod", pod, {"status": difference(old, new)})
    return codec.convert(core.PodStatus, patched["status"])


def test_nothing_to_say():
    one = status("Running", "10.244.1.5", [("Ready", "True", "")])
    assert difference(one, codec.copy(one)) == {}


def test_only_what_changed():
    assert difference(status("Pending"), status("Running")) == {"phase": "Running"}


def test_others_conditions_stay_and_own_ones_lose_their_reason():
    old = status(conditions=[("Ready", "False", "ContainersNotReady"), ("x/y", "True", "")])
    new = status(conditions=[("Ready", "True", "")])
    found = {one.type: one for one in applied(old, new).conditions}
    assert set(found) == {"Ready", "x/y"}
    assert (found["Ready"].status, found["Ready"].reason) == ("True", "")


def test_addresses_are_replaced():
    assert [one.ip for one in applied(status(ip="10.244.1.5"), status(ip="10.244.1.6")).pod_i_ps] == ["10.244.1.6"]
    assert applied(status(ip="10.244.1.5"), status()).pod_i_ps == []
    assert [one.ip for one in applied(status(), status(ip="10.244.1.6")).pod_i_ps] == ["10.244.1.6"]


def test_container_statuses_are_replaced():
    def of(**more):
        return status(container_statuses=[core.ContainerStatus(name="web", state=core.ContainerState(**more))])

    after = applied(of(waiting=core.ContainerStateWaiting(reason="x")), of(running=core.ContainerStateRunning()))
    assert after.container_statuses[0].state.waiting is None


class Api:
    """A client that holds one pod, and answers when it is let."""

    def __init__(self):
        self.pod = core.Pod(metadata=meta.ObjectMeta(name="p", namespace="default", uid="u1", resource_version="5"))
        self.patches = []
        self.refusals: list[ApiError] = []
        self.free = asyncio.Event()
        self.free.set()

    async def patch(self, kind, name, change, namespace, *, type, subresource):  # noqa: A002 - the client's name for it
        await self.free.wait()
        if self.refusals:
            raise self.refusals.pop(0)
        assert (type, subresource, change["metadata"]) == ("strategic", "status", {"uid": "u1"})
        self.patches.append(change["status"])
        after = strategic("core", "Pod", codec.plain(self.pod), change)
        after["metadata"]["resourceVersion"] = str(int(self.pod.metadata.resource_version) + 1)
        self.pod = codec.convert(core.Pod, after)
        return self.pod


async def test_what_was_wanted_in_between_is_never_written():
    api = Api()
    writer = StatusWriter(api, api.pod, FakeClock())
    api.free.clear()
    for phase in ("Pending", "Running", "Failed"):
        writer.want(status(phase))
        await asyncio.sleep(0)
    api.free.set()
    await writer.flush()
    assert api.patches == [{"phase": "Pending"}, {"phase": "Failed"}]


CONNECTED = [("PodReadyToStartContainers", "True", "")]


async def test_what_is_not_urgent_waits_for_what_comes_next():
    """That the pod has an address is written together with its start, or a quarter of a second later."""
    waiting = [("PodReadyToStartContainers", "False", "")]
    for seconds, writes in ((0.2, 2), (0.3, 3)):
        api, clock = Api(), FakeClock()
        writer = StatusWriter(api, api.pod, clock)
        writer.want(status(conditions=waiting))
        await clock.advance(0)
        writer.want(status(ip="10.244.1.2", conditions=CONNECTED))
        await clock.advance(seconds)
        writer.want(status("Running", ip="10.244.1.2", conditions=CONNECTED))
        await clock.advance(0)
        assert len(api.patches) == writes and api.patches[-1]["phase"] == "Running"
        assert (api.pod.status.pod_ip, len(api.pod.status.conditions)) == ("10.244.1.2", 1)
        writer.close()


async def test_the_last_word_waits_for_nothing():
    api = Api()
    writer = StatusWriter(api, api.pod, FakeClock())
    writer.want(status())
    await writer.flush()
    writer.want(status(ip="10.244.1.2", conditions=CONNECTED))
    assert api.pod.status.pod_ip == ""
    await writer.flush()
    assert api.pod.status.pod_ip == "10.244.1.2"


async def test_an_older_sight_of_the_object_changes_nothing():
    api = Api()
    first = api.pod
    writer = StatusWriter(api, first, FakeClock())
    writer.want(status("Running"))
    await writer.flush()
    writer.observe(first)
    await writer.flush()
    assert api.patches == [{"phase": "Running"}]


async def test_what_another_overwrote_is_written_again():
    api = Api()
    writer = StatusWriter(api, api.pod, FakeClock())
    writer.want(status("Running"))
    await writer.flush()
    other = codec.copy(api.pod)
    other.status.phase, other.metadata.resource_version = "Failed", "9"
    api.pod = other
    writer.observe(other)
    await writer.flush()
    assert api.patches[-1] == {"phase": "Running"} and len(api.patches) == 2


async def test_it_tries_again_until_the_pod_is_gone():
    api, clock = Api(), FakeClock()
    api.refusals = [ApiError(503, "later"), ApiError(500, "again")]
    writer = StatusWriter(api, api.pod, clock)
    writer.want(status("Running"))
    await clock.advance(0.04)
    assert not api.patches
    await clock.advance(1)
    assert api.patches == [{"phase": "Running"}]
    for refusal in (not_found("", "pods", "p"), conflict("", "pods", "p", "another uid")):
        api.refusals = [refusal]
        late = StatusWriter(api, api.pod, clock)
        late.want(status("Failed"))
        await late.flush()
        assert late.gone
