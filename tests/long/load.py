"""Clients that write through the real API as fast as it answers and keep a book of what was promised to them.

What an acknowledgement says must be true after any crash; what was on its way may have happened or not, nothing else.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from skerry.api.status import ApiError
from skerry.api.types import core, meta
from skerry.client.client import Client
from skerry.client.http import Address, HttpTransport

GONE = "gone"


def connect(kubeconfig: Path) -> tuple[Client, HttpTransport]:
    """A client of the cluster that is the kubeconfig's current one, over TLS with its token, as kubectl's."""
    table = yaml.safe_load(kubeconfig.read_text())
    context = next(one["context"] for one in table["contexts"] if one["name"] == table["current-context"])
    cluster = next(one["cluster"] for one in table["clusters"] if one["name"] == context["cluster"])
    user = next(one["user"] for one in table["users"] if one["name"] == context["user"])
    host, port = cluster["server"].removeprefix("https://").split(":")
    tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    transport = HttpTransport(Address(host=host, port=int(port), tls=tls), token=user["token"])
    return Client(transport, agent="load"), transport


@dataclass
class Entry:
    """What one object may be now: as acknowledged last (`GONE`: not there), or as asked for without an answer."""

    acknowledged: str = GONE
    pending: str = ""
    address: tuple[str, int] = ("", 0)
    """A Service's cluster IP and node port, as the acknowledgement of its creation said."""

    def allows(self, seen: str) -> bool:
        return seen == self.acknowledged or seen == self.pending

    def settle(self, seen: str) -> None:
        self.acknowledged, self.pending = seen, ""
        if seen == GONE:
            self.address = ("", 0)


@dataclass
class Book:
    """Everything that all writers were told, by kind and name; kept from one life of the cluster to the next."""

    entries: dict[tuple[type[Any], str], Entry] = field(default_factory=dict)
    acknowledged: int = 0
    refused: list[ApiError] = field(default_factory=list)
    stopping: bool = False
    """Writers end after the answer that they wait for."""
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _serial: int = 0

    def serial(self) -> str:
        self._serial += 1
        return str(self._serial)

    async def reach(self, count: int) -> None:
        """Waits until so many writes have been acknowledged in all."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.acknowledged >= count)

    async def reach_refusals(self, count: int) -> None:
        """Waits until so many writes have been refused in all."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.refused) >= count)

    async def refuse(self, error: ApiError) -> None:
        self.refused.append(error)
        async with self.changed:
            self.changed.notify_all()

    async def promise(self) -> None:
        self.acknowledged += 1
        async with self.changed:
            self.changed.notify_all()

    async def verify(self, client: Client) -> None:
        """Compares the cluster with the book, which then says what was found. AssertionError for a broken promise."""
        found: dict[tuple[type[Any], str], Any] = {}
        for kind in (core.ConfigMap, core.Service):
            for item in (await client.list(kind, "default")).items:
                found[kind, item.metadata.name] = item
        broken = []
        for (kind, name), entry in self.entries.items():
            item = found.get((kind, name))
            seen = GONE if item is None else content(item)
            if not entry.allows(seen):
                broken.append(f"{kind.__name__} {name}: {seen!r}, promised {entry.acknowledged!r} or {entry.pending!r}")
            if kind is core.Service and item is not None and entry.address[0] and address(item) != entry.address:
                broken.append(f"Service {name}: {address(item)}, promised {entry.address}")
            entry.settle(seen)
            if kind is core.Service and item is not None:
                entry.address = address(item)
        assert not broken, "\n".join(broken)
        services = [address(item) for (kind, _), item in found.items() if kind is core.Service]
        addresses = [one for one, _ in services]
        ports = [port for _, port in services if port]
        assert len(set(addresses)) == len(addresses), f"a cluster IP was given out twice: {sorted(addresses)}"
        assert len(set(ports)) == len(ports), f"a node port was given out twice: {sorted(ports)}"


def content(item: Any) -> str:
    """The serial number that the last write of this object gave it, in two places that must agree."""
    label = str(item.metadata.labels.get("serial", ""))
    other = str(item.data.get("serial", "")) if isinstance(item, core.ConfigMap) else item.spec.session_affinity
    whole = label == other if isinstance(item, core.ConfigMap) else other == _affinity(label)
    return label if whole else f"half of a write: {json.dumps([label, other])}"


def address(service: Any) -> tuple[str, int]:
    ports = service.spec.ports
    return service.spec.cluster_ip, ports[0].node_port if ports else 0


def _affinity(serial: str) -> str:
    return "ClientIP" if serial.isdigit() and int(serial) % 2 else "None"


async def write(client: Client, book: Book, writer: int, chance: random.Random, objects: int = 25) -> None:
    """Creates, updates and deletes objects of its own until told to stop, or the server does not answer any more."""
    resting: dict[tuple[type[Any], str], Any] = {}
    while not book.stopping:
        kind: type[Any] = core.Service if chance.random() < 0.3 else core.ConfigMap
        name = f"load-{writer}-{chance.randrange(objects)}"
        entry = book.entries.setdefault((kind, name), Entry())
        try:
            await _one(client, book, entry, kind, name, resting, chance)
        except ApiError as error:
            if error.code == 503:
                return
            await book.refuse(error)
            if error.code != 507:
                raise
            entry.pending = ""  # it must not have happened
            await asyncio.sleep(0.002)  # what a client does that is told to come back


async def _one(
    client: Client, book: Book, entry: Entry, kind: type[Any], name: str, resting: dict[Any, Any], chance: random.Random
) -> None:
    if entry.acknowledged == GONE:
        entry.pending = serial = book.serial()
        made = await client.create(_made(kind, name, serial, chance))
        entry.settle(serial)
        if kind is core.Service:
            entry.address = address(made)
            assert entry.address[0] and entry.address[1]
        resting[kind, name] = made
    elif chance.random() < 0.15:
        entry.pending = GONE
        await client.delete(kind, name, "default")
        entry.settle(GONE)
        resting.pop((kind, name), None)
    else:
        item = resting.get((kind, name)) or await client.get(kind, name, "default")
        serial = book.serial()
        item.metadata.labels["serial"] = serial
        if kind is core.Service:
            item.spec.session_affinity = _affinity(serial)
            item.spec.session_affinity_config = None
            item.metadata.resource_version = ""  # the endpoint controller writes its status
        else:
            item.data["serial"] = serial
        entry.pending = serial
        try:
            resting[kind, name] = await client.update(item)
        except ApiError:
            resting.pop((kind, name), None)
            raise
        entry.settle(serial)
    await book.promise()


def _made(kind: type[Any], name: str, serial: str, chance: random.Random) -> Any:
    metadata = meta.ObjectMeta(name=name, namespace="default", labels={"serial": serial})
    if kind is core.ConfigMap:
        data = {"padding": "x" * chance.choice([10, 500, 9000]), "serial": serial}
        return core.ConfigMap(metadata=metadata, data=data)
    spec = core.ServiceSpec(
        type="NodePort",
        selector={"app": "nobody"},
        session_affinity=_affinity(serial),
        ports=[core.ServicePort(port=80)],
    )
    return core.Service(metadata=metadata, spec=spec)
