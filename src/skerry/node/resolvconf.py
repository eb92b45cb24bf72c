"""The /etc/resolv.conf and /etc/hosts of a pod: pure text out of the pod, the cluster's DNS and the node's own file.

Called by the node agent when it makes a pod. Rules D18-D23.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from skerry.api.types import core

MAX_NAMESERVERS = 3
MAX_SEARCHES = 32
MAX_SEARCH_CHARACTERS = 2048
MAX_SEARCH_ENTRY = 253


class Warn(NamedTuple):
    """A Warning event that the pod deserves."""

    reason: str
    message: str


@dataclass
class _Config:
    nameservers: list[str] = field(default_factory=list)
    searches: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)


def resolv_conf(pod: core.Pod, cluster_dns: Sequence[str], domain: str, host_conf: str) -> tuple[str, list[Warn]]:
    """The pod's resolv.conf and the warnings to record.

    `cluster_dns`: addresses of the cluster's DNS, or none. `domain`: "cluster.local". `host_conf`: the node's file.
    """
    warnings: list[Warn] = []
    host = _parse(host_conf)
    policy = pod.spec.dns_policy or "ClusterFirst"
    if policy == "ClusterFirst" and pod.spec.host_network:
        policy = "Default"  # D19
    elif policy == "ClusterFirstWithHostNet":
        policy = "ClusterFirst"
    if policy == "ClusterFirst" and not cluster_dns:
        text = (
            "the node has no address of a cluster DNS and cannot follow the ClusterFirst policy; "
            "falling back to the Default policy"
        )
        warnings.append(Warn("MissingClusterDNS", text))
        policy = "Default"
    if policy == "None":
        config = _Config()
    elif policy == "ClusterFirst":
        config = _cluster_first(pod.metadata.namespace, cluster_dns, domain, host)
    else:
        config = host
    _merge(config, pod.spec.dns_config)
    _limit(config, warnings)
    return _text(config), warnings


def of_contained_node(machine: str, cluster_dns: Sequence[str]) -> str:
    """A node's own file, out of the machine's: its servers are reached through ours alone."""
    config = _parse(machine)
    return _text(_Config(list(cluster_dns), config.searches, config.options))


def of_namespace(namespace: str, cluster_dns: Sequence[str], domain: str, host_conf: str) -> str:
    """The resolv.conf of a program that is no pod but is to find names as the pods of `namespace` do."""
    config = _cluster_first(namespace, cluster_dns, domain, _parse(host_conf))
    _limit(config, [])
    return _text(config)


def searches(text: str) -> tuple[str, ...]:
    """The search path in a resolv.conf."""
    return tuple(_parse(text).searches)


def _cluster_first(namespace: str, cluster_dns: Sequence[str], domain: str, host: _Config) -> _Config:
    own = [f"{namespace}.svc.{domain}", f"svc.{domain}", domain] if domain else []
    return _Config(list(cluster_dns), [*own, *host.searches], ["ndots:5"])


def _text(config: _Config) -> str:
    lines = [f"nameserver {server}" for server in config.nameservers]
    if config.searches:
        lines.append("search " + " ".join(config.searches))
    if config.options:
        lines.append("options " + " ".join(config.options))
    return "".join(line + "\n" for line in lines)


def hostname(pod: core.Pod) -> str:
    """The pod's host name (D23): spec.hostname or the pod's name, as much of it as a host name may hold."""
    if pod.spec.hostname_override:
        return pod.spec.hostname_override
    return (pod.spec.hostname or pod.metadata.name)[:63].rstrip("-.")


def fqdn(pod: core.Pod, domain: str) -> str:
    """The pod's full name when it has a subdomain, else ""."""
    if not pod.spec.subdomain or not domain or pod.spec.hostname_override:
        return ""
    return f"{hostname(pod)}.{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{domain}"


def hosts(pod: core.Pod, ips: Iterable[str], domain: str) -> str:
    """The pod's /etc/hosts: loopback, its own names at its own addresses, its hostAliases."""
    lines = [
        "# Kubernetes-managed hosts file.",  # programs look for this very line
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::\tip6-localnet",
        "fe00::1\tip6-allnodes",
        "fe00::2\tip6-allrouters",
    ]
    names = "\t".join(name for name in (fqdn(pod, domain), hostname(pod)) if name)
    lines += [f"{ip}\t{names}" for ip in ips]
    return "".join(line + "\n" for line in (*lines, *_aliases(pod)))


def node_hosts(pod: core.Pod, own: str, name: str, ips: Iterable[str]) -> str:
    """The same for a pod with the node's network: the machine's `own` file, and the node's name at its addresses."""
    lines = ["# Kubernetes-managed hosts file (host network).", *own.splitlines(), *(f"{ip}\t{name}" for ip in ips)]
    return "".join(line + "\n" for line in (*lines, *_aliases(pod)))


def _aliases(pod: core.Pod) -> list[str]:
    if not pod.spec.host_aliases:
        return []
    lines = [f"{alias.ip}\t" + "\t".join(alias.hostnames) for alias in pod.spec.host_aliases]
    return ["", "# Entries added by HostAliases.", *lines]


def _parse(text: str) -> _Config:
    config = _Config()
    for line in text.splitlines():
        words = line.split()
        if not words or words[0][0] in "#;":
            continue
        match words[0]:
            case "nameserver" if len(words) > 1:
                config.nameservers.append(words[1])
            case "search" | "domain":  # the last one counts
                config.searches = [word.rstrip(".") or "." for word in words[1:]]
            case "options":
                config.options += words[1:]
    return config


def _merge(config: _Config, extra: core.PodDNSConfig | None) -> None:
    """D20: servers and searches are appended, an option of the same name is replaced."""
    if extra is not None:
        config.nameservers += extra.nameservers
        config.searches += extra.searches
        given = {option.name: option for option in extra.options}
        kept = [option for option in config.options if option.partition(":")[0] not in given]
        config.options = kept + [
            option.name if option.value is None else f"{option.name}:{option.value}" for option in given.values()
        ]
    config.nameservers = list(dict.fromkeys(config.nameservers))
    config.searches = list(dict.fromkeys(config.searches))


def _limit(config: _Config, warnings: list[Warn]) -> None:
    """D21: what a resolver would not read is cut, and said."""
    if len(config.nameservers) > MAX_NAMESERVERS:
        del config.nameservers[MAX_NAMESERVERS:]
        line = " ".join(config.nameservers)
        text = "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: "
        warnings.append(Warn("DNSConfigForming", text + line))
    kept: list[str] = []
    for search in config.searches:
        if len(search) > MAX_SEARCH_ENTRY:
            continue
        if len(kept) == MAX_SEARCHES or len(" ".join([*kept, search])) > MAX_SEARCH_CHARACTERS:
            break
        kept.append(search)
    if len(kept) < len(config.searches):
        config.searches = kept
        text = "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: "
        warnings.append(Warn("DNSConfigForming", text + " ".join(kept)))
