"""Printed columns of pods: T5."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.api import codec, tables
from skerry.api.types import core
from skerry.clock import parse_rfc3339

CREATED = "2026-01-01T00:00:00Z"
NOW = parse_rfc3339(CREATED) + 300
META = {"metadata": {"name": "a", "namespace": "default", "creationTimestamp": CREATED}}


def cells(kind: Any, **fields: Any) -> list[Any]:
    return tables.cells(codec.convert(kind, {**META, **fields}), NOW)


def state(kind: str, **fields: Any) -> dict[str, Any]:
    return {"state": {kind: fields}}


def status(name: str, *, ready: bool = False, restarts: int = 0, **more: Any) -> dict[str, Any]:
    return {"name": name, "ready": ready, "restartCount": restarts, **more}


RUNNING = {"state": {"running": {}}}
DONE = state("terminated", exitCode=0, reason="Completed")
TRUE = {"status": "True"}


@pytest.mark.parametrize(
    ("spec", "pod_status", "wanted"),
    [
        ({"containers": [{"name": "a"}]}, {"phase": "Pending"}, ["0/1", "Pending", "0"]),
        ({"containers": [{"name": "a"}]},
         {"phase": "Running", "containerStatuses": [status("a", ready=True, **RUNNING)]},
         ["1/1", "Running", "0"]),
        # Ready and running both count.
        ({"containers": [{"name": "a"}]}, {"phase": "Running", "containerStatuses": [status("a", ready=True)]},
         ["0/1", "Running", "0"]),
        ({"containers": [{"name": "a"}, {"name": "b"}]},
         {"phase": "Running", "containerStatuses": [
             status("a", restarts=2, **state("waiting", reason="CrashLoopBackOff")),
             status("b", restarts=1, **state("waiting", reason="ErrImagePull"))]},
         ["0/2", "CrashLoopBackOff", "3"]),
        ({"containers": [{"name": "a"}]}, {"phase": "Failed", "reason": "Evicted"}, ["0/1", "Evicted", "0"]),
        ({"containers": [{"name": "a"}]},
         {"phase": "Failed", "containerStatuses": [status("a", **state("terminated", exitCode=2))]},
         ["0/1", "ExitCode:2", "0"]),
        ({"containers": [{"name": "a"}]},
         {"phase": "Failed", "containerStatuses": [status("a", **state("terminated", exitCode=137, signal=9))]},
         ["0/1", "Signal:9", "0"]),
        ({"containers": [{"name": "a"}]},
         {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]},
         ["0/1", "SchedulingGated", "0"]),
        # One container done while another runs.
        ({"containers": [{"name": "a"}, {"name": "b"}]},
         {"phase": "Running", "conditions": [{"type": "Ready", **TRUE}],
          "containerStatuses": [status("a", **DONE), status("b", ready=True, **RUNNING)]}, ["1/2", "Running", "0"]),
        ({"containers": [{"name": "a"}, {"name": "b"}]},
         {"phase": "Running", "containerStatuses": [status("a", **DONE), status("b", ready=True, **RUNNING)]},
         ["1/2", "NotReady", "0"]),
        # Init containers.
        ({"containers": [{"name": "a"}], "initContainers": [{"name": "i"}, {"name": "j"}]},
         {"phase": "Pending", "initContainerStatuses": [status("i", restarts=1, **DONE), status("j", **RUNNING)]},
         ["0/1", "Init:1/2", "1"]),
        ({"containers": [{"name": "a"}], "initContainers": [{"name": "i"}]},
         {"phase": "Pending",
          "initContainerStatuses": [status("i", **state("terminated", exitCode=1, reason="Error"))]},
         ["0/1", "Init:Error", "0"]),
        ({"containers": [{"name": "a"}], "initContainers": [{"name": "i"}]},
         {"phase": "Pending", "initContainerStatuses": [status("i", **state("terminated", exitCode=1))]},
         ["0/1", "Init:ExitCode:1", "0"]),
        ({"containers": [{"name": "a"}], "initContainers": [{"name": "i"}]},
         {"phase": "Pending", "initContainerStatuses": [status("i", **state("waiting", reason="CrashLoopBackOff"))]},
         ["0/1", "Init:CrashLoopBackOff", "0"]),
        ({"containers": [{"name": "a"}], "initContainers": [{"name": "i"}]},
         {"phase": "Pending", "initContainerStatuses": [status("i", **state("waiting", reason="PodInitializing"))]},
         ["0/1", "Init:0/1", "0"]),
        # Sidecars count in both numbers of Ready.
        ({"containers": [{"name": "a"}], "initContainers": [{"name": "s", "restartPolicy": "Always"}]},
         {"phase": "Running", "initContainerStatuses": [status("s", ready=True, restarts=1, started=True, **RUNNING)],
          "containerStatuses": [status("a", ready=True, restarts=1, **RUNNING)]}, ["2/2", "Running", "2"]),
        # When last.
        ({"containers": [{"name": "a"}]},
         {"phase": "Running", "containerStatuses": [status("a", ready=True, restarts=3, **RUNNING, lastState={
             "terminated": {"exitCode": 1, "finishedAt": CREATED}})]}, ["1/1", "Running", "3 (5m ago)"]),
    ],
)  # fmt: skip
def test_t5_pod(spec: dict[str, Any], pod_status: dict[str, Any], wanted: list[str]) -> None:
    assert cells(core.Pod, spec=spec, status=pod_status)[1:4] == wanted


@pytest.mark.parametrize(
    ("pod_status", "wanted"),
    [
        ({"phase": "Running"}, "Terminating"),
        ({"phase": "Running", "reason": "NodeLost"}, "Unknown"),
        ({"phase": "Succeeded"}, "Succeeded"),
    ],
)
def test_t5_deleted_pod(pod_status: dict[str, Any], wanted: str) -> None:
    metadata = {**META["metadata"], "deletionTimestamp": CREATED}
    assert cells(core.Pod, metadata=metadata, status=pod_status)[2] == wanted


def test_t5_wide() -> None:
    row = cells(
        core.Pod,
        spec={"nodeName": "node-1", "readinessGates": [{"conditionType": "a/b"}, {"conditionType": "a/c"}]},
        status={"podIPs": [{"ip": "10.244.1.2"}], "conditions": [{"type": "a/b", **TRUE}]},
    )
    assert row[4:] == ["5m", "10.244.1.2", "node-1", "<none>", "1/2"]
    assert cells(core.Pod)[5:] == ["<none>"] * 4


def test_rows_of_ended_pods_say_so() -> None:
    obj = codec.convert(core.Pod, {**META, "status": {"phase": "Succeeded"}})
    assert tables.row(obj, NOW)["conditions"][0]["reason"] == "Succeeded"
    assert "conditions" not in tables.row(codec.convert(core.Pod, META), NOW)
