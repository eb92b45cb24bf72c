"""The class that an Ingress gets that names none (I7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.helpers import server as helper

from skerry.api.types import meta, networking
from skerry.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from skerry.client.client import Client

DEFAULT = "ingressclass.kubernetes.io/is-default-class"
OLD = "kubernetes.io/ingress.class"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def client(clock: FakeClock) -> AsyncIterator[Client]:
    made = await helper.start(clock=clock)
    yield made.client
    await made.store.close()


async def add_class(client: Client, name: str, default: str | None = "true") -> None:
    annotations = {} if default is None else {DEFAULT: default}
    spec = networking.IngressClassSpec(controller="example.com/controller")
    metadata = meta.ObjectMeta(name=name, annotations=annotations)
    await client.create(networking.IngressClass(metadata=metadata, spec=spec))


async def chosen(client: Client, name: str, asked: str | None = None, **annotations: str) -> str | None:
    """The class of an Ingress that was created like this."""
    service = networking.IngressServiceBackend(name="web", port=networking.ServiceBackendPort(number=80))
    spec = networking.IngressSpec(ingress_class_name=asked, default_backend=networking.IngressBackend(service=service))
    metadata = meta.ObjectMeta(name=name, namespace="default", annotations=annotations)
    return (await client.create(networking.Ingress(metadata=metadata, spec=spec))).spec.ingress_class_name


async def test_i7_the_default_class_is_filled_in(client: Client) -> None:
    await add_class(client, "other", default=None)
    await add_class(client, "off", default="false")
    assert await chosen(client, "before") is None
    await add_class(client, "usual")
    assert await chosen(client, "after") == "usual"
    assert await chosen(client, "named", asked="other") == "other"
    assert await chosen(client, "unknown", asked="nobodys") == "nobodys"
    assert await chosen(client, "old", **{OLD: "other"}) is None
    # Only what is created is given one.
    found = await client.get(networking.Ingress, "before", "default")
    found.metadata.labels["a"] = "b"
    assert (await client.update(found)).spec.ingress_class_name is None


async def test_i7_of_several_defaults_the_newest_wins_then_the_first_by_name(client: Client, clock: FakeClock) -> None:
    await add_class(client, "a-old")
    await clock.advance(2)
    await add_class(client, "c")
    await add_class(client, "b")
    assert await chosen(client, "one") == "b"
