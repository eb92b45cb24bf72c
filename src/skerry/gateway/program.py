"""Where Envoy's program is, if it is installed. Called by gateway/ and by `skerry status`; imports nothing heavy."""

from __future__ import annotations

import importlib.util
from pathlib import Path

MISSING = (
    'Ingress needs Envoy, which is not installed: pip install "skerry[ingress]", then `skerry down` and `skerry up`.'
)


def program() -> str:
    """The path of Envoy's program, "" if the extra `ingress` is not installed."""
    found = importlib.util.find_spec("envoy")
    if found is None or found.origin is None:
        return ""
    path = Path(found.origin).parent / "_bin" / "envoy"
    return str(path) if path.exists() else ""
