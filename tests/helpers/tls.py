"""Certificates made for tests, and which one a server shows. Used by the tests of Ingress and of Gateways."""

from __future__ import annotations

import contextlib
import datetime
import functools
import socket
import ssl
from collections.abc import Iterator
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

PATIENCE = 10.0
"""Seconds that a server may take."""


@functools.cache
def pair(name: str, kind: str = "ec") -> tuple[bytes, bytes]:
    """A certificate of its own authority, and its key, as PEM."""
    key: Any = {
        "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
        "k1": lambda: ec.generate_private_key(ec.SECP256K1()),
        "ed": ed25519.Ed25519PrivateKey.generate,
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "weak": lambda: rsa.generate_private_key(65537, 1024),
    }[kind]()
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=3650))
        .sign(key, None if kind == "ed" else hashes.SHA256())
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    if kind == "ed":
        form = (form[0], serialization.PrivateFormat.PKCS8, form[2])
    return made.public_bytes(serialization.Encoding.PEM), key.private_bytes(*form)


def der(chain: bytes) -> bytes:
    """The first certificate of a PEM chain, as `shown` has it."""
    return ssl.PEM_cert_to_DER_cert(chain.decode())


@contextlib.contextmanager
def connected(address: str, port: int, name: str, *alpn: str) -> Iterator[ssl.SSLSocket]:
    """A connection of a client that asks for a name and believes every certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(list(alpn or ["h2", "http/1.1"]))
    with (
        socket.create_connection((address, port), PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname=name) as found,
    ):
        yield found


def shown(address: str, port: int, name: str, *alpn: str) -> tuple[bytes, str | None]:
    """The certificate (DER) that is shown to who asks for a name, and the protocol that was agreed on.

    OSError (ssl.SSLError too) if there is none for this name.
    """
    with connected(address, port, name, *alpn) as found:
        return found.getpeercert(binary_form=True) or b"", found.selected_alpn_protocol()
