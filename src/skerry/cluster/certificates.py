"""The cluster's own certificate authority and the API server's certificate.

`issue` makes client certificates for `skerry kubeconfig --user`. The rest is called by `skerry up` after it has forked
the daemon, so that importing `cryptography` (0.1 s) and making keys goes on beside the daemon's own imports. Keys are
EC P-256; files are mode 0600 and written atomically.
"""

from __future__ import annotations

import datetime
import ipaddress
from typing import TYPE_CHECKING, NamedTuple

from skerry.cluster.files import make_private_directory, write_private

if TYPE_CHECKING:
    import ssl

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    from skerry.cluster.paths import ClusterPaths

CA_DAYS = 3650
SERVER_DAYS = 365
CLIENT_DAYS = 365
RENEW_DAYS = 30
"""A certificate that ends within so many days is made anew at the next `skerry up`."""

NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
LOOPBACK = ("127.0.0.1", "::1")

_DAY = 86400.0


class Expiry(NamedTuple):
    """When the certificates end, in unix seconds; kept in cluster.json so that nobody parses certificates to know."""

    ca: float
    server: float


def needed(paths: ClusterPaths, expiry: Expiry | None, now: float) -> bool:
    """Whether `ensure` has anything to do: a file is missing or a certificate ends soon."""
    files = (paths.ca_certificate, paths.ca_key, paths.server_certificate, paths.server_key)
    if expiry is None or not all(file.exists() for file in files):
        return True
    return min(expiry) - now < RENEW_DAYS * _DAY


def ensure(
    paths: ClusterPaths, cluster: str, expiry: Expiry | None, now: float, addresses: tuple[str, ...] = ()
) -> Expiry:
    """Make what `needed` asks for. An authority that is still good is kept: kubeconfigs hold a copy of it.

    `addresses`: where the API server answers beside loopback; they stay the same for the cluster's life.
    """
    if not needed(paths, expiry, now):
        assert expiry is not None
        return expiry
    make_private_directory(paths.pki)
    keep = expiry is not None and expiry.ca - now >= RENEW_DAYS * _DAY
    if keep and paths.ca_key.exists() and paths.ca_certificate.exists():
        assert expiry is not None
        ca_key, ca = _load_authority(paths)
        ca_until = expiry.ca
    else:
        ca_key, ca = _make_authority(cluster, now)
        ca_until = now + CA_DAYS * _DAY
        write_private(paths.ca_key, _key_pem(ca_key))
        write_private(paths.ca_certificate, _pem(ca))
    # A server's certificate must not outlive its authority's.
    until = min(now + SERVER_DAYS * _DAY, ca_until)
    key, certificate = _make_server(ca_key, ca, now, until, (*LOOPBACK, *addresses))
    write_private(paths.server_key, _key_pem(key))
    write_private(paths.server_certificate, _pem(certificate) + _pem(ca))
    return Expiry(ca_until, until)


def server_context(paths: ClusterPaths) -> ssl.SSLContext:
    """What the API server listens with: clients may show a certificate, and then it must be of our authority."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(paths.server_certificate, paths.server_key)
    context.load_verify_locations(paths.ca_certificate)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def issue(paths: ClusterPaths, user: str, groups: tuple[str, ...], now: float) -> tuple[bytes, bytes]:
    """A new key and a certificate by which its holder is `user` of `groups` to the API server, both as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    ca_key, ca = _load_authority(paths)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, one) for one in groups),
            x509.NameAttribute(NameOID.COMMON_NAME, user),
        ]
    )
    until = min(now + CLIENT_DAYS * _DAY, ca.not_valid_after_utc.timestamp())
    certificate = (
        _builder(subject, ca.subject, key.public_key(), now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return _key_pem(key), _pem(certificate)


def _load_authority(paths: ClusterPaths) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(paths.ca_key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key, x509.load_pem_x509_certificate(paths.ca_certificate.read_bytes())


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: float, until: float
) -> x509.CertificateBuilder:
    from cryptography import x509

    def instant(unix: float) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(unix, datetime.UTC)

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(instant(now - 300))  # clocks of other machines may be a little behind
        .not_valid_after(instant(until))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _name(common: str, organisation: str = "skerry") -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation), x509.NameAttribute(NameOID.COMMON_NAME, common)]
    )


def _make_authority(cluster: str, now: float) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"skerry-{cluster} certificate authority")
    certificate = (
        _builder(name, name, key.public_key(), now, now + CA_DAYS * _DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True, digital_signature=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def _make_server(
    ca_key: ec.EllipticCurvePrivateKey, ca: x509.Certificate, now: float, until: float, addresses: tuple[str, ...]
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in NAMES]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    certificate = (
        _builder(_name("kube-apiserver"), ca.subject, key.public_key(), now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
            critical=False,
        )
        .sign(ca_key, hashes.SHA256())
    )
    return key, certificate


def _usage(*, digital_signature: bool, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
