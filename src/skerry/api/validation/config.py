"""Checks of ConfigMap, Secret and ServiceAccount."""

from __future__ import annotations

import base64
import binascii
import json

from skerry.api.status import FieldError, field_forbidden, field_invalid, field_required, field_too_long
from skerry.api.types import core
from skerry.api.validation import names
from skerry.api.validation.errors import checked, unchanged

LIMIT = 1024 * 1024
_IMMUTABLE_SET = "field is immutable when `immutable` is set"
_REQUIRED_KEYS = {
    "kubernetes.io/dockercfg": ((".dockercfg",), True),
    "kubernetes.io/dockerconfigjson": ((".dockerconfigjson",), True),
    "kubernetes.io/ssh-auth": (("ssh-privatekey",), False),
    "kubernetes.io/tls": (("tls.crt", "tls.key"), False),
}


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def create_configmap(obj: core.ConfigMap) -> list[FieldError]:
    """A new ConfigMap."""
    out: list[FieldError] = []
    total = 0
    for key in sorted(obj.data):
        out += checked(f"data[{key}]", key, names.config_key)
        if key in obj.binary_data:
            out.append(field_invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
        total += len(obj.data[key].encode())
    for key in sorted(obj.binary_data):
        out += checked(f"binaryData[{key}]", key, names.config_key)
        total += len(_decoded(obj.binary_data[key]))
    if total > LIMIT:
        # Upstream's error is of the object as a whole: its path is empty.
        out.append(field_too_long("[]", LIMIT))
    return out


def update_configmap(new: core.ConfigMap, old: core.ConfigMap) -> list[FieldError]:
    """A ConfigMap that exists; an immutable one stays as it is."""
    out: list[FieldError] = []
    if old.immutable:
        if not new.immutable:
            out.append(field_forbidden("immutable", _IMMUTABLE_SET))
        if new.data != old.data:
            out.append(field_forbidden("data", _IMMUTABLE_SET))
        if new.binary_data != old.binary_data:
            out.append(field_forbidden("binaryData", _IMMUTABLE_SET))
    return out + create_configmap(new)


def create_secret(obj: core.Secret) -> list[FieldError]:
    """A new Secret."""
    out: list[FieldError] = []
    total = 0
    for key in sorted(obj.data):
        out += checked(f"data[{key}]", key, names.config_key)
        total += len(_decoded(obj.data[key]))
    if total > LIMIT:
        out.append(field_too_long("data", LIMIT))
    account = obj.metadata.annotations.get("kubernetes.io/service-account.name")
    if obj.type == "kubernetes.io/service-account-token" and not account:
        out.append(field_required("metadata.annotations[kubernetes.io/service-account.name]"))
    if obj.type == "kubernetes.io/basic-auth" and not ({"username", "password"} & obj.data.keys()):
        out += [field_required("data[username]"), field_required("data[password]")]
    keys, as_json = _REQUIRED_KEYS.get(obj.type, ((), False))
    for key in keys:
        if key not in obj.data:
            out.append(field_required(f"data[{key}]"))
        elif as_json:
            out += _json(f"data[{key}]", _decoded(obj.data[key]))
    return out


def _json(path: str, data: bytes) -> list[FieldError]:
    try:
        json.loads(data)
    except ValueError as error:
        return [field_invalid(path, "<secret contents redacted>", str(error))]
    return []


def update_secret(new: core.Secret, old: core.Secret) -> list[FieldError]:
    """A Secret that exists; its type stays, and an immutable one stays as it is."""
    out = unchanged("type", new.type, old.type)
    if old.immutable:
        if not new.immutable:
            out.append(field_forbidden("immutable", _IMMUTABLE_SET))
        if new.data != old.data:
            out.append(field_forbidden("data", _IMMUTABLE_SET))
    return out + create_secret(new)
