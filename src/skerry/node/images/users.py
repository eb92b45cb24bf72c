"""Who an image's USER is: `www-data`, `33`, `33:33`, `app:staff` as numbers, by the image's own passwd and group files.

Used by the node agent when it makes a container. Pure, but for reading two files out of the image's layers.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from skerry import linux

_MAX_FILE = 4 << 20


class NoSuchUserError(LookupError):
    """The image has no such user or group; the text says which."""


def resolve(user: str, layers: Sequence[str]) -> tuple[int, int, list[int]]:
    """(uid, gid, further groups) of `user` in the image of these layers (lowest first), or NoSuchUserError."""
    return lookup(user, read_file(layers, "etc/passwd"), read_file(layers, "etc/group"))


def lookup(user: str, passwd: str, group: str) -> tuple[int, int, list[int]]:
    """The same by the texts of the two files. A number needs no entry; its group is then that of the entry, or 0."""
    name, _, group_name = (user or "0").partition(":")
    accounts = [fields for line in passwd.splitlines() if len(fields := line.split(":")) >= 4]
    groups = [fields for line in group.splitlines() if len(fields := line.split(":")) >= 4]
    entry = next((a for a in accounts if a[0] == name), None) or next((a for a in accounts if a[2] == name), None)
    if entry is not None and entry[2].isdigit() and entry[3].isdigit():
        uid, gid, login = int(entry[2]), int(entry[3]), entry[0]
    elif name.isdigit():
        uid, gid, login = int(name), 0, ""
    else:
        raise NoSuchUserError(f"unable to find user {name}: no matching entries in passwd file")
    if group_name:
        found = next((g for g in groups if g[0] == group_name), None)
        if found is not None and found[2].isdigit():
            return uid, int(found[2]), []
        if not group_name.isdigit():
            raise NoSuchUserError(f"unable to find group {group_name}: no matching entries in group file")
        return uid, int(group_name), []
    more = {int(g[2]) for g in groups if login and login in g[3].split(",") and g[2].isdigit()}
    return uid, gid, sorted(more - {gid})


def read_file(layers: Sequence[str], path: str) -> str:
    """A small text file of the image as its topmost layer that knows of it has it; "" if there is none."""
    for layer in reversed(layers):
        root = os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fd = linux.open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            continue
        except OSError:  # whited out (a device that nobody can open), or no file
            return ""
        finally:
            os.close(root)
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return ""
            return file.read(_MAX_FILE).decode("utf-8", "replace")
    return ""
