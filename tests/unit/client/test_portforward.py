"""Which pod takes a forwarded connection."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from tests.helpers import server as helper

from skerry.api import frames, status
from skerry.api.types import core, discovery, meta
from skerry.client import portforward
from skerry.client.portforward import Candidate, Finder, Forwarder, Ports, Subject
from skerry.clock import SystemClock

if TYPE_CHECKING:
    from skerry.api.wire import Request


@pytest.mark.parametrize(
    ("text", "expect"),
    [
        ("web", ("pod", "web")),
        ("po/web", ("pod", "web")),
        ("svc/web", ("service", "web")),
        ("Services/web", ("service", "web")),
        ("deployment.apps/web", ("deployment", "web")),
        ("rs/web-1", ("replicaset", "web-1")),
    ],
)
def test_subjects(text: str, expect: tuple[str, str]) -> None:
    assert Subject.parse(text) == expect


@pytest.mark.parametrize("text", ["", "svc/", "job/x", "a/b/c"])
def test_what_cannot_be_forwarded_to(text: str) -> None:
    with pytest.raises(ValueError, match="is none of"):
        Subject.parse(text)


@pytest.mark.parametrize(
    ("text", "expect"),
    [("80", (None, "80")), ("8080:80", (8080, "80")), (":80", (0, "80")), ("8080:http", (8080, "http"))],
)
def test_ports(text: str, expect: tuple[int | None, str]) -> None:
    assert Ports.parse(text) == expect


@pytest.mark.parametrize("text", ["", "0", "80:", "x:80", "70000", "1:70000", "1:2:3", "80:HTTP"])
def test_what_is_no_port(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        Ports.parse(text)


def pod(name: str, *, ready: bool = True, **more: Any) -> core.Pod:
    container = core.Container(name="c", image="i", ports=[core.ContainerPort(name="http", container_port=8080)])
    ready_condition = core.PodCondition(type="Ready", status="True" if ready else "False")
    return core.Pod(
        metadata=meta.ObjectMeta(name=name, namespace="default", labels={"app": "web"}, **more),
        spec=core.PodSpec(containers=[container]),
        status=core.PodStatus(conditions=[ready_condition]),
    )


def test_named_ports_of_pods() -> None:
    assert portforward.of_pods([pod("b"), pod("a")], "http") == [Candidate("a", 8080), Candidate("b", 8080)]
    assert portforward.of_pods([pod("a")], "99") == [Candidate("a", 99)]
    assert portforward.of_pods([pod("a")], "grpc") == []


def piece(name: str, port: int, *pods: str, ready: bool | None = True) -> discovery.EndpointSlice:
    return discovery.EndpointSlice(
        metadata=meta.ObjectMeta(
            name=f"web-{name or 'x'}-{port}", namespace="default", labels={"kubernetes.io/service-name": "web"}
        ),
        address_type="IPv4",
        ports=[discovery.EndpointPort(name=name, port=port, protocol="TCP")],
        endpoints=[
            discovery.Endpoint(
                addresses=[f"10.244.1.{index + 1}"],
                conditions=discovery.EndpointConditions(ready=ready),
                target_ref=core.ObjectReference(kind="Pod", name=one),
            )
            for index, one in enumerate(pods)
        ],
    )


def test_ready_endpoints_of_the_port_by_name_each_with_its_number() -> None:
    slices = [piece("http", 8080, "a", "b"), piece("http", 8081, "c"), piece("other", 1, "d")]
    slices += [piece("http", 8080, "e", ready=False), piece("http", 8080, "f", ready=None)]
    assert portforward.of_slices(slices, "http") == [
        Candidate("a", 8080), Candidate("b", 8080), Candidate("c", 8081), Candidate("f", 8080),
    ]  # fmt: skip


def test_the_port_of_a_service_by_number_or_name() -> None:
    ports = [core.ServicePort(port=80, name="http"), core.ServicePort(port=443)]
    service = core.Service(metadata=meta.ObjectMeta(name="web"), spec=core.ServiceSpec(ports=ports))
    assert portforward.service_port(service, "80").name == portforward.service_port(service, "http").name == "http"
    with pytest.raises(LookupError, match=r"service web has no port 81; it has 80 \(http\), 443"):
        portforward.service_port(service, "81")


@dataclass
class Pods:
    """A transport to pods that answer with their name; `dead` ones refuse."""

    dead: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    async def upgrade(self, request: Request, protocol: str) -> Echo:
        assert protocol == frames.PROTOCOL and request.query == {"ports": "8080"}
        name = request.path.split("/")[-2]
        self.asked.append(name)
        if name in self.dead:
            raise status.ApiError(500, f"pod {name} is not running")
        return Echo(name)


class Echo:
    """Says its name, then ends."""

    def __init__(self, name: str) -> None:
        said = frames.encode(frames.STDOUT, name.encode()) + frames.encode(frames.STATUS, b"")
        self._pieces = [said, b""]

    async def read(self) -> bytes:
        return self._pieces.pop(0)

    async def write(self, data: bytes) -> None:
        pass

    async def close(self) -> None:
        pass


async def test_connections_take_turns_and_pass_by_the_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    api = await helper.start()
    service = core.Service(
        metadata=meta.ObjectMeta(name="web", namespace="default"),
        spec=core.ServiceSpec(ports=[core.ServicePort(port=80)]),
    )
    await api.client.create(service)
    slice_ = await api.client.create(piece("", 8080, "a", "b", "c"))
    pods, said = Pods(), list[str]()
    finder = Finder(api.client, "default", Subject("service", "web"))
    forwarder = Forwarder(finder, pods, "default", SystemClock(), said.append)
    (server,) = await forwarder.listen(["127.0.0.1"], Ports(0, "80"))
    port = server.sockets[0].getsockname()[1]

    async def ask() -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            return (await reader.read()).decode()
        except ConnectionError:
            return "reset"
        finally:
            writer.close()

    assert said == [f"Forwarding from 127.0.0.1:{port} -> 80"]
    assert sorted([await ask(), await ask(), await ask()]) == ["a", "b", "c"]
    pods.dead = {"a", "b"}
    assert {await ask(), await ask(), await ask()} == {"c"}
    # None is there: the connection waits for one.
    pods.dead = {"a", "b", "c"}
    waiting = asyncio.create_task(ask())
    while pods.asked[-3:].count("c") == 0 or len(pods.asked) < 10:  # noqa: ASYNC110 - it says nothing when it waits
        await asyncio.sleep(0.01)
    pods.dead = {"a", "b"}
    assert await waiting == "c"
    # And is closed, with a word why, when none comes.
    monkeypatch.setattr(portforward, "PATIENCE", 0.0)
    await api.client.delete(discovery.EndpointSlice, slice_.metadata.name, "default")
    assert await ask() == "reset"
    assert said[-1] == f"A connection for {port} was closed: no ready pod has port 80"
    server.close()
    await api.store.close()


async def test_a_workload_that_is_not_there_and_a_port_that_is_not() -> None:
    api = await helper.start()
    with pytest.raises(status.ApiError, match=r'deployments\.apps "web" not found'):
        await Finder(api.client, "default", Subject("deployment", "web")).local(Ports(None, "80"))
    await api.client.create(pod("a"))
    one = Finder(api.client, "default", Subject("pod", "a"))
    assert await one.local(Ports(None, "http")) == 8080
    assert await one.local(Ports(1, "http")) == 1
    with pytest.raises(LookupError, match="pod a has no port named grpc"):
        await one.local(Ports(None, "grpc"))
    assert await one.candidates("http") == [Candidate("a", 8080)]
    await api.store.close()
