"""The kubeconfig: our context is put into it and taken out of it, and everything else in it stays as it was.

Which file, and how it is locked, is as client-go and kind do it, so that kubectl, kind and we can change one file at
the same time: `--kubeconfig`, else of the files in $KUBECONFIG the first that exists (else the last), else
~/.kube/config; `FILE.lock` is made with O_EXCL while the file is changed.

The file is edited as a YAML node tree, not as values: a scalar that we do not know is written back as it was read,
whatever YAML 1.1 thinks that it means. Called by `skerry up`, `delete` and `kubeconfig`.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from skerry.cluster import sharedfile
from skerry.cluster.errors import ClusterError
from skerry.cluster.sharedfile import Lock, write

if TYPE_CHECKING:
    import yaml


class Entry(NamedTuple):
    """What kubectl needs to reach one cluster."""

    context: str
    """Also the name of the cluster and of the user."""
    server: str
    ca_certificate: bytes
    token: str = ""
    certificate: bytes = b""
    key: bytes = b""
    """Either a token, or a client certificate and its key as PEM."""


def context_name(cluster: str) -> str:
    """The context of cluster `cluster`."""
    return f"skerry-{cluster}"


def candidates(explicit: str | None, environment: Mapping[str, str]) -> list[Path]:
    """The files that make up the kubeconfig, in the order in which kubectl reads them."""
    if explicit:
        return [Path(explicit)]
    listed = [Path(item) for item in environment.get("KUBECONFIG", "").split(os.pathsep) if item]
    if listed:
        return list(dict.fromkeys(listed))
    return [Path(environment.get("HOME") or str(Path.home())) / ".kube" / "config"]


def target(explicit: str | None, environment: Mapping[str, str]) -> Path:
    """The file that a new context goes into, as an absolute path."""
    files = candidates(explicit, environment)
    chosen = next((file for file in files if file.exists()), files[-1])
    return Path(os.path.abspath(chosen))


def check(path: Path) -> None:
    """ClusterError if `add` could not write the file: known before a cluster is started for it."""
    real = Path(os.path.realpath(path))
    if real.is_dir():
        raise ClusterError(f"{path} is a directory: name a file with --kubeconfig.")
    # The file is replaced and the lock is made beside it, so it is the directories that must be ours to write.
    for directory in dict.fromkeys((path.parent, real.parent)):
        there = next(one for one in (directory, *directory.parents) if one.exists())
        if not there.is_dir():
            raise ClusterError(f"{there} is in the way of the kubeconfig {path}: choose another --kubeconfig.")
        if not os.access(there, os.W_OK | os.X_OK):
            raise ClusterError(
                f"The kubeconfig {path} cannot be written ({there} is read-only): choose another --kubeconfig."
            )
    if real.exists() and not os.access(real, os.R_OK):
        raise ClusterError(f"The kubeconfig {path} cannot be read: make it yours, or choose another --kubeconfig.")


def render(entry: Entry) -> str:
    """A whole kubeconfig with this entry alone."""
    document = _empty() | {
        "clusters": [_cluster(entry)],
        "contexts": [_context(entry)],
        "current-context": entry.context,
        "users": [_user(entry)],
    }
    return _plain_yaml(document)


def add(path: Path, entry: Entry) -> None:
    """Put `entry` into the file, replacing what has its name, and make it current. ClusterError if that cannot be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Lock(path):
        if not path.exists() or path.stat().st_size == 0:
            write(path, render(entry).encode())
            return

        def change(root: yaml.MappingNode) -> bool:
            _put_named(root, "clusters", _cluster(entry))
            _put_named(root, "contexts", _context(entry))
            _put_named(root, "users", _user(entry))
            _set(root, "current-context", entry.context)
            return True

        _edit(path, change)


def remove(path: Path, context: str) -> bool:
    """Take `context`, its cluster and its user out of the file; True if there was anything of it. No file is fine."""
    partial = sharedfile.partial(path)
    if not partial.exists() and not _holds(path, context):
        return False  # nothing to change: no lock needed, nor the right to write

    def change(root: yaml.MappingNode) -> bool:
        found = [_drop_named(root, section, context) for section in ("clusters", "contexts", "users")]
        current = _get(root, "current-context")
        if current is not None and current.value == context:
            _set(root, "current-context", "")
            found.append(True)
        return any(found)

    with Lock(path):
        partial.unlink(missing_ok=True)  # of a command that was killed while it wrote
        return _holds(path, context) and _edit(path, change)


def _holds(path: Path, context: str) -> bool:
    return path.exists() and context.encode() in path.read_bytes()


def current_context(path: Path) -> str:
    """The file's current context, or "". ClusterError if it is no kubeconfig."""
    if not path.exists():
        raise ClusterError(f"There is no kubeconfig {path}.")
    node = _get(_parse(path), "current-context")
    return str(node.value) if node is not None else ""


def _cluster(entry: Entry) -> dict[str, Any]:
    authority = base64.b64encode(entry.ca_certificate).decode()
    return {"name": entry.context, "cluster": {"certificate-authority-data": authority, "server": entry.server}}


def _context(entry: Entry) -> dict[str, Any]:
    return {"name": entry.context, "context": {"cluster": entry.context, "user": entry.context}}


def _user(entry: Entry) -> dict[str, Any]:
    if entry.token:
        return {"name": entry.context, "user": {"token": entry.token}}
    certificate, key = (base64.b64encode(one).decode() for one in (entry.certificate, entry.key))
    return {"name": entry.context, "user": {"client-certificate-data": certificate, "client-key-data": key}}


def _empty() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Config", "preferences": {}}


def _plain_yaml(value: dict[str, Any]) -> str:
    """Our own few values as block YAML; PyYAML costs 50 ms to import and a new file does not need it."""
    lines: list[str] = []

    def scalar(item: Any) -> str:
        return item if isinstance(item, str) and item and item.replace("-", "").isalpha() else json.dumps(item)

    def block(item: dict[str, Any], indent: str) -> None:
        for key, inner in item.items():
            if isinstance(inner, dict) and inner:
                lines.append(f"{indent}{key}:")
                block(inner, indent + "  ")
            elif isinstance(inner, list):
                lines.append(f"{indent}{key}:")
                for element in inner:
                    at = len(lines)
                    block(element, indent + "  ")
                    lines[at] = f"{indent}- {lines[at][len(indent) + 2 :]}"
            else:
                lines.append(f"{indent}{key}: {scalar(inner)}")

    block(value, "")
    return "\n".join(lines) + "\n"


# --- the YAML node tree ---------------------------------------------------------------------------------------------


def _parse(path: Path) -> yaml.MappingNode:
    import yaml

    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        root = yaml.compose(path.read_text(), Loader=loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where is not None else ""
        raise ClusterError(
            f"{path} is not YAML{line}: nothing was changed in it; mend it or use --kubeconfig."
        ) from None
    if root is None:
        root = yaml.MappingNode("tag:yaml.org,2002:map", [])
    if not isinstance(root, yaml.MappingNode):
        raise ClusterError(f"{path} is not a kubeconfig: nothing was changed in it; mend it or use --kubeconfig.")
    return root


def _edit(path: Path, change: Callable[[yaml.MappingNode], bool]) -> bool:
    import yaml

    root = _parse(path)
    for key, value in _empty().items():
        if key != "preferences" and _get(root, key) is None:
            _set(root, key, value)
    try:
        changed = change(root)
    except _NotAKubeconfig as error:
        raise ClusterError(f"{path} is not a kubeconfig ({error}): nothing was changed in it.") from None
    if changed:
        write(path, yaml.serialize(root, allow_unicode=True, width=1 << 20).encode())
    return changed


class _NotAKubeconfig(Exception):
    pass


def _node(value: Any) -> Any:
    """`value` (strings, maps, lists) as a YAML node."""
    import yaml

    return yaml.compose(json.dumps(value)) if isinstance(value, str) else _block(yaml.compose(json.dumps(value)))


def _block(node: Any) -> Any:
    """`node` written in lines rather than in JSON's brackets."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        node.flow_style = False
        for key, value in node.value:
            key.style = None
            _block(value)
    elif isinstance(node, yaml.SequenceNode):
        node.flow_style = False
        for item in node.value:
            _block(item)
    elif node.value.replace("-", "").isalpha():
        node.style = None
    return node


def _get(root: yaml.MappingNode, key: str) -> Any:
    return next((value for name, value in root.value if name.value == key), None)


def _set(root: yaml.MappingNode, key: str, value: Any) -> None:
    import yaml

    made = _block(_node(value))
    for index, (name, _) in enumerate(root.value):
        if name.value == key:
            root.value[index] = (name, made)
            return
    root.value.append((yaml.ScalarNode("tag:yaml.org,2002:str", key), made))


def _section(root: yaml.MappingNode, key: str) -> Any:
    """The list under `key`, or None where there is none (or null, as kubectl writes an empty one)."""
    import yaml

    node = _get(root, key)
    if node is None or (isinstance(node, yaml.ScalarNode) and node.value in ("", "null", "~")):
        return None
    if not isinstance(node, yaml.SequenceNode) or not all(isinstance(item, yaml.MappingNode) for item in node.value):
        raise _NotAKubeconfig(f'"{key}" is no list of names')
    return node


def _named(item: Any, name: str) -> bool:
    node = _get(item, "name")
    return node is not None and node.value == name


def _put_named(root: yaml.MappingNode, key: str, value: dict[str, Any]) -> None:
    section = _section(root, key)
    if section is None:
        _set(root, key, [value])
        return
    section.flow_style = False
    kept = [item for item in section.value if not _named(item, value["name"])]
    section.value[:] = [*kept, _node(value)]


def _drop_named(root: yaml.MappingNode, key: str, name: str) -> bool:
    section = _section(root, key)
    if section is None:
        return False
    kept = [item for item in section.value if not _named(item, name)]
    dropped = len(kept) != len(section.value)
    section.value[:] = kept
    if not kept:
        section.flow_style = True  # "[]": an empty block list would read as null
    return dropped
