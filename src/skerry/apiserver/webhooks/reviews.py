"""What a webhook is sent, and what its answer means: AdmissionReview as JSON. Pure; called by admitting.py."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, NamedTuple

from skerry.api import codec, status
from skerry.api.patch import PatchError, json_patch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from skerry.apiserver.webhooks.matching import Hook, Operation


class CallError(Exception):
    """A webhook could not be asked, or its answer is none. The text says why, as upstream says it."""


class Verdict(NamedTuple):
    """`patch`: operations, or None; `status`: what the webhook said of a refusal."""

    allowed: bool
    patch: Any = None
    status: Mapping[str, Any] = {}
    warnings: tuple[str, ...] = ()


def request(
    hook: Hook, operation: Operation, version: str, uid: str, new: dict[str, Any] | None, old: dict[str, Any] | None
) -> bytes:
    """The AdmissionReview; `version` is that of the resource which the hook's rules name."""
    target = operation.target
    row = target.resource
    group, said, kind = operation.kind or (row.group, row.version, row.kind)
    seen = version if operation.kind is None else said
    user = operation.user
    body: dict[str, Any] = {
        "uid": uid,
        "kind": {"group": group, "version": seen, "kind": kind},
        "resource": {"group": row.group, "version": version, "resource": row.plural},
        "requestKind": {"group": group, "version": said, "kind": kind},
        "requestResource": {"group": row.group, "version": row.version, "resource": row.plural},
    }
    if target.subresource:
        body["subResource"] = body["requestSubResource"] = target.subresource
    if target.name:
        body["name"] = target.name
    if operation.namespace:
        body["namespace"] = operation.namespace
    who: dict[str, Any] = {"username": user.name}
    if user.uid:
        who["uid"] = user.uid
    if user.groups:
        who["groups"] = list(user.groups)
    if user.extra:
        who["extra"] = {key: list(values) for key, values in user.extra.items()}
    body |= {
        "operation": operation.verb,
        "userInfo": who,
        "object": _as(new, row.version, version),
        "oldObject": _as(old, row.version, version),
        "dryRun": operation.dry,
        "options": operation.said(),
    }
    api = f"admission.k8s.io/{hook.review}"
    return codec.encode({"kind": "AdmissionReview", "apiVersion": api, "request": body})


def _as(obj: dict[str, Any] | None, own: str, version: str) -> dict[str, Any] | None:
    """An object in another version: custom kinds differ in the name alone."""
    if obj is None or own == version:
        return obj
    return {**obj, "apiVersion": f"{obj['apiVersion'].rpartition('/')[0]}/{version}"}


def verdict(hook: Hook, uid: str, body: bytes, *, mutating: bool) -> Verdict:
    """What the webhook's answer means. CallError if it is none."""
    try:
        review = codec.parse(body)
    except ValueError as error:
        raise CallError(f"failed to call webhook: the answer is no JSON: {error}") from None
    answer = review.get("response") if isinstance(review, dict) else None
    if not isinstance(answer, dict):
        raise _wrong("webhook response was absent")
    if hook.review == "v1":
        _check(review, answer, uid, mutating=mutating)
    patch = None
    if answer.get("patch") and mutating:
        if answer.get("patchType", "JSONPatch") != "JSONPatch":
            raise CallError(f'unsupported patch type "{answer["patchType"]}"')
        try:
            patch = codec.parse(base64.b64decode(answer["patch"], validate=True))
        except (ValueError, TypeError, binascii.Error) as error:
            raise CallError(f"received undecodable patch in webhook response: {error}") from None
    told = answer.get("warnings")
    said = answer.get("status")
    return Verdict(
        answer.get("allowed") is True,
        patch,
        said if isinstance(said, dict) else {},
        tuple(one for one in told if isinstance(one, str)) if isinstance(told, list) else (),
    )


def _check(review: dict[str, Any], answer: dict[str, Any], uid: str, *, mutating: bool) -> None:
    if answer.get("uid") != uid:
        raise _wrong(f'expected response.uid="{uid}", got "{answer.get("uid", "")}"')
    found = review.get("apiVersion", ""), review.get("kind", "")
    if found != ("admission.k8s.io/v1", "AdmissionReview"):
        wanted = "admission.k8s.io/v1, Kind=AdmissionReview"
        raise _wrong(f"expected webhook response of {wanted}, got {found[0] or '/'}, Kind={found[1]}")
    patch, kind = answer.get("patch"), answer.get("patchType")
    if not mutating:
        for name in ("patch", "patchType"):
            if answer.get(name):
                raise _wrong(f"validating webhook may not return response.{name}")
        return
    if patch and kind is None:
        raise _wrong("webhook returned response.patch but not response.patchType")
    if not patch and kind is not None:
        raise _wrong("webhook returned response.patchType but not response.patch")
    if kind == "":
        raise _wrong('webhook returned invalid response.patchType of ""')


def _wrong(why: str) -> CallError:
    return CallError(f"received invalid webhook response: {why}")


def patched(hook: Hook, obj: dict[str, Any] | None, operations: Any) -> dict[str, Any]:
    """The object that a webhook makes of it. ApiError 500 if it cannot."""
    if obj is None:
        raise _internal(
            f'admission webhook "{hook.name}" attempted to modify the object, which is not supported for this operation'
        )
    try:
        made = json_patch(obj, operations)
    except PatchError as error:
        raise _internal(str(error)) from None
    if not isinstance(made, dict):
        raise _internal(f'admission webhook "{hook.name}" left no object')
    return made


def refusal(hook: Hook, said: Mapping[str, Any]) -> status.ApiError:
    """The Status of a request that a webhook refused: its own code, reason and details if it gave some."""
    by = f'admission webhook "{hook.name}" denied the request'
    message, reason = str(said.get("message") or ""), str(said.get("reason") or "")
    why = message or reason
    code = said.get("code")
    if not isinstance(code, int) or not 400 <= code < 600:
        code = 400
    details = said.get("details")
    return status.ApiError(
        code,
        f"{by}: {why}" if why else f"{by} without explanation",
        reason=reason,
        details=details if isinstance(details, dict) else None,
    )


def failed(hook: Hook, error: CallError) -> status.ApiError:
    """The Status of a request that fails because a webhook could not be asked."""
    return _internal(f'failed calling webhook "{hook.name}": {error}')


def _internal(why: str) -> status.ApiError:
    return status.ApiError(500, f"Internal error occurred: {why}", details={"causes": [{"message": why}]})
