"""The vendor's packages: what is refused before anything is touched, and what unpacking leaves behind."""

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from orchestrator.errors import BadSpec
from workers.provision.packages import BadPackages, listed, pending, prove, unpack


def member(name: str, content: bytes = b"", **facts) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    for key, value in facts.items():
        setattr(entry, key, value)
    return entry, content


def an_archive(folder: Path, *members: tuple[tarfile.TarInfo, bytes], name: str = "tools.tar.gz") -> Path:
    """An archive with its line in SHA256SUMS."""
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / name, "w:gz") as opened:
        for entry, content in members:
            opened.addfile(entry, io.BytesIO(content))
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  {name}\n")
    return folder / name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "packages"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def unpacked(folder: Path, root: Path) -> None:
    (archive,) = listed(folder, ["tools*"])
    prove(archive)
    unpack(archive, root)


def test_an_archive_that_is_not_what_its_checksum_says_is_refused(folder: Path):
    an_archive(folder, member("bin/tool", b"good")).write_bytes(b"bad")

    with pytest.raises(BadPackages, match=r"tools\.tar\.gz does not match SHA256SUMS .*copy it again"):
        prove(listed(folder, ["tools*"])[0])


def test_an_archive_that_is_listed_and_not_there_is_refused(folder: Path):
    an_archive(folder).unlink()

    with pytest.raises(BadPackages, match="the file is missing"):
        prove(listed(folder, ["tools*"])[0])


@pytest.mark.parametrize(
    ("sums", "told"),
    [
        (None, "has no SHA256SUMS"),
        ("not a checksum\n", "line 1 of"),
        (f"{'a' * 64}  ../../etc/passwd\n", "plain file name"),
        (f"{'a' * 64}  other.tar.gz\n", "it names none"),
        (f"{'a' * 64}  tools1.tar.gz\n{'b' * 64}  tools2.tar.gz\n", "tools1.tar.gz, tools2.tar.gz"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_checksums_that_do_not_name_the_archive_are_refused(folder: Path, sums, told):
    folder.mkdir()
    if sums is not None:
        (folder / "SHA256SUMS").write_bytes(sums if isinstance(sums, bytes) else sums.encode())

    with pytest.raises(BadPackages, match=told):
        listed(folder, ["tools*"])


def test_a_glob_names_no_bystander(folder: Path):
    whole = an_archive(folder, member("a", b"1"))
    sums = folder / "SHA256SUMS"
    sums.write_text(sums.read_text() + f"{'0' * 64}  ._{whole.name}\n")

    assert [archive.path for archive in listed(folder, ["*.tar.gz"])] == [whole]


def test_files_links_and_modes_are_unpacked_over_what_is_there(folder: Path, root: Path):
    an_archive(
        folder,
        member("bin/工具", b"#!/bin/sh\n", mode=0o755),
        member("bin/link", type=tarfile.SYMTYPE, linkname="工具"),
        member("lib/same", type=tarfile.LNKTYPE, linkname="bin/工具"),
        member("empty", type=tarfile.DIRTYPE),
    )
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "工具").write_text("older")

    unpacked(folder, root)

    assert (root / "bin" / "工具").read_text() == (root / "lib" / "same").read_text() == "#!/bin/sh\n"
    assert os.access(root / "bin" / "工具", os.X_OK)
    assert (root / "bin" / "link").readlink() == Path("工具")
    assert (root / "empty").is_dir()


def test_a_file_takes_the_place_of_a_link_and_is_never_written_through_it(folder: Path, root: Path):
    an_archive(folder, member("bin/python", b"the package's own"))
    (root / "bin").mkdir(parents=True)
    (root / "shared").write_text("of others")
    (root / "bin" / "python").symlink_to("../shared")

    unpacked(folder, root)

    assert (root / "shared").read_text() == "of others"
    assert (root / "bin" / "python").read_text() == "the package's own"


@pytest.mark.parametrize(
    "hostile",
    [
        member("../evil", b"evil"),
        member("link", type=tarfile.SYMTYPE, linkname="/etc"),
        member("link", type=tarfile.SYMTYPE, linkname="../../outside"),
        member("link", type=tarfile.LNKTYPE, linkname="../outside"),
        member("node", type=tarfile.CHRTYPE),
        member("pipe", type=tarfile.FIFOTYPE),
    ],
    ids=lambda entry: f"{entry[0].type.decode()} {entry[0].name} {entry[0].linkname}",
)
def test_what_leads_out_or_is_no_file_is_not_unpacked(folder: Path, root: Path, tmp_path: Path, hostile):
    (tmp_path / "outside").write_text("of others")
    an_archive(folder, member("first", b"1"), hostile)

    with pytest.raises(BadSpec, match=r"tools\.tar\.gz is not unpacked"):
        unpacked(folder, root)

    assert not (tmp_path / "evil").exists()
    assert not (root / hostile[0].name).exists()


def test_an_archive_that_breaks_off_leaves_no_receipt_so_that_it_is_unpacked_again(folder: Path, root: Path):
    whole = an_archive(folder, member("a", b"1" * 100_000), member("b", os.urandom(100_000)))
    content = whole.read_bytes()
    whole.write_bytes(content[: len(content) // 2])
    (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(whole.read_bytes()).hexdigest()}  {whole.name}\n")

    with pytest.raises(BadSpec, match="not a complete"):
        unpacked(folder, root)

    assert pending(listed(folder, ["tools*"]), root) != []
    assert not list(root.glob(".tx81-unpacking-*"))


def test_what_a_process_that_died_left_behind_is_cleared_away(folder: Path, root: Path):
    an_archive(folder, member("a", b"1"))
    (root / ".tx81-unpacking-old").mkdir(parents=True)
    (root / ".tx81-unpacking-old" / "fresh").write_text("half")

    unpacked(folder, root)

    assert not list(root.glob(".tx81-unpacking-*"))


def test_what_is_unpacked_is_known_and_another_build_is_never_mixed_with_it(folder: Path, root: Path):
    an_archive(folder, member("a", b"1"))
    unpacked(folder, root)
    same = pending(listed(folder, ["tools*"]), root)
    an_archive(folder, member("a", b"2"))

    with pytest.raises(BadPackages, match=r"another build of tools\.tar\.gz; builds are not mixed"):
        pending(listed(folder, ["tools*"]), root)

    assert same == []
