"""From the command to a cluster that answers (API, nodes, DNS), and where the time goes.

    python bench/startup.py [--rounds 7] [--quick]

Beside it in the same run: etcd alone, from its start to its first healthy answer.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time

from common import etcd, middle, table
from tests.helpers.cluster import Cluster

PEERS = (("k3d 5.8", 12.59), ("kind 0.29", 14.24), ("minikube 1.36", 21.06), ("kube-apiserver 1.20 + etcd", 9.1))


def once(nodes: int, *, again: bool) -> tuple[float, dict[str, float]]:
    """Seconds until the command returned, and those of each step that it told."""
    cluster = Cluster("--nodes", str(nodes))
    try:
        if again:
            cluster.up()
            cluster.down()
        begun = time.monotonic()
        output = cluster.up()
        took = time.monotonic() - begun
        if nodes:
            found = cluster.run("getent", "hosts", "kubernetes.default.svc.cluster.local")
            assert found.out.startswith("10.96.0.1 "), found
    finally:
        cluster.delete()
    steps = {name.strip(): float(seconds) for name, seconds in re.findall(r"^  (\S.*?) +([\d.]+) s$", output, re.M)}
    return took, steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="two rounds, to see that it works")
    arguments = parser.parse_args()
    rounds = 2 if arguments.quick else arguments.rounds
    rows, typical, where = [], 0.0, {}
    beside = []
    once(1, again=False)
    for nodes, again in ((0, False), (1, False), (1, True), (2, False), (3, False)):
        runs = [once(nodes, again=again) for _ in range(rounds)]
        times = [took for took, _ in runs]
        with etcd() as found:
            if found:
                beside.append(found[1])
        rows.append((nodes, "reopened" if again else "new", middle(times)))
        if (nodes, again) == (1, False):
            typical = statistics.median(times)
            where = {step: statistics.median(one[1][step] for one in runs) for step in runs[0][1]}
    table(("nodes", "cluster", "command to ready, s: median (least-most)"), rows)
    print("Where the time of a new cluster with one node goes (s):")
    known = sum(where.values())
    steps = [*where.items(), ("the command itself: Python, fork, files", typical - known)]
    table(("step", "s"), [(step, f"{seconds:.3f}") for step, seconds in steps])
    if beside:
        alone = statistics.median(beside)
        print(f"etcd alone, same run: {alone:.3f} s until healthy; Skerry, one node: {typical / alone:.2f} of it.")
    print("Peers on their own terms (command only, others' machines):")
    table(("peer", "s", "Skerry is"), [(name, took, f"{typical / took:.3f} of it") for name, took in PEERS])


if __name__ == "__main__":
    main()
