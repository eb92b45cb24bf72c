"""A container's environment (rules N1-N3; configMap, secret, field and resource references)."""

from __future__ import annotations

import base64

import pytest

from skerry.api.types import core, meta
from skerry.node.agent.environment import ConfigError, needs, service_variables, variables
from skerry.node.pods.downward import addresses
from skerry.node.pods.text import expand
from skerry.node.volumes.payload import Sources

FACTS = {**addresses(["10.244.1.5"], ["10.243.0.2"]), "cpu": "2", "memory": "1Gi"}


def service(name, namespace="default", ip="10.0.0.11", ports=((6379, ""),), **more):
    return core.Service(
        metadata=meta.ObjectMeta(name=name, namespace=namespace),
        spec=core.ServiceSpec(cluster_ip=ip, ports=[core.ServicePort(port=p, name=n) for p, n in ports], **more),
    )


def pod(container):
    return core.Pod(
        metadata=meta.ObjectMeta(name="p", namespace="shop", uid="u1", labels={"app": "x"}),
        spec=core.PodSpec(containers=[container], node_name="node-1", service_account_name="default"),
    )


def env(*given, sources=None, services=None, env_from=(), **more):
    box = core.Container(name="web", env=list(given), env_from=list(env_from), **more)
    return variables(pod(box), box, services or {}, sources or Sources(), FACTS)


def var(name, value="", **source):
    return core.EnvVar(name=name, value=value, value_from=core.EnvVarSource(**source) if source else None)


def test_names_and_urls_n2():
    assert service_variables([service("redis-primary", ports=[(6379, ""), (9000, "web-ui")])], "default", True) == {
        "REDIS_PRIMARY_SERVICE_HOST": "10.0.0.11",
        "REDIS_PRIMARY_SERVICE_PORT": "6379",
        "REDIS_PRIMARY_SERVICE_PORT_WEB_UI": "9000",
        "REDIS_PRIMARY_PORT": "tcp://10.0.0.11:6379",
        "REDIS_PRIMARY_PORT_6379_TCP": "tcp://10.0.0.11:6379",
        "REDIS_PRIMARY_PORT_6379_TCP_PROTO": "tcp",
        "REDIS_PRIMARY_PORT_6379_TCP_PORT": "6379",
        "REDIS_PRIMARY_PORT_6379_TCP_ADDR": "10.0.0.11",
        "REDIS_PRIMARY_PORT_9000_TCP": "tcp://10.0.0.11:9000",
        "REDIS_PRIMARY_PORT_9000_TCP_PROTO": "tcp",
        "REDIS_PRIMARY_PORT_9000_TCP_PORT": "9000",
        "REDIS_PRIMARY_PORT_9000_TCP_ADDR": "10.0.0.11",
    }
    six = service_variables([service("a", ip="fd00::1")], "default", True)
    assert (six["A_PORT"], six["A_SERVICE_HOST"]) == ("tcp://[fd00::1]:6379", "fd00::1")


def test_which_services_n1():
    def hosts(namespace, links, *more):
        all_of_them = [
            service("kubernetes", ip="10.96.0.1"),
            service("other"),
            service("mine", namespace="shop"),
            service("headless", namespace="shop", ip="None"),
            service("outside", namespace="shop", ip="", type="ExternalName"),
            *more,
        ]
        found = service_variables(all_of_them, namespace, links)
        return {key: value for key, value in found.items() if key.endswith("_SERVICE_HOST")}

    kubernetes = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}
    assert hosts("shop", True) == kubernetes | {"MINE_SERVICE_HOST": "10.0.0.11"}
    assert hosts("shop", False) == kubernetes
    assert hosts("default", False) == kubernetes
    local = service("kubernetes", namespace="shop", ip="10.9.9.9")
    assert hosts("shop", True, local)["KUBERNETES_SERVICE_HOST"] == "10.9.9.9"
    assert hosts("shop", False, local)["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"


def test_explicit_variables_win_n3():
    assert env(var("A_PORT", "mine"), services={"A_PORT": "tcp://x"}) == {"A_PORT": "mine"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)-$(B)", "1-$(B)"),
        ("$$(A)", "$(A)"),
        ("$A $", "$A $"),
        ("$(A)$(A)", "11"),
        ("$$$(A)", "$1"),
        ("$(A", "$(A"),
    ],
)
def test_expansion(text, expected):
    assert expand(text, {"A": "1"}) == expected


def test_variables_see_those_before_them():
    assert env(var("A", "1"), var("B", "$(A)2"), var("C", "$(D)"), var("D", "x"))["B"] == "12"
    assert env(var("C", "$(D)"), var("D", "x"))["C"] == "$(D)"


@pytest.mark.parametrize(
    ("path", "expected"),
    [("metadata.name", "p"), ("metadata.labels['app']", "x"), ("metadata.labels['no']", ""),
     ("status.podIP", "10.244.1.5"), ("status.hostIP", "10.243.0.2"),
     ("spec.nodeName", "node-1"), ("spec.serviceAccountName", "default")],
)  # fmt: skip
def test_fields(path, expected):
    assert env(var("A", field_ref=core.ObjectFieldSelector(field_path=path))) == {"A": expected}


@pytest.mark.parametrize(
    ("resource", "divisor", "expected"),
    [("limits.cpu", "", "1"), ("limits.cpu", "1m", "500"), ("requests.memory", "1Mi", "64"),
     ("limits.memory", "", str(1 << 30))],
)  # fmt: skip
def test_resources(resource, divisor, expected):
    asked = core.ResourceRequirements(limits={"cpu": "500m"}, requests={"memory": "64Mi"})
    ref = core.ResourceFieldSelector(resource=resource, divisor=divisor)
    assert env(var("A", resource_field_ref=ref), resources=asked) == {"A": expected}


def test_config_maps_and_secrets():
    box = core.Container(
        name="web",
        env=[
            var("A", config_map_key_ref=core.ConfigMapKeySelector(name="c", key="k")),
            var("B", secret_key_ref=core.SecretKeySelector(name="s", key="k")),
        ],
        env_from=[core.EnvFromSource(prefix="P_", config_map_ref=core.ConfigMapEnvSource(name="d"))],
    )
    assert needs(box) == ({"c", "d"}, {"s"})
    sources = Sources(
        {"c": core.ConfigMap(data={"k": "1"}), "d": core.ConfigMap(data={"x": "2"})},
        {"s": core.Secret(data={"k": base64.b64encode(b"3").decode()})},
    )
    assert env(*box.env, sources=sources, env_from=box.env_from) == {"P_x": "2", "A": "1", "B": "3"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"config_map_key_ref": core.ConfigMapKeySelector(name="no", key="k")}, 'configmap "no" not found'),
        (
            {"config_map_key_ref": core.ConfigMapKeySelector(name="c", key="x")},
            "couldn't find key x in ConfigMap shop/c",
        ),
        ({"secret_key_ref": core.SecretKeySelector(name="no", key="k")}, 'secret "no" not found'),
    ],
)
def test_what_is_missing(source, message):
    sources = Sources({"c": core.ConfigMap(), "no": None}, {"no": None})
    with pytest.raises(ConfigError, match=f"^{message}$"):
        env(var("A", **source), sources=sources)
    (ref,) = source.values()
    ref.optional = True
    assert env(var("A", **source), sources=sources) == {}
    ref.optional = None
