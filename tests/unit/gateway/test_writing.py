"""Envoy's files on their way to the disk: routes wait for the clusters that they lead to, whatever comes meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.unit.gateway.build import ingress, path, rule, service, want
from tests.unit.gateway.test_files import render

from skerry.clock import FakeClock
from skerry.gateway.writing import LATER, PATIENCE, Writer
from skerry.gateway.xds.files import CLUSTERS, ROUTES, Rendered


class Envoy:
    """Only what it knows: the rest is proven with a real one in tests/integration/gateway."""

    running = True

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.waiting: list[tuple[frozenset[str], Callable[[], None]]] = []

    def when_known(self, kind: str, names: frozenset[str], call: Callable[[], None]) -> None:
        self.waiting.append((names, call))
        self.learns()

    def learns(self, *names: str) -> None:
        self.known.update(names)
        for one in [one for one in self.waiting if one[0] <= self.known]:
            self.waiting.remove(one)
            one[1]()


class World:
    """A writer, its directory, and services that a host leads to."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.envoy, self.clock = directory, Envoy(), FakeClock()
        self.writer = Writer(str(directory), self.envoy, self.clock)

    def leads_to(self, *services: str) -> Rendered:
        rules = [rule(f"h{i}.example", path("/", service=one)) for i, one in enumerate(services)]
        made = render(want(ingress("web", *rules), services=[service(one) for one in ("web", "api", "shop")]))
        self.writer.write(made)
        return made

    def clusters(self) -> set[str]:
        return {one["name"] for one in json.loads((self.directory / CLUSTERS).read_bytes())["resources"]}

    def everything(self) -> dict[str, bytes]:
        return {each.name: each.read_bytes() for each in self.directory.iterdir()}

    def routes(self) -> bytes:
        return (self.directory / ROUTES).read_bytes()


def test_routes_wait_for_new_clusters_and_old_ones_for_the_routes(tmp_path: Path) -> None:
    world = World(tmp_path)
    one = world.leads_to("web")
    two = world.leads_to("api")
    assert world.clusters() == {*one.clusters, *two.clusters}
    assert world.routes() == one.files[ROUTES]
    assert not world.writer.done
    world.envoy.learns(*two.endpoints.values())
    assert world.routes() == two.files[ROUTES]
    assert world.writer.done


async def test_a_change_meanwhile_brings_no_route_before_its_cluster(tmp_path: Path) -> None:
    world = World(tmp_path)
    one = world.leads_to("web", "web")
    two = world.leads_to("api", "web")
    three = world.leads_to("api", "shop")
    assert world.routes() == one.files[ROUTES], "nobody knows api yet"
    world.envoy.learns(*two.endpoints.values())
    assert world.routes() == one.files[ROUTES], "nor shop"
    world.envoy.learns(*three.endpoints.values())
    assert world.routes() == three.files[ROUTES]
    assert world.clusters() == {*one.clusters, *two.clusters, *three.clusters}
    await world.clock.advance(LATER)
    assert world.clusters() == set(three.clusters)
    assert world.everything() == three.files


async def test_there_is_an_end_to_waiting_though_changes_have_none(tmp_path: Path) -> None:
    world = World(tmp_path)
    one = world.leads_to("web")
    world.leads_to("api")
    await world.clock.advance(PATIENCE - 1)
    last = world.leads_to("shop")
    assert world.routes() == one.files[ROUTES]
    await world.clock.advance(1)
    assert world.routes() == last.files[ROUTES]


async def test_a_cluster_that_comes_back_before_it_went(tmp_path: Path) -> None:
    world = World(tmp_path)
    one = world.leads_to("web")
    two = world.leads_to("api")
    world.envoy.learns(*two.endpoints.values())
    world.leads_to("web")
    assert world.routes() == one.files[ROUTES], "it is still known: there is nothing to wait for"
    await world.clock.advance(LATER)
    assert world.clusters() == set(one.clusters)


async def test_clusters_do_not_pile_up_when_changes_have_no_end(tmp_path: Path) -> None:
    world = World(tmp_path)
    each = {one: world.leads_to(one) for one in ("web", "api", "shop")}
    for made in each.values():
        world.envoy.learns(*made.endpoints.values())
    seen = []
    for one in ("web", "api", "shop", "web", "shop", "shop"):
        await world.clock.advance(LATER * 0.6)
        world.leads_to(one)
        seen.append(len(world.clusters()))
    assert seen[0] == 3
    assert world.clusters() == {*each["web"].clusters, *each["shop"].clusters}, "api left more than a moment ago"
