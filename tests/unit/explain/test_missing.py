"""A Service that is not there: what is said instead, and that it costs no right that a user may not have."""

from __future__ import annotations

from typing import cast

import pytest

from skerry.api import status
from skerry.client.client import Client
from skerry.explain import missing

SERVICES = [("shop", "web"), ("shop", "payments-api"), ("blog", "web"), ("blog", "db"), ("quiet", "x")]
NAMESPACES = ["default", "shop", "blog", "quiet"]


@pytest.mark.parametrize(
    ("namespace", "name", "said"),
    [
        ("shop", "wbe", 'There is no Service "wbe" in namespace shop; the nearest is web.'),
        ("shop", "payments", 'There is no Service "payments" in namespace shop; the nearest is payments-api.'),
        ("shop", "cart", 'There is no Service "cart" in namespace shop, which has payments-api, web.'),
        ("shop", "db", 'There is no Service "db" in namespace shop; there is one in blog (-n blog).'),
        ("quiet", "web", 'There is no Service "web" in namespace quiet; there is one in blog, shop (-n blog).'),
        ("default", "cart", 'There is no Service "cart" in namespace default, which has no Service at all.'),
        ("shp", "cart", 'There is no namespace "shp"; the nearest is shop.'),
        ("nowhere", "cart", 'There is no namespace "nowhere".'),
        ("shp", "web", 'There is no namespace "shp"; a Service "web" is in blog, shop (-n shop).'),
        ("shp", "payments-api", 'There is no namespace "shp"; a Service "payments-api" is in shop (-n shop).'),
    ],
)
def test_what_comes_near(namespace: str, name: str, said: str) -> None:
    assert missing.sentence(namespace, name, SERVICES, NAMESPACES) == said


def test_many_are_counted() -> None:
    many = [("shop", f"other-{letter}") for letter in "abcdefgh"]
    said = missing.sentence("shop", "cart", many, NAMESPACES)
    assert said.endswith("which has other-a, other-b, other-c, other-d, other-e and 3 more.")


async def test_without_the_right_to_list() -> None:
    class Narrow:
        async def list(self, *_: object) -> object:
            raise status.forbidden("", "services", "", "no")

    said = await missing.look(cast("Client", Narrow()), "shop", "cart")
    assert said == 'There is no Service "cart" in namespace shop.'
