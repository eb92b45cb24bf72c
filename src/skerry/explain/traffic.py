"""What becomes of connections when there are endpoints: policies, proxies, nodes. Pure; called by `why`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from skerry.controllers.endpoints import members
from skerry.explain.findings import Finding, Row, finding
from skerry.explain.seen import Seen, ready

_OTHER_PROXY = "service.kubernetes.io/service-proxy-name"
_SHOWN = 5


def findings(seen: Seen, rows: Sequence[Row]) -> Iterator[Finding]:
    """About the Service as a whole; `rows` are its endpoints."""
    yield from _kind(seen, rows)
    yield from _nodes(seen, rows)
    yield from _policies(seen, rows)


def _kind(seen: Seen, rows: Sequence[Row]) -> Iterator[Finding]:
    service = seen.service
    spec, name = service.spec, service.metadata.name
    if service.metadata.deletion_timestamp is not None:
        held = ", ".join(service.metadata.finalizers)
        text = "The Service is being deleted" + (f"; finalizers hold it: {held}." if held else ".")
        yield finding("ServiceTerminating", text, since=service.metadata.deletion_timestamp)
    if spec.type == members.EXTERNAL_NAME:
        if _is_address(spec.external_name):
            text = (
                f"externalName is {spec.external_name}, an IP address: DNS can only answer with a name. Take a Service "
                "without selector, and write its EndpointSlice."
            )
            yield finding("ExternalNameIsAddress", text, details={"externalName": spec.external_name})
        else:
            text = f"The Service is another name for {spec.external_name}; it has no endpoints, and needs none."
            yield finding("ExternalName", text, details={"externalName": spec.external_name})
        return
    if not spec.selector:
        if not rows:
            text = "The Service has no selector, and nobody has written Endpoints or EndpointSlices for it."
            more = f"Give it a selector, or write an EndpointSlice with the label kubernetes.io/service-name={name}."
            yield finding("NoSelector", text, more=(more,))
        else:
            text = "The Service has no selector: somebody else writes its endpoints, and no pod is looked at."
            yield finding("ManualEndpoints", text)
            if not any(one.ready for one in rows):
                yield finding("NoReadyEndpoint", f"None of the hand-written endpoints of {name} is ready.")
    if spec.publish_not_ready_addresses:
        yield finding("NotReadyPublished", "Pods that are not ready count as ready here (publishNotReadyAddresses).")
    if members.is_headless(service) and not spec.ports:
        yield finding("HeadlessWithoutPorts", "The Service is headless without ports: DNS gives its pods' addresses.")
    other = service.metadata.labels.get(_OTHER_PROXY)
    if other is not None and not members.is_headless(service):
        text = f'The label {_OTHER_PROXY} hands the Service to the proxy "{other}"; the nodes\' own leave it alone.'
        yield finding("OtherProxy", text, details={"proxy": other})
    if spec.session_affinity == "ClientIP":
        config = spec.session_affinity_config
        limit = config.client_ip.timeout_seconds if config is not None and config.client_ip is not None else None
        text = f"A client address stays with one endpoint for {limit or 10800} s (sessionAffinity ClientIP)."
        yield finding("SessionAffinity", text, details={"timeoutSeconds": limit or 10800})


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _nodes(seen: Seen, rows: Sequence[Row]) -> Iterator[Finding]:
    told = next((one for one in seen.service.status.conditions if one.type == "Programmed"), None)
    if told is not None and told.status == "False" and told.reason in ("ProxyBehind", "DNSBehind"):
        yield finding("ProxyBehind", told.message, since=told.last_transition_time, details={"reason": told.reason})
    if not seen.nodes:
        return
    if not any(ready(one) for one in seen.nodes.values()):
        yield finding("NoReadyNode", "No node of the cluster is Ready.", details={"nodes": sorted(seen.nodes)})
    for name in sorted({one.node for one in rows if one.ready and one.node}):
        node = seen.node(name)
        if node is not None and not ready(node):
            pods = sorted({one.pod for one in rows if one.ready and one.node == name and one.pod})
            counts = "counts" if len(pods) == 1 else "count"
            text = f"Node {name} is not Ready, and still {_list(pods)} on it {counts} as ready."
            yield finding("EndpointNodeNotReady", text, obj=f"Node/{name}", details={"pods": pods})


def _policies(seen: Seen, rows: Sequence[Row]) -> Iterator[Finding]:
    spec = seen.service.spec
    if not seen.nodes or spec.type == members.EXTERNAL_NAME or not any(one.ready for one in rows):
        return
    having = {one.node for one in rows if one.ready}
    without = sorted(name for name, node in seen.nodes.items() if ready(node) and name not in having)
    if not without:
        return
    details = {"nodes": without}
    one = len(without) == 1
    if spec.internal_traffic_policy == "Local" and not members.is_headless(seen.service):
        text = (
            f"internalTrafficPolicy is Local, and {'node' if one else 'nodes'} {_list(without)} "
            f"{'has' if one else 'have'} no ready endpoint: pods there cannot connect to the Service."
        )
        yield finding("NoLocalEndpoint", text, details=details)
    if spec.external_traffic_policy == "Local":
        text = (
            f"externalTrafficPolicy is Local: {'node' if one else 'nodes'} {_list(without)}, without a ready endpoint, "
            f"{'does' if one else 'do'} not answer from outside."
        )
        yield finding("ExternalTrafficLocal", text, details=details)


def _list(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
