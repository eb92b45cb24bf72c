"""Whether the options of a list or a watch go together, in upstream's words. Called by reading.py and watching.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api import status

if TYPE_CHECKING:
    from collections.abc import Mapping

_MATCH, _INITIAL = "resourceVersionMatch", "sendInitialEvents"
_EXACT, _NOT_OLDER = "Exact", "NotOlderThan"


def check_list(query: Mapping[str, str]) -> None:
    """ApiError 422 for options that contradict each other, 400 for a revision beside a token that has one."""
    match, version, token = query.get(_MATCH, ""), query.get("resourceVersion", ""), query.get("continue", "")
    errors = []
    if match:
        if not version:
            errors.append(status.field_forbidden(_MATCH, f"{_MATCH} is forbidden unless resourceVersion is provided"))
        if token:
            errors.append(status.field_forbidden(_MATCH, f"{_MATCH} is forbidden when continue is provided"))
        if match not in (_EXACT, _NOT_OLDER):
            errors.append(status.field_not_supported(_MATCH, match, (_EXACT, _NOT_OLDER, "")))
        if match == _EXACT and version == "0":
            errors.append(status.field_forbidden(_MATCH, f'{_MATCH} "exact" is forbidden for resourceVersion "0"'))
    if _INITIAL in query:
        errors.append(status.field_forbidden(_INITIAL, f"{_INITIAL} is forbidden for list"))
    _refuse(errors)
    if token and version not in ("", "0"):
        raise status.bad_request("specifying resource version is not allowed when using continue")


def check_watch(query: Mapping[str, str]) -> None:
    """ApiError 422 for options that contradict each other."""
    match, initial = query.get(_MATCH, ""), _INITIAL in query
    errors = []
    if match:
        if not initial:
            said = f"{_MATCH} is forbidden for watch unless {_INITIAL} is provided"
            errors.append(status.field_forbidden(_MATCH, said))
        if match != _NOT_OLDER:
            errors.append(status.field_not_supported(_MATCH, match, (_NOT_OLDER,)))
        if query.get("continue"):
            errors.append(status.field_forbidden(_MATCH, f"{_MATCH} is forbidden when continue is provided"))
    if initial and match != _NOT_OLDER:
        errors.append(status.field_forbidden(_MATCH, f"{_INITIAL} requires setting {_MATCH} to {_NOT_OLDER}"))
    _refuse(errors)


def _refuse(errors: list[status.FieldError]) -> None:
    if errors:
        raise status.invalid("meta.k8s.io", "ListOptions", "", errors)
