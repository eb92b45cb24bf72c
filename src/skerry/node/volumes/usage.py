"""How many bytes of disk a directory takes, as `du` counts. Called by node/agent/storage.py, in a thread."""

from __future__ import annotations

import os

_BLOCK = 512


def used(directory: str) -> int:
    """Bytes on disk of what is below, on the same file system. What goes away meanwhile counts as nothing."""
    try:
        device = os.lstat(directory).st_dev
    except OSError:
        return 0
    total, waiting = 0, [directory]
    linked: set[int] = set()
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    found = entry.stat(follow_symlinks=False)
                    if found.st_dev != device:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif found.st_nlink > 1:
                        if found.st_ino in linked:
                            continue
                        linked.add(found.st_ino)
                    total += found.st_blocks * _BLOCK
        except OSError:
            continue
    return total
