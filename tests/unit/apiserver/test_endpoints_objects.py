"""Endpoints and EndpointSlice as objects of the API: E33, E34, E53, L1, L2, L3, L4, L6."""

from __future__ import annotations

import json

from tests.helpers import server

from skerry.api import codec
from skerry.api.types import discovery

EP = "/api/v1/namespaces/default/endpoints"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


def slice_body(**more: object) -> bytes:
    made = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "s"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"], "deprecatedTopology": {"a": "b"}}],
        "ports": [{"port": 80}],
    }
    return json.dumps(made | more).encode()


async def test_e33_e34_e53_put_creates_needs_no_version_and_packs() -> None:
    api = await server.start()
    subset = {"addresses": [{"ip": "10.0.0.2"}], "ports": [{"port": 80}]}
    body = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web"}, "subsets": [subset]}
    response, _ = await api.ask("PUT", f"{EP}/web", json.dumps(body).encode())
    assert response.status == 201
    assert response.warnings == ("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",)
    body["subsets"] = [subset, {"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]
    response, got = await api.ask("PUT", f"{EP}/web", json.dumps(body).encode())
    made = json.loads(got)
    assert response.status == 200 and "generation" not in made["metadata"]
    assert [[one["ip"] for one in each["addresses"]] for each in made["subsets"]] == [["10.0.0.1", "10.0.0.2"]]
    response, _ = await api.ask("PUT", f"{EP}/web/status", json.dumps(body).encode())
    assert response.status == 404


async def test_l2_l4_l6_slices() -> None:
    api = await server.start()
    response, got = await api.ask("POST", SLICES, slice_body())
    made = json.loads(got)
    assert response.status == 201 and made["metadata"]["generation"] == 1
    assert made["ports"] == [{"name": "", "protocol": "TCP", "port": 80}]
    assert "deprecatedTopology" not in made["endpoints"][0]
    metadata = {"name": "s", "labels": {"a": "b"}}
    _, got = await api.ask("PUT", f"{SLICES}/s", slice_body(metadata=metadata))
    assert json.loads(got)["metadata"]["generation"] == 2, "a change of labels counts"
    metadata["annotations"] = {"a": "b"}  # type: ignore[assignment]
    _, got = await api.ask("PUT", f"{SLICES}/s", slice_body(metadata=metadata))
    assert json.loads(got)["metadata"]["generation"] == 2
    response, _ = await api.ask("PUT", f"{SLICES}/missing", slice_body(metadata={"name": "missing"}))
    assert response.status == 404


def test_l1_lists_that_are_empty_are_written_and_null_is_read() -> None:
    written = json.loads(codec.encode(discovery.EndpointSlice()))
    assert "endpoints" in written and "ports" in written
    read = codec.decode(discovery.EndpointSlice, b'{"endpoints": [], "ports": [], "addressType": "IPv4"}')
    assert read.endpoints == read.ports == []


async def test_l1_null_is_read_from_a_body() -> None:
    api = await server.start()
    response, _ = await api.ask("POST", SLICES, slice_body(endpoints=None, ports=None))
    assert response.status == 201
    [found] = (await api.client.list(discovery.EndpointSlice, "default", field_selector="metadata.name=s")).items
    assert found.endpoints == found.ports == []
