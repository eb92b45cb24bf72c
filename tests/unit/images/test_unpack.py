"""Layers become directories; hostile ones do no harm. Runs as any user (owners are in the integration tests)."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import shutil
import stat
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.node.images.streams import UnpackError
from skerry.node.images.unpack import Limits, unpack
from skerry.testing.images import Layer, compress, digest


def member(name, kind=tarfile.REGTYPE, content=b"", **fields):
    made = tarfile.TarInfo(name)
    made.type, made.size = kind, len(content)
    for key, value in fields.items():
        setattr(made, key, value)
    return made, content


def tar(*members, form=tarfile.PAX_FORMAT):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as made:
        for info, content in members:
            made.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def target(tmp_path):
    (tmp_path / "outside").write_text("untouched")
    (tmp_path / "fs").mkdir()
    return tmp_path / "fs"


def run(target, data, **options):
    return unpack(io.BytesIO(data), str(target), keep_owners=False, **options)


def outside_is_untouched(target):
    return (
        sorted(os.listdir(target.parent)) == ["fs", "outside"]
        and (target.parent / "outside").read_text() == "untouched"
    )


def is_whiteout(path):
    info = os.lstat(path)
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def is_opaque(path):
    return "user.overlay.opaque" in os.listxattr(path)


def sample():
    return tar(
        member("./", tarfile.DIRTYPE, mode=0o755),
        member("etc/", tarfile.DIRTYPE, mode=0o555, mtime=1000),
        member("etc/passwd", content=b"root", mode=0o600, mtime=2000.5),
        member("bin/su", content=b"x", mode=0o4755),
        member("bin/sh", tarfile.SYMTYPE, linkname="/usr/bin/dash", mtime=3000),
        member("bin/su2", tarfile.LNKTYPE, linkname="bin/su"),
        member("tmp", tarfile.DIRTYPE, mode=0o1777),
        member("run/pipe", tarfile.FIFOTYPE, mode=0o640),
    )


def zstd(data):
    return compress(data, "zstd")


@pytest.mark.parametrize(
    "pack",
    [
        lambda d: d,
        gzip.compress,
        zstd,
        lambda d: gzip.compress(d[:700]) + gzip.compress(d[700:]) + b"\0" * 9,
        lambda d: b"\x50\x2a\x4d\x18\x02\0\0\0no" + zstd(d[:700]) + zstd(d[700:]),
    ],
    ids=["tar", "gzip", "zstd", "gzip-members", "zstd-frames"],
)
def test_everything_arrives(target, pack):
    result = run(target, pack(sample()))
    assert result.diff_id == digest(sample()) and result.size == 5 and result.entries == 8
    assert (target / "etc/passwd").read_bytes() == b"root"
    assert (target / "etc/passwd").stat().st_mtime == 2000.5
    assert stat.S_IMODE((target / "etc/passwd").stat().st_mode) == 0o600
    assert stat.S_IMODE((target / "etc").stat().st_mode) == 0o555 and (target / "etc").stat().st_mtime == 1000
    assert stat.S_IMODE((target / "bin/su").stat().st_mode) == 0o4755
    assert os.path.samefile(target / "bin/su", target / "bin/su2")
    assert os.readlink(target / "bin/sh") == "/usr/bin/dash" and os.lstat(target / "bin/sh").st_mtime == 3000
    assert stat.S_IMODE((target / "tmp").stat().st_mode) == 0o1777
    assert stat.S_ISFIFO((target / "run/pipe").stat().st_mode)
    assert result.implicit == ["bin", "run"]
    os.chmod(target / "etc", 0o755)


def test_long_names_of_both_formats(target):
    name = "d" * 90 + "/" + "f" * 200
    run(target, tar(member(name, content=b"1"), form=tarfile.PAX_FORMAT))
    run(target, tar(member(name + "x", content=b"2"), form=tarfile.GNU_FORMAT))
    assert (target / name).read_bytes() == b"1" and (target / (name + "x")).read_bytes() == b"2"


def test_an_empty_layer(target):
    assert run(target, b"").entries == 0
    assert run(target, b"\0" * 1024).diff_id == digest(b"\0" * 1024)


# Whiteouts


def test_whiteouts(target):
    layer = Layer()
    layer.hide("etc/gone")
    layer.file("opaque/.wh..wh..opq", b"")
    layer.file("opaque/new", b"n")
    layer.file(".wh..wh.plnk/1.2", b"")
    run(target, layer.tar())
    assert is_whiteout(target / "etc/gone") and not (target / "etc/.wh.gone").exists()
    assert is_opaque(target / "opaque") and os.listdir(target / "opaque") == ["new"]


@pytest.mark.parametrize("first", ["whiteout", "directory"])
def test_a_directory_that_replaces_a_lower_one_hides_it(target, first):
    hide, new = member("a/.wh.d"), member("a/d/", tarfile.DIRTYPE, mode=0o755)
    run(target, tar(*((hide, new) if first == "whiteout" else (new, hide))))
    assert (target / "a/d").is_dir() and is_opaque(target / "a/d")


def test_a_file_below_a_whiteout_brings_its_directory_back_empty(target):
    run(target, tar(member(".wh.d"), member("d/f", content=b"1")))
    assert is_opaque(target / "d") and (target / "d/f").read_bytes() == b"1"


def test_a_file_that_replaces_a_lower_one(target):
    run(target, tar(member("f", content=b"1"), member(".wh.f")))
    run(target, tar(member(".wh.g"), member("g", content=b"2")))
    assert ((target / "f").read_bytes(), (target / "g").read_bytes()) == (b"1", b"2")


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "a/.wh..."])
def test_whiteouts_of_impossible_names(target, name):
    with pytest.raises(UnpackError):
        run(target, tar(member(name)))
    assert outside_is_untouched(target)


# Hostile archives


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/../outside", ".."])
def test_dotdot_is_refused(target, name):
    with pytest.raises(UnpackError, match="leads out of the layer"):
        run(target, tar(member(name, content=b"evil")))
    assert outside_is_untouched(target)


def test_absolute_names_are_inside(target):
    run(target, tar(member("/etc/shadow", content=b"x")))
    assert (target / "etc/shadow").read_bytes() == b"x"


def test_links_that_lead_out_end_at_the_root(target):
    run(
        target,
        tar(
            member("up", tarfile.SYMTYPE, linkname="../../../../.."),
            member("up/outside", content=b"evil"),
            member("abs", tarfile.SYMTYPE, linkname=str(target.parent)),
            member("real", tarfile.DIRTYPE, mode=0o755),
            member("in", tarfile.SYMTYPE, linkname="/real"),
            member("in/f", content=b"fine"),
        ),
    )
    assert outside_is_untouched(target)
    assert (target / "outside").read_bytes() == b"evil"  # where the image itself would see it
    assert (target / "real/f").read_bytes() == b"fine"
    with pytest.raises(UnpackError):
        run(target, tar(member("abs/outside", content=b"evil")))
    assert outside_is_untouched(target)


def test_nothing_is_written_through_the_last_link(target):
    out = str(target.parent / "outside")
    run(
        target,
        tar(
            member("f", tarfile.SYMTYPE, linkname=out),
            member("f", content=b"evil"),
            member("d", tarfile.SYMTYPE, linkname=str(target.parent)),
            member("d", tarfile.DIRTYPE, mode=0o700),
            member("d/outside", content=b"mine"),
        ),
    )
    assert outside_is_untouched(target)
    assert (target / "f").read_bytes() == b"evil" and not (target / "f").is_symlink()
    assert (target / "d/outside").read_bytes() == b"mine"


def test_a_folder_that_becomes_a_link_is_not_remembered(target):
    """The folder's open descriptor must not outlive the folder."""
    run(
        target,
        tar(
            member("a/b/f", content=b"1"),
            member("c/g", content=b"1"),
            member("a", tarfile.SYMTYPE, linkname="/c"),
            member("a/g", content=b"2"),
        ),
    )
    assert os.readlink(target / "a") == "/c" and (target / "c/g").read_bytes() == b"2"


@pytest.mark.parametrize("linkname", ["../outside", "/../outside", "nothing", "d", ""])
def test_hard_links_to_elsewhere_are_refused(target, linkname):
    with pytest.raises(UnpackError):
        run(target, tar(member("d", tarfile.DIRTYPE), member("h", tarfile.LNKTYPE, linkname=linkname)))
    assert outside_is_untouched(target)


def test_a_hard_link_to_a_symbolic_link_links_the_link(target):
    out = str(target.parent / "outside")
    run(
        target,
        tar(
            member("s", tarfile.SYMTYPE, linkname=out),
            member("h", tarfile.LNKTYPE, linkname="s"),
            member("h", content=b"evil"),
        ),
    )
    assert outside_is_untouched(target) and (target / "h").read_bytes() == b"evil"


def test_devices_that_every_container_has_are_left_out(target):
    result = run(
        target,
        tar(
            member("dev/null", tarfile.CHRTYPE, devmajor=1, devminor=3),
            member("dev/console", tarfile.CHRTYPE, devmajor=5, devminor=1),
        ),
    )
    assert result.skipped == ["dev/null", "dev/console"] and os.listdir(target / "dev") == []


@pytest.mark.parametrize(
    ("name", "kind", "number", "what"),
    [
        ("dev/sda", tarfile.BLKTYPE, (8, 0), "block device 8:0"),
        ("dev/mem", tarfile.CHRTYPE, (1, 1), "character device 1:1"),
        ("dev/null", tarfile.CHRTYPE, (1, 1), "character device 1:1"),
        ("etc/null", tarfile.CHRTYPE, (1, 3), "character device 1:3"),
        ("fake-whiteout", tarfile.CHRTYPE, (0, 0), "character device 0:0"),
    ],
)
def test_other_devices_are_refused(target, name, kind, number, what):
    with pytest.raises(UnpackError) as error:
        run(target, tar(member(name, kind, devmajor=number[0], devminor=number[1])))
    assert str(error.value) == f"{name}: a device node ({what}), which no image may bring"


def test_attributes_that_overlayfs_would_believe_are_left_out(target):
    headers = {
        "SCHILY.xattr.user.overlay.redirect": "/",
        "SCHILY.xattr.user.note": "kept",
        "SCHILY.xattr.trusted.x": "1",
    }
    run(target, tar(member("f", pax_headers=headers)))
    assert os.listxattr(target / "f") == ["user.note"]


def test_a_bomb_is_stopped(target):
    data = gzip.compress(tar(member("zeros", content=b"\0" * (8 << 20))))
    with pytest.raises(UnpackError, match="more than 1048576 bytes"):
        run(target, data, limits=Limits(size=1 << 20))
    with pytest.raises(UnpackError, match="more than 3 entries"):
        run(target, tar(*(member(f"f{i}") for i in range(4))), limits=Limits(entries=3))


def test_what_unpacks_to_too_often_its_size_is_a_bomb(target):
    zeros = tar(member("fine", content=b"x"), member("zeros", content=b"\0" * (8 << 20)))
    strict = Limits(ratio=100, ratio_from=1 << 20)
    for pack in (gzip.compress, zstd):
        with pytest.raises(UnpackError, match=r"^zeros: the layer unpacks to more than 100 times its size$"):
            run(target, pack(zeros), limits=strict)
        shutil.rmtree(target)
        target.mkdir()
    assert run(target, gzip.compress(zeros), limits=Limits(ratio=100, ratio_from=16 << 20)).size > 8 << 20
    assert run(target, zeros, limits=strict).entries == 2


def test_a_zstd_stream_that_wants_too_much_memory_is_refused(target):
    """The head of a frame may ask for a window of terabytes."""
    window = (0x1F << 3).to_bytes(1, "little")  # two to the power of 41
    with pytest.raises(UnpackError, match="zstd stream is broken"):
        run(target, b"\x28\xb5\x2f\xfd\x00" + window + b"\x01\x00\x00" * 100)


def test_a_cut_zstd_stream_says_so(target):
    with pytest.raises(UnpackError, match="the compressed layer is cut off"):
        run(target, zstd(tar(member("f", content=os.urandom(100_000))))[:-9])


def test_a_sparse_bomb_is_one_too(target):
    info, _ = member("hole")
    info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "hole"}
    info.pax_headers |= {"GNU.sparse.size": str(1 << 30), "GNU.sparse.numblocks": "1", "GNU.sparse.map": "0,0"}
    with pytest.raises(UnpackError, match=r"^hole: .* times its size$"):
        run(target, tar((info, b"")), limits=Limits(ratio_from=1 << 20))


def test_a_sparse_file_counts_with_its_holes(target):
    info, _ = member("hole")
    info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "hole"}
    info.pax_headers |= {"GNU.sparse.size": str(1 << 40), "GNU.sparse.numblocks": "1", "GNU.sparse.map": "0,0"}
    with pytest.raises(UnpackError, match="more than"):
        run(target, tar((info, b"")), limits=Limits(size=1 << 20))


def test_a_huge_header_is_refused(target):
    with pytest.raises(UnpackError, match="header of"):
        run(target, tar(member("f", pax_headers={"comment": "x" * (2 << 20)})))


def after_the_first(data, change):
    """A layer of two files whose second header was changed."""
    return data[:1024] + change(bytearray(data[1024:1536])) + data[1536:]


def test_a_broken_header_is_no_end(target):
    """tarfile takes one for the end of the archive; half of an image is none."""
    data = tar(member("first", content=b"1"), member("second", content=b"2"))

    def scribbled(header):
        header[150] ^= 0xFF
        return bytes(header)

    with pytest.raises(UnpackError, match=r"^after first: the tar archive is broken: "):
        run(target, after_the_first(data, scribbled))
    with pytest.raises(UnpackError, match=r"^after first: the tar archive is broken: "):
        run(target, data[:1100])


def test_sizes_below_zero(target):
    """They would send a reader of files back to where it was, for ever."""

    def negative(header):
        header[124:136] = b"\xff" * 12
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        return bytes(header)

    data = tar(member("first", content=b"1"), member("second", content=b"2"))
    with pytest.raises(UnpackError, match=r"^after first: the tar archive is broken: "):
        run(target, after_the_first(data, negative))


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (("../x", tarfile.REGTYPE, ""), "../x: a path that leads out of the layer"),
        (
            ("h", tarfile.LNKTYPE, "../../etc/passwd"),
            "h: a hard link to ../../etc/passwd, which leads out of the layer",
        ),
        (("h", tarfile.LNKTYPE, "/etc/passwd"), "h: a hard link to etc/passwd, which is not in the layer"),
        (("x" * 300, tarfile.REGTYPE, ""), "x" * 200 + "...: File name too long"),
        (("a/" * 2100 + "b", tarfile.REGTYPE, ""), ("a/" * 2100)[:200] + "...: File name too long"),
        (("l", tarfile.SYMTYPE, "x" * 5000), "l: File name too long"),
        (("bad\nname/..", tarfile.DIRTYPE, ""), "bad\\nname/..: a path that leads out of the layer"),
        (("\udcff/..", tarfile.DIRTYPE, ""), "\\udcff/..: a path that leads out of the layer"),
    ],
)
def test_the_entry_is_named(target, entry, why):
    name, kind, linkname = entry
    with pytest.raises(UnpackError) as error:
        run(target, tar(member("fine", content=b"1"), member(name, kind, linkname=linkname)))
    assert str(error.value) == why


@given(st.binary(max_size=40), st.integers(0, 3000))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_scribbles_do_no_harm(tmp_path_factory, scribble, where):
    """Any bytes anywhere in an archive: it unpacks, or is refused in words, and nothing outside changes."""
    place = tmp_path_factory.mktemp("layer")
    (place / "fs").mkdir()
    (place / "outside").write_text("untouched")
    data = bytearray(sample())
    data[where : where + len(scribble)] = scribble
    with contextlib.suppress(UnpackError):
        run(place / "fs", bytes(data))
    assert outside_is_untouched(place / "fs")


@pytest.mark.parametrize("pack", [lambda d: d, gzip.compress, zstd])
def test_a_cut_archive_is_refused_or_not_what_it_should_be(target, pack):
    whole = tar(member("f", content=os.urandom(100_000)))
    packed = pack(whole)
    try:
        assert run(target, packed[: len(packed) // 2]).diff_id != digest(whole)
    except UnpackError:
        pass


@pytest.mark.parametrize("data", [b"BZh9xxxx", b"\x1f\x8bnonsense", b"\x28\xb5\x2f\xfdnonsense", b"hello" * 300])
def test_what_is_no_archive(target, data):
    with pytest.raises(UnpackError):
        run(target, data)


def test_impossible_values(target):
    info, content = member("f")
    for headers in (
        {"mtime": "nan"},
        {"mtime": "inf"},
        {"mtime": "-5"},
        {"mtime": "99999999999999999999"},
        {"path": "a\0b"},
    ):
        info.pax_headers = headers
        with contextlib.suppress(UnpackError):
            run(target, tar((info, content)))


names = st.sampled_from(
    ["a", "b", "a/b", "b/a", "a/b/c", ".wh.a", "a/.wh.b", ".wh..wh..opq", "a/.wh..wh..opq", "/a", "./b", "a/../b"]
)
links = st.sampled_from(["/", "..", "a", "../b", "/a/b", "b/a", "../../outside", "/etc/passwd"])
kinds = st.sampled_from(
    [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
entries = st.tuples(names, kinds, links)


@given(st.lists(entries, max_size=12))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_sequence_of_entries_leaves_the_directory(tmp_path_factory, sequence):
    place = tmp_path_factory.mktemp("layer")
    (place / "fs").mkdir()
    (place / "outside").write_text("untouched")
    members = [
        member(name, kind, b"evil" if kind == tarfile.REGTYPE else b"", linkname=link, mode=0o755)
        for name, kind, link in sequence
    ]
    with contextlib.suppress(UnpackError):
        run(place / "fs", tar(*members))
    assert outside_is_untouched(place / "fs")
    assert os.stat("/etc/passwd").st_size != 4
