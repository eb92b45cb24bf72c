"""The service proxy: loads, changes, connections; beside it chains per service, haproxy, one DNAT rule, and nothing.

    python bench/proxy.py [--quick] [--only load,change,...] [--plot docs/images/proxy.png]     (as root)

Everything is in network namespaces that end with it. nft, nginx, haproxy and wrk are Debian's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paths
import proxy_latency
from common import table
from paths import Skerry
from place import CLIENTS, PORT, Place

from skerry import linux
from skerry.netlink.route import Routes


def ms(seconds: float) -> str:
    return f"{1000 * seconds:.3f}"


def share(values: list[float], of: float) -> float:
    return sorted(values)[min(len(values) - 1, int(of * len(values)))]


def beside(ours: list[float], theirs: list[float]) -> str:
    """Their median in ms, and ours as a part of it."""
    return f"{ms(share(theirs, 0.5))} ({share(ours, 0.5) / share(theirs, 0.5):.4f})"


def apart(work: Callable[..., Any], *arguments: Any, rootless: bool = False) -> Any:
    """What `work` returns in a process and a network namespace of its own; rootless: as an ordinary user's root."""
    context = multiprocessing.get_context("fork")
    told, tell = context.Pipe()

    def child() -> None:
        if rootless:
            os.setgid(65534)
            os.setuid(65534)
            linux.prctl(4, 1)  # PR_SET_DUMPABLE: else /proc/self is root's
            linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNET)
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text("0 65534 1")
            Path("/proc/self/gid_map").write_text("0 65534 1")
        else:
            linux.unshare(linux.CLONE_NEWNET)
        loopback()
        tell.send(work(*arguments))

    process = context.Process(target=child)
    process.start()
    tell.close()
    try:
        return told.recv()
    finally:
        process.join()


def loopback() -> None:
    with Routes() as routes:
        routes.set_link(routes.index("lo"), up=True)


def kernel_memory() -> float:
    """Bytes that are in use of the kernel's own general memory, where elements are, and of its large allocations."""
    lines = [line.split() for line in Path("/proc/slabinfo").read_text().splitlines()[2:]]
    small = sum(int(one[1]) * int(one[3]) for one in lines if one[0].startswith("kmalloc"))
    large = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("VmallocUsed:"))
    return small + 1024.0 * int(large.split()[1])


def at_rest() -> float:
    """The same once it is steady: the kernel takes tables apart some time after their namespace is gone."""
    now = kernel_memory()
    while True:
        last = now
        time.sleep(0.5)
        now = kernel_memory()
        if abs(now - last) < 100_000:
            return now


def a_load(count: int, endpoints: int, memory: bool = True) -> dict[str, float]:
    """Seconds: the brain, the whole table, adopting it again; bytes of the kernel an endpoint (for root alone)."""
    skerry = Skerry()
    before = at_rest() if memory else 0.0
    found = {"decide": skerry.decide(count, endpoints), "load": skerry.load()}
    if memory:
        found["bytes"] = (kernel_memory() - before) / count / endpoints
    skerry.restart()
    found["adopt"] = skerry.load()
    assert skerry.kernel.changed == 0, "a table was changed that was what it should be"
    return found


def by_program(count: int, endpoints: int, rounds: int) -> dict[str, Any]:
    """Chains per service and endpoint: seconds to load, and to add and take away one endpoint."""
    found: dict[str, Any] = {"load": paths.chains(None, count, endpoints), "add": [], "remove": []}
    for n in range(rounds):
        which = n * 7919 % count
        held = [f"{paths.backend(which * endpoints + i)}:8080" for i in range(endpoints)]
        new = f"10.200.0.{n % 250}:8080"
        found["add"].append(paths.change_chains(which, [*held, new], new=new))
        found["remove"].append(paths.change_chains(which, held, gone=new))
    return found


def changes(count: int, rounds: int) -> dict[str, list[float]]:
    """Seconds from one endpoint's change (the slice as the cache has it) to the kernel's commit."""
    skerry = Skerry()
    skerry.decide(count, 5)
    skerry.load()
    gc.collect()
    gc.freeze()  # as the proxy does after its first table
    found: dict[str, list[float]] = {"add": [], "remove": [], "replace": []}

    def sweep() -> None:
        skerry.clock._now += 1  # noqa: SLF001  (what became stale is swept when nobody looks at the time)
        for one in skerry.kernel._families.values():  # noqa: SLF001
            one._do_sweep(1 << 60)  # noqa: SLF001

    for n in range(rounds + 5):
        which = n * 7919 % count
        held = [paths.backend(which * 5 + i) for i in range(5)]
        for verb, now in (
            ("add", [*held, "10.200.0.1"]),
            ("remove", held),
            ("replace", [*held[:2], "10.200.0.2", *held[3:]]),
            ("", held),
        ):
            taken = skerry.apply(paths.slice_of(f"s{which}", *now))
            if verb and n >= 5:
                found[verb].append(taken)
            sweep()
    return found


def loads(args: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    for count, endpoints in ((10_000, 5), (1_000, 250)) if not args.quick else ((200, 5),):
        ours = [apart(a_load, count, endpoints) for _ in range(args.rounds)]
        row = {"services": count, "endpoints": endpoints}
        row |= {key: statistics.median(one[key] for one in ours) for key in ours[0]}
        row["rootless"] = apart(a_load, count, endpoints, False, rootless=True)["load"]
        row["chains"] = apart(by_program, count, endpoints, 0)["load"]
        rows.append(row)
    print("Full load, seconds (aims: 1.0 and 1.5)")
    head = (
        "services x endpoints",
        "brain",
        "kernel table",
        "rootless",
        "adopted again",
        "chains, by nft",
        "of chains' time",
        "kernel B/endpoint",
    )
    table(
        head,
        [
            (
                f"{one['services']} x {one['endpoints']}", f"{one['decide']:.2f}", f"{one['load']:.2f}",
                f"{one['rootless']:.2f}", f"{one['adopt']:.2f}", f"{one['chains']:.2f}",
                f"{one['load'] / one['chains']:.3f}", f"{one['bytes']:.0f}",
            )
            for one in rows
        ],
    )  # fmt: skip
    return rows


def one_change(args: argparse.Namespace) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for count in (10, 1_000, 10_000, 40_000) if not args.quick else (10, 200):
        rows.append({"services": count, "ours": apart(changes, count, args.changes)})
        if count == (10_000 if not args.quick else 200):
            rows.append({"services": f"{count}, rootless", "ours": apart(changes, count, args.changes, rootless=True)})
    for row in rows:  # after all of ours: the kernel is busy for long with taking their tables apart
        if isinstance(count := row["services"], int) and count <= 10_000:
            row["chains"] = apart(by_program, count, 5, 10 if count > 1000 else 30)
    print("One endpoint of five, ms from the changed slice to the kernel's commit: p50 (p99); aim: p50 1")
    verbs = ("add", "remove", "replace")
    shown = []
    for row in rows:
        cells = [f"{ms(share(row['ours'][v], 0.5))} ({ms(share(row['ours'][v], 0.99))})" for v in verbs]
        theirs = row.get("chains")
        cells += [beside(row["ours"][v], theirs[v]) if theirs else "" for v in ("add", "remove")]
        shown.append((row["services"], *cells))
    table(("services", *verbs, "add: chains, by nft (of it)", "remove: chains, by nft (of it)"), shown)
    rows = [row for row in rows if isinstance(row["services"], int)]
    for verb in verbs:
        medians = [share(row["ours"][verb], 0.5) for row in rows]
        print(f"{verb}: largest over smallest {max(medians) / min(medians):.2f} (aim 1.5)")
    print()
    return rows


def latency(args: argparse.Namespace) -> dict[str, list[float]]:
    count = 10_000 if not args.quick else 100
    sent, kept = apart(lambda: asyncio.run(proxy_latency.to_connection(count, args.changes)))
    print(
        f"EndpointSlice changed in the API -> a new connection lands there, {count} services, ms (aims: p50 5, p99 15)"
    )
    rows = [("from sent", sent), ("from stored", kept)]
    table(("", "p50", "p99"), [(name, ms(share(v, 0.5)), ms(share(v, 0.99))) for name, v in rows])
    return {"sent": sent, "stored": kept}


# Traffic


def traffic(args: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    many = 10_000 if not args.quick else 100
    found: dict[str, dict[str, list[float]]] = {}
    with contextlib.ExitStack() as stack:
        places: dict[str, Place] = {}

        def make(name: str, lead: Callable[[Place], Any]) -> None:
            place = places[name] = Place(stack)
            place.serve()
            lead(place)
            place.connect().close()
            found[name] = {"connections": [], "requests": [], "bulk": []}

        make("direct", paths.direct)
        make("one DNAT rule", paths.floor)
        make("Skerry, 1 service", paths.skerry)
        make(f"Skerry, {many} services", lambda place: paths.skerry(place, many))
        make("Skerry, userspace", paths.userspace)
        make(f"chains, {many} services", lambda place: paths.chains(place, many, 5))
        try:
            make("Skerry, 1 service, flowtable", paths.with_flowtable)
        except RuntimeError:
            del places["Skerry, 1 service, flowtable"]
            print("This kernel has no software flowtable (nf_flow_table).\n")
        make("haproxy", paths.haproxy)
        for _ in range(args.rounds):
            for name, place in places.items():
                found[name]["connections"].append(place.wrk(args.seconds, close=True))
                found[name]["requests"].append(place.wrk(args.seconds, close=False))
                found[name]["bulk"].append(place.bulk(args.seconds))
    floor = found["one DNAT rule"]
    print("Client pod -> server pod: median, and the median of the rounds' ratios to one DNAT rule (aim 0.95)")
    shown = []
    for name, values in found.items():
        cells = []
        for key, digits in (("connections", 0), ("requests", 0), ("bulk", 1)):
            ratio = statistics.median(a / b for a, b in zip(values[key], floor[key], strict=True))
            cells.append(f"{statistics.median(values[key]):.{digits}f} ({ratio:.2f})")
        shown.append((name, *cells))
    table(("way", "connections/s", "keep-alive requests/s", "one connection, Gbit/s"), shown)
    bulk = [a / b for a, b in zip(found["Skerry, userspace"]["bulk"], found["direct"]["bulk"], strict=True)]
    print(f"Userspace: {statistics.median(bulk):.2f} of what a direct connection carries (aim 0.36).\n")
    return found


def first_packet(args: argparse.Namespace) -> list[tuple[str, float]]:
    rows = []
    with contextlib.ExitStack() as stack:
        places: list[tuple[str, Place]] = []
        counts = (10, 1_000, 10_000, 40_000) if not args.quick else (10, 100)
        for name, lead in [
            ("one DNAT rule", paths.floor),
            *((str(n), lambda place, n=n: paths.skerry(place, n)) for n in counts),
        ]:
            place = Place(stack)
            place.serve()
            lead(place)
            place.first_packets(50)
            places.append((name, place))
        taken: dict[str, list[float]] = {name: [] for name, _ in places}
        for _ in range(10):
            for name, place in places:
                taken[name] += place.first_packets(args.changes)
        rows = [(name, share(values, 0.5)) for name, values in taken.items()]
    print("connect() of a client pod, microseconds, p50")
    table(("services", "us"), [(name, f"{1e6 * value:.1f}") for name, value in rows])
    ours = [value for _, value in rows[1:]]
    print(f"largest over smallest: {max(ours) / min(ours):.2f}\n")
    return rows


def uniform(args: argparse.Namespace) -> float:
    """Chi-square of how connections are spread, and whether affinity holds; the probability of such a spread."""
    ends = 10
    wanted = 100_000 if not args.quick else 3_000
    with contextlib.ExitStack() as stack:
        place = Place(stack)
        place.serve(ends)
        made = paths.skerry(place, ports=ends)
        before = spread(made)
        while sum(spread(made).values()) - sum(before.values()) < wanted:
            place.wrk(2, close=True)
        counts = [value - before.get(key, 0) for key, value in spread(made).items()]
        sticky = Place(stack)
        sticky.serve(ends)
        loyal = paths.skerry(sticky, affinity="ClientIP", ports=ends)
        sticky.wrk(1, close=True)
        used = [key for key, value in spread(loyal).items() if value]
        assert made.kernel.misses() == loyal.kernel.misses() == 0
    total = sum(counts)
    chi = sum((one - total / ends) ** 2 for one in counts) * ends / total
    free = ends - 1
    # Wilson and Hilferty: the cube root is nearly normal
    normal = ((chi / free) ** (1 / 3) - (1 - 2 / (9 * free))) / math.sqrt(2 / (9 * free))
    chance = 0.5 * math.erfc(normal / math.sqrt(2))
    print(f"Choice of endpoint: {total} connections over {len(counts)}, chi-square {chi:.1f} (p = {chance:.2f}).")
    print(f"Affinity: {CLIENTS} clients used {len(used)} endpoints of {ends} (at most {CLIENTS}).\n")
    return chance


def spread(made: Skerry) -> dict[str, int]:
    """Connections of the Service, by the endpoint's port."""
    return {
        str(one.backend.port): one.total
        for one in made.kernel.connections()
        if one.service == "default/web" and one.port == f"p{PORT}"
    }


PARTS: dict[str, Callable[[argparse.Namespace], Any]] = {
    "load": loads,
    "change": one_change,
    "latency": latency,
    "traffic": traffic,
    "first": first_packet,
    "uniform": uniform,
}


def plot(found: dict[str, Any], path: str) -> None:
    """Needs matplotlib (`pip install --group plots`) and all parts."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(13, 3.6), constrained_layout=True)
    rows = found["change"]
    sizes = [row["services"] for row in rows]
    for verb in ("add", "remove", "replace"):
        axes[0].plot(sizes, [1000 * share(row["ours"][verb], 0.5) for row in rows], "o-", label=f"Skerry, {verb}")
    chains = [row for row in rows if "chains" in row]
    axes[0].plot(
        [row["services"] for row in chains], [1000 * share(row["chains"]["add"], 0.5) for row in chains], "s--",
        label="chains, by nft, add",
    )  # fmt: skip
    axes[0].set(xscale="log", yscale="log", xlabel="Services", ylabel="ms, p50", title="one endpoint changes")
    axes[0].legend()
    names = list(found["traffic"])
    floor = found["traffic"]["one DNAT rule"]
    for n, key in enumerate(("connections", "requests", "bulk")):
        ratios = [statistics.median(found["traffic"][name][key]) / statistics.median(floor[key]) for name in names]
        axes[1].barh([at + 0.27 * n for at in range(len(names))], ratios, height=0.25, label=key)
    axes[1].set(xlabel="of one DNAT rule", title="traffic of pods")
    axes[1].set_yticks([at + 0.27 for at in range(len(names))], names)
    axes[1].legend()
    for key in ("sent", "stored"):
        values = sorted(1000 * one for one in found["latency"][key])
        axes[2].plot(values, [100 * (n + 1) / len(values) for n in range(len(values))], label=f"from {key}")
    axes[2].set(xlabel="ms", ylabel="% of changes", title="API -> new connection", xlim=(0, None))
    axes[2].legend()
    figure.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--only", default=",".join(PARTS), help="some of the parts: %(default)s")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--plot", metavar="PNG")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.seconds, args.changes = 1, 1, 20
    found = {}
    linux.unshare(linux.CLONE_NEWNET)
    loopback()
    for name in args.only.split(","):
        found[name] = PARTS[name](args)
    if args.plot:
        plot(found, args.plot)


if __name__ == "__main__":
    main()
