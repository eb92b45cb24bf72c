"""A cluster's life as the command line's verbs see it: start, stop, delete, and how kubectl reaches it.

`start` is written for speed: the daemon is forked before anything is made that it does not need at once, and
certificates, tokens and cluster.json are written while it imports.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import skerry
from skerry.cluster import certificates, daemon, kubeconfig, place, revival, state, tokens
from skerry.cluster.config import ClusterConfig
from skerry.cluster.errors import ClusterError
from skerry.cluster.listener import listen
from skerry.cluster.options import Options, merge
from skerry.cluster.paths import ClusterPaths, cluster_paths
from skerry.cluster.state import State
from skerry.store.version import newer

START_SECONDS = 60.0
"""How long the daemon may be silent while it starts."""
STOP_SECONDS = 20.0
"""How long it may take to end after SIGTERM."""
ANSWER_SECONDS = 5.0
"""How long a control plane that runs may take to say a word."""

Report = Callable[[dict[str, Any]], None]
"""Is given each message of the daemon's progress: see `Progress`."""


class Started(NamedTuple):
    """A cluster that runs."""

    name: str
    context: str
    kubeconfig: Path
    server: str
    seconds: float
    """How long it took; 0 if it ran already."""
    pid: int
    already: bool
    daemon: daemon.Daemon | None
    """To wait for, with `foreground`."""
    revived: tuple[str, ...] = ()
    """Nodes of a cluster that ran already which were down and have been started again."""


def start(options: Options, report: Report) -> Started:
    """Start or reopen the cluster; returns when it is ready. ClusterError if it cannot, and then nothing runs."""
    begin = time.monotonic()
    paths = place.choose(options.name, options.data_dir)
    place.refuse_foreign(paths)
    fresh = not paths.root.exists()
    lock = _acquire(paths)
    if lock is None:
        return _already(options, paths, report)
    try:
        try:
            before, plan, target, listener = _prepare(options, paths)
        except BaseException:
            if fresh:
                with contextlib.suppress(ClusterError, OSError):
                    place.remove(options.name, paths)
            raise
        running = _launch(options, paths, plan, lock, listener, target)
        try:
            try:
                plan = _write_what_it_needs(paths, plan, target)
                # Before it can be ready: whoever kills us leaves a cluster that its name leads to.
                state.link(options.name, paths.root)
                _tell(running.written)
            finally:
                os.close(running.written)
            _follow(running.daemon, paths, report, nodes=0 if plan.networks.machine else plan.nodes)
            _warn(report, paths, nodes=plan.nodes)
            kubeconfig.add(target, entry(paths, plan))
        except BaseException:
            running.daemon.kill()
            if before is None:
                # What never ran is no cluster; its log stays, since the message points there.
                place.clear(paths)
                state.unlink(options.name)
            raise
    finally:
        lock.close()
    return Started(
        name=options.name,
        context=kubeconfig.context_name(options.name),
        kubeconfig=target,
        server=_server(plan.api_port),
        seconds=time.monotonic() - begin,
        pid=running.daemon.pid,
        already=False,
        daemon=running.daemon,
    )


def stop(name: str) -> bool:
    """Stop the cluster; False if it did not run (or there is none)."""
    paths = cluster_paths(name)
    stopped = daemon.stop(paths, STOP_SECONDS)
    place.sweep(paths)
    return stopped


def delete(name: str, extra_kubeconfig: str | None = None) -> bool:
    """Stop the cluster and remove its data and its context; False if there was nothing."""
    paths = cluster_paths(name)
    existed = paths.state.exists() or paths.marker.exists()
    daemon.stop(paths, STOP_SECONDS)
    try:
        found = state.load(paths)
    except ClusterError:
        found = None  # damaged or newer: deleting is the cure
    files = [Path(file) for file in found.kubeconfigs] if found else []
    files += kubeconfig.candidates(extra_kubeconfig, os.environ)
    for file in dict.fromkeys(os.path.abspath(file) for file in files):
        existed |= kubeconfig.remove(Path(file), kubeconfig.context_name(name))
    try:
        lock = state.acquire(paths, 5.0)
    except FileNotFoundError:
        state.unlink(name)
        return existed
    if lock is None:
        raise ClusterError(f'Cluster "{name}" is being started by another command: try again.')
    try:
        place.remove(name, paths)
    finally:
        lock.close()
    return existed


def entry(paths: ClusterPaths, found: State) -> kubeconfig.Entry:
    """How kubectl reaches the cluster. ClusterError where its files are damaged."""
    return kubeconfig.Entry(
        context=kubeconfig.context_name(found.name),
        server=_server(found.api_port),
        ca_certificate=paths.ca_certificate.read_bytes(),
        token=tokens.token_of(tokens.read(paths.tokens), tokens.ADMIN),
    )


def entry_for(paths: ClusterPaths, ours: kubeconfig.Entry, user: str, groups: tuple[str, ...]) -> kubeconfig.Entry:
    """As `ours`, for somebody else, by a new client certificate. ClusterError where the names fit into none."""
    try:
        certificate, key = certificates.issue(paths, user, groups, time.time())[::-1]
    except ValueError as error:
        raise ClusterError(f"There can be no certificate for this user: {error}.") from error
    return ours._replace(token="", certificate=certificate, key=key)


def existing(name: str) -> tuple[ClusterPaths, State]:
    """Where cluster `name` is and what it is. ClusterError if there is none."""
    paths = cluster_paths(name)
    found = state.load(paths)
    if found is None:
        others = [other for other in state.names() if other != name]
        known = f"there is {', '.join(others)}" if others else "there is none yet"
        option = "" if name == "default" else f" --name {name}"
        raise ClusterError(f'There is no cluster "{name}" ({known}): `skerry up{option}` makes it.')
    return paths, found


def stay(running: daemon.Daemon, stopping: Callable[[], None]) -> int:
    """Wait for a cluster in the foreground to end, handing on SIGINT, SIGTERM and SIGHUP; the exit code.

    `stopping` is called when the first of them has come. ClusterError if it ends unasked.
    """
    import signal

    asked: list[int] = []

    def hand_on(number: int, _: object) -> None:
        asked.append(number)
        try:
            os.kill(running.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass  # it is ending anyhow
        if len(asked) == 1:
            stopping()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, hand_on)
    code = running.wait()
    if code != 0:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise ClusterError(f"The cluster ended ({how}): what it said stands above.")
    return 0


# --- the steps of start ----------------------------------------------------------------------------------------------


def _acquire(paths: ClusterPaths) -> state.Lock | None:
    """The cluster's lock, or None if another command starts it, or if it runs."""
    begin = time.monotonic()
    while True:
        held = state.holder(paths)
        # Without a process of its own, what still holds the lock is a command that has just begun, or the children of
        # one that was killed, which are gone in a moment.
        patience = 5.0 if held is None else STOP_SECONDS if held.phase == state.STOPPING else 0.0
        lock = state.acquire(paths, min(patience, 0.05), make=True)
        if lock is not None or time.monotonic() - begin >= patience:
            return lock


def _prepare(options: Options, paths: ClusterPaths) -> tuple[State | None, State, Path, socket.socket]:
    """What the cluster was, shall be, in which kubeconfig and where it listens. ClusterError where it cannot be."""
    before = state.load(paths)
    if before is not None and (refused := newer(str(paths.store))):
        raise ClusterError(f"{refused}.")
    plan = merge(before, options)
    if plan.networks.has_ipv6 and not os.path.exists("/proc/sys/net/ipv6"):
        raise ClusterError(
            "This machine's kernel has no IPv6 (it may have been started with ipv6.disable=1), so that a cluster "
            f"cannot have it either: leave it out of --pod-cidr {plan.pod_cidr} and --service-cidr {plan.service_cidr}."
        )
    if plan.networks.machine and os.geteuid() != 0:
        raise ClusterError(
            "--network host takes root, since it changes this machine's network: use sudo, or leave it out for a "
            "cluster in namespaces of its own."
        )
    target = kubeconfig.target(options.kubeconfig, os.environ)
    kubeconfig.check(target)
    if before is None:
        place.clear(paths)
    state.prepare(paths)
    place.tidy(paths)
    listener = listen(plan.api_port, options.api_port, state.ports(but=plan.name))
    return before, plan._replace(api_port=listener.getsockname()[1], version=skerry.__version__), target, listener


def _already(options: Options, paths: ClusterPaths, report: Report) -> Started:
    """What `up` says, and does for nodes that are down, when somebody else has the lock."""
    held = state.holder(paths)
    found = state.load(paths)
    if held is None or held.phase != state.READY or found is None:
        who = f" (process {held.pid})" if held else ""
        what = "stopped" if held is not None and held.phase == state.STOPPING else "started"
        raise ClusterError(f'Cluster "{options.name}" is being {what} by another command{who}: wait for that one.')
    if options.foreground:
        option = "" if options.name == "default" else f" --name {options.name}"
        raise ClusterError(
            f'Cluster "{options.name}" is running already (process {held.pid}), and not from this terminal: leave out '
            f"--foreground, or `skerry down{option}` first."
        )
    merged = merge(found, options)
    if merged != found:
        raise ClusterError(
            f'Cluster "{options.name}" is running without that --registry-mirror: `skerry down` it first.'
        )
    _require_answer(options.name, paths, held.pid)
    target = kubeconfig.target(options.kubeconfig, os.environ)
    kubeconfig.add(target, entry(paths, found))
    if str(target) not in found.kubeconfigs:
        state.save(paths, found._replace(kubeconfigs=(*found.kubeconfigs, str(target))))
    return Started(
        name=options.name,
        context=kubeconfig.context_name(options.name),
        kubeconfig=target,
        server=_server(found.api_port),
        seconds=0.0,
        pid=held.pid,
        already=True,
        daemon=None,
        revived=revival.ask(paths, report) if found.nodes else (),
    )


def _require_answer(name: str, paths: ClusterPaths, pid: int) -> None:
    """ClusterError if the control plane has a process that does nothing: stopped, hung, or without its API server."""
    import http.client

    from skerry.cluster.unixhttp import UnixConnection

    connection = UnixConnection(str(paths.api_socket), ANSWER_SECONDS)
    try:
        connection.request("GET", "/livez")
        connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        raise silent(name, paths, pid, error) from None
    finally:
        connection.close()


def silent(name: str, paths: ClusterPaths, pid: int, error: Exception) -> ClusterError:
    """What is said of a control plane that runs and does not answer, and what helps."""
    option = "" if name == "default" else f" --name {name}"
    return ClusterError(
        f'The control plane of cluster "{name}" (process {pid}) does not answer ({error}): end it with '
        f"`skerry down{option}`, then `skerry up{option}` starts it again; its log is {paths.control_plane_log}."
    )


class _Launched(NamedTuple):
    daemon: daemon.Daemon
    written: int
    """Write end of the pipe that tells the daemon that its files are there."""


def _launch(
    options: Options, paths: ClusterPaths, plan: State, lock: state.Lock, listener: socket.socket, target: Path
) -> _Launched:
    reading, writing = os.pipe()
    config = ClusterConfig(
        name=plan.name,
        nodes=plan.nodes,
        paths=paths,
        api_port=plan.api_port,
        api_listener=listener.fileno(),
        certificates=reading,
        kubeconfig=target,
        ephemeral=plan.ephemeral,
        network=plan.network,
        announce=tuple(one for one in plan.announce.split(",") if one),
        lock=lock.fd,
        store=plan.store,
        registry_mirrors=plan.registry_mirrors,
        proxy_mode=plan.proxy_mode,
        audit_log=plan.audit_log,
        networks=plan.networks,
    )
    launched = daemon.start(config, lock, foreground=options.foreground)
    os.close(reading)
    listener.close()
    return _Launched(launched, writing)


def _write_what_it_needs(paths: ClusterPaths, plan: State, target: Path) -> State:
    """Tokens, certificates and cluster.json, while the daemon imports; the state as written."""
    tokens.ensure(paths.tokens, [f"node-{number}" for number in range(1, plan.nodes + 1)])
    inside = (plan.networks.kubernetes_ip, plan.networks.api_address)
    ends = certificates.ensure(paths, plan.name, plan.certificates, time.time(), inside)
    files = tuple(dict.fromkeys((*plan.kubeconfigs, str(target))))
    plan = plan._replace(certificates=ends, kubeconfigs=files)
    state.save(paths, plan)
    if target.exists():
        import yaml  # noqa: F401 - 50 ms that kubeconfig.add would take after the daemon is ready
    return plan


def _tell(pipe: int) -> None:
    try:
        os.write(pipe, b"1")
    except BrokenPipeError:
        pass  # the daemon has ended already; what it said of it comes through its own pipe


def _follow(running: daemon.Daemon, paths: ClusterPaths, report: Report, *, nodes: int) -> None:
    """Report what the daemon says until it is ready. ClusterError if it fails, dies, or is silent for too long."""
    for message in running.messages(START_SECONDS):
        if "error" in message:
            raise ClusterError(_with_log(_reason(str(message["error"]), nodes), paths))
        if "ready" in message:
            return
        report(message)
    if select.select([running.progress], [], [], 0)[0]:  # its end of the pipe is closed: it has ended
        code = running.wait()
        if code == 0:
            raise ClusterError("The cluster was stopped by another command while it started.")
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise ClusterError(_with_log(f"The control plane ended before it was ready ({how}).", paths))
    raise ClusterError(
        _with_log(f"The control plane did not become ready: it said nothing for {START_SECONDS:.0f} s.", paths)
    )


def _warn(report: Report, paths: ClusterPaths, *, nodes: int) -> None:
    """Report what will not work on this machine although the nodes are up."""
    if nodes:
        from skerry.cluster import probes

        for finding in probes.concerns(str(paths.root)):
            report({"warning": finding.sentence})


def _reason(said: str, nodes: int) -> str:
    """Why it failed: what the machine lacks, if it lacks something that nodes need, else what the daemon said."""
    if nodes == 0:
        return said
    from skerry.cluster import probes

    fatal = [finding.sentence for finding in probes.findings() if finding.fatal]
    return fatal[0] if fatal else said


def _with_log(sentence: str, paths: ClusterPaths) -> str:
    return f"{sentence} The log is {paths.control_plane_log}."


def _server(port: int) -> str:
    return f"https://127.0.0.1:{port}"
