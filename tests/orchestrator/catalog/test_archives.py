"""Archives whose headers claim what is not there, or more than anyone needs: refused before they cost anything."""

import errno
import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest
from eventually import eventually
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.catalog import archives, child, child_main, unpacking
from orchestrator.catalog.archives import unpack, unpack_over
from orchestrator.catalog.child import NotWanted
from orchestrator.catalog.unpacking import ArchiveRefused, within
from orchestrator.catalog.uploads import Uploads
from orchestrator.errors import BadRequest, BadSpec
from orchestrator.settings import Settings

MIB = 1 << 20
BLOCK = 512


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def block(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def file(name: str, content: bytes = b"x") -> bytes:
    return header(name, len(content)) + block(content)


def record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def pax(kind: bytes, content: bytes) -> bytes:
    return header("pax", len(content), kind) + block(content)


END = bytes(2 * BLOCK)
LONG = 4 * MIB
TOO_LONG = f"has {LONG} bytes; {MIB} are allowed"
LONG_NAME = header("././@LongLink", LONG, tarfile.GNUTYPE_LONGNAME) + bytes(LONG)
SPARSE = header("w", 0, tarfile.GNUTYPE_SPARSE)

BOMBS = {
    "a long pax header": (header("pax", LONG, tarfile.XHDTYPE) + bytes(LONG), TOO_LONG),
    "a long global pax header": (header("pax", LONG, tarfile.XGLTYPE) + bytes(LONG), TOO_LONG),
    "a long name": (LONG_NAME, TOO_LONG),
    "a long link target": (header("././@LongLink", LONG, tarfile.GNUTYPE_LONGLINK) + bytes(LONG), TOO_LONG),
    "a header of Solaris": (header("pax", LONG, tarfile.SOLARIS_XHDTYPE) + bytes(LONG), TOO_LONG),
    "a header that says more than there is": (header("pax", 1 << 33, tarfile.XHDTYPE), "are allowed"),
    "headers without end": (pax(tarfile.XHDTYPE, record(b"comment", b"c")) * 400, "more than 100 members"),
    "a size that is not there": (header("w", 1 << 40) + b"x", "more than 1073741824 bytes"),
    "a size beyond all": (header("w", 1 << 70) + b"x", "more than 1073741824 bytes"),
    "a sparse file": (SPARSE, "'w' in the archive is a sparse file"),
    "a sparse file of pax": (pax(tarfile.XHDTYPE, record(b"GNU.sparse.major", b"1")) + file("w"), "sparse file"),
    "a size of pax": (pax(tarfile.XHDTYPE, record(b"size", b"9" * 30)) + file("w"), "'w' has a size that is no number"),
    "a size below nothing": (pax(tarfile.XHDTYPE, record(b"size", b"-512")) + file("w"), "'w' has a size that is no"),
    "a name for all": (pax(tarfile.XGLTYPE, record(b"path", b"w")) + file("a"), "one name or size to them all"),
    "a broken record": (pax(tarfile.XHDTYPE, b"7 path=") + file("w"), "a record of a pax header is broken"),
    "a record beyond its header": (pax(tarfile.XHDTYPE, b"99 path=w\n") + file("w"), "pax header is broken"),
    "no end": (file("w"), "cut off"),
    "a cut member": (header("w", 4000) + b"x" * 100, "cut off"),
}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


def archive(tmp_path: Path, content: bytes, *, packed: bool = True) -> Path:
    place = tmp_path / "archive"
    place.write_bytes(gzip.compress(content, 9) if packed else content)
    return place


@pytest.mark.parametrize(("content", "told"), BOMBS.values(), ids=BOMBS)
def test_headers_that_cost_more_than_they_are_worth_are_refused(tmp_path, target, monkeypatch, content, told):
    monkeypatch.setattr(archives, "MOST_MEMBERS", 100)

    with pytest.raises(BadRequest) as refusal:
        unpack(archive(tmp_path, content), target, most_bytes=1 << 30)

    assert told in refusal.value.detail
    assert refusal.value.field == "upload"


def test_all_names_together_have_a_limit(tmp_path, target):
    place = tmp_path / "archive"
    with gzip.open(place, "wb", 1) as written:
        for _ in range(80):
            written.write(pax(tarfile.XHDTYPE, record(b"path", b"n" * 1_000_000)))

    with pytest.raises(BadRequest, match="its names have more than 67108864 bytes"):
        unpack(place, target, most_bytes=1 << 30)


@pytest.mark.parametrize("content", [LONG_NAME, SPARSE], ids=["long name", "sparse"])
def test_packages_are_held_to_the_same(tmp_path, target, content):
    target.mkdir()

    with pytest.raises(BadSpec, match=r"archive is not unpacked"):
        unpack_over(archive(tmp_path, content), target, most_bytes=1 << 30)

    assert list(target.iterdir()) == []


def test_a_package_with_a_hard_link_to_a_folder_is_refused(tmp_path, target):
    (target / "folder").mkdir(parents=True)
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.LNKTYPE, "folder"

    with pytest.raises(BadSpec, match="'link' in the archive is a hard link to a folder"):
        unpack_over(archive(tmp_path, link.tobuf() + END), target, most_bytes=1 << 30)


@pytest.mark.slow
def test_what_comes_out_is_counted_and_not_what_the_headers_add_up_to(tmp_path, target, monkeypatch):
    monkeypatch.setattr(archives, "MOST_MEMBERS", 10)

    with pytest.raises(BadRequest, match="TX81_MAX_UPLOAD_BYTES"):
        # Nothing of it is a file: the end of the archive, again and again.
        unpack(archive(tmp_path, END + bytes(80 * MIB)), target, most_bytes=1000)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"BZh91AY&SY" + bytes(100), "bzip2"),
        (b"\xfd7zXZ\0" + bytes(100), "xz"),
        (b"\x28\xb5\x2f\xfd" + bytes(100), "zstd"),
        (b"PK\x03\x04" + bytes(100), "zip"),
    ],
)
def test_other_ways_of_packing_are_named(tmp_path, target, content, told):
    with pytest.raises(BadSpec, match=rf"packed with {told}; pack it as \.tar or \.tar\.gz"):
        unpack(archive(tmp_path, content, packed=False), target, most_bytes=MIB)


def test_a_flipped_bit_is_noticed(tmp_path, target):
    place = archive(tmp_path, file("w", os.urandom(5000)) + END)
    content = bytearray(place.read_bytes())
    content[len(content) // 2] ^= 1
    place.write_bytes(content)

    with pytest.raises(BadSpec, match=r"not a complete \.tar or \.tar\.gz"):
        unpack(place, target, most_bytes=MIB)


UNPLACEABLE = {
    "a name that is too long": pax(tarfile.XHDTYPE, record(b"path", b"n" * 300)) + file("w"),
    "a path that is too long": pax(tarfile.XHDTYPE, record(b"path", b"/".join([b"n" * 200] * 30))) + file("w"),
    "a path that is too deep": pax(tarfile.XHDTYPE, record(b"path", b"/".join([b"d"] * 1500))) + file("w"),
    "a file that is a folder too": file("both") + file("both/below"),
    "a folder that is a file too": file("both/below") + file("both"),
    "a folder over a file": file("both") + header("both", 0, tarfile.DIRTYPE),
    "a name with NUL": pax(tarfile.XHDTYPE, record(b"path", b"a\0b")) + file("w"),
    "a name that is not UTF-8": pax(tarfile.XHDTYPE, record(b"path", b"\xff\xfe")) + file("w"),
    "no name": pax(tarfile.XHDTYPE, record(b"path", b"")) + file("w"),
}


@pytest.mark.parametrize("content", UNPLACEABLE.values(), ids=UNPLACEABLE)
def test_what_the_system_has_no_place_for_is_the_archives_fault(tmp_path, target, content):
    with pytest.raises(BadSpec) as refusal:
        unpack(archive(tmp_path, content + END), target, most_bytes=MIB)

    assert refusal.value.field == "upload"


def test_names_of_every_format_are_taken(tmp_path, target):
    long = "folder/" + "模" * 80
    for number, format in enumerate((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=format) as opened:
            for name in (f"{long}{number}", f"short{number}"):
                info = tarfile.TarInfo(f"top/{name}")
                info.size = 3
                opened.addfile(info, io.BytesIO(b"abc"))
        found = unpack(archive(tmp_path, buffer.getvalue()), target / str(number), most_bytes=MIB)

        assert {str(each.relative_to(found)) for each in found.rglob("*") if each.is_file()} == {
            f"{long}{number}",
            f"short{number}",
        }


def test_the_archive_of_a_mac_is_taken_without_what_the_mac_adds(tmp_path, target):
    link = header("m/.git/link", 0, tarfile.SYMTYPE)
    added = file("m/._config.json") + file("m/.DS_Store") + file("__MACOSX/m/._config.json") + file("._m") + link

    found = unpack(archive(tmp_path, added + file("m/config.json") + END), target, most_bytes=MIB)

    assert found == target / "m"
    assert [path.name for path in found.rglob("*")] == ["config.json"]


def test_a_hard_link_is_refused_with_the_option_that_helps(tmp_path, target):
    with pytest.raises(BadSpec, match="tar --hard-dereference"):
        unpack(
            archive(tmp_path, file("a") + header("b", 0, tarfile.LNKTYPE) + END, packed=False), target, most_bytes=MIB
        )


def test_unpacking_stops_and_leaves_nothing_when_nobody_waits_for_it(tmp_path):
    uploads = Uploads(Settings(state_dir=tmp_path))
    pipe = tmp_path / "archive"
    os.mkfifo(pipe)  # it never ends, as an archive of a terabyte
    gone = threading.Event()
    threading.Timer(0.3, gone.set).start()

    with pytest.raises(NotWanted), uploads.unpacked_archive(pipe, gone=gone):
        pytest.fail("nothing can have been unpacked")

    assert list((tmp_path / "models/.uploads").iterdir()) == []


def test_unpacking_has_its_time(tmp_path):
    pipe = tmp_path / "archive"
    os.mkfifo(pipe)
    (tmp_path / "target").mkdir()
    task = {"archive": str(pipe), "target": str(tmp_path / "target"), "most_bytes": 1, "most_members": 1, "over": False}

    with pytest.raises(child.OverLimit):
        child.answer(Path(unpacking.__file__), task | {"skipped": None}, child.ChildLimits(1 << 29, 10, 0.3))


def test_a_process_that_needs_too_much_memory_ends_alone(tmp_path):
    greedy = tmp_path / "greedy.py"
    greedy.write_text("def outcome(task):\n    return {'size': len(bytes(1 << 40))}\n")

    with pytest.raises(child.OverLimit, match="256 MiB of memory"):
        child.answer(greedy, {}, child.ChildLimits(1 << 28, 10, 20))


def test_what_a_process_left_that_died_while_unpacking_is_cleared_away(tmp_path):
    uploads = Uploads(Settings(state_dir=tmp_path))
    with uploads.scratch() as alive:
        left = alive.with_name("scratch.left")
        left.mkdir()
        (left / "half").write_text("half of a model")
        for folder in (left, alive):
            long_ago = folder.stat().st_mtime - 3600
            os.utime(folder, (long_ago, long_ago))

        with uploads.scratch():
            assert not left.exists()
            assert alive.exists()


def test_a_full_disk_is_a_full_disk(tmp_path, target):
    """By the limit of the process on a file's size, which is told as the system tells of a quota."""
    target.mkdir()
    place = archive(tmp_path, file("w", bytes(1 << 16)) + END)
    task = {"archive": str(place), "target": str(target), "most_bytes": MIB, "most_members": 9, "over": False}
    limits = child.ChildLimits(1 << 29, 10, 20, file_bytes=1 << 12)

    found = child.answer(Path(unpacking.__file__), task | {"skipped": None}, limits)

    assert found["errno"] == errno.EFBIG


def test_the_reader_ends_with_the_process_that_asked(tmp_path):
    """As after kill -9 of the server: its end of the pipe is closed, and nothing else is said."""
    endless = tmp_path / "endless.py"
    endless.write_text("import threading\n\n\ndef outcome(task):\n    threading.Event().wait()\n")
    process = subprocess.Popen([sys.executable, "-I", child_main.__file__], stdin=subprocess.PIPE)
    assert process.stdin is not None
    limits = {"memory": 1 << 29, "cpu": 10, "file": 1}
    process.stdin.write(json.dumps({"module": str(endless), "limits": limits}).encode() + b"\n")
    process.stdin.close()

    assert eventually(lambda: process.poll() is not None)


NAMES = st.sampled_from(
    ["a", "a/b", "../a", "/a", "/../a", "a/../../x", ".", "..", "in/f", "out/f", "a/./b", "in/../../x"]
)
KINDS = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="this Python has nothing to compare with")
@given(NAMES, KINDS, NAMES, st.integers(0, 0o7777))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_may_be_unpacked_is_what_the_data_filter_of_python_allows(tmp_path, name, kind, link, mode):
    inside = tmp_path / "target"
    if not inside.exists():
        inside.mkdir()
        (inside / "in").symlink_to(".")
        (inside / "out").symlink_to("/tmp")
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode

    try:
        expected = tarfile.data_filter(info, str(inside))
    except tarfile.FilterError:
        with pytest.raises(ArchiveRefused):
            within(info, inside)
    else:
        allowed = within(info, inside)
        assert allowed.name == expected.name
        if info.isreg() or info.islnk():
            assert allowed.mode == expected.mode
