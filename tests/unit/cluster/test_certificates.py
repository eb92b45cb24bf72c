"""The cluster's authority and the API server's certificate: names, renewal, a real handshake."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
from cryptography import x509

from skerry.cluster import certificates
from skerry.cluster.certificates import RENEW_DAYS, SERVER_DAYS
from skerry.cluster.paths import ClusterPaths, cluster_paths

DAY = 86400.0


@pytest.fixture
def paths(tmp_path: Path) -> ClusterPaths:
    return cluster_paths("x", tmp_path)


def server_certificate(paths: ClusterPaths) -> x509.Certificate:
    return x509.load_pem_x509_certificate(paths.server_certificate.read_bytes())


def test_files_are_private_and_names_are_all_there(paths: ClusterPaths) -> None:
    now = time.time()
    ends = certificates.ensure(paths, "x", None, now, ("10.96.0.1", "10.243.0.1"))
    for path in (paths.ca_key, paths.ca_certificate, paths.server_key, paths.server_certificate):
        assert path.stat().st_mode & 0o777 == 0o600
    certificate = server_certificate(paths)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    }
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert addresses == {"127.0.0.1", "::1", "10.96.0.1", "10.243.0.1"}
    assert abs(certificate.not_valid_after_utc.timestamp() - ends.server) < 2


def test_nothing_is_made_twice(paths: ClusterPaths) -> None:
    now = time.time()
    ends = certificates.ensure(paths, "x", None, now)
    before = paths.server_certificate.read_bytes()
    assert certificates.ensure(paths, "x", ends, now + DAY) == ends
    assert paths.server_certificate.read_bytes() == before


def test_renewed_before_it_ends_by_the_same_authority(paths: ClusterPaths) -> None:
    now = time.time()
    ends = certificates.ensure(paths, "x", None, now)
    authority = paths.ca_certificate.read_bytes()
    later = now + (SERVER_DAYS - RENEW_DAYS + 1) * DAY
    renewed = certificates.ensure(paths, "x", ends, later)
    assert renewed.server > ends.server and renewed.ca == ends.ca
    assert paths.ca_certificate.read_bytes() == authority


def test_a_lost_file_is_made_again(paths: ClusterPaths) -> None:
    ends = certificates.ensure(paths, "x", None, time.time())
    paths.server_key.unlink()
    assert certificates.needed(paths, ends, time.time())
    certificates.ensure(paths, "x", ends, time.time())
    assert paths.server_key.exists()


def test_an_old_authority_is_replaced(paths: ClusterPaths) -> None:
    now = time.time()
    ends = certificates.ensure(paths, "x", None, now)
    authority = paths.ca_certificate.read_bytes()
    certificates.ensure(paths, "x", ends, ends.ca - DAY)
    assert paths.ca_certificate.read_bytes() != authority


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "10.243.0.1", "kubernetes.default.svc"])
def test_handshake_with_strict_checks(paths: ClusterPaths, host: str) -> None:
    certificates.ensure(paths, "x", None, time.time(), ("10.96.0.1", "10.243.0.1"))
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(paths.server_certificate, paths.server_key)
    client = ssl.create_default_context(cafile=str(paths.ca_certificate))
    client.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
    left, right = socket.socketpair()
    thread = threading.Thread(target=lambda: serving.wrap_socket(left, server_side=True).close())
    thread.start()
    with client.wrap_socket(right, server_hostname=host) as secure:
        assert secure.version() == "TLSv1.3"
    thread.join()


def test_a_client_certificate_names_a_user_and_groups(paths: ClusterPaths) -> None:
    now = time.time()
    certificates.ensure(paths, "x", None, now)
    key, pem = certificates.issue(paths, "alice", ("devs", "ops"), now)
    made = x509.load_pem_x509_certificate(pem)
    assert [(one.oid._name, one.value) for one in made.subject] == [
        ("organizationName", "devs"),
        ("organizationName", "ops"),
        ("commonName", "alice"),
    ]
    made.verify_directly_issued_by(x509.load_pem_x509_certificate(paths.ca_certificate.read_bytes()))
    (usage,) = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert usage._name == "clientAuth"
    assert b"PRIVATE KEY" in key
    with pytest.raises(ValueError, match="64"):
        certificates.issue(paths, "a" * 65, (), now)
