"""The server on real sockets: asked by dig, with an upstream that answers, is silent, or is not there."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import struct

import dnslib
import pytest

from skerry.api.types import core, meta
from skerry.clock import FakeClock, SystemClock
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
    """Answers every A question with `count` addresses; or keeps silent."""

    def __init__(self, count=1, silent=False):
        self.count, self.silent, self.asked = count, silent, []

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
        for i in range(self.count):
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
