"""The probes of one container together (rules R5-R8), in fake time."""

from __future__ import annotations

from skerry.api.types import core
from skerry.clock import FakeClock
from skerry.node.probes.worker import ContainerProbes
from skerry.node.runtime.spec import ExecResult


def probe(word, **more):
    return core.Probe(exec=core.ExecAction(command=[word]), period_seconds=1, **more)


class Box:
    """A container with exec probes that answer as `codes` says; what is told is gathered in `told`."""

    def __init__(self, **probes):
        self.clock = FakeClock()
        self.codes = dict.fromkeys(probes, 0)
        self.runs = []
        self.told = []
        spec = core.Container(name="web", **{f"{kind}_probe": one for kind, one in probes.items()})
        self.probes = ContainerProbes(
            spec, ip="", began=self.clock.now(), run=self.run, clock=self.clock, listener=self
        )
        self.probes.start()

    async def run(self, command, seconds):
        self.runs.append(command[0])
        return ExecResult(code=self.codes[command[0]], output=b"no")

    def ready(self, ready):
        self.told.append(("ready", ready))

    def startup_passed(self):
        self.told.append("started")

    def unhealthy(self, kind, grace):
        self.told.append((kind.value, grace))

    def say(self, reason, message):
        self.told.append((reason, message))


async def test_ready_at_once():
    box = Box(readiness=probe("readiness"))
    await box.clock.advance(0)
    assert box.told == [("ready", True)]
    box.probes.stop()


async def test_startup_holds_the_others_back_r5():
    box = Box(startup=probe("startup"), readiness=probe("readiness"), liveness=probe("liveness"))
    box.codes["startup"] = 1
    await box.clock.advance(0.5)
    assert set(box.runs) == {"startup"} and not box.told
    box.codes["startup"] = 0
    await box.clock.advance(0.5)
    assert box.told == ["started", ("ready", True)]
    box.runs.clear()
    await box.clock.advance(5)
    assert "startup" not in box.runs and {"readiness", "liveness"} == set(box.runs)
    box.probes.stop()


async def test_liveness_failure_is_told_once_r6_r8():
    box = Box(liveness=probe("liveness", termination_grace_period_seconds=4))
    box.codes["liveness"] = 1
    await box.clock.advance(10)
    failed = ("Unhealthy", "Liveness probe failed: no")
    assert box.told == [failed, failed, failed, ("Liveness", 4)]
    box.probes.stop()


async def test_leaving_stops_liveness_but_not_readiness_r7():
    box = Box(liveness=probe("liveness"), readiness=probe("readiness"))
    await box.clock.advance(1.5)
    box.probes.leave()
    box.runs.clear()
    box.codes = {"liveness": 1, "readiness": 1}
    await box.clock.advance(5)
    assert set(box.runs) == {"readiness"}
    assert ("ready", False) in box.told and ("Liveness", None) not in box.told
    box.probes.stop()
