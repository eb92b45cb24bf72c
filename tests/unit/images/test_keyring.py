"""Accounts for registries out of pull secrets."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api.types import core
from skerry.node.images import keyring, reference


def encoded(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.b64encode(text.encode()).decode()


def secret(auths: Any) -> core.Secret:
    return core.Secret(type="kubernetes.io/dockerconfigjson", data={".dockerconfigjson": encoded({"auths": auths})})


def account(user: str) -> dict[str, str]:
    return {"username": user, "password": "p"}


def users(image: str, *secrets: core.Secret) -> list[str]:
    return [user for user, _ in keyring.lookup(keyring.entries(secrets), reference.parse(image))]


@pytest.mark.parametrize(
    ("place", "image", "fits"),
    [
        ("registry.example.com", "registry.example.com/app:1", True),
        ("https://registry.example.com/v2/", "registry.example.com/app:1", True),
        ("http://registry.example.com/v1/", "registry.example.com/app:1", True),
        ("registry.example.com", "registry.example.com:5000/app:1", False),
        ("registry.example.com:5000", "registry.example.com:5000/app:1", True),
        ("registry.example.com/team", "registry.example.com/team/app:1", True),
        ("registry.example.com/team", "registry.example.com/other/app:1", False),
        ("*.example.com", "registry.example.com/app:1", True),
        ("*.example.com", "a.b.example.com/app:1", False),
        ("reg*.example.com", "registry.example.com/app:1", True),
        ("example.com", "registry.example.com/app:1", False),
        ("https://index.docker.io/v1/", "nginx", True),
        ("docker.io", "team/app:1", True),
        ("https://index.docker.io/v1/", "registry.example.com/nginx", False),
        ("127.0.0.1:5000", "127.0.0.1:5000/app:1", True),
    ],
)
def test_which_place_an_account_is_for(place: str, image: str, fits: bool) -> None:
    assert users(image, secret({place: account("me")})) == (["me"] if fits else [])


def test_the_most_specific_place_comes_first_and_each_account_once() -> None:
    one = secret(
        {"r.example.com": account("all"), "r.example.com/team": account("team"), "*.example.com": account("x")}
    )
    again = secret({"r.example.com": account("all"), "r.example.com/team/app": account("app")})
    assert users("r.example.com/team/app:1", one, again) == ["app", "team", "all", "x"]


def test_both_forms_of_secrets_and_of_accounts() -> None:
    old = core.Secret(
        type="kubernetes.io/dockercfg", data={".dockercfg": encoded({"r.example.com": {"auth": encoded("me:p:w")}})}
    )
    assert keyring.lookup(keyring.entries([old]), reference.parse("r.example.com/a")) == [("me", "p:w")]
    assert keyring.entries([core.Secret(type="Opaque", data={".dockerconfigjson": encoded({})})]) == []


@pytest.mark.parametrize("auths", [None, [], "x", {"r": None}, {"r": {"auth": "!"}}, {"r": {"auth": encoded("me")}}])
def test_what_cannot_be_read_is_left_out(auths: Any) -> None:
    assert keyring.entries([secret(auths)]) == []


@given(st.dictionaries(st.text(), st.dictionaries(st.sampled_from(["username", "password", "auth"]), st.text())))
def test_whatever_people_write_does_no_harm(auths: Any) -> None:
    keyring.lookup(keyring.entries([secret(auths)]), reference.parse("r.example.com/a"))
