"""The proxy's HTTP on real sockets: its health (P35), metrics (P36-P38) and health check node ports (P34)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from typing import Any

from tests.helpers.namespaces import in_network_namespace
from tests.unit.proxy.build import NODE, endpoint, port, service, slice_of, terminating
from tests.unit.proxy.test_server import Rig

from skerry.api.types import core, meta
from skerry.proxy.backend import Connections
from skerry.proxy.health import HEALTH_PORT, METRICS_PORT, HealthServers
from skerry.proxy.server import BEHIND
from skerry.proxy.table import Backend


async def get(port: int, path: str = "/", method: str = "GET") -> tuple[int, dict[str, str], str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    async with asyncio.timeout(10):
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    first, *lines = head.split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body


def balanced(**spec: Any) -> Any:
    return service(
        "web",
        "10.96.0.9",
        port(80, node_port=30080),
        type="LoadBalancer",
        external_traffic_policy=spec.pop("policy", "Local"),
        health_check_node_port=spec.pop("health", 32123),
        **spec,
    )


@in_network_namespace
async def test_p34_a_balancer_learns_which_nodes_have_ready_endpoints() -> None:
    rig = Rig()
    await rig.start()
    failed: list[tuple[str, str]] = []
    servers = HealthServers(rig.proxy, rig.clock, on_error=lambda *both: failed.append(both))
    rig.proxy.move_to(("127.0.0.1",))
    following = asyncio.create_task(servers.follow())
    rig.informers.services.put(balanced(), 2)
    await rig.clock.settle()
    status, headers, body = await get(32123, "/any/path")
    assert (status, headers["X-Load-Balancing-Endpoint-Weight"]) == (503, "0")
    ends = [endpoint("10.244.1.1", node="a"), endpoint("10.244.1.2", node="a"), endpoint("10.244.2.1")]
    rig.informers.slices.put(slice_of(*ends, terminating("10.244.1.3", node="a")), 3)
    await rig.clock.settle()
    status, headers, body = await get(32123, "/healthz")
    assert (status, headers["X-Load-Balancing-Endpoint-Weight"]) == (200, "2")
    assert (headers["Content-Type"], headers["X-Content-Type-Options"]) == ("application/json", "nosniff")
    assert json.loads(body) == {
        "service": {"namespace": "default", "name": "web"},
        "localEndpoints": 2,
        "serviceProxyHealthy": True,
    }
    taken = socket.create_server(("127.0.0.1", 32124))
    rig.informers.services.put(balanced(health=32124), 4)
    await rig.clock.settle()
    assert [one for one, _ in failed] == ["default/web"]
    taken.close()
    # The node gets other addresses, of both families: the port is there and no longer where it was.
    rig.proxy.move_to(("127.0.0.2", "::1"))
    await rig.clock.settle()
    for address, there in (("127.0.0.1", False), ("127.0.0.2", True), ("::1", True)):
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as client:
            assert (client.connect_ex((address, 32124)) == 0) is there, address
    rig.informers.services.put(balanced(policy="Cluster"), 5)
    await rig.clock.settle()
    for number in (32123, 32124):
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", number)) != 0
    following.cancel()
    await servers.close()


@in_network_namespace
async def test_p35_a_proxy_that_is_long_behind_says_so() -> None:
    rig = Rig()
    servers = HealthServers(rig.proxy, rig.clock)
    await servers.start()
    assert (await get(HEALTH_PORT, "/healthz"))[0] == 503  # nothing is programmed yet
    await rig.start()
    status, _, body = await get(HEALTH_PORT, "/healthz")
    assert (status, json.loads(body)["healthy"]) == (200, True)
    rig.kernel.refuse = True
    rig.informers.services.put(service(), 2)
    await rig.clock.advance(BEHIND - 1)
    assert (await get(HEALTH_PORT, "/livez"))[0] == 200
    await rig.clock.advance(1)
    assert (await get(HEALTH_PORT, "/livez"))[0] == 503
    rig.kernel.refuse = False
    await rig.clock.advance(10)
    assert (await get(HEALTH_PORT, "/livez"))[0] == 200
    assert (await get(HEALTH_PORT, "/nothing"))[0] == 404
    assert (await get(HEALTH_PORT, "/livez", "POST"))[0] == 405
    assert rig.proxy.metrics.livez.value("200") == 3
    await servers.close()


@in_network_namespace
async def test_p35_balancers_learn_that_a_node_is_about_to_go() -> None:
    rig = Rig()
    servers = HealthServers(rig.proxy, rig.clock)
    await servers.start()
    await rig.start()
    going = core.Node(metadata=meta.ObjectMeta(name=NODE.name, deletion_timestamp="2026-01-01T00:00:00Z"))
    tainted = core.Node(
        metadata=meta.ObjectMeta(name=NODE.name),
        spec=core.NodeSpec(taints=[core.Taint(key="ToBeDeletedByClusterAutoscaler", effect="NoSchedule")]),
    )
    there = core.Node(metadata=meta.ObjectMeta(name=NODE.name))
    for node, eligible in ((there, True), (tainted, False), (there, True), (going, False), (None, False)):
        if node is None:
            rig.informers.nodes.delete(NODE.name, 9)
        else:
            rig.informers.nodes.put(node)
        status, _, body = await get(HEALTH_PORT, "/healthz")
        assert (status, json.loads(body)["nodeEligible"]) == (200 if eligible else 503, eligible)
        status, _, body = await get(HEALTH_PORT, "/livez")
        assert (status, "nodeEligible" in json.loads(body)) == (200, False)
    await servers.close()


@in_network_namespace
async def test_p38_service_ports_whose_endpoints_are_all_elsewhere_are_counted() -> None:
    rig = Rig()
    await rig.start()
    rig.informers.services.put(balanced(internal_traffic_policy="Local"), 2)
    rig.informers.slices.put(slice_of(endpoint("10.244.2.1")), 3)
    await rig.clock.settle()
    name = 'kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family="IPv4",traffic_policy='
    assert {f'{name}"internal"}} 1', f'{name}"external"}} 1'} <= set(rig.proxy.scrape().splitlines())
    rig.informers.slices.put(slice_of(endpoint("10.244.1.1", node="a")), 4)
    await rig.clock.settle()
    assert {f'{name}"internal"}} 0', f'{name}"external"}} 0'} <= set(rig.proxy.scrape().splitlines())


@in_network_namespace
async def test_p36_p37_p38_metrics_under_kube_proxys_names() -> None:
    rig = Rig()
    servers = HealthServers(rig.proxy, rig.clock)
    await servers.start()
    await rig.start()
    rig.kernel.connected = [Connections("default/web", "http", "TCP", Backend("10.244.1.1", 8080), 7)]
    found = slice_of(endpoint("10.244.1.1"))
    annotation = "endpoints.kubernetes.io/last-change-trigger-time"
    for number, stamp in enumerate(("2001-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "nonsense", ""), 10):
        found.metadata.annotations = {annotation: stamp} if stamp else {}
        rig.informers.slices.put(found, number)
        await rig.clock.advance(1)
    rig.informers.services.put(service(), 20)
    rig.kernel.refuse = True
    rig.informers.services.put(service("other", "10.96.0.8"), 21)
    assert (await get(METRICS_PORT, "/proxyMode"))[2] == "nftables"
    assert (await get(METRICS_PORT, "/healthz"))[2] == "ok"
    where = 'service="default/web",port="http",protocol="TCP",endpoint="10.244.1.1:8080"'
    connections = f"skerry_proxy_endpoint_connections_total{{{where}}}"
    lines = (await get(METRICS_PORT, "/metrics"))[2].splitlines()
    for line in (
        'kubeproxy_sync_proxy_rules_endpoint_changes_total{ip_family="IPv4"} 4',
        'kubeproxy_sync_proxy_rules_service_changes_total{ip_family="IPv4"} 2',
        'kubeproxy_sync_proxy_rules_service_changes_pending{ip_family="IPv4"} 1',
        'kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family="IPv4"} 1',
        'kubeproxy_sync_partial_proxy_rules_duration_seconds_count{ip_family="IPv4"} 5',
        'kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family="IPv4"} 1',
        # the first trigger is older than the proxy, the third none, the last missing
        'kubeproxy_network_programming_duration_seconds_count{ip_family="IPv4"} 1',
        'kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total{ip_family="IPv4"} 3',
        f"{connections} 7",
        "skerry_proxy_misses 0",
    ):
        assert line in lines, line
    await servers.close()


@in_network_namespace
async def test_who_asks_for_nothing_that_can_be_understood_is_hung_up_on_without_a_word_in_the_log() -> None:
    wrong: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: wrong.append(what))
    rig = Rig()
    servers = HealthServers(rig.proxy, rig.clock)
    await servers.start()
    for said in (b"\r\n\r\n", b"GET /healthz\r\n\r\n", b"x" * 40_000, b"\xff\xfe\x00 a b c\r\n\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", HEALTH_PORT)
        writer.write(said)
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionResetError):  # what was not read is a reset
                assert await reader.read() == b"", said[:20]
        writer.close()
    assert (await get(HEALTH_PORT, "/livez", "POST"))[0] == 405
    assert wrong == []
    await servers.close()


def test_p34_only_balanced_services_with_policy_local_have_such_a_port() -> None:
    from skerry.proxy.brain import Brain

    brain = Brain(NODE)
    brain.apply_service("default/web", balanced())
    assert brain.health_check_ports() == {32123: "default/web"}
    brain.apply_service("default/web", balanced(policy="Cluster"))
    assert brain.health_check_ports() == {}
