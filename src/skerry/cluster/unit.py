"""The systemd unit that keeps a cluster running: text for `skerry systemd` to print. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Unit(NamedTuple):
    """What goes into it."""

    name: str
    """The cluster's."""
    command: tuple[str, ...]
    """`skerry up --foreground` and its options, with absolute paths."""
    environment: tuple[tuple[str, str], ...] = ()
    """What of this shell's environment says where data and kubeconfig are."""
    system: bool = False
    """For the machine, not for one user's session."""
    user: str = "root"
    """Who runs it, if it is the machine's."""
    online: bool = False
    """It needs the machine's address (`--network host`)."""

    @property
    def service(self) -> str:
        """The unit's name."""
        return f"skerry-{self.name}.service"


def render(unit: Unit, printed_by: str) -> str:
    """The unit's file, which begins with the commands that install it. `printed_by`: the command that prints this."""
    manager = "systemctl" if unit.system else "systemctl --user"
    place = "/etc/systemd/system" if unit.system else "~/.config/systemd/user"
    write = f"| sudo tee {place}/{unit.service} >/dev/null" if unit.system else f"> {place}/{unit.service}"
    sudo = "sudo " if unit.system else ""
    lines = [
        "# Install it with",
        f"#   {printed_by} {write}" if unit.system else f"#   mkdir -p {place} && {printed_by} {write}",
        f"#   {sudo}{manager} daemon-reload && {sudo}{manager} enable --now {unit.service}",
    ]
    if not unit.system:
        lines.append("# It runs while you are logged in; `loginctl enable-linger` has it run from boot on.")
    lines += ["", "[Unit]", f'Description=Kubernetes cluster "{unit.name}" (Skerry)']
    if unit.system:
        network = "network-online.target" if unit.online else "network.target"
        lines.append(f"After={network} local-fs.target")
        lines += [f"Wants={network}"] if unit.online else []
    lines += [
        "",
        "[Service]",
        "Type=notify",
        f"ExecStart={' '.join(map(_word, unit.command))}",
        *(f"Environment={_quoted(f'{key}={value}')}" for key, value in unit.environment),
        *((f"User={unit.user}",) if unit.system else ()),
        "# Skerry is asked to end, and ends its own processes; what is left after the time-out is killed.",
        "KillMode=mixed",
        "TimeoutStopSec=30",
        "Restart=on-failure",
        "RestartSec=2",
        "# Cgroups of its own, so that pods' limits can be enforced.",
        "Delegate=yes",
        "LimitNOFILE=65536",
        "",
        "[Install]",
        f"WantedBy={'multi-user.target' if unit.system else 'default.target'}",
    ]
    return "\n".join(lines) + "\n"


def _word(text: str) -> str:
    """One word of a command line as systemd reads it."""
    return _quoted(text).replace("$", "$$")


def _quoted(text: str) -> str:
    """One word of a setting."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return plain if plain and not set(plain) & set(" \t\n\"'\\;") else '"' + plain.replace("\n", "\\n") + '"'
