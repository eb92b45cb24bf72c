"""Real helm, of the wheels that kubectl comes from: 4 (server-side apply) and 3 (its own merge). Called by tests."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.helpers.kubectl import HELM, Done, Kubectl, binary

CHART = Path(__file__).resolve().parents[1] / "charts" / "harbour"
HELM_3 = "1.32"
"""The kubectl whose wheel has the last helm 3."""


@dataclass(frozen=True)
class Helm:
    """helm in the namespace of a kubectl's context."""

    kubectl: Kubectl
    wheel: str = HELM

    def run(self, *arguments: str, timeout: float = 90) -> Done:
        """Run `helm ARGUMENTS` to its end, at most `timeout` seconds; any exit code is an answer. KubectlMissing."""
        command = [str(binary(self.wheel, "helm")), *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=False, env=self.kubectl.env()
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def __call__(self, *arguments: str) -> str:
        """As `run`, for what must succeed: its standard output; AssertionError with everything said if it fails."""
        done = self.run(*arguments)
        if done.code != 0:
            raise AssertionError(f"helm {' '.join(arguments)}: exit {done.code}\n{done.out}\n{done.err}")
        return done.out

    def revisions(self, release: str) -> list[tuple[int, str]]:
        """What `helm history` knows: numbers and states, oldest first."""
        found: Any = json.loads(self("history", release, "-o", "json"))
        return [(one["revision"], one["status"]) for one in found]
