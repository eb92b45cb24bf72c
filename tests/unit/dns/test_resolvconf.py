"""resolv.conf and /etc/hosts of pods: rules D18-D23 and the golden vector G8."""

from __future__ import annotations

from skerry.api.types import core, meta
from skerry.node import resolvconf

HOST = "# the machine's\nnameserver 192.0.2.1\nsearch corp.example\noptions rotate timeout:1\n"


def pod(policy="ClusterFirst", namespace="demo", **spec):
    return core.Pod(
        metadata=meta.ObjectMeta(name="web-1", namespace=namespace), spec=core.PodSpec(dns_policy=policy, **spec)
    )


def make(given, host=HOST, dns=("10.96.0.10",)):
    return resolvconf.resolv_conf(given, dns, "cluster.local", host)


def test_g8_cluster_first():
    text, warnings = make(pod())
    assert text == (
        "nameserver 10.96.0.10\n"
        "search demo.svc.cluster.local svc.cluster.local cluster.local corp.example\n"
        "options ndots:5\n"
    )
    assert warnings == []


def test_d18_a_host_search_that_is_ours_already_is_not_repeated():
    text, _ = make(pod(), "search cluster.local corp.example\n")
    assert "search demo.svc.cluster.local svc.cluster.local cluster.local corp.example\n" in text


def test_d19_host_network_behaves_as_default():
    default = "nameserver 192.0.2.1\nsearch corp.example\noptions rotate timeout:1\n"
    assert make(pod(host_network=True))[0] == default
    assert make(pod("Default"))[0] == default
    assert "10.96.0.10" in make(pod("ClusterFirstWithHostNet", host_network=True))[0]


def test_d19_none_is_only_the_pods_own_config():
    text, _ = make(pod("None", dns_config=core.PodDNSConfig(nameservers=["1.2.3.4"], searches=["a.b"])))
    assert text == "nameserver 1.2.3.4\nsearch a.b\n"


def test_d20_dns_config_is_merged():
    option = core.PodDNSConfigOption
    extra = core.PodDNSConfig(
        nameservers=["10.96.0.10", "1.2.3.4"],
        searches=["corp.example", "more.example"],
        options=[option(name="ndots", value="2"), option(name="edns0")],
    )
    text, _ = make(pod(dns_config=extra))
    assert text == (
        "nameserver 10.96.0.10\nnameserver 1.2.3.4\n"
        "search demo.svc.cluster.local svc.cluster.local cluster.local corp.example more.example\n"
        "options ndots:2 edns0\n"
    )


def test_d21_limits_are_cut_with_a_warning():
    many = core.PodDNSConfig(nameservers=[f"1.1.1.{i}" for i in range(5)], searches=[f"s{i}" for i in range(40)])
    text, warnings = make(pod("None", dns_config=many))
    assert text.count("nameserver") == 3
    assert text.splitlines()[3].split()[1:] == [f"s{i}" for i in range(32)]
    assert [w.reason for w in warnings] == ["DNSConfigForming", "DNSConfigForming"]
    assert warnings[0].message.endswith("the applied nameserver line is: 1.1.1.0 1.1.1.1 1.1.1.2")


def test_d21_characters_and_long_entries():
    long = core.PodDNSConfig(nameservers=["1.1.1.1"], searches=["x" * 254, *[f"{i}" + "y" * 200 for i in range(12)]])
    text, warnings = make(pod("None", dns_config=long))
    line = text.splitlines()[1].removeprefix("search ")
    assert "x" * 254 not in line and len(line) <= 2048 and len(line.split()) == 10
    assert len(warnings) == 1


def test_d21_no_cluster_dns_falls_back():
    text, warnings = make(pod(), dns=())
    assert text.startswith("nameserver 192.0.2.1\n") and [w.reason for w in warnings] == ["MissingClusterDNS"]


def test_d23_hosts_file():
    given = pod(
        hostname="db-0",
        subdomain="db",
        host_aliases=[core.HostAlias(ip="10.9.9.9", hostnames=["a.example", "b.example"])],
    )
    text = resolvconf.hosts(given, ["10.244.1.7"], "cluster.local")
    assert text.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert "10.244.1.7\tdb-0.db.demo.svc.cluster.local\tdb-0\n" in text
    assert text.endswith("10.9.9.9\ta.example\tb.example\n")
    assert "10.244.1.7\tweb-1\n" in resolvconf.hosts(pod(), ["10.244.1.7"], "cluster.local")


def test_a_contained_node_asks_the_cluster_dns_what_the_machine_asks_its_own_servers() -> None:
    """No pod reaches the machine's servers from a network of its own; searches and options stay."""
    machine = "nameserver 192.168.1.1\nnameserver 8.8.8.8\nsearch example.org\noptions timeout:1\n"
    node = "nameserver 10.96.0.10\nsearch example.org\noptions timeout:1\n"
    assert resolvconf.of_contained_node(machine, ["10.96.0.10"]) == node
    assert resolvconf.of_contained_node("", ["10.96.0.10"]) == "nameserver 10.96.0.10\n"
