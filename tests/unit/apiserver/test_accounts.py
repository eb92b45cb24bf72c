"""Service accounts: tokens, whose they are and for how long, and what a new pod is given."""

from __future__ import annotations

import base64
import json

import pytest
from tests.helpers import server as api

from skerry.api import codec, status
from skerry.api.types import authentication, core, meta
from skerry.clock import FakeClock

ISSUER = "https://kubernetes.default.svc.cluster.local"


def account(name="default", **more):
    return core.ServiceAccount(metadata=meta.ObjectMeta(name=name, namespace="default"), **more)


def pod(**spec):
    box = core.Container(name="web", image="host")
    spec = {"containers": [box], **spec}
    return core.Pod(metadata=meta.ObjectMeta(name="p", namespace="default"), spec=core.PodSpec(**spec))


async def token(server, name="default", **spec):
    asked = authentication.TokenRequest(spec=authentication.TokenRequestSpec(**spec))
    body = await server.client.post(core.ServiceAccount, name, "token", asked, "default")
    return codec.decode(authentication.TokenRequest, body)


async def who(server, text):
    return await server.app.server.accounts.user(text)


def bound(to, kind="Pod"):
    return authentication.BoundObjectReference(kind=kind, api_version="v1", name=to.metadata.name, uid=to.metadata.uid)


async def test_a_token_says_whose_it_is_until_its_time_is_over() -> None:
    clock = FakeClock()
    server = await api.start(clock, accounts=True)
    made = await server.client.create(account())
    answer = await token(server, expiration_seconds=600)
    assert answer.spec.audiences == [ISSUER] and answer.spec.expiration_seconds == 600
    assert answer.status.expiration_timestamp == "2026-01-01T00:10:00Z"
    groups = ("system:serviceaccounts", "system:serviceaccounts:default")
    groups = (*groups, "system:authenticated")
    user = await who(server, answer.status.token)
    assert (user.name, user.groups) == ("system:serviceaccount:default:default", groups)
    assert user.uid == made.metadata.uid
    response, _ = await server.ask(
        "GET",
        "/api",
        user=None,
        headers={"authorization": f"Bearer {answer.status.token}"},
    )
    assert response.status == 200
    head, claims, signature = answer.status.token.split(".")
    forged = json.loads(base64.urlsafe_b64decode(claims + "=="))
    forged["exp"] += 10**6
    text = base64.urlsafe_b64encode(json.dumps(forged).encode()).rstrip(b"=").decode()
    for wrong in (f"{head}.{text}.{signature}", f"{head}.{claims}.", "a.b.c", "x", "", f"{head}.{claims}.é"):
        assert await who(server, wrong) is None
    await clock.advance(599)
    assert await who(server, answer.status.token) == user
    await clock.advance(1)
    assert await who(server, answer.status.token) is None


async def test_a_token_ends_with_its_account_and_with_what_it_is_bound_to() -> None:
    server = await api.start(FakeClock(), accounts=True)
    await server.client.create(account())
    plain = (await token(server)).status.token
    vault = (await token(server, audiences=["vault"])).status.token
    assert await who(server, vault) is None  # it is for somebody else
    one = await server.client.create(pod())
    mine = (await token(server, bound_object_ref=bound(one))).status.token
    assert await who(server, mine)
    await server.client.delete(core.Pod, "p", "default", grace_period_seconds=0)
    await server.client.create(pod())
    assert await who(server, mine) is None and await who(server, plain)
    with pytest.raises(status.ApiError, match="does not match the UID in record"):
        await token(server, bound_object_ref=bound(one))
    await server.client.delete(core.ServiceAccount, "default", "default")
    await server.client.create(account())
    assert await who(server, plain) is None


async def test_the_token_of_a_pods_volume_lasts_longer_than_it_says() -> None:
    clock = FakeClock()
    server = await api.start(clock, accounts=True)
    await server.client.create(account())
    one = await server.client.create(pod())
    answer = await token(server, expiration_seconds=3607, bound_object_ref=bound(one))
    assert answer.status.expiration_timestamp == "2026-01-01T01:00:07Z"
    await clock.advance(364 * 86400)
    assert await who(server, answer.status.token)


@pytest.mark.parametrize(
    ("spec", "code", "says"),
    [
        ({"expiration_seconds": 10}, 422, "may not specify a duration less than 10 minutes"),
        ({"expiration_seconds": 1 << 33}, 422, "may not specify a duration larger than 2^32 seconds"),
        ({"bound_object_ref": authentication.BoundObjectReference(kind="Pod", name="no")}, 404, 'pods "no" not found'),
        (
            {"bound_object_ref": authentication.BoundObjectReference(kind="Service", name="n")},
            422,
            "Pod, Secret and Node can be",
        ),
        (
            {"bound_object_ref": authentication.BoundObjectReference(kind="Pod", name="p")},
            400,
            "running with different",
        ),
    ],
)
async def test_what_cannot_be_had(spec, code, says) -> None:
    server = await api.start(FakeClock(), accounts=True)
    await server.client.create(account())
    await server.client.create(account("other"))
    await server.client.create(pod())
    with pytest.raises(status.ApiError) as caught:
        await token(server, "other", **spec)
    assert caught.value.code == code and says in caught.value.message


async def test_a_new_pod_is_given_its_account() -> None:
    server = await api.start(FakeClock(), accounts=True)
    pull = [core.LocalObjectReference(name="registry")]
    await server.client.create(account(image_pull_secrets=pull))
    await server.client.create(account("mute", automount_service_account_token=False))
    found = (await server.client.create(pod())).spec
    (volume,) = found.volumes
    assert volume.name.startswith("kube-api-access-") and len(volume.name) == 21
    sources = volume.projected.sources
    assert (sources[0].service_account_token.path, sources[0].service_account_token.expiration_seconds) == (
        "token",
        3607,
    )
    assert sources[1].config_map.name == "kube-root-ca.crt" and sources[2].downward_api.items[0].path == "namespace"
    (mount,) = found.containers[0].volume_mounts
    assert (mount.name, mount.read_only) == (volume.name, True)
    assert mount.mount_path == "/var/run/secrets/kubernetes.io/serviceaccount"
    assert (found.service_account_name, found.image_pull_secrets) == ("default", pull)
    for spec in ({"automount_service_account_token": False}, {"service_account_name": "mute"}):
        await server.client.delete(core.Pod, "p", "default", grace_period_seconds=0)
        assert (await server.client.create(pod(**spec))).spec.volumes == []
    await server.client.delete(core.Pod, "p", "default", grace_period_seconds=0)
    spec = {"service_account_name": "mute", "automount_service_account_token": True}
    assert len((await server.client.create(pod(**spec))).spec.volumes) == 1


async def test_a_pod_without_an_account_is_refused() -> None:
    server = await api.start(accounts=True)
    await server.client.create(account())
    with pytest.raises(status.ApiError) as caught:
        await server.client.create(pod(service_account_name="no"))
    says = 'pods "p" is forbidden: error looking up service account default/no: serviceaccount "no" not found'
    assert (caught.value.code, caught.value.message) == (403, says)


async def test_a_pod_has_its_account_under_both_names_before_anybody_else_sees_it() -> None:
    server = await api.start(FakeClock(), accounts=True)
    await server.client.create(account())
    made = pod()
    await server.app.server.accounts.admit(made)
    assert (made.spec.service_account_name, made.spec.service_account) == ("default", "default")
