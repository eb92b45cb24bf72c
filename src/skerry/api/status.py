"""What the API answers when it refuses: `Status` objects with upstream's reasons, codes, causes and wording.

Raised by the API server and, read back from the wire, by the client; validation makes FieldErrors out of which
`invalid` makes the 422.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    409: "Conflict",
    410: "Gone",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
    507: "InternalError",
}

_TEXTS = {
    "FieldValueRequired": "Required value",
    "FieldValueDuplicate": "Duplicate value",
    "FieldValueInvalid": "Invalid value",
    "FieldValueNotSupported": "Unsupported value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueTooLong": "Too long",
    "FieldValueTooMany": "Too many",
    "FieldValueTypeInvalid": "Invalid value",
    "FieldValueNotFound": "Not found",
    "InternalError": "Internal error",
}


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field. `detail` follows the value after a colon; NO_VALUE shows none."""

    reason: str
    field: str
    detail: str = ""
    value: Any = None
    shows_value: bool = True

    @property
    def message(self) -> str:
        """As in a Status cause: `Invalid value: 70000: must be between 1 and 65535, inclusive`."""
        text = _TEXTS[self.reason]
        if self.shows_value:
            text += f": {_shown(self.value)}"
        return f"{text}: {self.detail}" if self.detail else text

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, int | float):
        return str(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def field_invalid(path: str, value: Any, detail: str) -> FieldError:
    return FieldError("FieldValueInvalid", path, detail, value)


def field_required(path: str, detail: str = "") -> FieldError:
    return FieldError("FieldValueRequired", path, detail, shows_value=False)


def field_duplicate(path: str, value: Any) -> FieldError:
    return FieldError("FieldValueDuplicate", path, "", value)


def field_forbidden(path: str, detail: str) -> FieldError:
    return FieldError("FieldValueForbidden", path, detail, shows_value=False)


def field_not_supported(path: str, value: Any, allowed: Iterable[str]) -> FieldError:
    names = ", ".join(f'"{one}"' for one in sorted(allowed))
    return FieldError("FieldValueNotSupported", path, f"supported values: {names}", value)


def field_too_long(path: str, limit: int, unit: str = "bytes") -> FieldError:
    return FieldError("FieldValueTooLong", path, f"may not be more than {limit} {unit}", shows_value=False)


def field_too_many(path: str, found: int, limit: int) -> FieldError:
    return FieldError("FieldValueTooMany", path, f"must have at most {limit} items", found)


class ApiError(Exception):
    """A refusal. `code` is the HTTP status, `reason` upstream's word for it, `details` the Status details."""

    def __init__(
        self, code: int, message: str, *, reason: str | None = None, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.message = code, message
        self.reason = _REASONS.get(code, "Unknown") if reason is None else reason
        self.details = details
        self.warnings: tuple[str, ...] = ()
        """What the client is to be told beside."""

    def status(self) -> dict[str, Any]:
        """The Status object."""
        out: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if self.details is not None:
            out["details"] = self.details
        out["code"] = self.code
        return out


def from_status(code: int, body: Any) -> ApiError:
    """The error that a server's answer tells; `body` is its JSON, or text where it was none."""
    if isinstance(body, dict) and body.get("kind") == "Status":
        return ApiError(
            int(body.get("code") or code),
            str(body.get("message", "")),
            reason=str(body.get("reason", "")),
            details=body.get("details"),
        )
    return ApiError(code, str(body).strip() or f"the server answered {code}")


def _qualified(group: str, plural: str) -> str:
    return f"{plural}.{group}" if group else plural


def _details(group: str, kind: str, name: str, **more: Any) -> dict[str, Any]:
    out: dict[str, Any] = {"name": name} if name else {}
    if group:
        out["group"] = group
    return {**out, "kind": kind, **more}


def not_found(group: str, plural: str, name: str) -> ApiError:
    return ApiError(404, f'{_qualified(group, plural)} "{name}" not found', details=_details(group, plural, name))


def already_exists(group: str, plural: str, name: str) -> ApiError:
    return ApiError(
        409,
        f'{_qualified(group, plural)} "{name}" already exists',
        reason="AlreadyExists",
        details=_details(group, plural, name),
    )


def conflict(
    group: str,
    plural: str,
    name: str,
    why: str = "the object has been modified; please apply your changes to the latest version and try again",
) -> ApiError:
    return ApiError(
        409,
        f'Operation cannot be fulfilled on {_qualified(group, plural)} "{name}": {why}',
        details=_details(group, plural, name),
    )


def invalid(group: str, kind: str, name: str, errors: Sequence[FieldError]) -> ApiError:
    """The 422 of one or more field errors."""
    texts = list(dict.fromkeys(str(one) for one in errors))
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    causes = [{"reason": one.reason, "message": one.message, "field": one.field} for one in errors]
    message = f'{_qualified(group, kind)} "{name}" is invalid: {text}'
    return ApiError(422, message, details=_details(group, kind, name, causes=causes))


def forbidden(group: str, plural: str, name: str, why: str, causes: list[dict[str, Any]] | None = None) -> ApiError:
    named = f' "{name}"' if name else ""
    more = {"causes": causes} if causes else {}
    return ApiError(
        403, f"{_qualified(group, plural)}{named} is forbidden: {why}", details=_details(group, plural, name, **more)
    )


def bad_request(message: str) -> ApiError:
    return ApiError(400, message)


def gone(message: str) -> ApiError:
    """410 with reason Expired: a resourceVersion or continue token that is too old."""
    return ApiError(410, message, reason="Expired")


def is_not_found(error: BaseException) -> bool:
    return isinstance(error, ApiError) and error.code == 404


def is_already_exists(error: BaseException) -> bool:
    return isinstance(error, ApiError) and error.reason == "AlreadyExists"


def is_conflict(error: BaseException) -> bool:
    return isinstance(error, ApiError) and error.code == 409 and error.reason == "Conflict"


def is_expired(error: BaseException) -> bool:
    return isinstance(error, ApiError) and error.code == 410
