"""Headers of tar archives from strangers: tarfile's own reading, but what is broken is an error and not the end.

Used by unpack.py (layers) and archive.py (what `skerry load` is given).
"""

from __future__ import annotations

import tarfile

from skerry.node.images.streams import UnpackError

_DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
    "console": (5, 1),
    "ptmx": (5, 2),
}
_SHOWN = 200


class Header(tarfile.TarInfo):
    """For `tarinfo` of a TarFile. UnpackError for a header that is broken, cut off or leads backwards."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Header:
        begin = tarfile_.fileobj.tell()
        try:
            found = super().fromtarfile(tarfile_)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            if begin == 0:
                raise  # no archive at all: tarfile says so
            raise UnpackError(f"the tar archive is broken: {error}") from None
        if found.size < 0 or tarfile_.offset <= begin:
            raise UnpackError("the tar archive is broken: an entry of an impossible size")
        return found


def shown(name: str) -> str:
    """The name of an entry, for a sentence: printable and not too long."""
    text = name.encode("utf-8", "backslashreplace").decode()
    text = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def device(member: tarfile.TarInfo) -> str:
    """What a device node is: "block device 8:0"."""
    kind = "block" if member.isblk() else "character"
    return f"{kind} device {member.devmajor}:{member.devminor}"


def is_everywhere(path: str, member: tarfile.TarInfo) -> bool:
    """Whether this is one of the devices that every container has in its own /dev: images made by hand bring them."""
    folder, _, name = path.rpartition("/")
    number = (member.devmajor, member.devminor)
    return folder == "dev" and member.ischr() and _DEVICES.get(name) == number
