"""What a refusal of the API server means to a controller. Called by the controllers' shells."""

from __future__ import annotations

from skerry.api import status

PATIENCE = 1.0
"""Seconds that a refused write waits for the cache to show what came between; it comes in milliseconds if at all."""


def is_namespace_terminating(error: status.ApiError) -> bool:
    """Whether nothing can be created because the namespace is being deleted."""
    causes = (error.details or {}).get("causes") or []
    return error.code == 403 and any(one.get("reason") == "NamespaceTerminating" for one in causes)


def was_behind(error: status.ApiError) -> bool:
    """Whether the server had something newer than we knew."""
    return status.is_conflict(error) or status.is_not_found(error) or status.is_already_exists(error)
