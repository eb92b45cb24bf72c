"""Certificates with their keys from Secrets: read, compared, and written anew as Envoy takes them. Pure.

Called by desired.py and routes/. Everything that Envoy would refuse is refused here, with a sentence: one bad Secret
must not hold up the listener that all share. cryptography is imported when the first certificate is read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from skerry.api.types import core
from skerry.gateway.model import Certificate, Problem

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

_CHAIN, _KEY = "tls.crt", "tls.key"
_RSA_BITS = 2048
_CURVES = ("secp256r1", "secp384r1", "secp521r1")


class Unusable(ValueError):
    """Why a Secret is no certificate: the end of a sentence that begins with its name."""


class Certificates:
    """Of Secrets, each read once. `found`: by the Secret's key, `looked_up`: all keys that were asked for."""

    def __init__(self, secrets: Mapping[str, core.Secret], last_good: Mapping[str, Certificate]) -> None:
        self._secrets, self._last_good = secrets, last_good
        self._problems: dict[str, Problem | None] = {}
        self.found: dict[str, Certificate] = {}

    @property
    def looked_up(self) -> frozenset[str]:
        return frozenset(self._problems)

    def problem(self, key: str) -> Problem | None:
        """What is wrong with a Secret; the last good certificate may be `found` all the same."""
        if key not in self._problems:
            self._problems[key] = self._look(key)
        return self._problems[key]

    def _look(self, key: str) -> Problem | None:
        secret, good = self._secrets.get(key), self._last_good.get(key)
        if secret is None:
            return Problem("MissingSecret", f"Secret {key} does not exist.")
        try:
            self.found[key] = read(key, secret, good)
        except Unusable as error:
            if good is None:
                return Problem("BadCertificate", f"Secret {key} {error}.")
            self.found[key] = good
            return Problem("BadCertificate", f"Secret {key} {error}; the last good certificate stays in use.")
        return None


def read(key: str, secret: core.Secret, last_good: Certificate | None) -> Certificate:
    """The certificate of a Secret (`key`: namespace/name); `last_good` itself if it is of the same bytes. Unusable."""
    chain, private = _bytes(secret, _CHAIN), _bytes(secret, _KEY)
    digest = hashlib.sha256(hashlib.sha256(chain).digest() + private).hexdigest()
    if last_good is not None and last_good.digest == digest:
        return last_good
    return Certificate(key, *_checked(chain, private), digest)


def _bytes(secret: core.Secret, name: str) -> bytes:
    if not secret.data.get(name):
        raise Unusable(f"has no {name}")
    try:
        return base64.b64decode(secret.data[name], validate=True)
    except (binascii.Error, ValueError):
        raise Unusable(f"has a {name} that is not base64") from None


def _checked(chain: bytes, private: bytes) -> tuple[str, str]:
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
        load_pem_private_key,
    )
    from cryptography.x509 import load_pem_x509_certificates

    try:
        found = load_pem_x509_certificates(chain)
        public = found[0].public_key()
    except Exception as error:  # whatever a parser says of hostile bytes, it is no certificate
        raise Unusable(f"has a {_CHAIN} that holds no certificate in PEM form") from error
    try:
        key = load_pem_private_key(private, password=None)
    except TypeError:
        raise Unusable(f"has a {_KEY} that is encrypted") from None
    except Exception as error:
        raise Unusable(f"has a {_KEY} that holds no private key in PEM form") from error
    _supported(key)
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != public.public_bytes(*form):
        raise Unusable("has a certificate that does not belong to its key")
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return _chain(found), text


def _supported(key: PrivateKeyTypes) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < _RSA_BITS:
            raise Unusable(f"has an RSA key of {key.key_size} bits; at least {_RSA_BITS} are needed")
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        if key.curve.name not in _CURVES:
            raise Unusable(f"has a key on the curve {key.curve.name}; P-256, P-384 and P-521 are supported")
    else:
        raise Unusable("has a key that is neither RSA nor ECDSA")


def _chain(found: list[x509.Certificate]) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return "".join(one.public_bytes(Encoding.PEM).decode() for one in found)
