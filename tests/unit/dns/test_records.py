"""Cluster names, rules D1-D15 of the specification, over plain values."""

from __future__ import annotations

import pytest

from skerry.api.types import core, discovery, meta
from skerry.dns.entries import endpoint_label
from skerry.dns.records import Records

Z = "cluster.local."


def service(name="web", cluster_ip="10.96.1.1", ports=(("http", 80, "TCP"),), namespace="default", **spec):
    given = [core.ServicePort(name=n, port=p, protocol=t) for n, p, t in ports]
    return core.Service(
        metadata=meta.ObjectMeta(name=name, namespace=namespace),
        spec=core.ServiceSpec(cluster_ip=cluster_ip, ports=given, **spec),
    )


def endpoint(*addresses, ready=True, hostname=None):
    return discovery.Endpoint(
        addresses=list(addresses), hostname=hostname, conditions=discovery.EndpointConditions(ready=ready)
    )


def slice_of(name, *endpoints, ports=(("http", 8080, "TCP"),), address_type="IPv4"):
    return discovery.EndpointSlice(
        metadata=meta.ObjectMeta(labels={"kubernetes.io/service-name": name}),
        address_type=address_type,
        endpoints=list(endpoints),
        ports=[discovery.EndpointPort(name=n, port=p, protocol=t) for n, p, t in ports],
    )


@pytest.fixture
def records():
    made = Records(own_networks=["10.96.0.0/12", "10.244.0.0/16"])
    for name in ("default", "kube-system", "other"):
        made.apply_namespace(name, True)
    made.apply_service("kube-system/kube-dns", service("kube-dns", "10.96.0.10", (("dns", 53, "UDP"),), "kube-system"))
    made.apply_service("default/web", service())
    made.apply_service("default/db", service("db", "None"))
    made.apply_slice("default/web-1", slice_of("web", endpoint("10.244.1.2"), endpoint("10.244.1.3", ready=None)))
    made.apply_slice(
        "default/db-1",
        slice_of(
            "db", endpoint("10.244.1.4", hostname="db-0"), endpoint("10.244.1.5"), endpoint("10.244.1.6", ready=False)
        ),
    )
    made.synced = True
    return made


def ask(records, name, qtype="A"):
    found = records.answer(name, qtype)
    return found.rcode, [record.data for record in found.answers]


def test_d1_dns_version(records):
    assert ask(records, "dns-version.cluster.local", "TXT") == ("NOERROR", ["1.1.0"])
    assert ask(records, "dns-version.cluster.local", "A") == ("NOERROR", [])


def test_d2_cluster_ip_exists_without_endpoints(records):
    records.apply_slice("default/web-1", None)
    assert ask(records, "web.default.svc.cluster.local.") == ("NOERROR", ["10.96.1.1"])


def test_d2_dual_stack_answers_each_family(records):
    records.apply_service("default/web", service(cluster_i_ps=["10.96.1.1", "FD00::1"]))
    assert ask(records, "web.default.svc.cluster.local") == ("NOERROR", ["10.96.1.1"])
    assert ask(records, "web.default.svc.cluster.local", "AAAA") == ("NOERROR", ["fd00::1"])


def test_names_have_no_case(records):
    found = records.answer("WEB.Default.SVC.Cluster.Local.", "A")
    assert [(r.name, r.data) for r in found.answers] == [("WEB.Default.SVC.Cluster.Local.", "10.96.1.1")]


def test_d2_srv_of_a_named_port(records):
    found = records.answer("_http._tcp.web.default.svc.cluster.local.", "SRV")
    assert [r.data for r in found.answers] == [(0, 100, 80, "web.default.svc." + Z)]
    assert [(r.name, r.data) for r in found.additional] == [("web.default.svc." + Z, "10.96.1.1")]
    assert ask(records, "http.tcp.web.default.svc.cluster.local", "SRV")[0] == "NOERROR"  # D10 without underscores
    assert ask(records, "_http._udp.web.default.svc.cluster.local", "SRV") == ("NXDOMAIN", [])
    assert ask(records, "_http._tcp.web.default.svc.cluster.local", "A") == ("NOERROR", [])


def test_d12_srv_of_the_plain_name_gives_all_ports(records):
    records.apply_service("default/web", service(ports=(("a", 1, "TCP"), ("b", 2, "UDP"), ("c", 3, "TCP"))))
    rcode, data = ask(records, "web.default.svc.cluster.local", "SRV")
    assert rcode == "NOERROR" and [(w, p) for _, w, p, _ in data] == [(33, 1), (33, 2), (33, 3)]


def test_d3_headless_gives_every_ready_endpoint(records):
    assert ask(records, "db.default.svc.cluster.local") == ("NOERROR", ["10.244.1.4", "10.244.1.5"])


def test_d3_headless_without_ready_endpoint_is_nxdomain(records):
    records.apply_slice("default/db-1", slice_of("db", endpoint("10.244.1.6", ready=False)))
    assert ask(records, "db.default.svc.cluster.local") == ("NXDOMAIN", [])


def test_d3_d4_endpoint_names(records):
    assert ask(records, "db-0.db.default.svc.cluster.local") == ("NOERROR", ["10.244.1.4"])
    assert ask(records, "10-244-1-5.db.default.svc.cluster.local") == ("NOERROR", ["10.244.1.5"])
    assert ask(records, "10-244-1-4.db.default.svc.cluster.local") == ("NXDOMAIN", [])  # it has a host name
    assert ask(records, "10-244-1-6.db.default.svc.cluster.local") == ("NXDOMAIN", [])  # not ready
    assert endpoint_label("", "fd00::") == "fd00--0"


def test_d4_endpoints_that_share_a_hostname(records):
    same = [endpoint("10.244.1.7", hostname="x"), endpoint("10.244.1.8", hostname="x")]
    records.apply_slice("default/db-1", slice_of("db", *same))
    assert ask(records, "x.db.default.svc.cluster.local") == ("NOERROR", ["10.244.1.7", "10.244.1.8"])


def test_d3_headless_srv_is_endpoints_times_ports(records):
    ports = (("http", 8080, "TCP"), ("admin", 9090, "TCP"), ("", 0, "TCP"))
    records.apply_slice(
        "default/db-1", slice_of("db", endpoint("10.244.1.4", hostname="db-0"), endpoint("10.244.1.5"), ports=ports)
    )
    found = records.answer("_http._tcp.db.default.svc.cluster.local", "SRV")
    assert [r.data for r in found.answers] == [
        (0, 50, 8080, "db-0.db.default.svc." + Z),
        (0, 50, 8080, "10-244-1-5.db.default.svc." + Z),
    ]
    assert [r.data for r in found.additional] == ["10.244.1.4", "10.244.1.5"]
    assert len(ask(records, "db.default.svc.cluster.local", "SRV")[1]) == 4


def test_d7_external_name(records):
    records.apply_service("default/ext", service("ext", "", type="ExternalName", external_name="Example.ORG"))
    found = records.answer("ext.default.svc.cluster.local", "A")
    assert found.chase == "example.org." and [(r.type, r.data) for r in found.answers] == [("CNAME", "example.org.")]
    assert ask(records, "a.ext.default.svc.cluster.local") == ("NXDOMAIN", [])
    assert ask(records, "ext.default.svc.cluster.local", "SRV") == ("NOERROR", [])
    records.apply_service("default/ext", service("ext", "", type="ExternalName", external_name="10.1.2.3"))
    assert ask(records, "ext.default.svc.cluster.local") == ("NXDOMAIN", [])


def test_d15_external_name_inside_the_zone_is_resolved(records):
    target = "web.default.svc.cluster.local"
    records.apply_service("other/ext", service("ext", "", type="ExternalName", external_name=target, namespace="other"))
    assert ask(records, "ext.other.svc.cluster.local") == ("NOERROR", [target + ".", "10.96.1.1"])
    assert ask(records, "ext.other.svc.cluster.local", "AAAA") == ("NOERROR", [target + "."])


def test_d15_a_loop_of_external_names_ends(records):
    name = "ext.default.svc.cluster.local"
    records.apply_service("default/ext", service("ext", "", type="ExternalName", external_name=name))
    assert ask(records, name) == ("SERVFAIL", [])


def test_d8_pod_names(records):
    assert ask(records, "10-244-9-9.default.pod.cluster.local") == ("NOERROR", ["10.244.9.9"])
    assert ask(records, "fd00--5.default.pod.cluster.local", "AAAA") == ("NOERROR", ["fd00::5"])
    assert ask(records, "10-244-9-9.nowhere.pod.cluster.local") == ("NXDOMAIN", [])
    assert ask(records, "banana.default.pod.cluster.local") == ("NXDOMAIN", [])
    off = Records(pods="disabled")
    off.apply_namespace("default", True)
    off.synced = True
    assert ask(off, "10-244-9-9.default.pod.cluster.local") == ("NXDOMAIN", [])


def test_d8_verified_pod_names_need_a_pod(records):
    records.configure(ttl=5, pods="verified", ignore_empty=False)
    name = "10-244-9-9.default.pod.cluster.local"
    assert ask(records, name) == ("NXDOMAIN", [])
    records.apply_pod("default/a", ["10.244.9.9", "fd00::9"])
    records.apply_pod("default/b", ["10.244.9.9"])
    assert ask(records, name) == ("NOERROR", ["10.244.9.9"])
    assert ask(records, "fd00--9.default.pod.cluster.local", "AAAA") == ("NOERROR", ["fd00::9"])
    assert ask(records, "10-244-9-9.other.pod.cluster.local") == ("NXDOMAIN", [])
    records.apply_pod("default/a", [])
    assert ask(records, name) == ("NOERROR", ["10.244.9.9"])
    records.apply_pod("default/b", [])
    assert ask(records, name) == ("NXDOMAIN", [])
    assert not records._pod_ips and not records._ips_of_pod


def test_d16_empty_services_have_no_name_when_that_is_wanted(records):
    records.configure(ttl=5, pods="insecure", ignore_empty=True)
    assert ask(records, "web.default.svc.cluster.local") == ("NOERROR", ["10.96.1.1"])
    records.apply_slice("default/web-1", slice_of("web", endpoint("10.244.1.2", ready=False)))
    for name, qtype in (("web", "A"), ("web", "SRV"), ("_http._tcp.web", "SRV")):
        assert ask(records, f"{name}.default.svc.cluster.local", qtype) == ("NXDOMAIN", [])
    records.configure(ttl=5, pods="insecure", ignore_empty=False)
    assert ask(records, "web.default.svc.cluster.local") == ("NOERROR", ["10.96.1.1"])


def test_d5_publish_not_ready_and_terminating(records):
    """A slice says ready for those that are published before they are; a terminating one is not ready."""
    unknown = endpoint("10.244.1.20", ready=None)
    unknown.conditions.terminating = True
    records.apply_slice("default/db-1", slice_of("db", unknown, endpoint("10.244.1.21", ready=False)))
    assert ask(records, "db.default.svc.cluster.local") == ("NOERROR", ["10.244.1.20"])


def test_d6_slices_that_people_made_count_for_headless_services_without_a_selector(records):
    records.apply_service("default/own", service("own", "None"))
    records.apply_slice("default/own-by-hand", slice_of("own", endpoint("192.0.2.9")))
    assert ask(records, "own.default.svc.cluster.local") == ("NOERROR", ["192.0.2.9"])


def test_d10_endpoints_of_a_cluster_ip_service_have_names_too(records):
    assert ask(records, "10-244-1-2.web.default.svc.cluster.local") == ("NOERROR", ["10.244.1.2"])
    assert ask(records, "10-244-1-2.web.default.svc.cluster.local", "SRV")[1] == [
        (0, 100, 8080, "10-244-1-2.web.default.svc." + Z)
    ]


def test_d23_a_host_name_has_a_record_only_where_its_endpoint_says_so(records):
    assert ask(records, "db-0.db.default.svc.cluster.local")[0] == "NOERROR"
    assert ask(records, "db-1.db.default.svc.cluster.local")[0] == "NXDOMAIN"


@pytest.mark.parametrize(
    ("name", "rcode"),
    [
        ("cluster.local", "NOERROR"),
        ("svc.cluster.local", "NOERROR"),
        ("pod.cluster.local", "NOERROR"),
        ("default.svc.cluster.local", "NOERROR"),
        ("nowhere.svc.cluster.local", "NXDOMAIN"),
        ("nothing.default.svc.cluster.local", "NXDOMAIN"),
        ("web.nowhere.svc.cluster.local", "NXDOMAIN"),
        ("a.b.c.web.default.svc.cluster.local", "NXDOMAIN"),
        ("google.com.cluster.local", "NXDOMAIN"),
    ],
)
def test_d11_nodata_or_nxdomain_always_with_soa(records, name, rcode):
    found = records.answer(name, "A")
    assert (found.rcode, list(found.answers)) == (rcode, [])
    assert [(r.name, r.type) for r in found.authority] == [(Z, "SOA")]


def test_d11_aaaa_of_an_ipv4_service_is_nodata(records):
    assert ask(records, "web.default.svc.cluster.local", "AAAA") == ("NOERROR", [])


def test_d11_servfail_before_the_first_sync(records):
    records.synced = False
    assert ask(records, "web.default.svc.cluster.local") == ("SERVFAIL", [])
    assert ask(records, "1.1.96.10.in-addr.arpa", "PTR") == ("SERVFAIL", [])
    assert records.answer("example.org", "A") is None


def test_d11_zone_transfer_is_refused(records):
    assert ask(records, "cluster.local", "AXFR") == ("REFUSED", [])


def test_apex_soa_and_ns(records):
    assert ask(records, "cluster.local", "SOA")[1][0][0] == "ns.dns." + Z
    assert ask(records, "cluster.local", "NS") == ("NOERROR", ["ns.dns." + Z])
    assert ask(records, "ns.dns.cluster.local") == ("NOERROR", ["10.96.0.10"])


def test_d13_an_address_in_two_slices_is_given_once(records):
    records.apply_slice("default/db-2", slice_of("db", endpoint("10.244.1.4"), ports=(("admin", 9, "TCP"),)))
    assert ask(records, "db.default.svc.cluster.local") == ("NOERROR", ["10.244.1.4", "10.244.1.5"])


def test_d14_ptr_of_services_and_endpoints(records):
    assert ask(records, "1.1.96.10.in-addr.arpa.", "PTR") == ("NOERROR", ["web.default.svc." + Z])
    assert ask(records, "4.1.244.10.in-addr.arpa", "PTR") == ("NOERROR", ["db-0.db.default.svc." + Z])
    assert ask(records, "2.1.244.10.in-addr.arpa", "PTR") == ("NOERROR", ["10-244-1-2.web.default.svc." + Z])
    assert ask(records, "99.1.244.10.in-addr.arpa", "PTR") == ("NXDOMAIN", [])
    assert records.answer("8.8.8.8.in-addr.arpa", "PTR") is None


def test_d14_a_pod_behind_two_services_has_two_names(records):
    records.apply_slice("default/web-1", slice_of("web", endpoint("10.244.1.4")))
    assert sorted(ask(records, "4.1.244.10.in-addr.arpa", "PTR")[1]) == [
        "10-244-1-4.web.default.svc." + Z,
        "db-0.db.default.svc." + Z,
    ]


def test_d14_ptr_of_ipv6(records):
    records.apply_service("default/web", service(cluster_i_ps=["fd00::1"]))
    arpa = ".".join(reversed("fd00" + "0" * 27 + "1")) + ".ip6.arpa"
    assert ask(records, arpa, "PTR") == ("NOERROR", ["web.default.svc." + Z])


def test_everything_that_was_applied_can_be_taken_back(records):
    for key in ("default/web-1", "default/db-1"):
        records.apply_slice(key, None)
    for key in ("default/web", "default/db", "kube-system/kube-dns", "never/was"):
        records.apply_service(key, None)
    for name in ("default", "kube-system", "other"):
        records.apply_namespace(name, False)
    assert records.statistics() == {"namespaces": 0, "services": 0, "slices": 0, "addresses": 0}
    assert not records._slices_of and not records._cluster_ips


def test_a_cluster_ip_that_moved_to_another_service_stays_there(records):
    records.apply_service("default/new", service("new", "10.96.1.1"))
    records.apply_service("default/web", None)
    assert ask(records, "1.1.96.10.in-addr.arpa", "PTR") == ("NOERROR", ["new.default.svc." + Z])


def test_a_service_without_cluster_ip_yet_has_no_name(records):
    records.apply_service("default/young", service("young", ""))
    assert ask(records, "young.default.svc.cluster.local") == ("NXDOMAIN", [])
