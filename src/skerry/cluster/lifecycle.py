"""A cluster's life as the command line's verbs see it: start, stop, delete, and how kubectl reaches it.

`start` is written for speed: the daemon is forked before anything is made that it does not need at once, and
certificates, tokens and cluster.json are written while it imports.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import skerry
from skerry.cluster import certificates, daemon, kubeconfig, state, tokens
from skerry.cluster.config import ClusterConfig
from skerry.cluster.errors import ClusterError
from skerry.cluster.paths import ClusterPaths, cluster_paths, data_home
from skerry.cluster.state import State

DEFAULT_PORT = 6443
START_SECONDS = 60.0
"""How long the daemon may be silent while it starts."""
STOP_SECONDS = 20.0
"""How long it may take to end after SIGTERM."""

Report = Callable[[dict[str, Any]], None]
"""Is given each message of the daemon's progress: see `Progress`."""


class Options(NamedTuple):
    """What was asked for; None and () are what was not said."""

    name: str
    nodes: int | None = None
    ephemeral: bool | None = None
    data_dir: str | None = None
    kubeconfig: str | None = None
    store: str | None = None
    network: str | None = None
    registry_mirrors: tuple[tuple[str, str], ...] = ()
    api_port: int | None = None
    foreground: bool = False


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


def start(options: Options, report: Report) -> Started:
    """Start or reopen the cluster; returns when it is ready. ClusterError if it cannot, and then nothing runs."""
    begin = time.monotonic()
    paths = _place(options)
    paths.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    held = state.holder(paths)
    # Without a process of its own, what still holds the lock are children of one that was killed: gone in a moment.
    lock = state.acquire(paths, 0.0 if held else 5.0)
    if lock is None:
        return _already(options, paths)
    try:
        before = state.load(paths)
        plan = merge(before, options)
        if before is None:
            _refuse_foreign_directory(paths)
        state.prepare(paths)
        _remove_stale_sockets(paths)
        listener = _listen(plan.api_port, options.api_port)
        plan = plan._replace(api_port=listener.getsockname()[1], version=skerry.__version__)
        target = kubeconfig.target(options.kubeconfig, os.environ)
        running = _launch(options, paths, plan, lock, listener, target)
        try:
            try:
                plan = _write_what_it_needs(paths, plan, target)
                _tell(running.written)
            finally:
                os.close(running.written)
            state.link(options.name, paths.root)
            _follow(running.daemon, paths, report, nodes=plan.nodes)
            _warn(report, nodes=plan.nodes)
            kubeconfig.add(target, entry(paths, plan))
        except BaseException:
            running.daemon.kill()
            if before is None:
                # What never ran is no cluster; its log stays, since the message points there.
                for path in (paths.state, paths.tokens, *_store_files(paths)):
                    path.unlink(missing_ok=True)
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
    return daemon.stop(cluster_paths(name), STOP_SECONDS)


def delete(name: str, extra_kubeconfig: str | None = None) -> bool:
    """Stop the cluster and remove its data and its context; False if there was nothing."""
    from skerry.cluster import removal

    paths = cluster_paths(name)
    existed = paths.state.exists()
    daemon.stop(paths, STOP_SECONDS)
    try:
        found = state.load(paths)
    except ClusterError:
        found = None  # damaged or newer: deleting is the cure
    files = [Path(file) for file in found.kubeconfigs] if found else []
    files += kubeconfig.candidates(extra_kubeconfig, os.environ)
    for file in dict.fromkeys(os.path.abspath(file) for file in files):
        existed |= kubeconfig.remove(Path(file), kubeconfig.context_name(name))
    if not paths.root.exists():
        state.unlink(name)
        return existed
    lock = state.acquire(paths, 5.0)
    if lock is None:
        raise ClusterError(f'Cluster "{name}" is being started by another command: try again.')
    try:
        own_place = paths.root.parent == data_home().resolve()
        layout = (paths.pki, paths.tokens, paths.logs, paths.nodes, paths.images, paths.run)
        for path in (paths.state, *layout, *_store_files(paths)):
            removal.remove(path)
        if own_place:
            removal.remove(paths.root)
        else:
            # --data-dir is somebody's directory: only what is ours goes.
            removal.remove(paths.lock)
            _remove_if_empty(paths.root)
        state.unlink(name)
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


def merge(before: State | None, options: Options) -> State:
    """The state that `options` ask for: of a new cluster, or of an existing one that they must not contradict."""
    if before is None:
        return State(
            name=options.name,
            nodes=1 if options.nodes is None else options.nodes,
            ephemeral=bool(options.ephemeral),
            network=options.network or "contained",
            store=options.store or "",
            api_port=options.api_port or 0,
            registry_mirrors=options.registry_mirrors,
            created=time.time(),
        )
    mirrors = dict(before.registry_mirrors)
    checks: list[tuple[str, object, object]] = [
        ("--nodes", options.nodes, before.nodes),
        ("--ephemeral", options.ephemeral, before.ephemeral),
        ("--network", options.network, before.network),
        ("--store", options.store, before.store),
        ("--api-port", options.api_port, before.api_port),
    ]
    checks += [(f"--registry-mirror {host}", url, mirrors.get(host, url)) for host, url in options.registry_mirrors]
    for option, wanted, have in checks:
        if wanted is not None and wanted != have:
            was = f"no {option}" if have is False or have == "" else f"{option} {have}"
            raise ClusterError(
                f'Cluster "{options.name}" was made with {was}: leave the option out, choose another --name, or '
                "`skerry delete` it first."
            )
    return before._replace(registry_mirrors=tuple((mirrors | dict(options.registry_mirrors)).items()))


def stay(running: daemon.Daemon) -> int:
    """Wait for a cluster in the foreground to end, handing on SIGINT and SIGTERM; the exit code."""
    import signal

    def hand_on(number: int, _: object) -> None:
        try:
            os.kill(running.pid, number)
        except ProcessLookupError:
            pass  # it is ending anyhow

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, hand_on)
    return 0 if running.wait() == 0 else 1


# --- the steps of start ----------------------------------------------------------------------------------------------


def _place(options: Options) -> ClusterPaths:
    """Where its data is or shall be. ClusterError if `--data-dir` contradicts where it is."""
    paths = cluster_paths(options.name)
    if options.data_dir is None:
        return paths
    wanted = cluster_paths(options.name, Path(options.data_dir))
    if wanted.root != paths.root and paths.state.exists():
        raise ClusterError(
            f'Cluster "{options.name}" has its data in {paths.root}: leave out --data-dir, or choose another --name.'
        )
    found = state.load(wanted)
    if found is not None and found.name != options.name:
        raise ClusterError(f'{wanted.root} holds the cluster "{found.name}": choose another --data-dir.')
    return wanted


def _refuse_foreign_directory(paths: ClusterPaths) -> None:
    # A first start that was killed leaves some of these without a cluster.json.
    ours = (paths.lock, paths.logs, paths.nodes, paths.images, paths.pki, paths.run, paths.tokens, *_store_files(paths))
    foreign = sorted(item.name for item in paths.root.iterdir() if item not in ours)
    if foreign:
        raise ClusterError(
            f"{paths.root} is not empty and holds no cluster ({foreign[0]} is in it): choose an empty directory."
        )


def _store_files(paths: ClusterPaths) -> list[Path]:
    """The embedded store's file and what SQLite keeps beside it."""
    return sorted(paths.root.glob(paths.store.name + "*"))


def _already(options: Options, paths: ClusterPaths) -> Started:
    """What `up` says when somebody else has the lock."""
    held = state.holder(paths)
    found = state.load(paths)
    if held is None or held.phase != state.READY or found is None:
        who = f" (process {held.pid})" if held else ""
        raise ClusterError(f'Cluster "{options.name}" is being started or stopped by another command{who}: try again.')
    merged = merge(found, options)
    if merged != found:
        raise ClusterError(
            f'Cluster "{options.name}" is running without that --registry-mirror: `skerry down` it first.'
        )
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
    )


def _listen(fixed: int, asked: int | None) -> socket.socket:
    """A listening socket on 127.0.0.1: on the port that the cluster has, or was asked for, else 6443 or a free one.

    Without SO_REUSEPORT, so that a port that somebody else serves is noticed.
    """
    listener = _reusable()
    port = fixed or DEFAULT_PORT
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(1024)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES) or (error.errno == errno.EACCES and not fixed):
            raise
        # A socket that failed to bind may still be bound by listen's failure: take a new one.
        listener.close()
        if fixed:
            raise ClusterError(_port_taken(port, asked, error.errno)) from None
        listener = _reusable()
        listener.bind(("127.0.0.1", 0))
        listener.listen(1024)
    return listener


def _reusable() -> socket.socket:
    """A socket whose connections' TIME_WAIT, which they inherit this for, does not keep the next start off its port."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made


def _port_taken(port: int, asked: int | None, code: int) -> str:
    if code == errno.EACCES:
        return f"Port {port} is for root alone: choose an --api-port from 1024 on."
    if asked is not None:
        return f"Port {port} of 127.0.0.1 is taken by another program: choose another --api-port."
    return (
        f"Port {port} of 127.0.0.1, which this cluster's kubeconfig names, is taken by another program: stop that one "
        "(`ss -ltnp` names it) and try again."
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
        store=plan.store,
        registry_mirrors=plan.registry_mirrors,
    )
    launched = daemon.start(config, lock, foreground=options.foreground)
    os.close(reading)
    listener.close()
    return _Launched(launched, writing)


def _write_what_it_needs(paths: ClusterPaths, plan: State, target: Path) -> State:
    """Tokens, certificates and cluster.json, while the daemon imports; the state as written."""
    tokens.ensure(paths.tokens, [f"node-{number}" for number in range(1, plan.nodes + 1)])
    ends = certificates.ensure(paths, plan.name, plan.certificates, time.time())
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
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise ClusterError(_with_log(f"The control plane ended before it was ready ({how}).", paths))
    raise ClusterError(
        _with_log(f"The control plane did not become ready: it said nothing for {START_SECONDS:.0f} s.", paths)
    )


def _warn(report: Report, *, nodes: int) -> None:
    """Report what will not work on this machine although the nodes are up."""
    if nodes and os.geteuid() != 0:
        from skerry.cluster import idmap, probes

        for finding in probes.warnings(idmap.Facts.look()):
            report({"warning": f"{finding.sentence} Until then only programs that run as root inside work."})


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


def _remove_stale_sockets(paths: ClusterPaths) -> None:
    """Sockets of a daemon that was killed; we hold the lock, so nobody listens there."""
    for item in paths.run.iterdir():
        if item.is_socket():
            item.unlink()


def _remove_if_empty(path: Path) -> None:
    try:
        path.rmdir()
    except OSError:
        pass  # somebody else's files are in it
