"""The server on real sockets: asked by dig, with an upstream that answers, is silent, or is not there."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import struct

import dnslib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.api.types import core, meta
from skerry.clock import FakeClock, SystemClock
from skerry.dns.clients import Clients
from skerry.dns.metrics import DnsMetrics
from skerry.dns.names import Names
from skerry.dns.records import Records
from skerry.dns.resolver import Resolver
from skerry.dns.server import DnsServer


def records():
    made = Records()
    made.apply_namespace("default", True)
    for name, spec in {
        "web": core.ServiceSpec(cluster_ip="10.96.1.1", ports=[core.ServicePort(name="http", port=80)]),
        "ext": core.ServiceSpec(type="ExternalName", external_name="www.example.org"),
    }.items():
        made.apply_service(f"default/{name}", core.Service(metadata=meta.ObjectMeta(name=name), spec=spec))
    made.synced = True
    return made


def pair(host="127.0.0.1"):
    """A UDP and a TCP socket on one free port."""
    while True:
        udp, tcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
        udp.bind((host, 0))
        try:
            tcp.bind(udp.getsockname())
        except OSError:
            udp.close()
            tcp.close()
            continue
        return udp, tcp


async def host_socket(server, family, kind):
    return socket.socket(family, kind)


@contextlib.asynccontextmanager
async def serving(resolver=None, **options):
    udp, tcp = pair()
    port = udp.getsockname()[1]
    server = DnsServer(Names(records()), resolver, **options)
    await server.serve(udp, tcp)
    try:
        yield server, port
    finally:
        await server.close()


class Upstream(asyncio.DatagramProtocol):
    """Answers A with `count` addresses from 192.0.2.`first` on; NXDOMAIN below `missing`; or is silent."""

    def __init__(self, count=1, silent=False, missing=(), first=0):
        self.count, self.silent, self.missing, self.first, self.asked = count, silent, missing, first, []

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.asked.append(data)
        if not self.silent:
            self.transport.sendto(b"garbage", addr)
            self.transport.sendto(self.reply(data, forged=True), addr)  # a guesser's packet must not count
            self.transport.sendto(self.reply(data), addr)

    def reply(self, data, forged=False):
        query = dnslib.DNSRecord.parse(data)
        reply = query.reply(aa=0)
        if any(str(query.q.qname).endswith("." + one) for one in self.missing):
            reply.header.rcode = 3
            soa = dnslib.SOA("a.b", "c.d", (1, 2, 3, 4, 60))
            reply.add_auth(dnslib.RR(self.missing[0], dnslib.QTYPE.SOA, rdata=soa, ttl=60))
            return bytes(reply.pack())
        for i in range(self.first, self.first + self.count):
            address = "6.6.6.6" if forged else f"192.0.2.{i}"
            reply.add_answer(dnslib.RR(query.q.qname, rdata=dnslib.A(address), ttl=60))
        if forged:
            reply.header.id = reply.header.id ^ 1
        return bytes(reply.pack())


@contextlib.asynccontextmanager
async def upstream(**options):
    made = Upstream(**options)
    udp, tcp = pair()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: made, sock=udp)

    async def on_tcp(reader, writer):
        size = int.from_bytes(await reader.readexactly(2), "big")
        reply = made.reply(await reader.readexactly(size))
        writer.write(len(reply).to_bytes(2, "big") + reply)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(on_tcp, sock=tcp)
    try:
        yield made, tcp.getsockname()[1]
    finally:
        transport.close()
        server.close()


async def ask(port, name, qtype="A", *, tcp=False, wait=5.0, edns=0):
    query = dnslib.DNSRecord.question(name, qtype)
    if edns:
        query.add_ar(dnslib.EDNS0(udp_len=edns))
    return dnslib.DNSRecord.parse(await asyncio.to_thread(query.send, "127.0.0.1", port, tcp, wait))


async def test_dig_by_udp_and_tcp():
    if shutil.which("dig") is None:
        pytest.skip("dig is not installed")
    async with serving() as (_, port):
        for extra in ([], ["+tcp"]):
            dig = await asyncio.create_subprocess_exec(
                *["dig", "@127.0.0.1", "-p", str(port), *extra, "+tries=1", "WEB.default.svc.cluster.local"],
                stdout=asyncio.subprocess.PIPE,
            )
            text = (await dig.communicate())[0].decode()
            assert "status: NOERROR" in text and "10.96.1.1" in text and " aa " in text and "malformed" not in text


async def test_malformed_packets_do_not_stop_it():
    async with serving() as (server, port):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for packet in (
                b"",
                b"x",
                b"\0" * 12,
                b"\xff" * 512,
                struct.pack("!6H", 1, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1",
            ):
                sock.sendto(packet, ("127.0.0.1", port))
        reply = await ask(port, "web.default.svc.cluster.local")
        assert str(reply.a.rdata) == "10.96.1.1"
        assert server.replies["dropped"] >= 1


async def test_two_questions_on_one_connection():
    async with serving() as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for name, code in (("web.default.svc.cluster.local", 0), ("no.default.svc.cluster.local", 3)):
            data = bytes(dnslib.DNSRecord.question(name).pack())
            writer.write(len(data).to_bytes(2, "big") + data)
            size = int.from_bytes(await reader.readexactly(2), "big")
            assert dnslib.DNSRecord.parse(await reader.readexactly(size)).header.rcode == code
        writer.close()


async def test_other_names_are_forwarded_and_forged_replies_ignored():
    async with (
        upstream() as (made, up),
        serving(Resolver([f"127.0.0.1:{up}"], host_socket, SystemClock())) as (_, port),
    ):
        reply = await ask(port, "www.Example.org")
        assert (str(reply.a.rdata), reply.header.aa) == ("192.0.2.0", 0)
        assert len(made.asked) == 1
        assert str((await ask(port, "www.example.org", tcp=True)).a.rdata) == "192.0.2.0"


async def test_a_long_forwarded_reply_is_truncated_for_a_classic_client():
    async with (
        upstream(count=60) as (_, up),
        serving(Resolver([f"127.0.0.1:{up}"], host_socket, SystemClock())) as (_, port),
    ):
        assert (await ask(port, "www.example.org")).header.tc == 1
        assert len((await ask(port, "www.example.org", edns=4096)).rr) == 60
        assert len((await ask(port, "www.example.org", tcp=True)).rr) == 60


async def test_d7_external_name_carries_the_resolved_addresses():
    async with (
        upstream() as (_, up),
        serving(Resolver([f"127.0.0.1:{up}"], host_socket, SystemClock())) as (_, port),
    ):
        reply = await ask(port, "ext.default.svc.cluster.local")
        assert [str(r.rdata) for r in reply.rr] == ["www.example.org.", "192.0.2.0"]
    async with serving() as (_, port):
        reply = await ask(port, "ext.default.svc.cluster.local")
        assert (reply.header.rcode, [str(r.rdata) for r in reply.rr]) == (0, ["www.example.org."])


async def test_no_upstream_is_servfail_at_once():
    async with serving() as (_, port):
        assert (await ask(port, "www.example.org", wait=1.0)).header.rcode == 2


async def test_an_upstream_that_is_not_there_is_servfail_at_once():
    udp, tcp = pair()
    closed = udp.getsockname()[1]
    udp.close()
    tcp.close()
    async with serving(Resolver([f"127.0.0.1:{closed}"], host_socket, SystemClock(), timeout=60)) as (_, port):
        assert (await ask(port, "www.example.org")).header.rcode == 2


async def test_a_silent_upstream_is_asked_rarely_and_comes_back():
    clock = FakeClock()
    async with upstream(silent=True) as (made, up):
        resolver = Resolver([f"127.0.0.1:{up}"], host_socket, clock, timeout=0.05)
        async with serving(resolver) as (_, port):
            assert (await ask(port, "www.example.org")).header.rcode == 2
            assert (await ask(port, "www.example.org")).header.rcode == 2
            assert len(made.asked) == 1
            made.silent = False
            await clock.advance(5.1)
            assert str((await ask(port, "www.example.org")).a.rdata) == "192.0.2.0"


async def test_the_second_upstream_answers_when_the_first_is_gone():
    async with upstream() as (_, up):
        resolver = Resolver([f"127.0.0.9:{up}", f"127.0.0.1:{up}"], host_socket, SystemClock())
        async with serving(resolver) as (_, port):
            assert str((await ask(port, "www.example.org")).a.rdata) == "192.0.2.0"


async def counting(made, up, *, path=("default.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.test")):
    """A resolver that asks `made`, and clients among which 127.0.0.1 is a pod with this search path."""
    clients = Clients(["127.0.0.0/8"])
    clients.pod("default/a", ["127.0.0.1"], path)
    return Resolver([f"127.0.0.1:{up}"], host_socket, SystemClock()), clients


def asked_names(made):
    return [str(dnslib.DNSRecord.parse(one).q.qname) for one in made.asked]


async def test_d22_one_question_finds_an_external_name_and_can_be_told_not_to():
    async with upstream(missing=["corp.test."]) as (made, up):
        resolver, clients = await counting(made, up)
        async with serving(resolver, clients=clients) as (server, port):
            reply = await ask(port, "www.example.org.default.svc.cluster.local")
            assert [(str(r.rname), str(r.rdata)) for r in reply.rr] == [
                ("www.example.org.default.svc.cluster.local.", "www.example.org."),
                ("www.example.org.", "192.0.2.0"),
            ]
            assert asked_names(made) == ["www.example.org.corp.test.", "www.example.org."]
            await ask(port, "www.example.org.default.svc.cluster.local")
            assert len(made.asked) == 2, "what upstream said is kept"
            assert server.metrics.walks.value("dns://:53") == 2
            clients.walk(False)
            assert (await ask(port, "www.example.org.default.svc.cluster.local")).header.rcode == 3
            assert len(made.asked) == 2


async def test_d22_a_walk_inside_the_cluster_asks_nobody_and_is_kept():
    async with upstream() as (made, up):
        resolver, clients = await counting(made, up)
        async with serving(resolver, clients=clients) as (server, port):
            for _ in range(2):
                reply = await ask(port, "web.default.default.svc.cluster.local")
                assert [str(r.rdata) for r in reply.rr] == ["web.default.svc.cluster.local.", "10.96.1.1"]
            assert not made.asked and next(iter(server.answers)).hits == 2
            server.records.apply_namespace("default", False)
            assert not server.answers.kept


async def test_a_single_label_that_nobody_has_costs_no_time_out():
    clock = SystemClock()
    async with upstream(silent=True) as (made, up):
        clients = Clients(["127.0.0.0/8"])
        clients.pod("default/a", ["127.0.0.1"], ("default.svc.cluster.local", "svc.cluster.local", "cluster.local"))
        resolver = Resolver([f"127.0.0.1:{up}"], host_socket, clock)
        async with serving(resolver, clients=clients) as (_, port):
            for name in ("printer.default.svc.cluster.local", "printer"):
                assert (await ask(port, name, wait=1.0)).header.rcode == 3
            assert not made.asked


async def test_a_walk_that_meets_a_dead_server_answers_the_question_itself():
    async with upstream(silent=True) as (made, up):
        resolver, clients = await counting(made, up)
        resolver = Resolver([f"127.0.0.1:{up}"], host_socket, SystemClock(), timeout=0.05)
        async with serving(resolver, clients=clients) as (server, port):
            assert (await ask(port, "www.example.org.default.svc.cluster.local")).header.rcode == 3
            assert not server.answers.kept, "it may answer the next time"


async def test_strangers_get_no_reply_at_all():
    async with serving(clients=Clients(["10.244.0.0/16"])) as (server, port):
        query = bytes(dnslib.DNSRecord.question("web.default.svc.cluster.local").pack())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(query, ("127.0.0.1", port))
            sock.setblocking(False)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await asyncio.get_running_loop().sock_recv(sock, 512)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await asyncio.wait_for(reader.read(), 2) == b""
        writer.close()
        assert server.metrics.dropped.value("stranger") == 2


async def test_the_same_question_of_many_is_asked_once():
    async with (
        upstream() as (made, up),
        serving(Resolver([f"127.0.0.1:{up}"], host_socket, SystemClock())) as (_, port),
    ):
        replies = await asyncio.gather(*(ask(port, "www.example.org") for _ in range(8)))
        assert {str(one.a.rdata) for one in replies} == {"192.0.2.0"}
        assert len(made.asked) == 1


async def test_the_cluster_zone_and_stub_domains_are_not_asked_of_the_machines_servers():
    async with upstream() as (made, up), upstream(first=100) as (stub, stub_port):
        resolver = Resolver([f"127.0.0.1:{up}"], host_socket, SystemClock())
        resolver.route({"corp.example.": [f"127.0.0.1:{stub_port}"]})
        async with serving(resolver) as (_, port):
            assert str((await ask(port, "db.Corp.example")).a.rdata) == "192.0.2.100"
            assert str((await ask(port, "notcorp.example")).a.rdata) == "192.0.2.0"
            assert (await ask(port, "no.default.svc.cluster.local")).header.rcode == 3
            assert (asked_names(made), len(stub.asked)) == (["notcorp.example."], 1)
            resolver.route({})
            assert str((await ask(port, "db.corp.example")).a.rdata) == "192.0.2.0", "nothing is kept of other servers"


async def test_metrics_have_the_names_of_coredns():
    metrics = DnsMetrics()
    async with (
        upstream() as (_, up),
        serving(
            Resolver([f"127.0.0.1:{up}"], host_socket, SystemClock(), observe=metrics.asked_upstream), metrics=metrics
        ) as (server, port),
    ):
        for name in ("web.default.svc.cluster.local", "web.default.svc.cluster.local", "www.example.org"):
            await ask(port, name)
        await ask(port, "no.default.svc.cluster.local", tcp=True)
        text = server.scrape()
        zone = 'server="dns://:53",zone="cluster.local."'
        for line in (
            f'coredns_dns_requests_total{{{zone},proto="udp",family="1",type="A"}} 2',
            f'coredns_dns_requests_total{{{zone},proto="tcp",family="1",type="A"}} 1',
            f'coredns_dns_responses_total{{{zone},rcode="NOERROR"}} 2',
            f'coredns_dns_responses_total{{{zone},rcode="NXDOMAIN"}} 1',
            f"coredns_dns_request_duration_seconds_count{{{zone}}} 3",
            'coredns_cache_misses_total{server="dns://:53"} 1',
            f'_duration_seconds_count{{proxy_name="forward",to="127.0.0.1:{up}",rcode="NOERROR"}} 1',
        ):
            assert line in text, text


@given(st.lists(st.one_of(st.binary(max_size=80), st.tuples(st.integers(0, 70), st.binary(min_size=1, max_size=6)))))
@settings(max_examples=60, deadline=None)
def test_no_packet_of_a_stranger_or_a_pod_ends_the_server_or_gets_more_than_it_may(packets):
    server = DnsServer(Names(records()))
    good = dnslib.DNSRecord.question("web.default.svc.cluster.local", "ANY")
    good.add_ar(dnslib.EDNS0(udp_len=60000))
    whole = bytes(good.pack())
    for one in packets:
        data = one if isinstance(one, bytes) else whole[: one[0]] + one[1] + whole[one[0] + len(one[1]) :]
        reply, _ = server._fresh(None, data, ("127.0.0.1", 1), 0)
        assert reply is None or len(reply) <= max(4096, 512)
        assert reply is None or reply[2] & 0x80
    assert server.metrics.panics.value() == 0
