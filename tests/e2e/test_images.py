"""Images of pods: from a real registry and from archives, what their settings do, and what goes wrong with them."""

from __future__ import annotations

import functools
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.helpers import look
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.images import BuiltImage, Layer, busybox
from tests.helpers.kubectl import Kubectl
from tests.helpers.registry import USER, docker_registry

pytestmark = pytest.mark.rootless


def image(text: str, **settings: Any) -> BuiltImage:
    """A busybox whose /says holds a text; without settings its command prints that."""
    layer = Layer()
    layer.file("says", text)
    base = busybox()
    return BuiltImage([*base.layers, layer.tar()], {"Cmd": ["cat", "/says"], **base.settings, **settings})


def says(kubectl: Kubectl, name: str, reference: str, *options: str) -> str:
    """What a pod of that image prints until it ends well."""
    kubectl("run", name, f"--image={reference}", "--restart=Never", *options)
    kubectl("wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s")
    return kubectl("logs", name)


def messages(kubectl: Kubectl, name: str, reason: str) -> list[str]:
    return [message for _, found, message in look.events(kubectl, name) if found == reason]


# From the registry ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flavour", "compression"), [("oci", "zstd"), ("oci", "gzip"), ("docker", "gzip"), ("oci", "none")]
)
def test_every_form_of_an_image(pods: Kubectl, registry: str, flavour: Any, compression: Any) -> None:
    repository = f"forms/{flavour}-{compression}"
    digest = image(repository, Cmd=["cat", "/says"]).packed(flavour, compression).push(registry, repository, "1")
    assert says(pods, "tagged", f"{repository}:1") == repository
    assert says(pods, "pinned", f"{repository}@{digest}") == repository
    for name in ("tagged", "pinned"):
        assert look.pod_status(pods, name)["imageID"] == f"docker.io/{repository}@{digest}"
    pulled = f'Successfully pulled image "{repository}:1" in '
    assert [message.startswith(pulled) for message in messages(pods, "tagged", "Pulled")] == [True]
    assert messages(pods, "tagged", "Pulling") == [f'Pulling image "{repository}:1"']


def test_the_pull_policy_when_a_tag_moves(pods: Kubectl, registry: str) -> None:
    first, second = (image(text, Cmd=["cat", "/says"]).packed() for text in ("first", "second"))
    first.push(registry, "library/moving", "1", "latest")
    assert says(pods, "a", "moving:1") == "first"
    assert says(pods, "b", "moving") == "first"
    second.push(registry, "library/moving", "1", "latest")
    assert says(pods, "c", "moving:1") == "first"  # a tag that is not latest: IfNotPresent
    assert messages(pods, "c", "Pulled") == [
        'Container image "moving:1" already present on machine and can be accessed by the pod'
    ]
    assert says(pods, "d", "moving") == "second"  # latest: Always
    assert says(pods, "e", "moving:1", "--image-pull-policy=Always") == "second"
    assert says(pods, "f", "moving:1", "--image-pull-policy=Never") == "second"


def test_what_an_image_asks_for_and_what_the_pod_overrides(pods: Kubectl, registry: str) -> None:
    settings: dict[str, Any] = {
        "Entrypoint": ["sh", "-c", 'echo "$0 $*"; pwd; id -u; echo $FROM_IMAGE $BOTH $GREETING'],
        "Cmd": ["image", "args"],
        "Env": [*busybox().settings["Env"], "FROM_IMAGE=1", "BOTH=image"],
        "WorkingDir": "/var/tmp",
        "User": "www-data",
    }
    image("", **settings).packed().push(registry, "library/settings", "1")
    assert says(pods, "plain", "settings:1").splitlines() == ["image args", "/var/tmp", "33", "1 image"]
    assert says(pods, "given", "settings:1", "--", "my", "own").splitlines()[0] == "my own"
    replaced = says(pods, "replaced", "settings:1", "--command", "--", "echo", "only this")
    assert replaced == "only this\n"  # a command takes the image's arguments away too
    container = {
        "name": "full",
        "image": "settings:1",
        "args": ["pod", "$(BOTH)", "$$(BOTH)", "$(NONE)"],
        "env": [{"name": "BOTH", "value": "pod"}, {"name": "GREETING", "value": "hi $(BOTH)"}],
        "workingDir": "/made/here",
        "securityContext": {"runAsUser": 1234},
    }
    overrides = {"apiVersion": "v1", "spec": {"containers": [container]}}
    said = says(pods, "full", "settings:1", f"--overrides={json.dumps(overrides)}")
    assert said.splitlines() == ["pod pod $(BOTH) $(NONE)", "/made/here", "1234", "1 pod hi pod"]


# From a registry that wants to know who asks ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A name of an image in a real registry that serves USER alone."""
    directory = tmp_path_factory.mktemp("private")
    with docker_registry(directory) as url:  # nobody is asked yet
        image("private", Cmd=["cat", "/says"]).packed().push(url, "team/app", "1")
    with docker_registry(directory, users=True) as url:
        yield f"{urlsplit(url).netloc}/team/app:1"


def test_pull_secrets(pods: Kubectl, private: str) -> None:
    """Of the pod or of its ServiceAccount; who has none does not get what another one's password has brought here."""
    server, (user, password) = private.partition("/")[0], USER
    secret = ("create", "secret", "docker-registry")
    pods(*secret, "wrong", f"--docker-server={server}", f"--docker-username={user}", "--docker-password=no")
    pods(*secret, "right", f"--docker-server={server}", f"--docker-username={user}", f"--docker-password={password}")

    def with_secrets(*names: str) -> str:
        given = [{"name": name} for name in names]
        return f"--overrides={json.dumps({'apiVersion': 'v1', 'spec': {'imagePullSecrets': given}})}"

    pods("run", "nobody", f"--image={private}", "--restart=Never")
    pods("run", "absent", f"--image={private}", "--restart=Never", with_secrets("absent", "wrong"))
    assert says(pods, "somebody", private, with_secrets("wrong", "right")) == "private"
    pods("run", "later", f"--image={private}", "--restart=Never")  # it is there now, but not for this one
    pods("run", "never", f"--image={private}", "--restart=Never", "--image-pull-policy=Never")
    for name in ("nobody", "absent", "later"):
        eventually(functools.partial(messages, pods, name, "Failed"), 30, f"the refusal of {name}")
        assert messages(pods, name, "Failed")[0].startswith(f'Failed to pull image "{private}": ')
    assert "(imagePullSecrets)" in messages(pods, "nobody", "Failed")[0]
    assert messages(pods, "absent", "FailedToRetrieveImagePullSecret")[0] == (
        "Unable to retrieve some image pull secrets (absent); attempting to pull the image may not succeed."
    )
    eventually(lambda: look.shown_status(pods, "never") == "ErrImageNeverPull", 30, "the refusal")
    assert "does not have the proper credentials" in look.pod_status(pods, "never")["message"]
    pods("create", "serviceaccount", "puller")
    pods("patch", "serviceaccount", "puller", "-p", json.dumps({"imagePullSecrets": [{"name": "right"}]}))
    as_account = {"apiVersion": "v1", "spec": {"serviceAccountName": "puller"}}
    assert says(pods, "account", private, f"--overrides={json.dumps(as_account)}") == "private"
    assert messages(pods, "account", "Pulled")[0].endswith("already present on machine and can be accessed by the pod")


# From archives ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["docker", "oci"])
def test_a_loaded_image_needs_no_registry(cluster: Cluster, pods: Kubectl, tmp_path: Path, kind: str) -> None:
    name, archive = f"example.test/loaded-{kind}:1", str(tmp_path / "image.tar")
    built = image(kind, Cmd=["cat", "/says"])
    if kind == "docker":
        built.write_docker_archive(archive, name)
    else:
        built.write_oci_archive(archive, name)
    done = cluster.skerry("load", archive)
    assert (done.code, done.out, done.err) == (0, f"Loaded {name}\n", "")
    for policy in ("Never", "IfNotPresent", "Always"):  # what was loaded by hand is never asked for in a registry
        pod = f"policy-{policy.lower()}"
        assert says(pods, pod, name, f"--image-pull-policy={policy}") == kind
        assert messages(pods, pod, "Pulled") == [
            f'Container image "{name}" already present on machine and can be accessed by the pod'
        ]


def test_what_no_archive_may_hold_is_refused_by_name(
    cluster: Cluster, pods: Kubectl, registry: str, tmp_path: Path
) -> None:
    """By `skerry load` and in the pod's events; a name is in one plain sentence."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as made:
        info = tarfile.TarInfo("etc/../../outside")
        made.addfile(info)
    evil = BuiltImage([layer.getvalue()], {"Cmd": ["true"]})
    archive = tmp_path / "layer.tar"
    evil.write_docker_archive(str(archive), "example.test/evil:1")
    link = tmp_path / "link.tar"
    with tarfile.open(link, "w") as made:
        info = tarfile.TarInfo("manifest.json")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        made.addfile(info)
    for path, why in (
        (archive, "etc/../../outside: a path that leads out of the layer"),
        (link, "manifest.json: a symbolic link to /etc/passwd, an absolute path"),
    ):
        done = cluster.skerry("load", str(path))
        assert (done.code, done.out) == (1, "") and len(done.err.splitlines()) == 1
        assert done.err.endswith(f"{why}.\n") and str(path) in done.err
    evil.packed().push(registry, "library/evil", "1")
    pods("run", "evil", "--image=evil:1", "--restart=Never")
    (why, *_) = eventually(functools.partial(messages, pods, "evil", "Failed"), 30, "the refusal")
    assert why.endswith("etc/../../outside: a path that leads out of the layer")


# What goes wrong --------------------------------------------------------------------------------------------------


def test_an_image_that_does_not_exist(pods: Kubectl, registry: str) -> None:
    """ErrImagePull, then ImagePullBackOff, with the registry's own reason; and when it exists at last, the pod runs."""
    with look.lines(pods, "get", "pods", "-w", "--no-headers") as watch:
        pods("run", "none", "--image=late:1", "--restart=Never")
        watch.until(lambda line: line.split()[2] == "ErrImagePull")
        watch.until(lambda line: line.split()[2] == "ImagePullBackOff")
    now = pods.json("get", "pod", "none")["status"]
    assert now["phase"] == "Pending" and look.pod_status(pods, "none")["restartCount"] == 0
    why = look.pod_status(pods, "none")["message"]
    assert why.startswith('Back-off pulling image "late:1": ErrImagePull: ') and why.endswith("manifest unknown")
    said = look.events(pods, "none")
    tried = [message for kind, reason, message in said if (kind, reason) == ("Warning", "Failed")]
    assert tried[0].startswith('Failed to pull image "late:1": ') and tried[0].endswith("manifest unknown")
    assert tried[1:] == ["Error: ErrImagePull", "Error: ImagePullBackOff"]
    assert ("Normal", "BackOff", 'Back-off pulling image "late:1"') in said
    no_log = pods.run("logs", "none")
    refused = 'container "none" in pod "none" is waiting to start: trying and failing to pull image'
    assert no_log.code == 1 and refused in no_log.err
    image("at last", Cmd=["cat", "/says"]).packed().push(registry, "library/late", "1")
    pods("wait", "pod/none", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s")  # after ten seconds
    assert pods("logs", "none") == "at last"


def test_a_registry_that_is_not_there(pods: Kubectl) -> None:
    pods("run", "none", "--image=localhost:1/web:1")
    eventually(lambda: look.shown_status(pods, "none") == "ImagePullBackOff", 30, "the pause")
    (why, *_) = messages(pods, "none", "Failed")
    assert why.startswith('Failed to pull image "localhost:1/web:1": ') and "localhost:1" in why.split(": ", 1)[1]
    assert "onnect" in why  # in words, not only a number
    pods("delete", "pod", "none", "--timeout=20s")


def test_an_image_that_may_not_be_pulled(pods: Kubectl) -> None:
    pods("run", "none", "--image=absent:1", "--image-pull-policy=Never")
    eventually(lambda: look.shown_status(pods, "none") == "ErrImageNeverPull", 30, "the refusal")
    text = 'Container image "absent:1" is not present with pull policy of Never'
    assert look.pod_status(pods, "none")["message"] == text
    assert ("Warning", "ErrImageNeverPull", text) in look.events(pods, "none")
    assert ("Warning", "Failed", "Error: ErrImageNeverPull") in look.events(pods, "none")


def test_a_name_that_is_none(pods: Kubectl) -> None:
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "none"}}
    spec = {"containers": [{"name": "none", "image": "Not/Valid:Image"}]}
    pods("create", "-f", "-", stdin=json.dumps({**body, "spec": spec}))
    eventually(lambda: look.shown_status(pods, "none") == "InvalidImageName", 30, "the refusal")
    why = look.pod_status(pods, "none")["message"]
    assert "couldn't parse image name" in why and "Not/Valid:Image" in why
    assert ("Warning", "InspectFailed", why) in look.events(pods, "none")
    assert ("Warning", "Failed", "Error: InvalidImageName") in look.events(pods, "none")


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("/no/such/program", 'exec: "/no/such/program": stat /no/such/program: no such file or directory'),
        ("nosuch", 'exec: "nosuch": executable file not found in $PATH'),
        ("/etc/passwd", 'exec: "/etc/passwd": permission denied'),
    ],
)
def test_a_command_that_cannot_be_run(pods: Kubectl, command: str, why: str) -> None:
    """Never restarted: StartError, exit code 128, phase Failed. Else: RunContainerError, then CrashLoopBackOff."""
    pods("run", "once", "--image=busybox", "--restart=Never", "--command", "--", command)
    pods("run", "again", "--image=busybox", "--command", "--", command)
    pods("wait", "pod/once", "--for=jsonpath={.status.phase}=Failed", "--timeout=30s")
    found = look.pod_status(pods, "once")
    assert (found["is"], found["reason"], found["exitCode"]) == ("terminated", "StartError", 128)
    assert found["message"].endswith(why)
    assert look.shown_status(pods, "once") == "StartError"
    assert found["imageID"].startswith("docker.io/library/busybox@sha256:")
    assert [reason for _, reason, _ in look.events(pods, "once")].count("Created") == 1
    assert any(message.startswith("Error: ") and message.endswith(why) for message in messages(pods, "once", "Failed"))
    with look.lines(pods, "get", "pod", "again", "-w", "--no-headers") as watch:
        watch.until(lambda line: line.split()[2] == "CrashLoopBackOff")
    found = look.pod_status(pods, "again")
    assert (found["is"], found["reason"]) == ("waiting", "CrashLoopBackOff")
    assert found["lastState"]["terminated"]["reason"] == "StartError"
    assert pods.json("get", "pod", "again")["status"]["phase"] == "Running"
    pods("delete", "pod", "again", "--timeout=20s")
