"""Image names."""

from __future__ import annotations

import pytest

from skerry.node.images.errors import ImageError
from skerry.node.images.reference import parse

D = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "whole", "version"),
    [
        ("nginx", "docker.io/library/nginx:latest", "latest"),
        ("nginx:1.14.2", "docker.io/library/nginx:1.14.2", "1.14.2"),
        ("library/nginx", "docker.io/library/nginx:latest", "latest"),
        ("index.docker.io/nginx", "docker.io/library/nginx:latest", "latest"),
        ("bitnami/nginx:1", "docker.io/bitnami/nginx:1", "1"),
        ("localhost/a", "localhost/a:latest", "latest"),
        ("localhost:5000/a/b:x", "localhost:5000/a/b:x", "x"),
        ("127.0.0.1:5000/nginx", "127.0.0.1:5000/nginx:latest", "latest"),
        ("[::1]:5000/nginx", "[::1]:5000/nginx:latest", "latest"),
        ("registry.k8s.io/e2e-test-images/agnhost:2.39", "registry.k8s.io/e2e-test-images/agnhost:2.39", "2.39"),
        (f"nginx@{D}", f"docker.io/library/nginx@{D}", D),
        (f"nginx:1.14.2@{D}", f"docker.io/library/nginx:1.14.2@{D}", D),
        (f"h.example:5000/a@{D}", f"h.example:5000/a@{D}", D),
        ("a__b/c-d--e.f", "docker.io/a__b/c-d--e.f:latest", "latest"),
    ],
)
def test_names_and_what_they_mean(text, whole, version):
    found = parse(text)
    assert (str(found), found.version) == (whole, version)


def test_a_digest_makes_the_tag_meaningless():
    assert parse(f"nginx:1@{D}").key == parse(f"nginx@{D}").key == f"docker.io/library/nginx@{D}"


BAD = [
    *("", " ", "nginx:", ":x", "/nginx", "a//b", "nginx:a b", "nginx:-x", "nginx@", "nginx@sha256:12", "nginx@md5:abc"),
    *("-a", "a/-b", "http://x/y", "nginx:" + "t" * 129, "a/" * 140 + "b", "a.example:port/x", "a b", "../x", "ä"),
]


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_name(text):
    with pytest.raises(ImageError) as error:
        parse(text)
    assert error.value.reason == "InvalidImageName"
    assert f'couldn\'t parse image name "{text}"' in error.value.message


def test_upper_case_is_said():
    with pytest.raises(ImageError, match="repository name must be lowercase"):
        parse("MyApp:1")
