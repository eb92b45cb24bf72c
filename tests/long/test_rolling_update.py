"""No request fails while a Deployment is rolled, scaled and loses pods, without any preStop hook; and what keep-alive
clients see. The same without the wait before stop signals fails requests, so that the count is known to count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.e2e.conftest import skip_without_namespaces
from tests.helpers.clients import Outcome, client_pod
from tests.helpers.cluster import Cluster
from tests.helpers.images import MissingToolError, nginx
from tests.helpers.rollouts import REQUESTS, Web, apply, everything_at_once, nodes, until

pytestmark = [pytest.mark.long, pytest.mark.rootless, pytest.mark.xdist_group("rolling updates")]


@pytest.fixture(scope="module", params=[1, 3], ids=["one-node", "three-nodes"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    skip_without_namespaces()
    found = Cluster("--ephemeral", "--nodes", str(request.param))
    try:
        found.up()
        archive = found.home / "nginx.tar"
        try:
            nginx("1.14.2").write_docker_archive(str(archive), "nginx:1.14.2")
        except MissingToolError as error:
            pytest.skip(str(error))
        done = found.skerry("load", str(archive))
        assert done.code == 0, done.err
        kubectl = found.kubectl()
        for node in nodes(kubectl):
            apply(kubectl, client_pod(f"clients-{node}", node))
        kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=60s")
        yield found
    finally:
        found.delete()


@pytest.fixture
def web(cluster: Cluster) -> Iterator[Callable[..., Web]]:
    made: list[Web] = []

    def make(server: str, **annotations: str) -> Web:
        made.append(Web(cluster.kubectl(), server, **annotations))
        return made[-1]

    yield make
    for one in made:
        one.removed()


@pytest.mark.parametrize("server", ["nginx", "python"])
def test_no_request_fails(web: Callable[..., Web], server: str) -> None:
    one = web(server)
    # Three nodes answer in Python what one does: a fifth of the time is enough.
    wanted = REQUESTS // 5 if server == "python" and len(nodes(one.kubectl)) > 1 else REQUESTS
    with one.asked() as asking:
        everything_at_once(one)
        until(lambda: asking.good >= wanted, [one.lost, one.rolled])
        found: Outcome = asking.finish()
    print(f"{server}: {found}")
    assert found.failed == 0, found
    assert found.good >= wanted
    drained = one.kubectl("get", "events", "--field-selector", "reason=Drained")
    assert "stopped sending new connections after" in drained
    late = one.kubectl.run("get", "events", "--field-selector", "reason=DrainTimedOut").out
    assert not late.strip(), late


@pytest.mark.parametrize("server", ["nginx", "python"])
def test_without_the_wait_requests_fail(web: Callable[..., Web], server: str) -> None:
    one = web(server, **{"skerry.dev/drain": "off"})
    with one.asked() as asking:
        asking.until(1000)
        for _ in range(3):
            one.rolled()
        until(lambda: asking.failed > 0 or asking.good > REQUESTS, [one.lost, one.rolled])
        found: Outcome = asking.finish()
    print(f"{server}, not drained: {found}")
    assert found.failed > 0


@pytest.mark.parametrize("drain", ["3", "off"])
@pytest.mark.parametrize("server", ["nginx", "python that drains"])
def test_keep_alive(web: Callable[..., Web], server: str, drain: str) -> None:
    """Who asks on one connection for ever is cut off at some time; none fails where the server says so beforehand."""
    one = web(server, **{"skerry.dev/drain": drain})
    with one.asked(keep_alive=True) as asking:
        asking.until(1000)
        for _ in range(2):
            one.rolled()
        one.at_rest(3)
        found: Outcome = asking.finish()
    print(f"{server}, keep-alive, drain {drain}: {found}")
    if server == "python that drains" and drain != "off":
        assert found.failed == 0, found
