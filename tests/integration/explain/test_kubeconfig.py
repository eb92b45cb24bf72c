"""Any Kubernetes by a kubeconfig: tokens, client certificates, other names, path prefixes; what is refused, and how."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import server as helper

from skerry.api.types import core, meta
from skerry.apiserver.edge import Edge
from skerry.client.kubeconfig import KubeconfigError, load
from skerry.clock import SystemClock
from skerry.cluster import certificates, explaining
from skerry.cluster.errors import ClusterError
from skerry.cluster.paths import ClusterPaths


class Foreign:
    """A server on loopback that wants a client's certificate, and the kubeconfigs that lead to it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.paths = ClusterPaths(directory / "data", directory / "run")
        certificates.ensure(self.paths, "foreign", None, time.time())
        self.key, self.certificate = certificates.issue(self.paths, "somebody", ("system:masters",), time.time())
        (directory / "client.pem").write_bytes(self.certificate)
        (directory / "client.key").write_bytes(self.key)
        (directory / "token").write_text("secret\n")
        self.port = 0

    async def serve(self, certificates: ssl.VerifyMode = ssl.CERT_REQUIRED) -> Edge:
        api = await helper.start()
        name = core.ServiceSpec(type="ExternalName", external_name="db.example.com")
        made = core.Service(metadata=meta.ObjectMeta(name="db", namespace="default"), spec=name)
        await api.client.create(made)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self.paths.server_certificate, self.paths.server_key)
        tls.load_verify_locations(self.paths.ca_certificate)
        tls.verify_mode = certificates
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        edge = Edge(api.app)
        await edge.listen(listener, tls)
        return edge

    def kubeconfig(self, cluster: dict[str, Any] | None = None, **user: Any) -> Path:
        """YAML is a superset of JSON. Relative paths in it are relative to it."""
        ca = base64.b64encode(self.paths.ca_certificate.read_bytes()).decode()
        cluster = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority-data": ca} | (cluster or {})
        document = {
            "current-context": "one",
            "contexts": [
                {"name": "one", "context": {"cluster": "c", "user": "u"}},
                {"name": "two", "context": {"cluster": "c", "user": "u", "namespace": "shop"}},
                {"name": "broken", "context": {"cluster": "nope", "user": "u"}},
            ],
            "clusters": [{"name": "c", "cluster": {key: value for key, value in cluster.items() if value is not None}}],
            "users": [{"name": "u", "user": user}],
        }
        path = self.directory / "config"
        path.write_text(json.dumps(document))
        return path


@pytest.fixture
async def foreign(tmp_path: Path) -> AsyncIterator[Foreign]:
    made = Foreign(tmp_path)
    edge = await made.serve()
    yield made
    await edge.close()


async def summary(path: Path, context: str = "") -> str:
    place = explaining.place(None, str(path), context)
    return (await explaining.ask(place, "default", "db", SystemClock())).summary


def inline(foreign: Foreign) -> dict[str, Any]:
    return {
        "client-certificate-data": base64.b64encode(foreign.certificate).decode(),
        "client-key-data": base64.b64encode(foreign.key).decode(),
    }


FILES: dict[str, Any] = {"client-certificate": "client.pem", "client-key": "client.key"}


async def test_a_client_certificate_and_a_token(foreign: Foreign, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = "default/db is another name for db.example.com."
    left = foreign.directory / "temporary"
    left.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(left))
    assert await summary(foreign.kubeconfig(token="secret", **inline(foreign))) == wanted
    assert await summary(foreign.kubeconfig(tokenFile="token", **FILES)) == wanted
    assert list(left.iterdir()) == [], "keys stay nowhere"
    named = {"server": f"https://localhost:{foreign.port}", "tls-server-name": "kubernetes.default"}
    assert await summary(foreign.kubeconfig(named, token="secret", **FILES)) == wanted
    careless = {"certificate-authority-data": None, "insecure-skip-tls-verify": True}
    assert await summary(foreign.kubeconfig(careless, token="secret", **FILES)) == wanted
    with pytest.raises(ClusterError, match=r"cannot be reached|does not answer"):
        await summary(foreign.kubeconfig(token="secret"))
    with pytest.raises(ClusterError, match=r"cannot be reached: its certificate cannot be verified: "):
        await summary(foreign.kubeconfig({"certificate-authority-data": None}, token="secret", **FILES))


async def test_a_user_that_is_not_known(foreign: Foreign) -> None:
    edge = await foreign.serve(ssl.CERT_NONE)
    with pytest.raises(ClusterError, match=r"does not know this user \(401\)"):
        await summary(foreign.kubeconfig(token="wrong"))
    await edge.close()


def test_what_a_context_means(tmp_path: Path) -> None:
    foreign = Foreign(tmp_path)
    path = foreign.kubeconfig({"server": "https://rancher.example.com/k8s/clusters/c-1/"}, token="t")
    one, two = load(path), load(path, "two")
    assert (one.namespace, two.namespace, one.token, one.context) == ("default", "shop", "t", "one")
    assert (one.address.host, one.address.port, one.address.prefix) == ("rancher.example.com", 443, "/k8s/clusters/c-1")
    plain = load(foreign.kubeconfig({"server": "http://127.0.0.1:8001"}))
    assert (plain.address.tls, plain.address.port) == (None, 8001)


@pytest.mark.parametrize(
    ("cluster", "user", "said"),
    [
        (
            {},
            {"exec": {"command": "aws"}},
            "logs in with an exec plugin, which is not supported: make a kubeconfig with a",
        ),
        ({}, {"auth-provider": {"name": "gcp"}}, "an auth-provider plugin"),
        ({}, {"username": "me", "password": "x"}, "a password, which Kubernetes no longer takes"),
        ({"proxy-url": "http://x"}, {}, "goes through a proxy"),
        ({"server": "nonsense"}, {}, "is no URL"),
        ({}, {"client-certificate": "none.pem", "client-key": "none.key"}, "cannot be used"),
        ({}, {"client-certificate-data": "???"}, "client-certificate-data of the kubeconfig is not base64"),
        ({}, {"tokenFile": "none"}, "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(
    tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any], said: str
) -> None:
    path = Foreign(tmp_path).kubeconfig(cluster, **user)
    with pytest.raises(KubeconfigError) as caught:
        load(path)
    assert said in str(caught.value) and str(caught.value).endswith(".")


def test_files_and_contexts_that_are_not_there(tmp_path: Path) -> None:
    path = Foreign(tmp_path).kubeconfig(token="t")
    for context, said in (("three", 'no context "three"; it has broken, one, two'), ("broken", 'no cluster "nope"')):
        with pytest.raises(KubeconfigError, match=said):
            load(path, context)
    for text, said in (("a: [", "is not YAML"), ("- 1", "is not a kubeconfig"), ("{}", "no current context")):
        path.write_text(text)
        with pytest.raises(KubeconfigError, match=said):
            load(path)
    with pytest.raises(KubeconfigError, match="There is no kubeconfig"):
        load(tmp_path / "none")
