"""Inside the cluster: its first process, the network between its nodes, and the nodes' first processes.

Called by namespaces.py in the process that it forked. It must start fast, so nothing heavy is imported; what goes wrong
is told to the process outside as a step and an errno, of which obstacles.py makes a sentence.

    I  cluster init: PID 1 of the cluster; fabric0 10.243.0.1/24; dies with the control plane, and everything with it
    └─ N  one a node: PID 1 of the node, its spawner; eth0 10.243.0.(i+1)/24
       ├─ A  the node agent (node_main)
       └─ the containers, each PID 1 of a namespace of its own
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
from typing import NoReturn

from skerry import linux, packets
from skerry.cluster.plan import NodeContext, NodePlan, Plan
from skerry.netlink.route import Routes
from skerry.node.network.links import quiet_link
from skerry.node.runtime import spawner
from skerry.node.runtime.rootfs import Settings

_OWN = linux.CLONE_NEWNET | linux.CLONE_NEWNS | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC


class StepError(Exception):
    """A step of the set-up that failed; `step` as obstacles.explain knows it."""

    def __init__(self, step: str, error: OSError) -> None:
        super().__init__(step)
        self.report = {"step": step, "code": error.errno or 0, "detail": str(error)}


class Step:
    """`with Step("fabric"):` makes a StepError of an OSError."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise StepError(self._name, error) from error


def run(plan: Plan, control: socket.socket, brokers: list[socket.socket]) -> NoReturn:
    """The life of I, already in all its namespaces. `brokers`: the agents' ends, one a node."""
    try:
        api = _fabric(plan)
        packets.send(control, {}, [api])
        os.close(api)
        nodes = _start_nodes(plan, control, brokers)
        pidfds = [os.pidfd_open(pid) for pid in nodes]
        packets.send(control, {}, pidfds)
    except StepError as error:
        packets.send(control, error.report)
        os._exit(1)
    for one in (*pidfds, *(broker.detach() for broker in brokers)):
        os.close(one)
    _supervise(plan, control, dict(zip(nodes, plan.nodes, strict=True)))


def _fabric(plan: Plan) -> int:
    """The mounts, the network between the nodes, and a socket that listens there for the API server."""
    with Step("make the mounts private"):
        linux.mount("", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    with Step("proc"):
        linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    linux.sethostname(plan.name)
    if not plan.networks.machine:
        with Step("set up the network between the nodes"):
            _between(plan)
    with Step(f"listen on {plan.api_address}:{plan.api_port}"):
        api = socket.socket(socket.AF_INET6 if ":" in plan.api_address else socket.AF_INET, socket.SOCK_STREAM)
        api.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        api.bind((plan.api_address, plan.api_port))
        api.listen(1024)
    return api.detach()


def _between(plan: Plan) -> None:
    """The network between the nodes."""
    _sysctls(plan)
    with Routes() as routes:
        routes.set_link(routes.index("lo"), up=True)
        # Of its own: a bridge otherwise takes one of its nodes', and changes it when that one goes.
        fabric = routes.add_link("bridge", "fabric0", mac=_mac(0))
        for network in plan.networks.fabrics:
            routes.add_address(fabric, f"{network[1]}/{network.prefixlen}")
        for node in plan.nodes:
            _lead(routes, fabric, node)


def _lead(routes: Routes, link: int, node: NodePlan) -> None:
    """The way to a node's pods, from beside it; over IPv6 nobody asks who has its address."""
    for address, pods in zip(node.node_ips, node.pod_cidrs, strict=True):
        if ":" in address:
            routes.add_neighbour(link, address, _mac(node.index))
        routes.add_route(pods, via=address)


def _sysctls(plan: Plan) -> None:
    linux.sysctl("net.ipv4.ip_forward", "1")
    for which in ("all", "default"):
        # Some machines hand down strict reverse path filtering; a reply may come by another link here.
        linux.sysctl(f"net.ipv4.conf.{which}.rp_filter", "0")
    if plan.networks.has_ipv6:
        linux.sysctl("net.ipv6.conf.all.forwarding", "1")
        quiet_link("default")
    with contextlib.suppress(OSError):
        # P26: else a packet out of its window is not translated back, and its receiver resets the connection.
        linux.sysctl("net.netfilter.nf_conntrack_tcp_be_liberal", "1")
    try:
        if not plan.networks.has_ipv6:
            linux.sysctl("net.ipv6.conf.default.disable_ipv6", "1")  # no router solicitations on every link
        linux.sysctl("net.ipv4.ping_group_range", "0 2147483647")
    except OSError:
        pass  # no IPv6, or a map of one user: ping then needs CAP_NET_RAW


def _start_nodes(plan: Plan, control: socket.socket, brokers: list[socket.socket]) -> list[int]:
    """Starts every N at once and waits until all are up; their process ids."""
    pids: list[int] = []
    reports: list[socket.socket] = []
    for node, broker in zip(plan.nodes, brokers, strict=True):
        pid, report = _fork_node(plan, node, broker, [control, *brokers, *reports])
        pids.append(pid)
        reports.append(report)
    for node, report in zip(plan.nodes, reports, strict=True):
        _wait_for(plan, node, report)
    return pids


def _fork_node(
    plan: Plan, node: NodePlan, broker: socket.socket, others: list[socket.socket]
) -> tuple[int, socket.socket]:
    """Forks an N into a PID namespace of its own; its process id, and where it reports. `others` are not its own."""
    mine, theirs = packets.pair()
    home = os.open("/proc/self/ns/pid", os.O_RDONLY)
    with Step("make a PID namespace"):
        linux.unshare(linux.CLONE_NEWPID)
        pid = os.fork()
        if pid == 0:
            for other in (*others, mine):
                if other is not broker:
                    other.close()
            os.close(home)
            _node(plan, node, broker, theirs)
        linux.setns(home, linux.CLONE_NEWPID)
    os.close(home)
    theirs.close()
    return pid, mine


def _wait_for(plan: Plan, node: NodePlan, report: socket.socket) -> None:
    """Returns when an N is up. StepError."""
    received = packets.receive(report)
    report.close()
    if received is None:
        raise StepError(f"start {node.name}", OSError(0, f"it ended at once: see {_log(plan, node)}"))
    if received[0]:
        raise StepError(received[0]["step"], OSError(received[0]["code"], received[0]["detail"]))


def _mac(index: int) -> str:
    """The MAC of a node's (0: the gateway's) end of the network between them."""
    return bytes((0x0A, 0x58, 10, 243, index >> 8, (index & 0xFF) + 1)).hex(":")


def _log(plan: Plan, node: NodePlan) -> str:
    return os.path.join(plan.data_dir, "logs", f"{node.name}.log")


def _node(plan: Plan, node: NodePlan, broker: socket.socket, report: socket.socket) -> NoReturn:
    """The life of N: sets up the node, forks A, and is its spawner."""
    code = 1
    try:
        linux.reset_signals()  # those of an init that runs, where the node is started again
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        with Step(f"open {_log(plan, node)}"):
            linux.log_to(_log(plan, node))
        _node_namespaces(plan, node)
        ours, agents = packets.pair()
        agent = os.fork()
        if agent == 0:
            ours.close()
            report.close()
            _agent(NodeContext(node, plan, agents, broker))
        agents.close()
        broker.close()

        def ready() -> None:
            packets.send(report, {})
            report.close()

        code = spawner.serve(ours, agent, _settings(plan), ready)
    except StepError as error:
        packets.send(report, error.report)
    except BaseException:  # noqa: BLE001  a process must not fall back into the code of its parent
        complain()
    finally:
        os._exit(code)


def _node_namespaces(plan: Plan, node: NodePlan) -> None:
    if plan.networks.machine:
        from skerry.cluster import machine  # whose network has been made a node's

        with Step("take away the links of an earlier life"):
            machine.forget_pods()
        with Step("make namespaces"):
            linux.unshare(_OWN & ~linux.CLONE_NEWNET)
    else:
        with Step("set up a node's network"):
            _node_network(plan, node)
    with Step("proc"):
        linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    linux.sethostname(node.name)
    linux.set_name(node.name)


def _node_network(plan: Plan, node: NodePlan) -> None:
    with Routes() as fabric:
        linux.unshare(_OWN)
        with Routes() as own, open("/proc/self/ns/net") as netns:
            _sysctls(plan)
            link = f"node{node.index}"
            fabric.delete_link(link)  # of an earlier life, whose end the kernel has not come to yet
            # The same MAC in every life: the others remember it.
            bridge = fabric.index("fabric0")
            fabric.add_veth(link, "eth0", peer_mac=_mac(node.index), peer_netns=netns.fileno(), master=bridge)
            own.set_link(own.index("lo"), up=True)
            eth0 = own.index("eth0")
            own.set_link(eth0, up=True)
            for network in plan.networks.fabrics:
                own.add_address(eth0, f"{network[node.index + 1]}/{network.prefixlen}")
                if network.version == 6:
                    own.add_neighbour(eth0, str(network[1]), _mac(0))
                own.add_route("::/0" if network.version == 6 else "default", via=str(network[1]))
            for pods in node.pod_cidrs:
                own.add_unreachable(pods)  # an address that no pod has
            for other in plan.nodes:
                if other is not node:
                    _lead(own, eth0, other)


def _settings(plan: Plan) -> Settings:
    run_dir = os.path.join(plan.data_dir, "run")
    return Settings(
        mountpoint=os.path.join(run_dir, "root"),
        scratch=os.path.join(run_dir, "scratch"),
        nsswitch=os.path.join(run_dir, "nsswitch.conf"),
        hidden=(plan.data_dir, os.environ.get("HOME", ""), *plan.hidden),
        real_devices=plan.networks.machine,
    )


def _agent(context: NodeContext) -> NoReturn:
    """The life of A."""
    code = 1
    try:
        linux.set_name(f"{context.node.name} agent")
        code = context.cluster.node_main(context) or 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001  as in _node
        complain()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def complain() -> None:
    """The traceback of what should not have happened, in the log."""
    import traceback  # not needed in a good life

    traceback.print_exc()
    sys.stderr.flush()


def _supervise(plan: Plan, control: socket.socket, nodes: dict[int, NodePlan]) -> NoReturn:
    """Reaps, starts a node again or asks all to end when told to, and ends when they have or the control plane is gone.

    `nodes`: the living N by process id.
    """
    events = linux.children_signal()
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(events, select.POLLIN)
    stopping = False
    while True:
        for pid, status in linux.reap():
            node = nodes.pop(pid, None)
            if node is not None:
                print(f"{node.name} ended: {os.waitstatus_to_exitcode(status)}", flush=True)  # noqa: T201
        if stopping and not nodes:
            os._exit(0)
        for fd, _ in poll.poll():
            if fd == events:
                os.read(events, 512)
                continue
            received = packets.receive(control)
            if received is None:
                os._exit(0)
            message, fds = received
            if "node" in message:
                _again(plan, control, nodes, message["node"], fds[0])
                continue
            stopping = True
            for pid in nodes:
                os.kill(pid, signal.SIGTERM)


def _again(plan: Plan, control: socket.socket, nodes: dict[int, NodePlan], index: int, fd: int) -> None:
    """Starts the node of this index, whose N has ended, and answers with its pidfd or with the step that failed."""
    node = next(one for one in plan.nodes if one.index == index)
    with socket.socket(fileno=fd) as broker:
        try:
            pid, report = _fork_node(plan, node, broker, [control])
            nodes[pid] = node
            _wait_for(plan, node, report)
            pidfd = os.pidfd_open(pid)
        except StepError as error:
            packets.send(control, error.report)  # what was forked ends by itself and is reaped
            return
    packets.send(control, {}, [pidfd])
    os.close(pidfd)
