"""Certificates by name: from which Secret, what is refused, what stays when a Secret is spoilt."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.helpers.tls import pair
from tests.unit.gateway.build import Table, ingress, path, rule, secret, tls, want

from skerry.gateway import certificates
from skerry.gateway.desired import covers


def test_names_get_the_certificates_that_are_asked_for_them() -> None:
    one = ingress("web", rule("a.example", path()), tls=[*tls("a", "a.example", "*.b.example"), *tls("c", "c.example")])
    wanted = want(one, secrets=[secret("a", *pair("a")), secret("c", *pair("c", "rsa"))])
    assert wanted.sni == {"*.b.example": "shop/a", "a.example": "shop/a", "c.example": "shop/c"}
    assert wanted.certificates["shop/a"].chain == pair("a")[0].decode()
    assert wanted.default_certificate == ""
    assert not wanted.problems


def test_without_hosts_it_is_for_those_of_the_rules() -> None:
    wanted = want(ingress("web", rule("a.example", path()), tls=tls("a")), secrets=[secret("a", *pair("a"))])
    assert (wanted.sni, wanted.default_certificate) == ({"a.example": "shop/a"}, "")


def test_without_any_host_it_is_for_all_names_that_have_none_and_the_oldest_is_first() -> None:
    old = ingress("z", rule("", path()), tls=tls("a"), age=1)
    young = ingress("b", default="web", tls=tls("c"))
    wanted = want(young, old, secrets=[secret("a", *pair("a")), secret("c", *pair("c"))])
    assert (wanted.sni, wanted.default_certificate) == ({}, "shop/a")


def test_without_a_secret_the_host_shows_the_default_certificate() -> None:
    wanted = want(ingress("web", rule("a.example", path()), tls=[{"hosts": ["a.example"]}]))
    assert (wanted.sni, dict(wanted.problems)) == ({}, {})
    assert Table(wanted)("a.example", "/") == "shop/web:80"


def test_the_older_ingress_keeps_its_name() -> None:
    young = ingress("a", rule("a.example", path("/young")), tls=tls("c", "a.example"))
    old = ingress("z", rule("a.example", path("/old")), tls=tls("a", "a.example"), age=1)
    wanted = want(young, old, secrets=[secret("a", *pair("a")), secret("c", *pair("c"))])
    assert wanted.sni == {"a.example": "shop/a"}
    why = "a.example already shows the certificate of Secret shop/a, for an older Ingress."
    assert wanted.problems == {"shop/a": (("CertificateConflict", why),)}


def test_a_missing_secret_is_503_for_its_hosts_alone() -> None:
    rules = [rule(host, path()) for host in ("a.example", "x.b.example", "c.example", "y.x.b.example")]
    bad = ingress("bad", *rules, tls=tls("gone", "a.example", "*.b.example"))
    # As whoever renews certificates does: another Ingress, the same host, a path of its own, no TLS.
    solver = ingress("solver", rule("a.example", path("/.well-known/acme-challenge/x", "api", "Exact")))
    wanted = want(bad, solver)
    table = Table(wanted)
    assert [table(host, "/") for host in ("a.example", "x.b.example")] == ["503", "503"]
    assert [table(host, "/") for host in ("c.example", "y.x.b.example")] == ["shop/web:80"] * 2
    assert table("a.example", "/.well-known/acme-challenge/x") == "shop/api:80"
    assert wanted.problems == {"shop/bad": (("MissingSecret", "Secret shop/gone does not exist."),)}
    assert wanted.sni == {}


@pytest.mark.parametrize(
    ("chain", "key", "why"),
    [
        (pair("a")[0], pair("b")[1], "has a certificate that does not belong to its key"),
        (b"", pair("a")[1], "has no tls.crt"),
        (pair("a")[0], b"", "has no tls.key"),
        (b"x", pair("a")[1], "has a tls.crt that holds no certificate in PEM form"),
        (pair("a")[0], b"x", "has a tls.key that holds no private key in PEM form"),
        (*pair("a", "weak"), "has an RSA key of 1024 bits; at least 2048 are needed"),
        (*pair("a", "ed"), "has a key that is neither RSA nor ECDSA"),
        (*pair("a", "k1"), "has a key on the curve secp256k1; P-256, P-384 and P-521 are supported"),
    ],
    ids=["other-key", "no-certificate", "no-key", "bad-certificate", "bad-key", "weak", "ed25519", "curve"],
)
def test_what_is_no_certificate_with_its_key_is_refused_and_the_old_one_stays(
    chain: bytes, key: bytes, why: str
) -> None:
    one = ingress("web", rule("a.example", path()), tls=tls("a", "a.example"))
    bad = secret("a", chain, key)
    first = want(one, secrets=[bad])
    assert first.problems == {"shop/web": (("BadCertificate", f"Secret shop/a {why}."),)}
    assert Table(first)("a.example", "/") == "503"

    good = want(one, secrets=[secret("a", *pair("good"))])
    after = want(one, secrets=[bad], last_good=good.certificates)
    wanted = f"Secret shop/a {why}; the last good certificate stays in use."
    assert after.problems == {"shop/web": (("BadCertificate", wanted),)}
    assert (after.certificates, after.sni) == (good.certificates, good.sni)
    assert Table(after)("a.example", "/") == "shop/web:80"
    # And it still stays at the next look, until the Secret goes.
    again = want(one, secrets=[bad], last_good=after.certificates)
    assert again == after
    assert Table(want(one, last_good=again.certificates))("a.example", "/") == "503"


def test_an_encrypted_key_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x"))
    with pytest.raises(certificates.Unusable, match="encrypted"):
        certificates.read("shop/a", secret("a", pair("a")[0], key.private_bytes(*form)), None)


def test_a_renewed_secret_is_shown_and_an_unchanged_one_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    one = ingress("web", rule("a.example", path()), tls=tls("a", "a.example"))
    first = want(one, secrets=[secret("a", *pair("a"))])
    renewed = want(one, secrets=[secret("a", *pair("new"))], last_good=first.certificates)
    assert renewed.certificates["shop/a"].chain == pair("new")[0].decode()
    monkeypatch.setattr(certificates, "_checked", None)
    assert want(one, secrets=[secret("a", *pair("new"))], last_good=renewed.certificates) == renewed


def test_garbage_around_the_certificates_does_not_reach_envoy() -> None:
    chain = b"subject=/CN=a\n" + pair("a")[0] + b"trailing words\n" + pair("b")[0]
    found = certificates.read("shop/a", secret("a", chain, pair("a")[1]), None)
    assert found.chain == (pair("a")[0] + pair("b")[0]).decode()


@pytest.mark.parametrize(
    ("pattern", "host", "means"),
    [
        ("a.b", "a.b", True),
        ("*.b", "a.b", True),
        ("*.b", "x.a.b", False),
        ("*.b", "b", False),
        ("*.b", "*.b", True),
        ("a.b", "x.b", False),
    ],
)
def test_i2_covers(pattern: str, host: str, means: bool) -> None:
    assert covers(pattern, host) is means
