"""What an idle cluster weighs: memory of all processes together (PSS), and CPU while nothing happens.

    python bench/memory.py [--seconds 30] [--quick]

Beside it in the same run: etcd alone, idle.
"""

from __future__ import annotations

import argparse
import time

from common import cpu_seconds, descendants, etcd, pss, table
from tests.helpers.cluster import Cluster

PEERS = (("k3s server with a workload", 1596), ("k3s agent, no workload", 275), ("k0s, one worker", 510))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--quick", action="store_true", help="three seconds, to see that it works")
    arguments = parser.parse_args()
    seconds = 3 if arguments.quick else arguments.seconds
    rows = []
    one_node = 0.0
    for nodes in (0, 1, 2, 3):
        cluster = Cluster("--nodes", str(nodes))
        try:
            cluster.up()
            pids = descendants(cluster.status()["pid"])
            before = cpu_seconds(pids)
            time.sleep(seconds)
            used = cpu_seconds(pids) - before
            weight = pss(pids)
        finally:
            cluster.delete()
        if nodes == 1:
            one_node = weight
        rows.append((nodes, len(pids), f"{weight:.0f}", f"{100 * used / seconds:.2f} %"))
    table(("nodes", "processes", "MB (PSS, all processes)", f"CPU of one core over {seconds:.0f} s"), rows)
    with etcd() as found:
        if found:
            before = cpu_seconds([found[0]])
            time.sleep(seconds)
            weight, used = pss([found[0]]), cpu_seconds([found[0]]) - before
            print(
                f"etcd alone, same run: {weight:.0f} MB, {100 * used / seconds:.2f} % of a core; "
                f"Skerry with one node is {one_node / weight:.2f} of its memory."
            )
    print("Peers' own figures:")
    table(("peer", "MB", "Skerry is"), [(name, mb, f"{one_node / mb:.3f} of it") for name, mb in PEERS])


if __name__ == "__main__":
    main()
