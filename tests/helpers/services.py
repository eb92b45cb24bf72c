"""Services as the server writes them: the order of its hooks, with a store of one dict. For tests of strategies."""

from __future__ import annotations

import random
from typing import Any

from skerry.api import codec, defaults, resources, validation
from skerry.api.allocation import PortRange
from skerry.api.types import core
from skerry.apiserver import strategies
from skerry.apiserver.strategies import Context, ServiceAllocator

STRATEGY = strategies.of(resources.of(core.Service))
HTTP = {"name": "http", "port": 80}
HTTPS = {"name": "https", "port": 443}


class Server:
    """The order of the server's hooks, with a store of one dict."""

    def __init__(self, *cidrs: str, ports: PortRange | None = None) -> None:
        allocator = ServiceAllocator(cidrs or ("10.96.0.0/12",), ports, random.Random(7))
        self.ctx = Context(ranges=allocator)
        self.stored: dict[str, core.Service] = {}

    def parse(self, name: str, spec: dict[str, Any]) -> core.Service:
        value = {
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"ports": [HTTP], "selector": {"a": "b"}, **spec},
        }
        obj = codec.convert(core.Service, value)
        defaults.apply(obj)
        return obj

    def create(self, name: str = "web", *, fail: bool = False, **spec: Any) -> core.Service:
        obj, transaction = self.parse(name, spec), self.ctx.begin()
        try:
            STRATEGY.prepare_create(obj, self.ctx)
            STRATEGY.canonicalize(obj)
            assert [str(one) for one in validation.create(obj)] == []
            if fail:
                raise RuntimeError("the store is full")
        except BaseException:
            transaction.rollback()
            raise
        transaction.commit()
        self.stored[name] = codec.copy(obj)
        return obj

    def update(self, name: str = "web", **spec: Any) -> core.Service:
        return self.write(self.parse(name, spec))

    def write(self, new: core.Service, subresource: str = "") -> core.Service:
        old, transaction = self.stored[new.metadata.name], self.ctx.begin()
        try:
            STRATEGY.prepare_update(new, old, subresource, self.ctx)
            STRATEGY.canonicalize(new)
            errors = [str(one) for one in validation.update(new, old, subresource)]
            if errors:
                raise ValueError("; ".join(errors))
        except BaseException:
            transaction.rollback()
            raise
        transaction.commit()
        self.stored[new.metadata.name] = codec.copy(new)
        return new

    def delete(self, name: str = "web") -> None:
        STRATEGY.after_delete(self.stored.pop(name), self.ctx)

    @property
    def used(self) -> tuple[int, int]:
        found = self.ctx.ranges.statistics()
        return found["ips"], found["ports"]


def node_ports(obj: core.Service) -> list[int]:
    return [one.node_port for one in obj.spec.ports]
