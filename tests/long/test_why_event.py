"""The Warning event of a Service that has had no ready endpoint for a while, as `kubectl describe` shows it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from tests.helpers.cluster import Cluster, eventually

pytestmark = pytest.mark.long


def test_describe_says_why_there_is_no_endpoint(new_cluster: Callable[..., Cluster]) -> None:
    """The same sentence as `skerry why`; it comes after half a minute, and not for what has endpoints by then."""
    here = new_cluster("--nodes", "0", "--ephemeral")
    here.up()
    kubectl = here.kubectl()
    kubectl("create", "deployment", "web", "--image=host", "--replicas=0")
    begun = time.monotonic()
    kubectl("expose", "deployment", "web", "--port=80")
    kubectl("create", "service", "clusterip", "outside", "--tcp=80")
    kubectl("patch", "service", "outside", "--type=json", "-p", '[{"op":"remove","path":"/spec/selector"}]')
    kubectl("wait", "--for=condition=EndpointsReady=false", "service/web", "service/outside", "--timeout=20s")
    (row,) = eventually(
        lambda: [line for line in kubectl("describe", "service", "web").splitlines() if "NoReadyEndpoints" in line], 60
    )
    assert time.monotonic() - begun > 25
    sentence = "The pods of Deployment web would match, but it is scaled to 0."
    assert re.fullmatch(rf"  Warning  NoReadyEndpoints  \S+ +skerry-why  {re.escape(sentence)}", row), row
    done = here.skerry("why", "web")
    assert done.code == 1 and sentence in " ".join(done.out.split())
    assert "NoReadyEndpoints" not in kubectl("describe", "service", "outside"), "nothing that its selector should give"
