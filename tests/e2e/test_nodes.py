"""Several nodes on one machine: what kubectl shows of them, and that packets find their way between them."""

from __future__ import annotations

import pytest
from tests.helpers.cluster import Cluster

pytestmark = pytest.mark.rootless


def test_three_nodes_show_with_their_addresses(nodes3: Cluster) -> None:
    lines = nodes3.kubectl()("get", "nodes", "-o", "wide", "--no-headers").splitlines()
    shown = [(words[0], words[1], words[5]) for words in (line.split() for line in lines)]
    assert shown == [(f"node-{index}", "Ready", f"10.243.0.{index + 1}") for index in (1, 2, 3)]
    networks = nodes3.kubectl()("get", "nodes", "-o", "jsonpath={.items[*].spec.podCIDR}").split()
    assert networks == ["10.244.1.0/24", "10.244.2.0/24", "10.244.3.0/24"]
