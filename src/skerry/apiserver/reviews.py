"""Questions about people and what they may do: answered, never stored. Called by app.py.

`kubectl auth whoami` and `kubectl auth can-i` ask them. auth.py says what the answers are made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skerry.api import codec, status
from skerry.api.types import authentication, authorization
from skerry.api.wire import Response, User
from skerry.apiserver import auth, bodies
from skerry.clock import rfc3339

if TYPE_CHECKING:
    from skerry.api.wire import Request
    from skerry.apiserver.routes import Target
    from skerry.clock import Clock

_ALL = ["*"]


def answer(clock: Clock, target: Target, request: Request) -> Response:
    """The review with its status. ApiError 400, 405 or 422."""
    row, user = target.resource, request.user or User("system:anonymous")
    if request.method != "POST" or target.name or (row.namespaced and not target.namespace):
        raise status.ApiError(405, "the server does not allow this method on the requested resource")
    body = bodies.object_of(request, row)
    review = body.object
    match row.kind:
        case "SelfSubjectReview":
            review.metadata.creation_timestamp = rfc3339(clock.now())
            info = authentication.UserInfo(username=user.name, uid=user.uid, groups=auth.groups(user))
            review.status = authentication.SelfSubjectReviewStatus(user_info=info)
        case "SelfSubjectRulesReview":
            review.status = _rules(review)
        case _:
            review.status = _access(target, review, user)
    return Response(201, codec.encode(review), warnings=body.warnings)


def _rules(review: authorization.SelfSubjectRulesReview) -> authorization.SubjectRulesReviewStatus:
    if not review.spec.namespace:
        raise status.bad_request("no namespace on request")
    return authorization.SubjectRulesReviewStatus(
        resource_rules=[authorization.ResourceRule(verbs=_ALL, api_groups=_ALL, resources=_ALL)],
        non_resource_rules=[authorization.NonResourceRule(verbs=_ALL, non_resource_ur_ls=_ALL)],
    )


def _access(target: Target, review: Any, user: User) -> authorization.SubjectAccessReviewStatus:
    spec, errors = review.spec, []
    if (spec.resource_attributes is None) == (spec.non_resource_attributes is None):
        detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        if spec.resource_attributes is None:
            errors.append(status.field_required("spec.resourceAttributes", detail))
        else:
            errors.append(status.field_forbidden("spec.nonResourceAttributes", detail))
    if not isinstance(review, authorization.SelfSubjectAccessReview) and not (spec.user or spec.groups):
        errors.append(status.field_required("spec.user", "at least one of user or group must be specified"))
    if errors:
        raise status.invalid(target.resource.group, target.resource.kind, "", errors)
    about = spec.resource_attributes
    named = about.namespace if about is not None else ""
    if target.namespace and named != target.namespace:
        raise status.bad_request(f"spec.resourceAttributes.namespace must match namespace: {target.namespace}")
    if not isinstance(review, authorization.SelfSubjectAccessReview):
        user = User(spec.user, tuple(spec.groups), spec.uid)
    why = auth.refusal(user, about.verb, about.group, about.resource, about.name) if about is not None else ""
    return authorization.SubjectAccessReviewStatus(allowed=not why, reason=why)
