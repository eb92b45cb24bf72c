"""Paths of Ingress rules, as requests have them. Pure.

Called by desired.py. Envoy brings a request's path into its normal form before it looks for a route (no "/./", no
"/../", letters and digits not escaped, what may not stand in a path escaped); so a rule's path is brought into it too.
"""

from __future__ import annotations

import re
import string
from urllib.parse import quote

_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")
_ESCAPED = re.compile("%([0-9A-Fa-f]{2})")
_KEPT = "/%:@!$&'()*+,;=[]"
"""What stays as it is in a path, beside letters, digits and "-._~"."""


def unmatchable(path: str) -> bool:
    """Does a path hold what begins a query or a fragment? No request's path does."""
    return "?" in path or "#" in path


def normal(path: str, path_type: str | None) -> str:
    """A rule's path as it is compared (I4): of a prefix, without slashes at its end, so that everything's is ""."""
    text = quote(_ESCAPED.sub(_unescaped, path or "/"), safe=_KEPT)
    return text if path_type == "Exact" else text.rstrip("/")


def _unescaped(found: re.Match[str]) -> str:
    char = chr(int(found[1], 16))
    return char if char in _UNRESERVED else found[0]
