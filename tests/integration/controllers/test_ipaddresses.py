"""IPAddress objects tell which Service has an address, and keep addresses from Services (S41, T16)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.controllers import world
from tests.integration.controllers.world import World

from skerry.api import status
from skerry.api.types import core, meta, networking
from skerry.apiserver import bootstrap


def mine(name: str, **more: Any) -> networking.IPAddress:
    parent = networking.ParentReference(group="example.test", resource="things", name="thing")
    return networking.IPAddress(
        metadata=meta.ObjectMeta(name=name, **more), spec=networking.IPAddressSpec(parent_ref=parent)
    )


def owners(here: World) -> dict[str, str]:
    found = here.caches.of(networking.IPAddress).list()
    return {one.metadata.name: one.spec.parent_ref.name for one in found if one.spec.parent_ref}


async def test_every_cluster_ip_has_one(here: World) -> None:
    service = await here.client.create(world.service())
    ip = service.spec.cluster_ip
    await here.until(lambda: owners(here).get(ip) == "web")
    found = await here.client.get(networking.IPAddress, ip)
    assert found.metadata.labels == {
        "ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    }  # fmt: skip
    assert found.spec.parent_ref == networking.ParentReference(resource="services", namespace="default", name="web")
    # It comes back, and it is another's when the address is.
    await here.client.delete(networking.IPAddress, ip)
    await here.until(lambda: (one := here.get(networking.IPAddress, ip, "")) and one.metadata.uid != found.metadata.uid)
    await here.client.delete(core.Service, "web", "default")
    other = world.service()
    other.metadata.name, other.spec.cluster_ip = "other", ip
    await here.client.create(other)
    await here.until(lambda: owners(here).get(ip) == "other")
    await here.client.delete(core.Service, "other", "default")
    await here.until(lambda: ip not in owners(here))


async def test_one_of_somebody_elses_keeps_its_address(here: World) -> None:
    await here.client.create(mine("10.96.0.77"))
    taken = world.service()
    taken.spec.cluster_ip = "10.96.0.77"
    with pytest.raises(status.ApiError, match="provided IP is already allocated"):
        await here.client.create(taken)
    await here.client.delete(networking.IPAddress, "10.96.0.77")
    made = await here.client.create(taken)
    await here.until(lambda: owners(here).get("10.96.0.77") == "web")
    # What a Service has, no IPAddress takes from it.
    await here.client.delete(networking.IPAddress, "10.96.0.77")
    again = world.service()
    again.metadata.name, again.spec.cluster_ip = "again", made.spec.cluster_ip
    with pytest.raises(status.ApiError, match="provided IP is already allocated"):
        await here.client.create(again)


@pytest.mark.parametrize(
    ("obj", "says"),
    [
        (mine("10.0.0"), 'metadata.name: Invalid value: "10.0.0": ParseAddr("10.0.0"): unable to parse IP'),
        (mine("10.0.0.01"), "must be a canonical format IP address"),
        (mine("FE80::1"), "must be a canonical format IP address"),
        (networking.IPAddress(metadata=meta.ObjectMeta(name="10.0.0.1")), "spec.parentRef: Required value"),
    ],
)
async def test_what_is_none(here: World, obj: networking.IPAddress, says: str) -> None:
    with pytest.raises(status.ApiError) as caught:
        await here.client.create(obj)
    assert caught.value.code == 422 and says in caught.value.message


async def test_the_whole_life_of_one(here: World) -> None:
    """C29."""
    for name in ("255.255.255.255", "fe80::42:1dff:fe84:f9e2"):
        await here.client.create(mine(name, labels={"for": "c29"}))
    patched = await here.client.patch(
        networking.IPAddress, "255.255.255.255", {"metadata": {"annotations": {"a": "b"}}}
    )
    assert patched.metadata.annotations == {"a": "b"}
    patched.spec.parent_ref.name = "other"
    with pytest.raises(status.ApiError, match=r"spec\.parentRef: Invalid value.*field is immutable"):
        await here.client.update(patched)
    assert len((await here.client.list(networking.IPAddress, label_selector="for=c29")).items) == 2
    await here.client.delete(networking.IPAddress, "fe80::42:1dff:fe84:f9e2")
    assert len((await here.client.list(networking.IPAddress, label_selector="for=c29")).items) == 1


async def test_the_range_of_the_cluster_stays(here: World) -> None:
    """C28."""
    made = await here.client.create(bootstrap.service_cidr(["10.96.0.0/12"]))
    assert [(one.type, one.status) for one in made.status.conditions] == [("Ready", "True")]
    await here.client.patch(networking.ServiceCIDR, "kubernetes", {"metadata": {"annotations": {"a": "b"}}})
    await here.client.delete(networking.ServiceCIDR, "kubernetes")
    left = await here.client.get(networking.ServiceCIDR, "kubernetes")
    assert left.metadata.deletion_timestamp and left.metadata.annotations == {"a": "b"}
