"""Warnings for addresses that are valid and yet not written as they should be. Called by strategies (S25, E54)."""

from __future__ import annotations

from skerry.api.validation.ip import canonical


def ip_warnings(path: str, text: str) -> list[str]:
    """A sentence for an IP with leading zeros, an IPv4-mapped one, or one that is not in canonical form."""
    best = canonical(text)
    if best is None or best == text:
        return []
    if ":" in text and ":" in best:
        return [f'{path}: IPv6 address "{text}" should be in RFC 5952 canonical format ("{best}")']
    return [f'{path}: non-standard IP address "{text}" is invalid: use "{best}"']
