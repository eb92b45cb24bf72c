"""Bodies against the table: what upstream's decoder accepts, refuses and lists."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api import quantity, schema

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "labels": {"app": "web"}},
    "spec": {
        "replicas": 3,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "containers": [
                    {
                        "name": "nginx",
                        "image": "nginx",
                        "ports": [{"containerPort": 80}],
                        "env": [{"name": "A", "value": "b"}],
                        "resources": {"requests": {"cpu": "100m"}},
                    }
                ]
            },
        },
    },
}


def changed(path: str, value: Any) -> dict[str, Any]:
    out = copy.deepcopy(DEPLOYMENT)
    where: Any = out
    *parents, last = [int(p) if p.isdigit() else p for p in path.split("/")]
    for one in parents:
        where = where[one]
    where[last] = value
    return out


POD_SPEC = "spec/template/spec"
CONTAINER = f"{POD_SPEC}/containers/0"


def test_a_good_body_comes_out_as_it_was() -> None:
    before = copy.deepcopy(DEPLOYMENT)
    found = schema.check("apps", "Deployment", DEPLOYMENT)
    assert found.value == before
    assert found.unknown == []
    assert before == DEPLOYMENT


IN_CONTAINER = "spec.template.spec.containers"


@pytest.mark.parametrize(
    ("path", "value", "found", "field", "wanted"),
    [
        ("spec", [], "array", "Deployment.spec", "v1.DeploymentSpec"),
        ("spec/replicas", "3", "string", "DeploymentSpec.spec.replicas", "int32"),
        ("spec/replicas", 1.5, "number 1.5", "DeploymentSpec.spec.replicas", "int32"),
        ("spec/replicas", True, "bool", "DeploymentSpec.spec.replicas", "int32"),
        ("spec/replicas", 2**31, "number 2147483648", "DeploymentSpec.spec.replicas", "int32"),
        ("metadata/generation", 2**63, f"number {2**63}", "ObjectMeta.metadata.generation", "int64"),
        ("metadata/labels", {"a": 1}, "number", "ObjectMeta.metadata.labels", "string"),
        ("metadata/labels", "a=b", "string", "ObjectMeta.metadata.labels", "map[string]string"),
        ("spec/paused", "yes", "string", "DeploymentSpec.spec.paused", "bool"),
        (f"{CONTAINER}/env/0/value", 1, "number", f"EnvVar.{IN_CONTAINER}.env.value", "string"),
        (f"{POD_SPEC}/containers", {}, "object", f"PodSpec.{IN_CONTAINER}", "[]v1.Container"),
        (f"{CONTAINER}/command", [1], "number", f"Container.{IN_CONTAINER}.command", "string"),
        (
            f"{CONTAINER}/livenessProbe",
            {"httpGet": {"port": 1.5}},
            "number 1.5",
            f"HTTPGetAction.{IN_CONTAINER}.livenessProbe.httpGet.port",
            "int32",
        ),
    ],
)
def test_wrong_types_are_reported_as_go_does(path: str, value: Any, found: str, field: str, wanted: str) -> None:
    with pytest.raises(schema.TypeMismatch) as caught:
        schema.check("apps", "Deployment", changed(path, value))
    assert str(caught.value) == f"json: cannot unmarshal {found} into Go struct field {field} of type {wanted}"


def test_a_body_that_is_no_object() -> None:
    with pytest.raises(schema.TypeMismatch, match=r"cannot unmarshal array into Go value of type v1\.Pod"):
        schema.check("core", "Pod", [])


@pytest.mark.parametrize(
    ("module", "kind", "value", "text"),
    [
        ("core", "Secret", {"data": {"a": "%%"}}, "illegal base64 data at input byte 0"),
        ("core", "Secret", {"data": {"a": "YWJ"}}, "illegal base64 data at input byte 0"),
        ("core", "Pod", {"metadata": {"creationTimestamp": "today"}}, 'parsing time "today" as'),
        ("core", "Pod", {"metadata": {"creationTimestamp": "2026-13-01T00:00:00Z"}}, "out of range"),
        ("coordination", "Lease", {"spec": {"renewTime": "2026-01-01T00:00:00Z"}}, "05.000000Z07:00"),
        ("core", "Node", {"status": {"capacity": {"cpu": "many"}}}, "quantities must match the regular expression"),
        ("core", "Node", {"status": {"capacity": {"cpu": True}}}, "quantities must match the regular expression"),
    ],
)
def test_texts_that_their_type_cannot_read(module: str, kind: str, value: Any, text: str) -> None:
    with pytest.raises(schema.TypeMismatch) as caught:
        schema.check(module, kind, value)
    assert text in str(caught.value)


def test_unknown_fields_are_listed_with_their_place_and_left_out() -> None:
    body = changed(f"{CONTAINER}/imagee", "x")
    body["foo"] = 1
    body["spec"]["replicaz"] = None
    found = schema.check("apps", "Deployment", body)
    assert found.unknown == [
        "spec.template.spec.containers[0].imagee",
        "spec.replicaz",
        "foo",
    ]
    assert found.value == DEPLOYMENT


def test_nulls_are_left_out_but_mean_zero_inside_lists_and_maps() -> None:
    body = changed("metadata/labels", {"a": None})
    body["metadata"]["creationTimestamp"] = None
    body["spec"]["template"]["spec"]["containers"][0]["args"] = [None, "x"]
    clean = schema.check("apps", "Deployment", body).value
    assert clean["metadata"] == {"name": "web", "labels": {"a": ""}}
    assert clean["spec"]["template"]["spec"]["containers"][0]["args"] == ["", "x"]


def test_free_form_fields_keep_everything() -> None:
    body = {"metadata": {"managedFields": [{"fieldsV1": {"f:a": None, "f:b": {"c": [1.5]}}}]}}
    assert schema.check("core", "Pod", body).value == body


def test_a_kind_inside_a_kind_may_name_itself() -> None:
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}}
    found = schema.check("apps", "StatefulSet", {"spec": {"volumeClaimTemplates": [claim]}})
    assert found.unknown == []
    assert found.value == {"spec": {"volumeClaimTemplates": [claim]}}


def test_int_or_string_and_numbers_as_amounts() -> None:
    body = {"spec": {"ports": [{"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 8081}]}}
    assert schema.check("core", "Service", body).value == body
    body = {"status": {"capacity": {"cpu": 0.1, "memory": 1048576, "pods": 1e7}}}
    clean = schema.check("core", "Node", body).value
    assert clean["status"]["capacity"] == {"cpu": "100m", "memory": "1048576", "pods": "10M"}


def test_times_come_out_in_utc_without_fractions() -> None:
    def time(text: str) -> Any:
        body = {"metadata": {"creationTimestamp": text}}
        return schema.check("core", "Pod", body).value["metadata"]["creationTimestamp"]

    assert time("2026-01-02T03:04:05Z") == "2026-01-02T03:04:05Z"
    assert time("2026-01-02T03:04:05.75Z") == "2026-01-02T03:04:05Z"
    assert time("2026-01-02T03:04:05+02:00") == "2026-01-02T01:04:05Z"
    lease = {"spec": {"renewTime": "2026-01-02T03:04:05.123456+01:00"}}
    assert schema.check("coordination", "Lease", lease).value["spec"]["renewTime"] == "2026-01-02T02:04:05.123456Z"


def test_duplicate_keys() -> None:
    body = b'{"a":1,"spec":{"replicas":1,"x":[{"y":1},{"y":1,"y":2,"y":3}],"replicas":2},"a":1}'
    assert schema.duplicates(body, schema.parse(body)) == [
        'duplicate field "a"',
        'duplicate field "spec.replicas"',
        'duplicate field "spec.x[1].y"',
    ]
    assert schema.duplicates(json.dumps(DEPLOYMENT).encode(), DEPLOYMENT) == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1, "a" : 2}',
        b'{"a":1,"a"\n:2,"b":"\\":"}',
        b'{"a":1,"a":2,"b":"\\u0022:"}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":{"x":1,"x":2},"b":"\\"\\u003a"}',
    ],
)
def test_no_way_of_writing_hides_a_duplicate_key(body: bytes) -> None:
    assert len(schema.duplicates(body, schema.parse(body))) == 1


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"a":1}x', b"[1,]", b"\xff", b'"\xff"', b"nan", b"[" * 500 + b"]" * 500, b'{"a":' * 100_000]
)
def test_malformed_and_hostile_json_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        schema.parse(body)


def test_nesting_is_allowed_up_to_the_limit() -> None:
    deep = schema.MAX_DEPTH
    schema.parse(b"[" * deep + b"]" * deep)
    schema.parse(b"[" + b"[]," * 5000 + b"1]")
    with pytest.raises(ValueError, match="exceeded max depth"):
        schema.parse(b"[" * (deep + 1) + b"]" * (deep + 1))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("0", "0"),
        ("0.000", "0"),
        ("1", "1"),
        ("0.1", "100m"),
        ("1000m", "1"),
        ("0.5", "500m"),
        ("1.5Gi", "1536Mi"),
        ("1024Mi", "1Gi"),
        ("0.5Gi", "512Mi"),
        ("512", "512"),
        ("1000Ki", "1000Ki"),
        ("100Mi", "100Mi"),
        ("0.1m", "100u"),
        ("0.1n", "1n"),
        ("2e3", "2e3"),
        ("1500000", "1500k"),
        ("1.500", "1.500"),
        ("1000000000000000000000", "1000E"),
        ("16Ei", "9223372036854775807"),
        ("-1.5", "-1500m"),
        (" 5 ", "5"),
    ],
)
def test_amounts_in_canonical_form(given: str, shown: str) -> None:
    assert quantity.canonical(given) == shown


@pytest.mark.parametrize(
    "bad", ["", "x", "1.1.M", "1+1.0M", "0.1mi", "0.1am", ".5i", "1i", "-3.01i", "-3.01e-", "1 Gi", "9" * 101]
)
def test_what_is_no_amount(bad: str) -> None:
    with pytest.raises(ValueError):
        quantity.canonical(bad)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
SPEC = st.dictionaries(st.sampled_from(["containers", "replicas", "selector", "template", "strategy", "x"]), JSON)


@given(st.dictionaries(st.sampled_from(["metadata", "status", "kind", "x"]), JSON), SPEC)
def test_anything_is_either_refused_or_clean(body: dict[str, Any], spec: dict[str, Any]) -> None:
    try:
        found = schema.check("apps", "Deployment", {**body, "spec": spec})
    except schema.TypeMismatch:
        return
    again = schema.check("apps", "Deployment", found.value)
    assert again == schema.Checked(found.value, [])
