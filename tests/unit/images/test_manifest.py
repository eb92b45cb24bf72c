"""Manifests, lists of them and configurations, honest and otherwise."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.node.images import manifest
from skerry.node.images.errors import ImageError
from skerry.node.images.manifest import Descriptor, Manifest, read_config, read_manifest

A, B, C = ("sha256:" + letter * 64 for letter in "abc")


def blob(digest, size=5, **more):
    return {"digest": digest, "size": size, **more}


def dump(**document):
    return json.dumps(document).encode()


@pytest.mark.parametrize("kind", [manifest.DOCKER_MANIFEST, manifest.OCI_MANIFEST])
def test_a_manifest_of_either_kind(kind):
    found = read_manifest(dump(schemaVersion=2, mediaType=kind, config=blob(A), layers=[blob(B), blob(C)]), "")
    assert found == Manifest(Descriptor(A, 5), (Descriptor(B, 5), Descriptor(C, 5)))


@pytest.mark.parametrize("kind", [manifest.DOCKER_LIST, manifest.OCI_INDEX])
def test_a_list_gives_the_manifest_for_the_machine(kind):
    entries = [
        blob(C, platform={"os": "unknown", "architecture": "unknown"}),
        blob(A, platform={"os": "linux", "architecture": "arm64"}),
        blob(B, platform={"os": "linux", "architecture": "amd64"}),
        blob(C, platform={"os": "windows", "architecture": "amd64"}),
    ]
    data = dump(schemaVersion=2, manifests=entries)
    assert read_manifest(data, kind, ("amd64", "")).digest == B
    assert read_manifest(data, kind + "; charset=utf-8", ("arm64", "v8")).digest == A
    with pytest.raises(ImageError, match=r"linux/s390x is not offered, only linux/amd64, linux/arm64, unknown"):
        read_manifest(data, kind, ("s390x", ""))


def test_the_best_variant_is_chosen():
    arm = [blob(d, platform={"os": "linux", "architecture": "arm", "variant": v}) for d, v in ((A, "v6"), (B, "v7"))]
    assert read_manifest(dump(manifests=arm), manifest.OCI_INDEX, ("arm", "v7")).digest == B


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"<html>", "not JSON"),
        (b"[]", "not an object"),
        (b"[" * 100_000, "not JSON"),
        (dump(schemaVersion=1, fsLayers=[]), "schema 1"),
        (dump(schemaVersion=2), "no layers"),
        (
            dump(config=blob(A, mediaType="application/vnd.cncf.helm.config.v1+json"), layers=[]),
            "not a container image",
        ),
        (dump(config=blob("md5:1"), layers=[]), "no sha256 digest"),
        (dump(config=blob("../../etc/passwd"), layers=[]), "no sha256 digest"),
        (dump(config=blob(A, size=-1), layers=[]), "no size"),
        (dump(config=blob(A), layers=[7]), "not an object"),
        (dump(config=blob(A), layers=[blob(B)] * 501), "501 layers"),
        (dump(manifests=[]), "not offered, only nothing"),
    ],
)
def test_what_is_wrong_with_a_manifest_is_said(document, words):
    with pytest.raises(ImageError, match=words):
        read_manifest(document, "")


def test_a_configuration():
    inner = {
        "Entrypoint": ["/a"],
        "Cmd": None,
        "Env": ["A=1=2", "B=", "nonsense"],
        "WorkingDir": "/w",
        "User": "33:33",
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/data": {}},
        "StopSignal": "SIGQUIT",
    }
    config, diffs = read_config(dump(os="linux", config=inner, rootfs={"diff_ids": [A]}))
    assert diffs == [A]
    assert (config.entrypoint, config.cmd, config.env) == (["/a"], [], {"A": "1=2", "B": ""})
    assert (config.working_dir, config.user, config.stop_signal) == ("/w", "33:33", "SIGQUIT")
    assert (config.exposed_ports, config.volumes) == (["80/tcp"], ["/data"])
    assert read_config(dump(rootfs={"diff_ids": []})) == (manifest.ImageConfig(), [])


def test_a_configuration_for_another_system():
    with pytest.raises(ImageError, match="for windows"):
        read_config(dump(os="windows", rootfs={"diff_ids": []}))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from([A, "linux"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["config", "layers", "manifests", "digest", "size", "platform", "rootfs", "diff_ids", "Env"]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@given(json_values)
@settings(max_examples=200, deadline=None)
def test_any_document_is_read_or_refused(value):
    for read in (lambda data: read_manifest(data, ""), read_config):
        with contextlib.suppress(ImageError):
            read(json.dumps(value).encode())
