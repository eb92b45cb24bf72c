"""An image's USER as numbers."""

from __future__ import annotations

import os

import pytest

from skerry.node.images.users import NoSuchUserError, lookup, resolve

PASSWD = "root:x:0:0::/root:/bin/sh\nwww-data:x:33:34::/:/bin/false\nbroken\n1000:x:7:7::/:/x\n"
GROUP = "root:x:0:\nwww:x:34:\nstaff:x:50:root,www-data\nother:x:51:www-data\n"


@pytest.mark.parametrize(
    ("user", "found"),
    [
        ("", (0, 0, [50])),
        ("www-data", (33, 34, [50, 51])),
        ("33", (33, 34, [50, 51])),
        ("33:0", (33, 0, [])),
        ("www-data:staff", (33, 50, [])),
        ("5000", (5000, 0, [])),
        ("5000:6000", (5000, 6000, [])),
        ("1000", (7, 7, [])),  # a name made of digits is a name first
    ],
)
def test_users(user, found):
    assert lookup(user, PASSWD, GROUP) == found


def test_who_is_not_there():
    with pytest.raises(NoSuchUserError, match="unable to find user nobody"):
        lookup("nobody", PASSWD, GROUP)
    with pytest.raises(NoSuchUserError, match="unable to find group none"):
        lookup("0:none", PASSWD, GROUP)
    assert lookup("", "", "") == (0, 0, [])


def test_the_topmost_file_counts(tmp_path):
    low, middle, top = (tmp_path / name for name in ("low", "middle", "top"))
    for layer, text in ((low, "app:x:1:1::/:/\n"), (middle, "app:x:2:2::/:/\n")):
        (layer / "etc").mkdir(parents=True)
        (layer / "etc/passwd").write_text(text)
    top.mkdir()
    layers = [str(low), str(middle), str(top)]
    assert resolve("app", layers)[0] == 2
    (top / "etc").mkdir()
    os.mknod(top / "etc/passwd", 0o020000, 0)  # whited out
    with pytest.raises(NoSuchUserError):
        resolve("app", layers)


def test_a_passwd_that_leads_out_of_the_image_is_not_read(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").symlink_to("../../../../../../etc/passwd")
    with pytest.raises(NoSuchUserError):
        resolve("daemon", [str(tmp_path)])
