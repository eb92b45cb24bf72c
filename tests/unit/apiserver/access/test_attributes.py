"""What a request asks for, as upstream reads URLs."""

from __future__ import annotations

import pytest

from skerry.api.rbac import Question
from skerry.api.wire import Request
from skerry.apiserver.access import attributes


@pytest.mark.parametrize(
    ("method", "path", "query", "wanted"),
    [
        ("GET", "/api/v1/pods", {}, Question("list", "", "pods")),
        ("GET", "/api/v1/namespaces/a/pods", {}, Question("list", "", "pods", "a")),
        ("GET", "/api/v1/namespaces/a/pods", {"watch": "1"}, Question("watch", "", "pods", "a")),
        ("GET", "/api/v1/namespaces/a/pods/p", {}, Question("get", "", "pods", "a", "p")),
        ("HEAD", "/api/v1/namespaces/a/pods/p", {}, Question("get", "", "pods", "a", "p")),
        ("POST", "/apis/apps/v1/namespaces/a/deployments", {}, Question("create", "apps", "deployments", "a")),
        ("PUT", "/apis/apps/v1/namespaces/a/deployments/d/scale", {},
         Question("update", "apps", "deployments/scale", "a", "d")),
        ("DELETE", "/api/v1/namespaces/a/pods", {}, Question("deletecollection", "", "pods", "a")),
        ("DELETE", "/api/v1/nodes/n", {}, Question("delete", "", "nodes", "", "n")),
        ("GET", "/api/v1/namespaces/a/pods", {"fieldSelector": "metadata.name=p"},
         Question("list", "", "pods", "a", "p")),
        ("GET", "/api/v1/namespaces/a/pods", {"fieldSelector": "metadata.name!=p"}, Question("list", "", "pods", "a")),
        ("GET", "/api/v1/namespaces/a/pods", {"fieldSelector": "a metadata.name b"}, Question("list", "", "pods", "a")),
        # A namespace is in itself.
        ("GET", "/api/v1/namespaces", {}, Question("list", "", "namespaces")),
        ("GET", "/api/v1/namespaces/a", {}, Question("get", "", "namespaces", "a", "a")),
        ("PUT", "/api/v1/namespaces/a/finalize", {}, Question("update", "", "namespaces/finalize", "a", "a")),
        # What nobody serves is a resource all the same.
        ("GET", "/apis/made.up/v1/namespaces/a/things/t/part", {}, Question("get", "made.up", "things/part", "a", "t")),
        ("GET", "/api/v1/namespaces/a/services/s/proxy/x/y", {}, Question("get", "", "services/proxy", "a", "s")),
        ("GET", "/apis/apps/v1", {}, Question("get", path="/apis/apps/v1")),
        ("GET", "/healthz", {}, Question("get", path="/healthz")),
        ("POST", "/x", {}, Question("post", path="/x")),
    ],
)  # fmt: skip
def test_the_question(method: str, path: str, query: dict[str, str], wanted: Question) -> None:
    assert attributes.question(Request(method, path, query)) == wanted
