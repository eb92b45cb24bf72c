"""Real clusters for the end-to-end tests, made by the real command line; what is shown of them when a test fails."""

from __future__ import annotations

import fcntl
import tempfile
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from tests.helpers.cluster import Cluster
from tests.helpers.images import push_tutorial_images
from tests.helpers.kubectl import MINORS, Kubectl, KubectlMissing, binary
from tests.helpers.registry import docker_registry

from skerry.cluster import probes
from skerry.testing.images import MissingToolError

_running: list[Cluster] = []


@pytest.fixture(scope="session")
def api() -> Iterator[Cluster]:
    """A cluster without nodes, shared by all tests that want only its API; use `namespace`."""
    yield from _started("--nodes", "0", "--ephemeral")


@pytest.fixture(scope="session")
def registry() -> Iterator[str]:
    """A real registry on loopback that has the tutorial's images, made of this machine's files: its URL."""
    with tempfile.TemporaryDirectory(prefix="skerry-registry-") as directory, docker_registry(Path(directory)) as url:
        try:
            push_tutorial_images(url)
        except MissingToolError as error:
            pytest.skip(str(error))
        yield url


@pytest.fixture(scope="session")
def cluster(registry: str) -> Iterator[Cluster]:
    """A cluster of one node that pulls from `registry`, shared by all tests that break nothing; see `pods`."""
    skip_without_namespaces()
    yield from _started("--ephemeral", "--registry-mirror", f"docker.io={registry}")


@pytest.fixture(scope="session")
def nodes3() -> Iterator[Cluster]:
    """A cluster of three nodes without a registry (use `image: host`), shared by all that need several; see `pods3`.

    Whoever cordons, taints or labels a node puts that back.
    """
    skip_without_namespaces()
    yield from _started("--nodes", "3", "--ephemeral")


@pytest.fixture
def pods(cluster: Cluster, namespace: str) -> Iterator[Kubectl]:
    """The newest kubectl against the shared cluster with a node, in a namespace of the test's own."""
    yield from in_namespace(cluster, MINORS[-1], namespace)


@pytest.fixture
def pods3(nodes3: Cluster, namespace: str) -> Iterator[Kubectl]:
    """The newest kubectl against the shared cluster with three nodes, in a namespace of the test's own."""
    yield from in_namespace(nodes3, MINORS[-1], namespace)


@pytest.fixture
def new_cluster() -> Iterator[Callable[..., Cluster]]:
    """Make a cluster of the test's own with these options of `skerry up`; `.up()` starts it. Deleted at the end."""
    made: list[Cluster] = []

    def make(*options: str, name: str = "") -> Cluster:
        made.append(Cluster(*options, name=name))
        _running.append(made[-1])
        return made[-1]

    yield make
    for one in made:
        _running.remove(one)
        one.delete()


def _started(*options: str) -> Generator[Cluster, None, None]:
    found = Cluster(*options)
    _running.append(found)
    try:
        found.up()
        yield found
    finally:
        _running.remove(found)
        found.delete()


def skip_without_namespaces() -> None:
    """Skip, saying why, where no node can start."""
    fatal = [finding.sentence for finding in probes.findings() if finding.fatal]
    if fatal:
        pytest.skip(fatal[0])


@pytest.fixture
def port_30080() -> Iterator[None]:
    """The node port of examples/exposed.yaml, for one test at a time: tests run side by side."""
    with Path(__file__).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(params=MINORS)
def minor(request: pytest.FixtureRequest) -> str:
    """Each kubectl that tests run with."""
    name = str(request.param)
    try:
        binary(name)
    except KubectlMissing as error:
        pytest.skip(str(error))
    return name


@pytest.fixture
def namespace() -> str:
    """A name for a namespace of the test's own; see `kubectl`."""
    return "t-" + uuid.uuid4().hex[:8]


@pytest.fixture
def kubectl(api: Cluster, minor: str, namespace: str) -> Iterator[Kubectl]:
    """kubectl (each minor) against the shared API, in a namespace of the test's own."""
    yield from in_namespace(api, minor, namespace)


def in_namespace(cluster: Cluster, minor: str, namespace: str) -> Iterator[Kubectl]:
    """kubectl against `cluster` with a kubeconfig whose namespace is `namespace`, which is made and deleted."""
    everywhere = cluster.kubectl(minor)
    everywhere("create", "namespace", namespace)
    kubeconfig = cluster.home / f"kubeconfig-{namespace}"
    kubeconfig.write_text(cluster.kubeconfig.read_text())
    kubeconfig.chmod(0o600)
    found = Kubectl(minor, kubeconfig, {}, namespace)
    found("config", "set-context", "--current", f"--namespace={namespace}")
    yield found
    everywhere("delete", "namespace", namespace, "--wait=false")
    kubeconfig.unlink()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows the state and the logs of the clusters that run."""
    report = yield
    if report.when == "call" and report.failed:
        report.sections += [(f"cluster {one.name}", one.report()) for one in _running]
    return report
