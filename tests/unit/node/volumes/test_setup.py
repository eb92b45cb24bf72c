"""Volumes on disk."""

from __future__ import annotations

import base64
import os
import re
import stat

import pytest

from skerry.api.types import core, meta
from skerry.node.volumes.mounts import mounts
from skerry.node.volumes.payload import Sources, TokenKey, VolumeError, needs, tokens
from skerry.node.volumes.setup import prepare, refresh

FACTS = {"podIP": "10.244.1.5"}


def pod(*volumes, **more):
    return core.Pod(
        metadata=meta.ObjectMeta(name="p", namespace="shop", uid="u1", labels={"app": "x", "b": 'y"'}),
        spec=core.PodSpec(containers=[core.Container(name="web")], volumes=list(volumes), **more),
    )


def config(data, **more):
    volume = core.Volume(name="v", config_map=core.ConfigMapVolumeSource(name="c", **more))
    return volume, Sources({"c": core.ConfigMap(data=data)})


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_empty_dir(tmp_path):
    made = pod(core.Volume(name="v", empty_dir=core.EmptyDirVolumeSource()))
    assert prepare(made, tmp_path, Sources(), FACTS) == {"v": str(tmp_path / "v")}
    assert mode(tmp_path / "v") == 0o777
    (tmp_path / "v" / "kept").touch()
    prepare(made, tmp_path, Sources(), FACTS)
    assert (tmp_path / "v" / "kept").exists()


def test_config_map_and_its_update(tmp_path):
    volume, sources = config({"a": "1", "b": "2"})
    assert needs([volume]) == ({"c"}, set())
    prepare(pod(volume), tmp_path, sources, FACTS)
    assert (tmp_path / "v" / "a").read_text() == "1"
    assert os.readlink(tmp_path / "v" / "a") == "..data/a"
    prepare(pod(volume), tmp_path, Sources({"c": core.ConfigMap(data={"a": "3"})}), FACTS)
    assert (tmp_path / "v" / "a").read_text() == "3"
    assert not (tmp_path / "v" / "b").is_symlink()


def test_items_and_modes(tmp_path):
    items = [core.KeyToPath(key="a", path="x/y", mode=0o600), core.KeyToPath(key="b", path="z")]
    volume, sources = config({"a": "1", "b": "2", "c": "3"}, items=items, default_mode=0o444)
    prepare(pod(volume), tmp_path, sources, FACTS)
    assert (tmp_path / "v" / "x" / "y").read_text() == "1"
    assert (mode(tmp_path / "v" / "x" / "y"), mode(tmp_path / "v" / "z")) == (0o600, 0o444)
    assert not (tmp_path / "v" / "c").exists()


@pytest.mark.parametrize(
    ("more", "data", "message"),
    [
        ({}, None, 'MountVolume.SetUp failed for volume "v" : configmap "c" not found'),
        (
            {"items": [core.KeyToPath(key="no", path="z")]},
            {"a": "1"},
            'MountVolume.SetUp failed for volume "v" : configmap references non-existent config key: no (shop/c)',
        ),
        (
            {"items": [core.KeyToPath(key="a", path="../z")]},
            {"a": "1"},
            'MountVolume.SetUp failed for volume "v" : invalid path ../z',
        ),
    ],
)
def test_what_cannot_be_made(tmp_path, more, data, message):
    volume, sources = config(data or {}, **more)
    if data is None:
        sources = Sources({"c": None})
    with pytest.raises(VolumeError) as caught:
        prepare(pod(volume), tmp_path, sources, FACTS)
    assert str(caught.value) == message


def test_projected(tmp_path):
    parts = [
        core.VolumeProjection(config_map=core.ConfigMapProjection(name="c")),
        core.VolumeProjection(secret=core.SecretProjection(name="s")),
        core.VolumeProjection(secret=core.SecretProjection(name="no", optional=True)),
        core.VolumeProjection(
            downward_api=core.DownwardAPIProjection(
                items=[
                    core.DownwardAPIVolumeFile(
                        path="labels", field_ref=core.ObjectFieldSelector(field_path="metadata.labels")
                    )
                ]
            )
        ),
    ]
    volume = core.Volume(name="v", projected=core.ProjectedVolumeSource(sources=parts))
    secret = core.Secret(data={"k": base64.b64encode(b"\x00\xff").decode()})
    prepare(pod(volume), tmp_path, Sources({"c": core.ConfigMap(data={"a": "1"})}, {"s": secret}), FACTS)
    assert (tmp_path / "v" / "k").read_bytes() == b"\x00\xff"
    assert (tmp_path / "v" / "labels").read_text() == 'app="x"\nb="y\\""'


def test_host_path(tmp_path):
    where = tmp_path / "there"
    volume = core.Volume(name="v", host_path=core.HostPathVolumeSource(path=str(where), type="Directory"))
    with pytest.raises(VolumeError, match=r"is not a directory$"):
        prepare(pod(volume), tmp_path / "p", Sources(), FACTS)
    volume.host_path.type = "DirectoryOrCreate"
    assert prepare(pod(volume), tmp_path / "p", Sources(), FACTS) == {"v": str(where)}
    assert where.is_dir()


def test_mounts_and_sub_paths(tmp_path):
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "out").symlink_to("/etc")

    def of(**more):
        one = core.VolumeMount(name="v", mount_path="/data", **more)
        return mounts(core.Container(name="web", volume_mounts=[one]), {"v": str(tmp_path / "v")}, {"A": "1"})

    assert of(read_only=True)[0].read_only
    assert of(sub_path="a/b")[0].source == str(tmp_path / "v/a/b")
    assert of(sub_path_expr="x-$(A)")[0].source == str(tmp_path / "v/x-1")
    with pytest.raises(VolumeError, match="leads out"):
        of(sub_path="out")


@pytest.mark.parametrize(
    ("volume", "says"),
    [
        (
            {"persistent_volume_claim": core.PersistentVolumeClaimVolumeSource(claim_name="c")},
            "volumes of kind persistentVolumeClaim are not served here",
        ),
        (
            {"empty_dir": core.EmptyDirVolumeSource(medium="HugePages")},
            'an emptyDir of medium "HugePages" is not served here',
        ),
        (
            {
                "projected": core.ProjectedVolumeSource(
                    sources=[core.VolumeProjection(cluster_trust_bundle=core.ClusterTrustBundleProjection(path="x"))]
                )
            },
            "clusterTrustBundle is no source that is served here",
        ),
    ],
)
def test_what_is_not_served(tmp_path, volume, says):
    with pytest.raises(VolumeError) as caught:
        prepare(pod(core.Volume(name="v", **volume)), tmp_path, Sources(), FACTS)
    assert str(caught.value) == f'MountVolume.SetUp failed for volume "v" : {says}'


def test_nothing_is_written_that_does_not_change(tmp_path):
    volume, sources = config({"a": "1"})
    prepare(pod(volume), tmp_path, sources, FACTS)
    before = os.readlink(tmp_path / "v" / "..data")
    assert refresh(pod(volume), tmp_path, sources, FACTS) == []
    assert os.readlink(tmp_path / "v" / "..data") == before
    (reader,) = [os.open(tmp_path / "v" / "a", os.O_RDONLY)]
    assert refresh(pod(volume), tmp_path, Sources({"c": core.ConfigMap(data={"a": "2"})}), FACTS) == []
    assert os.readlink(tmp_path / "v" / "..data") != before and (tmp_path / "v" / "a").read_text() == "2"
    assert os.read(reader, 9) == b"1"  # who had it open goes on reading what was
    os.close(reader)
    message = 'MountVolume.SetUp failed for volume "v" : configmap "c" not found'
    assert refresh(pod(volume), tmp_path, Sources({"c": None}), FACTS) == [message]
    assert (tmp_path / "v" / "a").read_text() == "2"


@pytest.mark.parametrize(
    ("context", "wanted"),
    [
        (None, 0o644),
        (core.PodSecurityContext(run_as_user=os.getuid()), 0o600),
        (core.PodSecurityContext(fs_group=os.getgid()), 0o640),
    ],
)
def test_who_may_read_a_token(tmp_path, context, wanted):
    projection = core.ServiceAccountTokenProjection(path="token", audience="vault", expiration_seconds=600)
    parts = [core.VolumeProjection(service_account_token=projection)]
    volume = core.Volume(name="v", projected=core.ProjectedVolumeSource(sources=parts))
    assert tokens([volume]) == {TokenKey("vault", 600)}
    sources = Sources(tokens={TokenKey("vault", 600): "secret"})
    prepare(pod(volume, security_context=context), tmp_path, sources, FACTS)
    assert (tmp_path / "v" / "token").read_text() == "secret"
    assert mode(tmp_path / "v" / "token") == wanted


@pytest.mark.parametrize(
    ("mount", "container", "says"),
    [
        ({"mount_propagation": "Bidirectional"}, {}, 'mountPropagation Bidirectional of volume "v" is not served'),
        ({"sub_path_expr": "$(NO)/x"}, {}, 'missing value for "NO"'),
        ({"sub_path": "../x"}, {}, "invalid path ../x"),
        ({}, {"volume_devices": [core.VolumeDevice(name="v", device_path="/dev/x")]}, "volumeDevices are not served"),
    ],
)
def test_mounts_that_cannot_be_had(tmp_path, mount, container, says):
    (tmp_path / "v").mkdir()
    box = core.Container(
        name="web", volume_mounts=[core.VolumeMount(name="v", mount_path="/data", **mount)], **container
    )
    with pytest.raises(VolumeError, match=re.escape(says)):
        mounts(box, {"v": str(tmp_path / "v")}, {})


def test_a_sub_path_that_is_made_is_as_open_as_its_volume(tmp_path):
    made = pod(core.Volume(name="v", empty_dir=core.EmptyDirVolumeSource()))
    prepare(made, tmp_path, Sources(), FACTS)
    box = core.Container(
        name="web", volume_mounts=[core.VolumeMount(name="v", mount_path="/data", sub_path_expr="$(A)/$$(A)")]
    )
    (one,) = mounts(box, {"v": str(tmp_path / "v")}, {"A": "1"})
    assert one.source == str(tmp_path / "v" / "1" / "$(A)") and mode(tmp_path / "v" / "1" / "$(A)") == 0o777
