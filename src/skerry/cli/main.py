"""The command `skerry`: finds the verb, imports only its module, and turns failures into a sentence and an exit code.

One module a verb; each has `arguments(parser)` and `run(arguments) -> exit code`. Nothing here or in the verbs' own
imports is heavy: `skerry list` must cost little more than Python itself.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import NoReturn

from skerry.cluster.errors import ClusterError

VERBS = {
    "up": "start a cluster, or open it again",
    "down": "stop a cluster; its data stays",
    "delete": "stop a cluster and remove its data and its context",
    "status": "show how a cluster is",
    "list": "show all clusters",
    "kubeconfig": "print a cluster's kubeconfig",
    "run": "run a command of this machine inside the cluster's network",
    "shell": "a shell of this machine inside the cluster's network",
    "why": "say why a Service has the endpoints it has, and why a pod is not one of them",
    "connect": "a proxy on this machine through which the cluster's names and addresses work",
    "port-forward": "forward local ports to the pods of a Service, re-dialling when one dies",
    "proxy": "proxy the Services of any Kubernetes on this machine, in place of kube-proxy",
    "load": "put an image archive into the nodes",
    "systemd": "print a systemd unit that keeps a cluster running",
    "version": "print the version",
}

FAILED, USAGE = 1, 2


def main(argv: list[str] | None = None) -> int:
    """Run `skerry ARGV`; the exit code: 0 done, 1 failed, 2 usage (`run` and `shell`: the command's own)."""
    words = sys.argv[1:] if argv is None else argv
    try:
        code = _main(words)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python must not complain of it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED


def _main(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help(), end="")
        return 0 if words else USAGE
    if words[0] in ("-V", "--version"):
        words = ["version"]
    verb, rest = words[0], words[1:]
    if verb not in VERBS:
        print(f'skerry: there is no "{verb}"; `skerry --help` shows what there is.', file=sys.stderr)
        return USAGE
    return _run(verb, rest)


def _run(verb: str, rest: list[str]) -> int:
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            """One sentence, rather than argparse's usage in many lines above it."""
            print(f"{self.prog}: {message.rstrip('.')}; `{self.prog} --help` shows the options.", file=sys.stderr)
            sys.exit(USAGE)

    module = import_module(f"skerry.cli.{verb.replace('-', '_')}")
    parser = Parser(
        prog=f"skerry {verb}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # an abbreviation in a script would break when an option is added
    )
    module.arguments(parser)
    try:
        arguments = parser.parse_args(rest)
    except SystemExit as leaving:  # argparse has said why, or has shown the help
        return int(leaving.code or 0)
    failed = getattr(module, "FAILED", FAILED)
    try:
        return int(module.run(arguments))
    except ClusterError as error:
        return _fail(str(error), failed)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _fail(_sentence(error), failed)
    except KeyboardInterrupt:
        return _fail("Interrupted.", failed)


def _fail(sentence: str, code: int) -> int:
    print(f"skerry: {sentence}", file=sys.stderr)
    return code


def _sentence(error: OSError) -> str:
    """What the system refused, and what to do about it."""
    import errno

    where = f" ({error.filename})" if error.filename else ""
    cures = {
        errno.ENOSPC: f"The disk is full{where}: make room, or put a new cluster elsewhere with --data-dir.",
        errno.EDQUOT: f"The disk quota is used up{where}: make room, or put a new cluster elsewhere with --data-dir.",
        errno.EROFS: f"The file system is read-only{where}: put a new cluster elsewhere with --data-dir.",
        errno.EACCES: f"Permission denied{where}: the directory or file must be yours.",
        errno.EPERM: f"Not permitted{where}: the directory or file must be yours.",
        errno.EMFILE: "Too many open files: raise the limit with `ulimit -n`.",
        errno.ENOENT: f"There is no such file or directory{where}: choose a place where one can be made.",
        errno.ENOTDIR: f"A file is in the way of a directory{where}: move it, or choose another place.",
    }
    return cures.get(error.errno or 0, f"{error.strerror or error}{where}.")


def _help() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {verb:{width}}  {what}" for verb, what in VERBS.items()]
    return "\n".join(
        [
            "usage: skerry VERB [OPTIONS]",
            "",
            "A small Kubernetes: real pods, Services, Endpoints, proxy and DNS behind the API that kubectl speaks.",
            "",
            *lines,
            "",
            "`skerry VERB --help` says more.",
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
