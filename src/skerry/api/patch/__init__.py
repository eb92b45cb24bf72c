"""The three kinds of patch on plain JSON values. Called by the API server's PATCH; pure, and inputs are never changed.

`json_patch` is RFC 6902, `merge` RFC 7396, `strategic` upstream's own kind, which knows from the table of types how
lists are merged. All raise PatchError; the outcome is then checked like any body (api.schema).
"""

from __future__ import annotations

from skerry.api.patch.base import PatchError, shown
from skerry.api.patch.jsonpatch import json_patch
from skerry.api.patch.merge import merge
from skerry.api.patch.strategic import strategic

__all__ = ["PatchError", "json_patch", "merge", "shown", "strategic"]
