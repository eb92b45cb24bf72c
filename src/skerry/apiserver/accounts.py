"""Service accounts: the tokens that pods speak to the API with, who they belong to, and what a new pod gets of them.

Called by app.py (whose token it is, the subresource serviceaccounts/token) and by verbs.py (what a pod is given when it
is created). Tokens are JSON Web Tokens signed with a key that only the API server has (HS256: nobody else needs to, or
can, check them). One that is bound to a pod ends with it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from skerry.api import codec, resources, status
from skerry.api.types import authentication, core
from skerry.api.wire import Response
from skerry.apiserver import auth, bodies
from skerry.apiserver.metadata import generated
from skerry.clock import rfc3339

if TYPE_CHECKING:
    from skerry.api.wire import Request, User
    from skerry.apiserver.routes import Target
    from skerry.clock import Clock
    from skerry.store.base import Store

T = TypeVar("T")

MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
ROOT_CA = "kube-root-ca.crt"
_EXTRA = "authentication.kubernetes.io"
_SECONDS, _SHORTEST, _LONGEST = 3600, 600, 1 << 32
_VOLUME = "kube-api-access-"
_POD_SECONDS = 3607
"""What the volume of a pod asks for: upstream's own sign for a token that is to be good for longer than it says, so
that programs which read it only once go on working for a year."""
_YEAR = 365 * 24 * 3600
_PATIENCE, _PAUSE = 2.0, 0.02
"""Seconds that a new namespace's account is waited for, and between two looks."""


class _Meta(msgspec.Struct):
    uid: str = ""


class _Object(msgspec.Struct):
    metadata: _Meta


class ServiceAccounts:
    """`key` signs tokens; `zone` is the cluster's domain, which is in their issuer."""

    def __init__(self, store: Store, clock: Clock, key: bytes, zone: str = "cluster.local") -> None:
        self._store, self._clock, self._key = store, clock, key
        self._issuer = f"https://kubernetes.default.svc.{zone}"

    # Who asks.

    async def user(self, token: str) -> User | None:
        """Whose token it is; None for one that is not ours, not for us, too old, or bound to what is gone."""
        found = await self.review(token, [])
        return found[0] if found is not None else None

    async def review(self, token: str, audiences: list[str]) -> tuple[User, list[str]] | None:
        """As `user`, for any of these audiences (none: this server), with those of them that the token is for."""
        claims = self._claims(token)
        wanted = audiences or [self._issuer]
        common = [one for one in wanted if claims is not None and one in claims["aud"]]
        if claims is None or not common:
            return None
        now = self._clock.now()
        if not claims["nbf"] <= now + 1 or claims["exp"] <= now:
            return None
        about = claims["kubernetes.io"]
        namespace, account = about["namespace"], about["serviceaccount"]
        if not await self._is(core.ServiceAccount, namespace, account):
            return None
        extra: dict[str, tuple[str, ...]] = {auth.CREDENTIAL: (f"JTI={claims['jti']}",)}
        for kind in (core.Pod, core.Secret, core.Node):
            bound = about.get(kind.__name__.lower())
            if bound is None:
                continue
            if (kind is not core.Node or "pod" not in about) and not await self._is(kind, namespace, bound):
                return None
            if kind is not core.Secret:
                extra |= {f"{_EXTRA}/{kind.__name__.lower()}-{key}": (value,) for key, value in bound.items()}
        return auth.logged_in(auth.account(namespace, account["name"], account["uid"], extra)), common

    def _claims(self, token: str) -> dict[str, Any] | None:
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(signed)):
            return None
        found: dict[str, Any] = json.loads(_decoded(signed.partition(".")[2]))
        return found

    def _signature(self, signed: str) -> bytes:
        return _encoded(hmac.digest(self._key, signed.encode(), hashlib.sha256))

    async def _is(self, kind: type[Any], namespace: str, named: dict[str, str]) -> bool:
        """Whether there is an object of this name and uid."""
        record = await self._store.get(resources.of(kind).key(namespace, named["name"]))
        return record is not None and msgspec.json.decode(record.value, type=_Object).metadata.uid == named["uid"]

    # New tokens.

    async def request(self, target: Target, request: Request) -> Response:
        """serviceaccounts/NAME/token: makes a token. ApiError 400, 404, 409 or 422."""
        body = bodies.part(request, "authentication", "TokenRequest")
        asked: authentication.TokenRequest = body.object
        spec = asked.spec
        spec.audiences = spec.audiences or [self._issuer]
        seconds = _SECONDS if spec.expiration_seconds is None else spec.expiration_seconds
        spec.expiration_seconds = seconds
        _check_seconds(target.name, seconds)
        account = await self._find(core.ServiceAccount, target.namespace, target.name)
        about: dict[str, Any] = {
            "namespace": target.namespace,
            "serviceaccount": {"name": target.name, "uid": account.metadata.uid},
        }
        if spec.bound_object_ref is not None:
            about |= await self._bound(target, spec.bound_object_ref)
        now = self._clock.now()
        lasting = seconds
        if seconds == _POD_SECONDS and "pod" in about and spec.audiences == [self._issuer]:
            lasting, about["warnafter"] = _YEAR, int(now) + seconds
        token = self._token(about, spec.audiences, int(now), lasting)
        asked.status = authentication.TokenRequestStatus(token=token, expiration_timestamp=rfc3339(now + seconds))
        asked.metadata.name, asked.metadata.namespace = target.name, target.namespace
        asked.metadata.creation_timestamp = rfc3339(now)
        return Response(201, codec.encode(asked), warnings=body.warnings)

    def _token(self, about: dict[str, Any], audiences: list[str], now: int, seconds: int) -> str:
        claims = {
            "aud": audiences,
            "exp": now + seconds,
            "iat": now,
            "iss": self._issuer,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": about,
            "nbf": now,
            "sub": f"system:serviceaccount:{about['namespace']}:{about['serviceaccount']['name']}",
        }
        head = _encoded(b'{"alg":"HS256","typ":"JWT"}')
        signed = (head + b"." + _encoded(json.dumps(claims, separators=(",", ":")).encode())).decode()
        return f"{signed}.{self._signature(signed).decode()}"

    async def _bound(self, target: Target, ref: authentication.BoundObjectReference) -> dict[str, Any]:
        if ref.kind not in ("Pod", "Secret", "Node"):
            what = f'cannot bind token to object of type "{ref.kind}": Pod, Secret and Node can be'
            raise status.invalid(
                "authentication.k8s.io",
                "TokenRequest",
                target.name,
                [status.field_invalid("spec.boundObjectRef", ref.kind, what)],
            )
        kinds: dict[str, type[core.Pod | core.Secret | core.Node]] = {
            "Pod": core.Pod,
            "Secret": core.Secret,
            "Node": core.Node,
        }
        found = await self._find(kinds[ref.kind], target.namespace, ref.name)
        uid = found.metadata.uid
        if ref.uid and ref.uid != uid:
            why = (
                f"the UID in the bound object reference ({ref.uid}) does not match the UID in record ({uid}). "
                "The object might have been deleted and then recreated"
            )
            raise status.conflict("", f"{ref.kind.lower()}s", ref.name, why)
        about: dict[str, Any] = {ref.kind.lower(): {"name": ref.name, "uid": uid}}
        if isinstance(found, core.Pod):
            if found.spec.service_account_name != target.name:
                own = found.spec.service_account_name
                raise status.bad_request(
                    f'cannot bind token for serviceaccount "{target.name}" to pod running with different '
                    f'serviceaccount name: "{own}"'
                )
            if found.spec.node_name:
                record = await self._store.get(resources.of(core.Node).key("", found.spec.node_name))
                node = {"name": found.spec.node_name}
                if record is not None:
                    node["uid"] = msgspec.json.decode(record.value, type=_Object).metadata.uid
                about["node"] = node
        return about

    async def _find(self, kind: type[T], namespace: str, name: str) -> T:
        row = resources.of(kind)
        record = await self._store.get(row.key(namespace, name))
        if record is None:
            raise status.not_found(row.group, row.plural, name)
        return codec.decode(kind, record.value)

    # New pods.

    async def admit(self, pod: core.Pod) -> None:
        """Gives a new pod its account's token (unless one of both does not want it) and pull secrets. ApiError 403."""
        spec = pod.spec
        spec.service_account_name = spec.service_account_name or spec.service_account or "default"
        spec.service_account = spec.service_account_name
        account = await self._account(pod, spec.service_account_name)
        if not spec.image_pull_secrets:
            spec.image_pull_secrets = list(account.image_pull_secrets)
        wanted = spec.automount_service_account_token
        if wanted is None:
            wanted = account.automount_service_account_token
        if wanted is not False:
            mount_token(spec)

    async def _account(self, pod: core.Pod, name: str) -> core.ServiceAccount:
        """The account. That of a namespace which is just being made is waited for."""
        namespace = pod.metadata.namespace
        key = resources.of(core.ServiceAccount).key(namespace, name)
        until = self._clock.monotonic() + _PATIENCE
        while (record := await self._store.get(key)) is None:
            if name != "default" or self._clock.monotonic() > until:
                why = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
                raise status.forbidden("", "pods", pod.metadata.name, why)
            await self._clock.sleep(_PAUSE)
        return codec.decode(core.ServiceAccount, record.value)


def mount_token(spec: core.PodSpec) -> None:
    """Shows every container that has nothing else there the account's token, the cluster's CA and the namespace."""
    everyone = [*spec.init_containers, *spec.containers]
    blind = [one for one in everyone if all(mount.mount_path != MOUNT for mount in one.volume_mounts)]
    if not blind:
        return
    # There is one already if a webhook has added a container meanwhile.
    known = next((one.name for one in spec.volumes if one.name.startswith(_VOLUME)), "")
    name = known or generated(_VOLUME)
    for one in blind:
        one.volume_mounts.append(core.VolumeMount(name=name, read_only=True, mount_path=MOUNT))
    if known:
        return
    token = core.ServiceAccountTokenProjection(expiration_seconds=_POD_SECONDS, path="token")
    authority = core.ConfigMapProjection(name=ROOT_CA, items=[core.KeyToPath(key="ca.crt", path="ca.crt")])
    where = core.ObjectFieldSelector(api_version="v1", field_path="metadata.namespace")
    namespace = core.DownwardAPIProjection(items=[core.DownwardAPIVolumeFile(path="namespace", field_ref=where)])
    parts = [
        core.VolumeProjection(service_account_token=token),
        core.VolumeProjection(config_map=authority),
        core.VolumeProjection(downward_api=namespace),
    ]
    projected = core.ProjectedVolumeSource(default_mode=0o644, sources=parts)
    spec.volumes.append(core.Volume(name=name, projected=projected))


def _check_seconds(name: str, seconds: int) -> None:
    path = "spec.expirationSeconds"
    if seconds < _SHORTEST:
        error = status.field_invalid(path, seconds, "may not specify a duration less than 10 minutes")
    elif seconds > _LONGEST:
        error = status.field_invalid(path, seconds, "may not specify a duration larger than 2^32 seconds")
    else:
        return
    raise status.invalid("authentication.k8s.io", "TokenRequest", name, [error])


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
