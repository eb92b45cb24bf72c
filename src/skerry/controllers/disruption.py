"""The condition that says that a pod is ended for a reason which is not its own. Pure. Called by what deletes pods."""

from __future__ import annotations

from typing import Any

from skerry.api.types import core
from skerry.clock import rfc3339


def disrupted(pod: core.Pod, reason: str, message: str, now: float) -> dict[str, Any]:
    """The strategic patch of the pod's status with condition DisruptionTarget; empty if the pod has it so already."""
    known = next((one for one in pod.status.conditions if one.type == "DisruptionTarget"), None)
    if known is not None and (known.status, known.reason, known.message) == ("True", reason, message):
        return {}
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": reason,
        "message": message,
        "lastTransitionTime": rfc3339(now),
    }
    return {"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}}
