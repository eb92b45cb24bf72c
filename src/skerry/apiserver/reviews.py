"""Questions about people and what they may do: answered, never stored. Called by app.py.

`kubectl auth whoami` and `kubectl auth can-i` ask them, and programs that leave it to the API server whom they trust.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skerry.api import codec, status
from skerry.api.rbac import Question
from skerry.api.types import authentication, authorization, rbac
from skerry.api.wire import Response, User
from skerry.apiserver import auth, bodies
from skerry.apiserver.access import nodes
from skerry.clock import rfc3339

if TYPE_CHECKING:
    from skerry.api.wire import Request
    from skerry.apiserver.access.authorizer import Authorizer
    from skerry.apiserver.app import App
    from skerry.apiserver.routes import Target


async def answer(app: App, target: Target, request: Request) -> Response:
    """The review with its status. ApiError 400, 405 or 422."""
    row, user = target.resource, request.user or auth.ANONYMOUS
    if request.method != "POST" or target.name or (row.namespaced and not target.namespace):
        raise status.ApiError(405, "the server does not allow this method on the requested resource")
    body = bodies.object_of(request, row)
    review, access = body.object, app.server.access
    match row.kind:
        case "SelfSubjectReview":
            review.metadata.creation_timestamp = rfc3339(app.server.clock.now())
            review.status = authentication.SelfSubjectReviewStatus(user_info=_info(auth.logged_in(user)))
        case "TokenReview":
            review.status = await _token(app, review.spec)
        case "SelfSubjectRulesReview":
            review.status = await _rules(access, review, auth.logged_in(user))
        case _:
            review.status = await _access(access, target, review, user)
    return Response(201, codec.encode(review), warnings=body.warnings)


def _info(user: User) -> authentication.UserInfo:
    extra = {key: list(values) for key, values in user.extra.items()}
    return authentication.UserInfo(username=user.name, uid=user.uid, groups=list(user.groups), extra=extra)


async def _token(app: App, spec: authentication.TokenReviewSpec) -> authentication.TokenReviewStatus:
    if not spec.token:
        raise status.bad_request("token is required for TokenReview in authentication")
    accounts = app.server.accounts
    found = await accounts.review(spec.token, spec.audiences) if accounts is not None else None
    if found is not None:
        return authentication.TokenReviewStatus(authenticated=True, user=_info(found[0]), audiences=found[1])
    user = await app.known(spec.token)
    if user is None or spec.audiences:  # tokens of people are for this server, and for no other
        return authentication.TokenReviewStatus(error="the token is not valid for any of the audiences")
    return authentication.TokenReviewStatus(authenticated=True, user=_info(user))


async def _rules(
    access: Authorizer, review: authorization.SelfSubjectRulesReview, user: User
) -> authorization.SubjectRulesReviewStatus:
    namespace = review.spec.namespace
    if not namespace:
        raise status.bad_request("no namespace on request")
    await access.roles.catch_up()
    grants = access.roles.grants(user)
    found = [one.rule for one in grants.rules(namespace)]
    troubles = [grants.trouble(namespace)]
    if nodes.name_of(user):
        troubles.append("node authorizer does not support user rule resolution")
    trouble = "; ".join(filter(None, troubles))
    return authorization.SubjectRulesReviewStatus(
        resource_rules=[_resource_rule(one) for one in found if one.resources],
        non_resource_rules=[
            authorization.NonResourceRule(verbs=one.verbs, non_resource_ur_ls=one.non_resource_ur_ls)
            for one in found
            if one.non_resource_ur_ls
        ],
        incomplete=bool(trouble),
        evaluation_error=trouble,
    )


def _resource_rule(one: rbac.PolicyRule) -> authorization.ResourceRule:
    return authorization.ResourceRule(
        verbs=one.verbs, api_groups=one.api_groups, resources=one.resources, resource_names=one.resource_names
    )


async def _access(
    access: Authorizer, target: Target, review: Any, user: User
) -> authorization.SubjectAccessReviewStatus:
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
        extra = {key.lower(): tuple(values) for key, values in spec.extra.items()}
        user = User(spec.user, tuple(spec.groups), spec.uid, extra)
    if about is None:
        asked = Question(spec.non_resource_attributes.verb, path=spec.non_resource_attributes.path)
    else:
        resource = f"{about.resource}/{about.subresource}" if about.subresource else about.resource
        asked = Question(about.verb, about.group, resource, about.namespace, about.name)
    decision = await access.decide(user, asked)
    return authorization.SubjectAccessReviewStatus(allowed=decision.allowed, reason=decision.reason)
