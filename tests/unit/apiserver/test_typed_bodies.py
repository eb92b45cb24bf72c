"""What clients in the server's own process send is not checked twice, and still checked."""

from __future__ import annotations

import pytest
from tests.helpers import server

from skerry.api import status
from skerry.api.types import core, discovery, meta


def _endpoints(ip: str) -> core.Endpoints:
    subset = core.EndpointSubset(addresses=[core.EndpointAddress(ip=ip)], ports=[core.EndpointPort(port=80)])
    return core.Endpoints(metadata=meta.ObjectMeta(name="web", namespace="default"), subsets=[subset])


async def test_values_are_validated_and_defaulted() -> None:
    api = await server.start()
    made = await api.client.create(_endpoints("10.0.0.1"))
    assert made.subsets[0].ports[0].protocol == "TCP"
    with pytest.raises(status.ApiError) as refused:
        await api.client.create(_endpoints("127.0.0.1"))
    assert refused.value.code == 422
    made.subsets[0].addresses.append(core.EndpointAddress(ip="127.0.0.1"))
    with pytest.raises(status.ApiError) as refused:
        await api.client.update(made)
    assert refused.value.code == 422


async def test_an_update_keeps_to_the_version_it_names_and_may_name_none() -> None:
    api = await server.start()
    first = await api.client.create(_endpoints("10.0.0.1"))
    second = await api.client.update(_endpoints("10.0.0.2"))
    assert second.metadata.uid == first.metadata.uid
    with pytest.raises(status.ApiError) as refused:
        await api.client.update(first)
    assert refused.value.code == 409


async def test_a_body_that_is_something_else_is_refused() -> None:
    api = await server.start()
    path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    with pytest.raises(status.ApiError) as refused:
        await api.client.raw("POST", path, body=b'{"addressType": 4}')
    assert refused.value.code == 400
    with pytest.raises(status.ApiError) as refused:
        await api.client.create(discovery.EndpointSlice(metadata=meta.ObjectMeta(name="s", namespace="default")))
    assert refused.value.code == 422


async def test_what_a_subresource_takes_need_not_say_what_it_is() -> None:
    """Generated clients leave kind and apiVersion out; something that says it is another is refused."""
    api = await server.start(accounts=True)
    path = "/api/v1/namespaces/default/serviceaccounts/default/token"
    await api.client.create(core.ServiceAccount(metadata=meta.ObjectMeta(name="default", namespace="default")))
    made = await api.client.raw("POST", path, body=b'{"spec": {"audiences": ["me"]}}')
    assert b'"token":"' in made
    for body in (b'{"kind": "Pod", "apiVersion": "v1"}', b'{"apiVersion": "v1"}'):
        with pytest.raises(status.ApiError) as refused:
            await api.client.raw("POST", path, body=body)
        assert refused.value.code == 400 and "cannot be handled as a TokenRequest" in refused.value.message
