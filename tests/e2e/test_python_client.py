"""The official Python client reads, writes and watches what kubectl does."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import look
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.kubectl import Kubectl

kubernetes = pytest.importorskip("kubernetes")
from kubernetes import client, config, watch  # noqa: E402 - only where it is installed

pytestmark = pytest.mark.rootless


@pytest.fixture
def api(cluster: Cluster) -> Iterator[Any]:
    """The client's connection, by the kubeconfig that `skerry up` wrote."""
    with config.new_client_from_config(str(cluster.kubeconfig)) as connection:
        yield connection


class Steps:
    """What a watch shows, as states: one that equals the one before is no step."""

    def __init__(self, state: Callable[[Any], Any], listing: Callable[..., Any], **options: Any) -> None:
        self._queue: queue.Queue[Any] = queue.Queue()
        self._watch = watch.Watch()
        self._thread = threading.Thread(target=self._follow, args=(state, listing, options), daemon=True)
        self._thread.start()

    def _follow(self, state: Callable[[Any], Any], listing: Callable[..., Any], options: dict[str, Any]) -> None:
        last: Any = None
        with contextlib.suppress(Exception):  # the queue tells: nothing more comes
            for event in self._watch.stream(listing, timeout_seconds=60, **options):
                now = event["type"], state(event["object"])
                if now != last:
                    self._queue.put(now)
                last = now

    def next(self) -> Any:
        return self._queue.get(timeout=20)

    def none_is_left(self) -> bool:
        return self._queue.empty()

    def close(self) -> None:
        self._watch.stop()


@contextlib.contextmanager
def watched(state: Callable[[Any], Any], listing: Callable[..., Any], **options: Any) -> Iterator[Steps]:
    """The steps from `resource_version` on, while the block lasts."""
    steps = Steps(state, listing, **options)
    try:
        yield steps
    finally:
        steps.close()


def in_endpoints(found: Any) -> tuple[list[str], list[str]]:
    subsets = found.subsets or []
    ready, unready = (
        sorted(address.ip for subset in subsets for address in getattr(subset, key) or [])
        for key in ("addresses", "not_ready_addresses")
    )
    return ready, unready


def in_slice(found: Any) -> tuple[list[str], list[str]]:
    ready, unready = (
        sorted(one.addresses[0] for one in found.endpoints or [] if one.conditions.ready is wanted)
        for wanted in (True, False)
    )
    return ready, unready


def test_both_are_read_and_watched_while_readiness_is_toggled(api: Any, pods: Kubectl, namespace: str) -> None:
    """Each step of the probe is one step in v1.Endpoints and one in the EndpointSlice, and the same one."""
    look.applied(pods, "readiness")
    pods("wait", "pods", "-l", "app=flaky", "--for=jsonpath={.status.phase}=Running", "--timeout=60s")
    core, discovery = client.CoreV1Api(api), client.DiscoveryV1Api(api)
    found = core.list_namespaced_pod(namespace, label_selector="app=flaky").items
    ips = {pod.metadata.name: pod.status.pod_ip for pod in found}
    (one, a), (two, b) = ips.items()
    both = sorted((a, b))
    by_name = {"namespace": namespace, "field_selector": "metadata.name=flaky"}
    by_service = {"namespace": namespace, "label_selector": "kubernetes.io/service-name=flaky"}

    def settled() -> tuple[Any, Any]:
        endpoints = core.list_namespaced_endpoints(**by_name)
        slices = discovery.list_namespaced_endpoint_slice(**by_service)
        assert in_endpoints(endpoints.items[0]) == in_slice(slices.items[0]) == ([], both)
        return endpoints, slices

    endpoints, slices = eventually(settled, 20, "both pods in both, not ready")
    target = endpoints.items[0].subsets[0].not_ready_addresses[0].target_ref
    assert (target.kind, target.namespace) == ("Pod", namespace) and target.name in ips
    files: dict[str, Path] = {name: look.files_of(name, namespace=namespace) / "tmp" / "ready" for name in ips}
    with (
        watched(
            in_endpoints,
            core.list_namespaced_endpoints,
            resource_version=endpoints.metadata.resource_version,
            **by_name,
        ) as first,
        watched(
            in_slice,
            discovery.list_namespaced_endpoint_slice,
            resource_version=slices.metadata.resource_version,
            **by_service,
        ) as second,
    ):
        for act, name, ready in (
            (Path.touch, one, [a]),
            (Path.touch, two, both),
            (Path.unlink, one, [b]),
            (Path.unlink, two, []),
            (Path.touch, one, [a]),
        ):
            act(files[name])
            wanted = "MODIFIED", (sorted(ready), [ip for ip in both if ip not in ready])
            assert first.next() == wanted
            assert second.next() == wanted
        pods("delete", "svc", "flaky")
        assert first.next()[0] == "DELETED"
        assert second.next()[0] == "DELETED"
        assert first.none_is_left() and second.none_is_left()


def test_objects_are_created_changed_and_deleted(api: Any, pods: Kubectl, namespace: str) -> None:
    apps, core = client.AppsV1Api(api), client.CoreV1Api(api)
    container = client.V1Container(name="nginx", image="nginx:1.14.2")
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels={"app": "web"}), spec=client.V1PodSpec(containers=[container])
    )
    spec = client.V1DeploymentSpec(
        replicas=1, selector=client.V1LabelSelector(match_labels={"app": "web"}), template=template
    )
    apps.create_namespaced_deployment(
        namespace, client.V1Deployment(metadata=client.V1ObjectMeta(name="web"), spec=spec)
    )
    port = client.V1ServicePort(port=80)
    service = client.V1Service(
        metadata=client.V1ObjectMeta(name="web"), spec=client.V1ServiceSpec(selector={"app": "web"}, ports=[port])
    )
    made = core.create_namespaced_service(namespace, service)
    assert made.spec.cluster_ip.startswith("10.") and made.spec.ports[0].target_port == 80
    pods("wait", "deploy/web", "--for=condition=Available", "--timeout=60s")
    scaled = apps.patch_namespaced_deployment_scale("web", namespace, {"spec": {"replicas": 2}})
    assert scaled.spec.replicas == 2
    pods("wait", "deploy/web", "--for=jsonpath={.status.availableReplicas}=2", "--timeout=60s")
    listed = core.list_namespaced_pod(namespace, label_selector="app=web", limit=1)
    assert len(listed.items) == 1 and listed.metadata._continue
    rest = core.list_namespaced_pod(namespace, label_selector="app=web", limit=1, _continue=listed.metadata._continue)
    assert {listed.items[0].metadata.name, rest.items[0].metadata.name} == set(look.names(pods, "app=web"))
    log = core.read_namespaced_pod_log(listed.items[0].metadata.name, namespace)
    assert "start worker process" in log
    apps.delete_namespaced_deployment("web", namespace)
    core.delete_namespaced_service("web", namespace)
    eventually(lambda: core.list_namespaced_pod(namespace, label_selector="app=web").items == [], 20, "the pods' end")


def test_the_dynamic_client(api: Any, pods: Kubectl, namespace: str, tmp_path: Path) -> None:
    """It finds kinds by discovery and knows nothing of them beforehand."""
    from kubernetes import dynamic

    found = dynamic.DynamicClient(api, cache_file=str(tmp_path / "discovery"))
    maps = found.resources.get(api_version="v1", kind="ConfigMap")
    deployments = found.resources.get(api_version="apps/v1", kind="Deployment")
    assert deployments.namespaced and "scale" in deployments.subresources
    made = maps.create({"metadata": {"name": "a", "labels": {"t": "1"}}, "data": {"k": "1"}}, namespace=namespace)
    maps.patch({"data": {"k": "2"}}, "a", namespace, content_type="application/merge-patch+json")
    applied = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"n": "3"}}
    assert maps.server_side_apply(applied, "a", namespace, field_manager="me").data.to_dict() == {"k": "2", "n": "3"}
    maps.delete("a", namespace)
    since = made.metadata.resourceVersion
    seen = [
        (event["type"], event["object"].data.to_dict())
        for event in maps.watch(namespace=namespace, label_selector="t=1", resource_version=since, timeout=1)
    ]
    last = {"k": "2", "n": "3"}
    assert seen == [("MODIFIED", {"k": "2"}), ("MODIFIED", last), ("DELETED", last)]
    with pytest.raises(dynamic.exceptions.NotFoundError):
        maps.get("a", namespace)


def test_refusals_are_told_apart(api: Any, pods: Kubectl, namespace: str) -> None:
    core = client.CoreV1Api(api)

    def refused(call: Callable[[], Any]) -> tuple[int, str]:
        with pytest.raises(client.ApiException) as caught:
            call()
        body = json.loads(caught.value.body)
        assert body["kind"] == "Status" and body["status"] == "Failure" and body["code"] == caught.value.status
        return caught.value.status, body["reason"]

    assert refused(lambda: core.read_namespaced_service("none", namespace)) == (404, "NotFound")
    settings = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="settings"), data={"a": "1"})
    made = core.create_namespaced_config_map(namespace, settings)
    assert refused(lambda: core.create_namespaced_config_map(namespace, settings)) == (409, "AlreadyExists")
    core.patch_namespaced_config_map("settings", namespace, {"data": {"a": "2"}})
    made.data = {"a": "3"}
    assert refused(lambda: core.replace_namespaced_config_map("settings", namespace, made)) == (409, "Conflict")
    bad = {"metadata": {"name": "bad"}, "spec": {"ports": [{"port": 70000}]}}
    assert refused(lambda: core.create_namespaced_service(namespace, bad)) == (422, "Invalid")
    anonymous = client.Configuration()
    anonymous.host, anonymous.ssl_ca_cert = api.configuration.host, api.configuration.ssl_ca_cert
    with client.ApiClient(anonymous) as nobody:
        assert refused(lambda: client.CoreV1Api(nobody).list_namespaced_pod(namespace)) == (403, "Forbidden")
    stale = {"resource_version": "1", "timeout_seconds": 5}
    watching = watch.Watch().stream(core.list_namespaced_config_map, namespace, **stale)
    assert refused(lambda: next(watching)) == (410, "Expired")
