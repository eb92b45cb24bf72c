"""Bytes over real sockets that mean no good: a clear 4xx or a closed connection, and others are served on."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import os
import resource
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.edge import MAPS, PATIENCE, USUAL, Served, answer, edges

from skerry.api import status
from skerry.api.types import core
from skerry.api.wire import Request
from skerry.apiserver.connections import Limits
from skerry.client.client import whole

SHORT = Limits(body=100_000, bodies=250_000, headers=0.15, idle=0.15, upload=0.15, stalled=0.15)


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Any]:
    async with edges(tmp_path) as make:
        yield make


SMUGGLED = f"GET {MAPS}/smuggled HTTP/1.1\r\nHost: x\r\n\r\n".encode()
SMUGGLING = {
    "both lengths": b"POST /x HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n%s\r\n0\r\n\r\n",
    "two lengths": b"POST /x HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 44\r\n%s\r\n",
    "a length with a sign": b"POST /x HTTP/1.1\r\nContent-Length: +0\r\n%s\r\n",
    "a negative length": b"POST /x HTTP/1.1\r\nContent-Length: -1\r\n%s\r\n",
    "an endless length": b"POST /x HTTP/1.1\r\nContent-Length: " + b"9" * 40 + b"\r\n%s\r\n",
    "an unknown coding": b"POST /x HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n%s\r\n",
    "chunked twice": b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n%s\r\n0\r\n\r\n",
    "a folded header": b"GET /version HTTP/1.1\r\nX: a\r\n b\r\n%s\r\n",
    "a space before the colon": b"GET /version HTTP/1.1\r\nX : a\r\n%s\r\n",
    "no colon": b"GET /version HTTP/1.1\r\nXa\r\n%s\r\n",
    "a null in a header": b"GET /version HTTP/1.1\r\nX: a\x00b\r\n%s\r\n",
    "a bare return": b"GET /version HTTP/1.1\r\nX: a\rY: b\r\n%s\r\n",
    "bad chunk sizes": b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n%s\r\nzz\r\n\r\n",
    "chunk extensions without end": b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n%s\r\n1;" + b"a" * 70_000,
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00%s",
    "a version of its own": b"GET /version HTTP/9.9\r\n%s\r\n",
    "a long URL": b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n%s\r\n",
    "a long header": b"GET /version HTTP/1.1\r\nX: " + b"a" * 40_000 + b"\r\n%s\r\n",
    "many headers": b"GET /version HTTP/1.1\r\n" + b"X: a\r\n" * 200 + b"%s\r\n",
}


@pytest.mark.parametrize("how", SMUGGLING)
async def test_what_is_no_clear_request_is_refused_and_nothing_behind_it_is_read(serve: Any, how: str) -> None:
    served: Served = await serve(Limits(upload=0.2, idle=0.2, headers=0.2))
    said = await served.send(SMUGGLING[how].replace(b"%s", USUAL) + SMUGGLED)
    if said:  # else: closed without a word
        assert answer(said)[0] in (400, 408, 413, 431), said[:300]
        assert b"}HTTP/1.1 " not in said and b"secret" not in said, said[:1000]
    assert b"smuggled" not in b"".join(served.lines)
    await served.fine()


async def test_slow_clients_are_cut_off(serve: Any) -> None:
    """Slowloris: who says nothing, and who begins a head, a second head, or a body, and does not go on."""
    served: Served = await serve(SHORT)
    assert await served.send(b"") == b""
    assert await served.send(b"GET /version HTTP/1.1\r\nX:") == b""
    twice = await served.send(b"GET /version HTTP/1.1\r\n" + USUAL + b"\r\nGET /vers")
    assert twice.startswith(b"HTTP/1.1 200") and twice.count(b"HTTP/1.1") == 1
    head = f"POST {MAPS} HTTP/1.1\r\nContent-Length: 1000\r\n".encode() + USUAL + b"\r\n"
    assert answer(await served.send(head + b"{"))[0] == 408
    await served.fine()


async def test_bodies_are_bounded_each_and_together(serve: Any) -> None:
    served: Served = await serve(SHORT)
    assert (await served.ask("POST", MAPS, b" " * 100_001))[0] == 413
    # One that only says so is not waited for, one that does not say so is read to the limit.
    head = f"POST {MAPS} HTTP/1.1\r\nContent-Length: 99999999999\r\n".encode() + USUAL + b"\r\n"
    assert answer(await served.send(head))[0] == 413
    chunked = f"POST {MAPS} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n".encode() + USUAL + b"\r\n"
    assert answer(await served.send(chunked + b"186a1\r\n" + b" " * 100_001 + b"\r\n0\r\n\r\n"))[0] == 413
    slow = f"POST {MAPS} HTTP/1.1\r\nContent-Length: 99999\r\n".encode() + USUAL + b"\r\n" + b" " * 99_000
    codes = [answer(one)[0] for one in await asyncio.gather(*(served.send(slow) for _ in range(4)))]
    assert sorted(codes)[-1] == 429 and 408 in codes
    assert (await served.ask("POST", MAPS, b'{"metadata":{"name":"a"}}'))[0] == 201  # all that was held is given back


async def test_bodies_that_were_refused_or_broken_off_do_not_wait_for_the_collector(serve: Any) -> None:
    served: Served = await serve(SHORT)
    chunked = f"POST {MAPS} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n".encode() + USUAL + b"\r\n"
    mark = b"what nobody else sends "
    large = chunked + b"1a0aa\r\n" + mark * (0x1A0AA // len(mark)) + b" " * (0x1A0AA % len(mark)) + b"\r\n0\r\n\r\n"
    gc.disable()
    try:
        for _ in range(4):
            assert answer(await served.send(large))[0] == 413
            _, writer = await served.open()
            writer.write(chunked + b"ffff\r\n" + mark * 2500)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        await served.fine()
        lists = [one for one in gc.get_objects() if type(one) is list]
        assert not [one for one in lists if sum(each.count(mark) for each in one if type(each) is bytes) > 1000]
    finally:
        gc.enable()


async def test_who_waits_to_be_asked_for_its_body_is_asked(serve: Any) -> None:
    served: Served = await serve()
    reader, writer = await served.open()
    body = b'{"metadata":{"name":"a"}}'
    head = f"POST {MAPS} HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n".encode()
    writer.write(head + USUAL + b"\r\n")
    async with asyncio.timeout(PATIENCE):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(body)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201 ")
    writer.close()


async def test_a_bomb_of_gzip_is_not_unpacked(serve: Any) -> None:
    served: Served = await serve()
    bomb = gzip.compress(bytes(50_000_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for coding in ("gzip", "deflate", "br", "zstd"):
        code, said = await served.ask("POST", MAPS, bomb, content_encoding=coding)
        assert (code, coding in said["message"]) == (415, True)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB
    await served.fine()


DEEP = 200_000
BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (n, n, b",".join([b"*%c" % (n - 1)] * 9)) for n in range(98, 123)
)
BODIES = {
    "json lists": ("application/json", b"[" * DEEP + b"]" * DEEP),
    "json objects": ("application/json", b'{"a":' * DEEP + b"1" + b"}" * DEEP),
    "json objects that end nowhere": ("application/json", b'{"a":' * DEEP),
    "yaml lists": ("application/yaml", b"[" * DEEP + b"]" * DEEP),
    "yaml blocks": ("application/yaml", b"".join(b" " * n + b"a:\n" for n in range(1200))),
    "yaml of aliases": ("application/yaml", BOMB),
    "yaml of itself": ("application/yaml", b"&a [*a]"),
    "yaml that makes objects": ("application/yaml", b"!!python/object/apply:os.system ['true']"),
    "yaml of two documents": ("application/yaml", b"a: 1\n---\na: 2\n"),
    "no UTF-8": ("application/json", b'{"metadata":{"name":"\xff\xfe"}}'),
    "half a character": ("application/json", b'{"metadata":{"name":"a"},"data":{"a":"\xe6\x97"}}'),
    "a lone surrogate": ("application/json", b'{"metadata":{"name":"a"},"data":{"a":"\\ud800"}}'),
    "a byte order mark": ("application/json", b"\xef\xbb\xbf{}"),
    "NaN": ("application/json", b'{"metadata":{"name":"a","generation":NaN}}'),
    "too large a number": ("application/json", b'{"metadata":{"name":"a","generation":1e999}}'),
    "an integer of 10,000 digits": ("application/json", b'{"metadata":{"name":"a","generation":%b}}' % (b"9" * 10_000)),
    "an integer above 63 bits": ("application/json", b'{"metadata":{"name":"a","generation":9223372036854775808}}'),
    "a fraction of an integer": ("application/json", b'{"metadata":{"name":"a","generation":1.5}}'),
    "nothing": ("application/json", b""),
    "null": ("application/json", b"null"),
    "no protobuf": ("application/vnd.kubernetes.protobuf", b"{}"),
    "protobuf of no kind": ("application/vnd.kubernetes.protobuf", b"k8s\x00"),
    "protobuf that lies of its length": ("application/vnd.kubernetes.protobuf", b"k8s\x00\x0a\xff\xff\xff\xff\x0f"),
    "protobuf groups": ("application/vnd.kubernetes.protobuf", b"k8s\x00" + b"\x0b" * 1000),
    "another media type": ("text/html", b"<html>"),
}


@pytest.mark.parametrize("what", BODIES)
async def test_bodies_that_are_no_objects_are_refused(serve: Any, what: str) -> None:
    served: Served = await serve()
    media, body = BODIES[what]
    for method, target in (("POST", MAPS), ("PUT", f"{MAPS}/a"), ("DELETE", f"{MAPS}/a")):
        if method == "DELETE" and not body:
            continue  # which is no options
        code, _ = await served.ask(method, target, body, content_type=media)
        assert code in (400, 404, 415, 422), code
    assert (await served.ask("POST", MAPS, b'{"metadata":{"name":"a"}}'))[0] == 201
    for kind in ("json-patch+json", "merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml"):
        code, _ = await served.ask("PATCH", f"{MAPS}/a?fieldManager=a", body, content_type=f"application/{kind}")
        assert code in (400, 415, 422) or body == b"{}", (kind, code)


async def test_duplicate_keys_are_told_or_refused(serve: Any) -> None:
    served: Served = await serve()
    body = b'{"metadata":{"name":"a","name":"b"}}'
    code, said = await served.ask("POST", f"{MAPS}?fieldValidation=Strict", body)
    assert code == 400
    assert 'duplicate field "metadata.name"' in said["message"]
    said_all = await served.send(
        f"POST {MAPS} HTTP/1.1\r\nConnection: close\r\nContent-Length: {len(body)}\r\n".encode()
        + USUAL
        + b"\r\n"
        + body
    )
    assert b'Warning: 299 - "duplicate field \\"metadata.name\\""' in said_all


async def test_headers_that_are_no_text_are_taken(serve: Any) -> None:
    """User-Agent becomes the manager of fields and stands in the audit log, Audit-Id comes back: none may break it."""
    served: Served = await serve()
    body = b'{"metadata":{"name":"a"}}'
    said = await served.send(
        f"POST {MAPS} HTTP/1.1\r\nConnection: close\r\nContent-Length: {len(body)}\r\n".encode()
        + b"User-Agent: \xff\xfe\xed\xa0\x80\r\nAudit-Id: \xff\r\nAccept: \xff\r\n" + USUAL + b"\r\n" + body
    )  # fmt: skip
    assert answer(said)[0] == 201
    for name in ("Impersonate-User", "Impersonate-Group", "Authorization", "Content-Type", "Accept-Encoding"):
        data = (
            f"GET {MAPS} HTTP/1.1\r\nConnection: close\r\n".encode()
            + name.encode()
            + b": \xff\xed\r\n"
            + USUAL
            + b"\r\n"
        )
        code = int((await served.send(data)).split()[1])
        assert code < 500


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/namespaces/default/configmaps/..",
        "/api/v1/namespaces/default/configmaps/%2e%2e",
        "/api/v1/namespaces/default/configmaps/..%2f..%2fsecrets",
        "/api/v1/namespaces/..%2fkube-system/configmaps",
        "/api/v1/namespaces/default%00/configmaps",
        "/api/v1/namespaces/default/configmaps/%00",
        "/api/v1/namespaces/default/configmaps/%ff%fe",
        "/api/v1/namespaces/default/configmaps/a%0d%0aX-Injected:%201",
        "/api/v1/namespaces/default/pods/a/log%2f..%2f..",
        "//api/../etc/passwd",
        "/../../../../etc/passwd",
        "/api/v1/nodes/x/proxy/../../../etc/passwd",
        "http://elsewhere/api/v1/nothing",
        "*",
    ],
)
async def test_paths_lead_nowhere_else(serve: Any, target: str) -> None:
    served: Served = await serve()
    said = await served.send(f"GET {target} HTTP/1.1\r\nConnection: close\r\n".encode() + USUAL + b"\r\n")
    assert b"X-Injected: 1\r\n" not in said
    code, value = answer(said)
    assert code in (400, 403, 404, 405, 503) or value.get("items") == [], (code, value)


async def test_raw_bytes_in_a_path_are_refused_or_not_found(serve: Any) -> None:
    served: Served = await serve()
    for raw in (b"\xff", b"\xed\xa0\x80", "ü".encode(), b"%zz", b"\x7f"):
        for part in (b"/api/v1/namespaces/default/pods/" + raw, b"/version?x=" + raw):
            said = await served.send(b"GET " + part + b" HTTP/1.1\r\nConnection: close\r\n" + USUAL + b"\r\n")
            assert not said or int(said.split()[1]) < 500, (raw, said[:300])
    await served.fine()


async def test_requests_in_one_go_are_answered_in_order(serve: Any) -> None:
    served: Served = await serve()
    one = b"GET /api/v1/namespaces/%b HTTP/1.1\r\n" + USUAL
    names = ["default", "kube-system"] * 500
    data = b"".join(one % name.encode() + b"\r\n" for name in names)
    last = (one % b"default") + b"Connection: close\r\n\r\n"
    said = await served.send(data + last)
    found = [part.partition(b'"')[0].decode() for part in said.split(b'"name":"')[1:]]
    assert [one for one in found if one in ("default", "kube-system")] == [*names, "default"]


async def test_many_idle_connections_bar_nobody(serve: Any) -> None:
    served: Served = await serve()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    opened = [await served.open() for _ in range(300)]
    await served.fine()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 100  # KiB, both ends
    for _, writer in opened:
        writer.close()


async def test_a_websocket_that_speaks_garbage_is_closed(serve: Any) -> None:
    served: Served = await serve(Limits(idle=0.3))
    head = (
        "GET /api/v1/namespaces/default/pods/none/exec?command=a&stdout=1 HTTP/1.1\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: not a key\r\n"
        "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n"
    )
    said = await served.send(head.encode() + USUAL + b"\r\n" + os.urandom(10_000))
    assert answer(said)[0] in (400, 404)
    await served.fine()


async def test_whole_answers_come_back(serve: Any) -> None:
    """What all the refusals above are measured against."""
    served: Served = await serve()
    response = await served.transport(Request("GET", MAPS))
    assert json.loads(await whole(response))["items"] == []
    with pytest.raises(status.ApiError):
        await served.client.get(core.ConfigMap, "a", "default")
