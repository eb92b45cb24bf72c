"""A container and its image become what the runtime starts."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from skerry import linux
from skerry.api.types import core, meta
from skerry.node.agent.containers import CreateError, capabilities, container_spec, stop_signal
from skerry.node.images.manifest import ImageConfig
from skerry.node.images.store import Image
from skerry.node.runtime.spec import DEFAULT_CAPABILITIES, HostImage, Mount


@pytest.fixture
def layer(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nweb:x:33:34::/:/bin/sh\n")
    (tmp_path / "etc/group").write_text("web:x:34:\nextra:x:50:web\n")
    return str(tmp_path)


def spec(container, image=None, security=None, variables=None, mounts=()):
    pod = core.Pod(
        metadata=meta.ObjectMeta(name="p", namespace="default", uid="u1"),
        spec=core.PodSpec(containers=[container], security_context=security),
    )
    return container_spec(
        pod,
        container,
        image=image,
        instance="i1",
        scratch=Path("/scratch"),
        variables=variables or {},
        mounts=list(mounts),
    )


def image(layer, **config):
    return Image("sha256:1", "box:1", "sha256:1", ["/lower", layer], ImageConfig(**config), 1)


BOTH = {"entrypoint": ["e"], "cmd": ["c"]}


@pytest.mark.parametrize(
    ("command", "args", "argv"),
    [
        ([], [], ["e", "c"]),
        ([], ["a"], ["e", "a"]),
        (["x"], [], ["x"]),
        (["x"], ["a"], ["x", "a"]),
        (["$(A)"], ["$$(A)"], ["1", "$(A)"]),
    ],
)
def test_command_and_args(layer, command, args, argv):
    made = spec(core.Container(name="web", command=command, args=args), image(layer, **BOTH), variables={"A": "1"})
    assert made.argv == argv


def test_nothing_to_run(layer):
    for found in (None, image(layer)):
        with pytest.raises(CreateError, match="no command specified"):
            spec(core.Container(name="web"), found)


def test_layers_come_top_first_and_variables_win(layer):
    found = image(layer, **BOTH, env={"A": "image", "B": "2"}, working_dir="/work")
    made = spec(core.Container(name="web"), found, variables={"A": "pod"})
    assert made.rootfs.lowerdirs == [layer, "/lower"]
    assert (made.rootfs.upper, made.rootfs.work) == ("/scratch/upper", "/scratch/work")
    assert (made.env, made.cwd) == ({"A": "pod", "B": "2"}, "/work")
    assert spec(core.Container(name="web", working_dir="/own"), found).cwd == "/own"


def test_the_host_image():
    made = spec(core.Container(name="web", command=["sh"]))
    assert (made.rootfs, made.uid, made.gid, made.cwd) == (HostImage(), 0, 0, "/")


def test_users(layer):
    found = image(layer, **BOTH, user="web")
    made = spec(core.Container(name="web"), found)
    assert (made.uid, made.gid, made.groups) == (33, 34, [34, 50])
    outer = core.PodSecurityContext(run_as_user=7, run_as_group=8, fs_group=9, supplemental_groups=[10])
    made = spec(core.Container(name="web"), found, outer)
    assert (made.uid, made.gid, made.groups) == (7, 8, [8, 10, 9])
    inner = core.SecurityContext(run_as_user=33)
    made = spec(core.Container(name="web", security_context=inner), found, outer)
    assert (made.uid, made.gid) == (33, 8)
    with pytest.raises(CreateError, match="unable to find user nobody"):
        spec(core.Container(name="web"), image(layer, **BOTH, user="nobody"))


@pytest.mark.parametrize(
    ("user", "inner", "message"),
    [
        ("", {}, "image will run as root"),
        ("web", {}, r"image has non-numeric user \(web\), cannot verify user is non-root"),
        ("web", {"run_as_user": 0}, "image will run as root"),
        ("33", {}, None),
        ("web", {"run_as_user": 33}, None),
    ],
)
def test_run_as_non_root(layer, user, inner, message):
    box = core.Container(name="web", security_context=core.SecurityContext(run_as_non_root=True, **inner))
    if message is None:
        assert spec(box, image(layer, **BOTH, user=user)).uid == 33
        return
    with pytest.raises(CreateError, match=message) as caught:
        spec(box, image(layer, **BOTH, user=user))
    assert caught.value.reason == "CreateContainerConfigError"


def test_capabilities():
    def of(**more):
        return set(capabilities(core.SecurityContext(**more)))

    assert set(capabilities(None)) == set(DEFAULT_CAPABILITIES)
    assert of(privileged=True) == set(linux.CAPABILITIES)
    assert of(capabilities=core.Capabilities(drop=["ALL"], add=["NET_BIND_SERVICE"])) == {"NET_BIND_SERVICE"}
    assert of(capabilities=core.Capabilities(drop=["CAP_CHOWN"])) == set(DEFAULT_CAPABILITIES) - {"CHOWN"}


def test_a_volume_may_take_the_place_of_a_file_of_the_pod():
    mounts = [
        Mount(source="/a", target="/etc/hosts"),
        Mount(source="/b", target="/etc/hosts"),
        Mount(source="/c", target="/x/"),
    ]
    made = spec(core.Container(name="web", command=["sh"]), mounts=mounts)
    assert [one.source for one in made.mounts] == ["/c", "/b"]


@pytest.mark.parametrize(
    ("of_image", "of_pod", "number"),
    [
        ("", None, signal.SIGTERM),
        ("SIGQUIT", None, signal.SIGQUIT),
        ("quit", None, signal.SIGQUIT),
        ("3", None, 3),
        ("SIGQUIT", "SIGUSR1", signal.SIGUSR1),
        ("SIGRTMIN+3", None, signal.SIGRTMIN + 3),
        ("SIGNONSENSE", None, signal.SIGTERM),
    ],
)
def test_stop_signals(layer, of_image, of_pod, number):
    lifecycle = core.Lifecycle(stop_signal=of_pod) if of_pod else None
    assert stop_signal(core.Container(name="web", lifecycle=lifecycle), image(layer, stop_signal=of_image)) == number
