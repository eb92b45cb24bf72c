"""Where a kubeconfig's context leads, for any Kubernetes: address, certificates, credentials, namespace.

Called by the verbs that take `--kubeconfig` for clusters that are not ours. What would need another program (exec and
auth-provider plugins) or another network path (a proxy) is refused in a sentence.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from skerry.client.http import Address


class KubeconfigError(Exception):
    """The kubeconfig cannot be used; the message is a sentence."""


@dataclass(frozen=True)
class Target:
    """How to reach the cluster of a context."""

    address: Address
    token: str
    namespace: str
    context: str


def load(path: Path, context: str = "") -> Target:
    """What the context (else the current one) of the file means. KubeconfigError with a sentence."""
    document = _read(path)
    name = context or str(document.get("current-context") or "")
    if not name:
        raise KubeconfigError(f"{path} has no current context: choose one with --context.")
    chosen = _named(document, "contexts", "context", name, path)
    cluster = _named(document, "clusters", "cluster", str(chosen.get("cluster", "")), path)
    user = _named(document, "users", "user", str(chosen["user"]), path) if chosen.get("user") else {}
    for key, what in (("exec", "an exec plugin"), ("auth-provider", "an auth-provider plugin")):
        if user.get(key):
            raise KubeconfigError(
                f'The context "{name}" of {path} logs in with {what}, which is not supported: make a kubeconfig with a '
                "token (kubectl create token) or a client certificate."
            )
    if user.get("username"):
        raise KubeconfigError(f'Context "{name}" of {path} logs in with a password, which Kubernetes no longer takes.')
    if cluster.get("proxy-url"):
        raise KubeconfigError(f'Context "{name}" of {path} goes through a proxy (proxy-url), which is not supported.')
    base = path.resolve().parent
    url = urlsplit(str(cluster.get("server", "")))
    if url.scheme not in ("http", "https") or not url.hostname:
        raise KubeconfigError(f'The server of context "{name}" in {path} is no URL: {cluster.get("server")!r}.')
    is_tls = url.scheme == "https"
    address = Address(
        host=url.hostname,
        port=url.port or (443 if is_tls else 80),
        tls=_tls(cluster, user, base) if is_tls else None,
        server_name=str(cluster.get("tls-server-name") or ""),
        prefix=url.path.rstrip("/"),
    )
    return Target(address, _token(user, base), str(chosen.get("namespace") or "default"), name)


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe
    except FileNotFoundError:
        raise KubeconfigError(f"There is no kubeconfig {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise KubeconfigError(f"The kubeconfig {path} cannot be read: {error}.") from None
    except yaml.YAMLError:
        raise KubeconfigError(f"{path} is not YAML.") from None
    if not isinstance(found, dict):
        raise KubeconfigError(f"{path} is not a kubeconfig.")
    return found


def _named(document: dict[str, Any], section: str, key: str, name: str, path: Path) -> dict[str, Any]:
    items = document.get(section) or []
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict) and item.get("name") == name and isinstance(item.get(key), dict):
            return dict(item[key])
    known = ", ".join(sorted(str(item.get("name")) for item in items if isinstance(item, dict))) or "none"
    raise KubeconfigError(f'{path} has no {key} "{name}"; it has {known}.')


def _token(user: dict[str, Any], base: Path) -> str:
    if user.get("token"):
        return str(user["token"])
    if not user.get("tokenFile"):
        return ""
    where = base / str(user["tokenFile"])
    try:
        return where.read_text().strip()
    except OSError as error:
        raise KubeconfigError(f"The token file {where} cannot be read: {error.strerror}.") from None


def _tls(cluster: dict[str, Any], user: dict[str, Any], base: Path) -> ssl.SSLContext:
    try:
        with contextlib.ExitStack() as stack:
            authority = stack.enter_context(_file(cluster, "certificate-authority", base))
            context = ssl.create_default_context(cafile=authority)
            if cluster.get("insecure-skip-tls-verify"):
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            certificate = stack.enter_context(_file(user, "client-certificate", base))
            key = stack.enter_context(_file(user, "client-key", base))
            if certificate:
                context.load_cert_chain(certificate, key)
            return context
    except (OSError, ssl.SSLError) as error:
        raise KubeconfigError(f"A certificate or key of the kubeconfig cannot be used: {error}.") from None


@contextlib.contextmanager
def _file(section: dict[str, Any], key: str, base: Path) -> Iterator[str | None]:
    """The file that `key` names, or one with what `key`-data holds (OpenSSL reads files only)."""
    data = section.get(f"{key}-data")
    if not data:
        yield str(base / str(section[key])) if section.get(key) else None
        return
    try:
        content = base64.b64decode(str(data), validate=True)
    except (binascii.Error, ValueError):
        raise KubeconfigError(f"{key}-data of the kubeconfig is not base64.") from None
    fd, path = tempfile.mkstemp(prefix="skerry-")  # 0600
    try:
        with open(fd, "wb") as file:
            file.write(content)
        yield path
    finally:
        os.unlink(path)
