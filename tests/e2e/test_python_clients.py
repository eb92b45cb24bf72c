"""kubernetes-asyncio, kr8s and lightkube, each with what its users do; the official client is in test_python_client.py.

All three stand in front of one pod, which has a page. Clients in other languages: kubectl and helm are programs of Go's
client-go, with its informers, discovery and protobuf. Node's @kubernetes/client-node works (tried by hand); it is no
test since it is 70 MB in 65 packages.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from tests.helpers.cluster import Cluster, eventually

pytestmark = pytest.mark.rootless
SLEEPER = {"name": "main", "image": "host", "command": ["sleep", "1000004"]}
PAGE = """\
mkdir -p /tmp/www; echo hello >/tmp/www/index.html; echo begins
exec python3 -u -m http.server 8080 --directory /tmp/www
"""
WEB: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "labels": {"app": "web"}},
    "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {
                "name": "main",
                "image": "host",
                "command": ["sh", "-c", PAGE],
                "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
            }
        ],
    },
}


@pytest.fixture(scope="module")
def place(nodes3: Cluster) -> Iterator[str]:
    """A namespace with the pod `web`, ready."""
    name, kubectl = "t-" + uuid.uuid4().hex[:8], nodes3.kubectl()
    kubectl("create", "namespace", name)
    from kubernetes import client, config

    with config.new_client_from_config(str(nodes3.kubeconfig)) as connection:
        client.CoreV1Api(connection).create_namespaced_pod(name, WEB)
    kubectl("wait", "pod/web", "-n", name, "--for=condition=Ready", "--timeout=30s")
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


async def test_kubernetes_asyncio(nodes3: Cluster, place: str) -> None:
    """Its booleans are Python's (`watch=True`), and it says of bodies of subresources not what they are."""
    pytest.importorskip("kubernetes_asyncio")
    from kubernetes_asyncio import client, config, dynamic, watch
    from kubernetes_asyncio.stream import WsApiClient

    settings = client.Configuration()
    await config.load_kube_config(str(nodes3.kubeconfig), client_configuration=settings)
    async with client.ApiClient(settings) as connection:
        core = client.CoreV1Api(connection)
        applying = {"field_manager": "me", "force": True, "_content_type": "application/apply-patch+yaml"}
        listed = await core.list_namespaced_config_map(place)

        async def changes() -> list[tuple[str, Any]]:
            seen: list[tuple[str, Any]] = []
            since = {"resource_version": listed.metadata.resource_version, "timeout_seconds": 20}
            async with watch.Watch().stream(
                core.list_namespaced_config_map, place, label_selector="a=1", **since
            ) as all_:
                async for event in all_:
                    seen.append((event["type"], event["object"].data))
                    if event["type"] == "DELETED":
                        break
            return seen

        watching = asyncio.create_task(changes())
        await core.create_namespaced_config_map(
            place, {"metadata": {"name": "a", "labels": {"a": "1"}}, "data": {"k": "1"}}
        )
        await core.patch_namespaced_config_map("a", place, {"data": {"k": "2"}})
        config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"z": "3"}}
        await core.patch_namespaced_config_map("a", place, config_map, **applying)
        await core.delete_namespaced_config_map("a", place)
        last = {"k": "2", "z": "3"}
        assert await watching == [
            ("ADDED", {"k": "1"}), ("MODIFIED", {"k": "2"}), ("MODIFIED", last), ("DELETED", last),
        ]  # fmt: skip

        async with watch.Watch().stream(core.read_namespaced_pod_log, "web", place, follow=True) as log:
            assert await anext(aiter(log)) == "begins\n"
        async with WsApiClient(settings) as streaming:
            say = {"command": ["echo", "hi"], "stderr": True, "stdin": False, "stdout": True, "tty": False}
            assert await client.CoreV1Api(streaming).connect_get_namespaced_pod_exec("web", place, **say) == "hi\n"

        services = await (await dynamic.DynamicClient(connection)).resources.get(api_version="v1", kind="Service")
        body = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
        assert (await services.create(namespace=place, body=body)).spec.clusterIP
        assert (await services.delete(name="s", namespace=place)).kind == "Service"

        evicted = {"metadata": {"name": "gone", "namespace": place}, "spec": {"containers": [SLEEPER]}}
        await core.create_namespaced_pod(place, evicted)
        eviction = client.V1Eviction(metadata=client.V1ObjectMeta(name="gone"))
        await core.create_namespaced_pod_eviction("gone", place, eviction)
        token = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[]))
        made = await core.create_namespaced_service_account_token("default", place, token)
        assert made.status.token
        who = await client.AuthenticationV1Api(connection).create_self_subject_review({})
        assert "system:masters" in who.status.user_info.groups


async def test_kr8s(nodes3: Cluster, place: str) -> None:
    """It asks for /version/ first, and forwards ports over a WebSocket without a protocol's name."""
    kr8s = pytest.importorskip("kr8s")
    from kr8s.asyncio.objects import ConfigMap, Deployment, Node, Pod

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it knows no Kubernetes as new as this one
        api = await kr8s.asyncio.api(kubeconfig=str(nodes3.kubeconfig), namespace=place)
    assert await api.whoami() == "kubernetes-admin"
    web = await Pod.get("web", namespace=place, api=api)
    assert "begins" in [line async for line in web.logs()]
    assert (await web.exec(["cat", "/tmp/www/index.html"])).stdout == b"hello\n"
    async with web.portforward(remote_port=8080, local_port="auto") as port, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        answer = await reader.read()  # to its end: the pod's end of the connection ends ours
        writer.close()
    assert answer.startswith(b"HTTP/1.0 200 OK") and answer.endswith(b"hello\n")

    template = {
        "metadata": {"labels": {"app": "d"}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [SLEEPER]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "d"}}, "template": template}
    deployment = await Deployment({"metadata": {"name": "d", "namespace": place}, "spec": spec}, api=api)
    await deployment.create()
    await deployment.scale(2)
    await deployment.wait("condition=Available", timeout=20)
    assert len(await deployment.pods()) == 2
    await deployment.patch([{"op": "add", "path": "/metadata/labels", "value": {"k": "v"}}], type="json")
    await deployment.label({"q": "r"})
    found = [one.name async for one in api.get("deployments", namespace=place, label_selector={"k": "v", "q": "r"})]
    assert found == ["d"]
    await deployment.delete(propagation_policy="Foreground")
    await deployment.wait("delete", timeout=20)
    assert [one async for one in api.get("pods", namespace=place, label_selector={"app": "d"})] == []

    config_map = await ConfigMap({"metadata": {"name": "k", "namespace": place}, "data": {"a": "b"}}, api=api)
    await config_map.create()
    async with asyncio.timeout(20):
        async for kind, one in api.watch("configmaps", namespace=place):
            if one.name == "k":
                assert kind == "ADDED"
                break
    [node] = [one async for one in api.get("nodes", "node-1")]
    assert isinstance(node, Node) and node.unschedulable is False


def test_lightkube(nodes3: Cluster, place: str) -> None:
    """It applies, and shows conflicts as objects."""
    lightkube = pytest.importorskip("lightkube")
    from lightkube.generic_resource import create_namespaced_resource
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.core_v1 import ConfigMap, Pod
    from lightkube.types import PatchType

    config = lightkube.KubeConfig.from_file(str(nodes3.kubeconfig))
    client = lightkube.Client(config=config, namespace=place, field_manager="me")
    client.apply(ConfigMap(metadata=ObjectMeta(name="l", labels={"l": "1"}), data={"k": "v"}))
    other = ConfigMap(metadata=ObjectMeta(name="l"), data={"k": "other"})
    with pytest.raises(lightkube.ApiError) as refused:
        client.apply(other, field_manager="you")
    said = refused.value.status
    assert (said.code, said.reason) == (409, "Conflict")
    [cause] = said.details.causes
    assert (cause.field, cause.reason, cause.message) == (".data.k", "FieldManagerConflict", 'conflict with "me"')
    assert client.apply(other, field_manager="you", force=True).data == {"k": "other"}
    assert client.patch(ConfigMap, "l", {"data": {"n": "1"}}, patch_type=PatchType.MERGE).data == {
        "k": "other",
        "n": "1",
    }
    removal = [{"op": "remove", "path": "/data/n"}]
    assert client.patch(ConfigMap, "l", removal, patch_type=PatchType.JSON).data == {"k": "other"}
    seen = client.watch(ConfigMap, labels={"l": "1"}, server_timeout=1)  # it begins again by itself, for ever
    assert next(seen)[0] == "ADDED"
    client.patch(ConfigMap, "l", {"data": {"n": "2"}}, patch_type=PatchType.MERGE)
    assert next(seen)[0] == "MODIFIED"
    seen.close()
    # In pages of two there is everything, once.
    names = [(one.metadata.namespace, one.metadata.name) for one in client.list(ConfigMap, namespace="*", chunk_size=2)]
    assert len(names) == len(set(names)) > 4 and (place, "l") in names

    assert client.wait(Pod, "web", for_conditions=["Ready"]).status.phase == "Running"
    assert "begins\n" in list(client.log("web"))
    threads = set(threading.enumerate())
    assert client.exec("web", command=["echo", "hi"], stdout=True).stdout == "hi\n"
    # It closes the socket under a thread that reads, which would take the bytes of the next one with that number.
    eventually(lambda: set(threading.enumerate()) <= threads, 10, "the end of its readers")

    slices = create_namespaced_resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
    made = client.create(
        slices(metadata=ObjectMeta(name="hand"), addressType="IPv4", endpoints=[{"addresses": ["10.0.0.1"]}])
    )
    assert made["endpoints"][0]["addresses"] == ["10.0.0.1"]
    client.delete(slices, "hand")
    client.deletecollection(ConfigMap)
    assert [one.metadata.name for one in client.list(ConfigMap, labels={"l": "1"})] == []
