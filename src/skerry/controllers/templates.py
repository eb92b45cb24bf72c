"""Short names for pod templates, which tell versions of a workload apart. Pure; called by Deployment and revisions."""

from __future__ import annotations

import hashlib

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_DIGITS = 10


def short(data: bytes, collisions: int) -> str:
    """A short name for some content; `collisions` counts how often it was taken already."""
    whole = data + (str(collisions).encode() if collisions else b"")
    number = int.from_bytes(hashlib.sha256(whole).digest()[:8])
    out = ""
    for _ in range(_DIGITS):
        number, digit = divmod(number, len(_ALPHABET))
        out += _ALPHABET[digit]
    return out
