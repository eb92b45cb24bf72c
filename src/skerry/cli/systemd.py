"""Print a systemd unit that keeps a cluster running, and the two commands that install it.

  skerry systemd --nodes 3 > ~/.config/systemd/user/skerry-default.service

It takes the options of `skerry up`.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys

from skerry.cli import up


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `skerry systemd`: those of `skerry up`, and whose unit it is."""
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--user", action="store_true", help="a unit of your own service manager (default)")
    whose.add_argument("--system", action="store_true", help="a unit of the machine, that runs as the user you are now")
    up.arguments(parser)


def run(parsed: argparse.Namespace) -> int:
    """Print it."""
    import pwd

    from skerry.cluster import place
    from skerry.cluster.unit import Unit, render

    place.choose(parsed.name, parsed.data_dir)
    options = up.words(parsed)
    found = [(key, os.environ.get(key, "")) for key in ("XDG_DATA_HOME", "KUBECONFIG")]
    unit = Unit(
        name=parsed.name,
        command=(*_program(), "up", "--foreground", *options),
        environment=tuple((key, value) for key, value in found if value),
        system=parsed.system,
        user=pwd.getpwuid(os.geteuid()).pw_name,
        online=parsed.network == "host",
    )
    whose = "--system" if parsed.system else "--user"
    print(render(unit, shlex.join(["skerry", "systemd", whose, *options])), end="")
    return 0


def _program() -> list[str]:
    """How this command was started, in a way that does not depend on PATH."""
    script = os.path.abspath(sys.argv[0])
    if os.path.basename(script) == "skerry" and os.access(script, os.X_OK):
        return [script]
    return [sys.executable, "-m", "skerry.cli.main"]
