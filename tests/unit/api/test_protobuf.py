"""Protobuf bodies: real ones from kubectl, every kind of the table there and back, and bytes that are none."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.api import protobuf, protowire, schema
from skerry.api.types import _build

KINDS = [(module, kind) for module, content in _build.table().items() for kind in content.kinds]


def bodies() -> dict[str, bytes]:
    lines = (Path(__file__).parent / "testdata/kubectl-1.33-bodies.txt").read_text().splitlines()[1:]
    return {command: base64.b64decode(body) for command, body in zip(lines[::2], lines[1::2], strict=True)}


def of(command: str) -> dict[str, Any]:
    return protobuf.decode(bodies()[f"kubectl {command}"])[2]


def test_a_deployment_from_kubectl() -> None:
    version, kind, value = protobuf.decode(
        bodies()["kubectl create deployment web --image=nginx --replicas=2 --port=80"]
    )
    assert (version, kind) == ("apps/v1", "Deployment")
    assert value == {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "nginx", "image": "nginx", "ports": [{"containerPort": 80}]}]},
            },
        },
    }


def test_other_bodies_from_kubectl() -> None:
    assert of("create service clusterip web --tcp=80:http")["spec"] == {
        "ports": [{"name": "80-http", "protocol": "TCP", "port": 80, "targetPort": "http"}],
        "selector": {"app": "web"},
        "type": "ClusterIP",
    }
    nodeport = of("create service nodeport web --tcp=80:8080 --node-port=30080")["spec"]["ports"]
    assert nodeport == [{"name": "80-8080", "protocol": "TCP", "port": 80, "targetPort": 8080, "nodePort": 30080}]
    assert of("create configmap a --from-literal=x=y")["data"] == {"x": "y"}
    assert of("create secret generic b --from-literal=p=q")["data"] == {"p": "cQ=="}
    assert of("create namespace n") == {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "n"}}
    assert of("create quota q --hard=cpu=1,memory=1Gi")["spec"] == {"hard": {"cpu": "1", "memory": "1Gi"}}
    assert of("create pdb p --selector=a=b --min-available=50%")["spec"]["minAvailable"] == "50%"
    path = of("create ingress i --rule=a.b/c=svc:80")["spec"]["rules"][0]["http"]["paths"][0]
    assert path == {"path": "/c", "pathType": "Exact", "backend": {"service": {"name": "svc", "port": {"number": 80}}}}


@pytest.mark.parametrize("command", bodies())
def test_what_kubectl_sends_passes_the_check(command: str) -> None:
    version, kind, value = protobuf.decode(bodies()[command])
    module = next(m for m, k in KINDS if k == kind and m != "events")
    assert schema.check(module, kind, value).unknown == []
    assert version


# Values as JSON has them: what is no pointer is never zero, and a struct that is no pointer is never empty.

TIMES = st.datetimes().map(lambda t: t.replace(microsecond=0).isoformat() + "Z")
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "str": st.text(st.characters(codec="utf-8"), max_size=4),
    "bool": st.booleans(),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "bytes": st.binary(max_size=4).map(lambda b: base64.b64encode(b).decode()),
    "Time": TIMES,
    "MicroTime": st.datetimes().map(lambda t: t.isoformat(timespec="microseconds") + "Z"),
    "Quantity": st.sampled_from(["1", "100m", "1Gi"]),
    "IntOrString": st.one_of(st.integers(-(2**31), 2**31 - 1), st.sampled_from(["http", "50%"])),
    "Raw": st.just({"a": None, "b": [1, {"c": "d"}]}),
}


def fill(draw: st.DrawFn, entry: str, depth: int) -> Any:
    if entry.startswith("items:"):
        return fill(draw, entry[6:], depth)
    if entry.startswith("[]"):
        return [fill(draw, entry[2:], depth) for _ in range(draw(st.integers(1, 2)))]
    if entry.startswith("map:"):
        return {key: fill(draw, entry[4:], depth) for key in draw(st.sampled_from(["a", "ab", ""]))} or {
            "": fill(draw, entry[4:], depth)
        }
    if "." in entry:
        return struct(draw, *entry.split("."), depth - 1)
    return draw(SCALARS[entry])


def struct(draw: st.DrawFn, module: str, name: str, depth: int) -> dict[str, Any]:
    fields = _build.fields(module, name)
    if depth <= 0 or not fields:
        return {}
    chosen = draw(st.lists(st.sampled_from(fields), max_size=3, unique_by=lambda one: one.json))
    out: dict[str, Any] = {}
    for one in chosen:
        value = fill(draw, one.type, depth)
        if value or "p" in one.flags:
            out[one.json] = value
    return out


@st.composite
def objects(draw: st.DrawFn) -> tuple[str, str, dict[str, Any]]:
    module, kind = draw(st.sampled_from(KINDS))
    return module, kind, struct(draw, module, kind, 6)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(objects())
def test_there_and_back(made: tuple[str, str, dict[str, Any]]) -> None:
    module, kind, value = made
    content = _build.table()[module]
    version = f"{content.group}/{content.version}" if content.group else content.version
    body = protobuf.encode(module, kind, value)
    assert protobuf.decode(body) == (version, kind, {"kind": kind, "apiVersion": version, **value})


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(objects(), st.data())
def test_cut_and_broken_bodies_never_do_worse_than_value_error(
    made: tuple[str, str, dict[str, Any]], data: st.DataObject
) -> None:
    body = bytearray(protobuf.encode(*made))
    body[data.draw(st.integers(4, len(body) - 1))] = data.draw(st.integers(0, 255))
    del body[data.draw(st.integers(5, len(body))) :]
    try:
        protobuf.decode(bytes(body))
    except ValueError:
        pass


@pytest.mark.parametrize(("module", "kind"), KINDS)
def test_every_kind_can_be_read_and_written(module: str, kind: str) -> None:
    for name in _build.table()[module].structs:
        protobuf._struct(module, name)(memoryview(b""))  # builds the rows of every struct
    assert protobuf.decode(protobuf.encode(module, kind, {}))[1] == kind


def field(number: int, value: bytes) -> bytes:
    return protowire.sized(number, value)


def wrap(version: str, kind: str, raw: bytes) -> bytes:
    return protobuf.MAGIC + field(1, field(1, version.encode()) + field(2, kind.encode())) + field(2, raw)


def test_zero_values_of_what_is_no_pointer_are_absent_and_pointers_stay() -> None:
    counted = protowire.counted
    port = field(1, b"") + field(2, b"TCP") + counted(3, 80) + field(4, counted(1, 0) + counted(2, 0) + field(3, b""))
    service = wrap(
        "v1", "Service", field(1, field(1, b"web") + field(8, b"")) + field(2, field(1, port)) + field(3, b"")
    )
    assert protobuf.decode(service)[2]["spec"] == {"ports": [{"protocol": "TCP", "port": 80}]}
    assert protobuf.decode(service)[2]["metadata"] == {"name": "web"}
    assert "status" not in protobuf.decode(service)[2]
    deployment = wrap("apps/v1", "Deployment", field(2, counted(1, 0) + counted(5, 0)))
    assert protobuf.decode(deployment)[2]["spec"] == {"replicas": 0}


def test_unknown_fields_are_skipped() -> None:
    strange = field(1, field(1, b"a") + field(99, b"x") + protowire.counted(98, 7)) + b"\xf9\x06" + bytes(8)
    assert protobuf.decode(wrap("v1", "ConfigMap", strange))[2]["metadata"] == {"name": "a"}


def test_packed_numbers_are_read_like_loose_ones() -> None:
    context = field(4, b"\x01\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
    pod = wrap("v1", "Pod", field(2, field(14, context)))
    assert protobuf.decode(pod)[2]["spec"]["securityContext"]["supplementalGroups"] == [1, 2, -1]


def test_delete_options_are_known_in_every_group() -> None:
    value = {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
    body = protobuf.encode("meta", "DeleteOptions", {**value, "apiVersion": "apps/v1"})
    assert protobuf.decode(body) == (
        "apps/v1",
        "DeleteOptions",
        {"kind": "DeleteOptions", "apiVersion": "apps/v1", **value},
    )


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "does not appear to be a protobuf message"),
        (b'{"kind":"Pod"}', "does not appear to be a protobuf message"),
        (b"k8s\0", 'no kind "" is registered'),
        (wrap("v1", "Nothing", b""), 'no kind "Nothing" is registered for version "v1"'),
        (wrap("apps/v1", "Pod", b""), 'no kind "Pod" is registered for version "apps/v1"'),
        (wrap("v1", "Pod", b"\x0a\x7f"), "unexpected end"),
        (wrap("v1", "Pod", b"\x08\x01"), "wrong wire type"),
        (wrap("v1", "Pod", b"\x0b"), "illegal wire type 3"),
        (wrap("v1", "Pod", b"\xff" * 12), "integer overflow"),
        (wrap("v1", "Pod", field(1, field(1, b"\xff\xfe"))), "utf-8"),
        (wrap("v1", "Pod", field(1, field(8, protowire.counted(1, 2**62)))), "out of range"),
        (wrap("v1", "Pod", b"") + field(3, b"gzip"), "unsupported content encoding"),
    ],
)
def test_malformed_bodies(body: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        protobuf.decode(body)
