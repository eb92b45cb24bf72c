"""The records follow the API: what is created, changed and deleted there is answered here."""

from __future__ import annotations

import asyncio

from tests.helpers import server

from skerry.api.status import ApiError
from skerry.api.types import core, discovery, meta
from skerry.apiserver import bootstrap
from skerry.client.informer import Informers
from skerry.clock import FakeClock, SystemClock, rfc3339_micro
from skerry.dns.clients import Clients
from skerry.dns.follow import TRIGGER, Customs, follow
from skerry.dns.metrics import DnsMetrics
from skerry.dns.names import Names
from skerry.dns.records import Records
from skerry.dns.resolver import Resolver
from skerry.dns.server import DnsServer


def data(records, name, qtype="A"):
    found = records.answer(name, qtype)
    return found.rcode, sorted(str(record.data) for record in found.answers)


async def until(records, name, expected):
    async with asyncio.timeout(5):
        while data(records, name) != expected:  # noqa: ASYNC110 - the informers' tasks are all there is to wait for
            await asyncio.sleep(0)


async def test_records_follow_the_api():
    api = await server.start()
    informers, records = Informers(api.client), Records()
    assert data(records, "kubernetes.default.svc.cluster.local")[0] == "SERVFAIL"
    following = asyncio.create_task(follow(informers, records))
    await asyncio.sleep(0)
    await informers.start()
    try:
        await asyncio.wait_for(following, 5)
        assert data(records, "kubernetes.default.svc.cluster.local") == ("NOERROR", ["10.96.0.1"])
        spec = core.ServiceSpec(cluster_ip="None", ports=[core.ServicePort(port=80)])
        named = meta.ObjectMeta(name="db", namespace="default")
        await api.client.create(core.Service(metadata=named, spec=spec))
        labelled = meta.ObjectMeta(name="db-1", namespace="default", labels={"kubernetes.io/service-name": "db"})
        made = await api.client.create(
            discovery.EndpointSlice(
                metadata=labelled, address_type="IPv4", endpoints=[discovery.Endpoint(addresses=["10.244.1.9"])]
            )
        )
        name = "db.default.svc.cluster.local"
        await until(records, name, ("NOERROR", ["10.244.1.9"]))
        made.endpoints[0].conditions.ready = False
        await api.client.update(made)
        await until(records, name, ("NXDOMAIN", []))
        await api.client.delete(core.Service, "kubernetes", "default")
        await until(records, "kubernetes.default.svc.cluster.local", ("NXDOMAIN", []))
    finally:
        await informers.stop()


async def test_d17_the_service_of_dns_is_the_one_that_everybody_expects():
    api = await server.start()
    await bootstrap.dns(api.client, cluster_ips=["10.96.0.10"])
    found = await api.client.get(core.Service, "kube-dns", "kube-system")
    labels = {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}
    assert labels.items() <= found.metadata.labels.items()
    ports = [(one.name, one.port, one.protocol) for one in found.spec.ports]
    assert ports == [("dns", 53, "UDP"), ("dns-tcp", 53, "TCP"), ("metrics", 9153, "TCP")]
    assert found.spec.cluster_ip == "10.96.0.10"


class Rig:
    """A server that follows an API, and what people were told about its ConfigMap."""

    def __init__(self, api):
        self.client, self.informers = api.client, Informers(api.client)
        self.told = []
        self.clients = Clients()

        async def no_socket(*_):
            raise OSError

        resolver = Resolver([], no_socket, SystemClock())
        self.server = DnsServer(Names(Records()), resolver, clients=self.clients)
        self.customs = Customs(self.informers, self.server, resolver, lambda _, text: self.told.append(text))

    async def configure(self, data):
        """The ConfigMap is now this one."""
        made = core.ConfigMap(metadata=meta.ObjectMeta(name="kube-dns", namespace="kube-system"), data=data)
        try:
            await self.client.create(made)
        except ApiError:
            await self.client.update(made)

    async def until(self, condition):
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 - as above
                await asyncio.sleep(0)


async def test_the_configmap_is_followed_and_bad_content_leaves_what_was_there():
    api = await server.start()
    rig = Rig(api)
    await rig.informers.start()
    try:
        await asyncio.gather(rig.customs.start(), follow(rig.informers, rig.server.records))
        names = rig.server.names
        await rig.configure({"hosts": "192.0.2.7 db.corp.example", "ttl": "60", "searchWalk": "false"})
        await rig.until(lambda: names.answer("db.corp.example.", "A") is not None)
        assert (rig.server.records.ttl, rig.clients.walking) == (60, False)
        await rig.configure({"hosts": "nonsense"})
        await rig.until(lambda: rig.told)
        assert rig.told == ['hosts, line 1: "nonsense" is no address; what was there before stays in force']
        assert names.answer("db.corp.example.", "A") is not None
        await rig.configure({"pods": "verified"})
        await rig.until(lambda: names.answer("db.corp.example.", "A") is None)
        assert (rig.server.records.ttl, rig.clients.walking) == (5, True)
        await rig.client.delete(core.ConfigMap, "kube-dns", "kube-system")
        name = "10-1-2-3.default.pod.cluster.local."
        await rig.until(lambda: rig.server.records.answer(name, "A").rcode == "NOERROR")
    finally:
        await rig.informers.stop()


async def test_d8_verified_mode_follows_all_pods():
    api = await server.start()
    rig = Rig(api)
    await rig.configure({"pods": "verified"})
    await rig.informers.start()
    try:
        await asyncio.gather(rig.customs.start(), follow(rig.informers, rig.server.records))
        made = core.Pod(
            metadata=meta.ObjectMeta(name="a", namespace="default"),
            spec=core.PodSpec(containers=[core.Container(name="c", image="x")]),
        )
        await rig.client.create(made)
        status = {"status": {"phase": "Running", "podIP": "10.244.9.9", "podIPs": [{"ip": "10.244.9.9"}]}}
        name = "10-244-9-9.default.pod.cluster.local."
        assert rig.server.records.answer(name, "A").rcode == "NXDOMAIN"
        await rig.client.patch(core.Pod, "a", status, "default", subresource="status")
        await until(rig.server.records, name, ("NOERROR", ["10.244.9.9"]))
    finally:
        await rig.informers.stop()


async def test_programming_time_is_measured_for_headless_services_of_pods():
    api = await server.start()
    informers, records, metrics = Informers(api.client), Records(), DnsMetrics()
    clock = FakeClock()
    await informers.start()
    try:
        await follow(informers, records, metrics=metrics, clock=clock)
        ports = [core.ServicePort(port=80)]
        for name, ip, selector in (("db", "None", {"a": "b"}), ("own", "None", {}), ("web", "", {"a": "b"})):
            spec = core.ServiceSpec(cluster_ip=ip, ports=ports, selector=selector)
            await api.client.create(core.Service(metadata=meta.ObjectMeta(name=name, namespace="default"), spec=spec))
            await until(records, f"{name}.nowhere.default.svc.cluster.local", ("NXDOMAIN", []))
            when = rfc3339_micro(clock.now())
            await clock.advance(0.0003)
            labels = {"kubernetes.io/service-name": name}
            named = meta.ObjectMeta(name=f"{name}-1", namespace="default", labels=labels, annotations={TRIGGER: when})
            await api.client.create(
                discovery.EndpointSlice(
                    metadata=named, address_type="IPv4", endpoints=[discovery.Endpoint(addresses=["10.244.1.9"])]
                )
            )
            await until(records, f"10-244-1-9.{name}.default.svc.cluster.local", ("NOERROR", ["10.244.1.9"]))
        assert metrics.programming.count("headless_with_selector") == 1
        assert 0.0002 < metrics.programming.sum("headless_with_selector") < 0.0004
    finally:
        await informers.stop()
