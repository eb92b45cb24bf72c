"""A webhook as its users write them: certificates, an HTTPS server on loopback, and configurations."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import ipaddress
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

MUTATING = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
VALIDATING = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
Answer = dict[str, Any]


class Pair(NamedTuple):
    """PEM of a certificate that signs itself, and of its key."""

    certificate: bytes
    key: bytes

    @property
    def bundle(self) -> str:
        return base64.b64encode(self.certificate).decode()


def certificate(*names: str) -> Pair:
    """For DNS names and addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "webhook")])
    addresses = {one for one in names if one[0].isdigit()}
    alternatives: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(one)) for one in addresses]
    alternatives += [x509.DNSName(one) for one in names if one not in addresses]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return Pair(made.public_bytes(encoding), key.private_bytes(encoding, form, serialization.NoEncryption()))


def patch(*operations: dict[str, Any]) -> Answer:
    """An answer that changes the object."""
    data = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"allowed": True, "patch": data, "patchType": "JSONPatch"}


@dataclass
class Webhook:
    """`answer` makes a response of a request; `asked` are the requests that came, in their order."""

    url: str
    pair: Pair
    answer: Callable[[dict[str, Any]], Answer]
    code: int = 200
    asked: list[dict[str, Any]] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    hangs: bool = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = dict(line.split(": ", 1) for line in head.lower().splitlines()[1:] if line)
            review = json.loads(await reader.readexactly(int(headers["content-length"])))
            request = review["request"]
            self.asked.append(request)
            self.hosts.append(headers["host"])
            if self.hangs:
                await reader.read()
                return
            response = {"uid": request["uid"], **self.answer(request)}
            body = json.dumps({"kind": review["kind"], "apiVersion": review["apiVersion"], "response": response})
            writer.write(f"HTTP/1.1 {self.code} x\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def hook(self, name: str = "a.example.com", path: str = "", **more: Any) -> dict[str, Any]:
        """The webhook of a configuration: of all that is done to ConfigMaps, if `more` does not say otherwise."""
        client = {"url": self.url + path, "caBundle": self.pair.bundle}
        return {**hook(name), "clientConfig": client, **more}


def hook(name: str = "a.example.com") -> dict[str, Any]:
    """The parts of a webhook that have to be said, but for where it is."""
    rule = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
    return {"name": name, "rules": [rule], "sideEffects": "None", "admissionReviewVersions": ["v1"]}


def configuration(kind: str, name: str, *hooks: dict[str, Any]) -> dict[str, Any]:
    """`kind` is Mutating or Validating."""
    api = "admissionregistration.k8s.io/v1"
    return {"apiVersion": api, "kind": f"{kind}WebhookConfiguration", "metadata": {"name": name}, "webhooks": [*hooks]}


@contextlib.asynccontextmanager
async def serving(answer: Callable[[dict[str, Any]], Answer], *names: str) -> AsyncIterator[Webhook]:
    """A webhook on loopback, with a certificate for these names (127.0.0.1 if none are given)."""
    pair = certificate(*(names or ("127.0.0.1",)))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.TemporaryDirectory() as directory:
        both = Path(directory) / "both.pem"
        both.write_bytes(pair.certificate + pair.key)
        context.load_cert_chain(both)
    found = Webhook("", pair, answer)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0, ssl=context)
    found.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        server.close()
