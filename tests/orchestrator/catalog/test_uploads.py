"""Files in pieces, and archives that try to get out."""

import hashlib
import io
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.catalog.uploads import FORGOTTEN_AFTER, UploadRequest, Uploads, WrongOffset
from orchestrator.errors import BadRequest, BadSpec, NotFound, OrchestratorError
from orchestrator.settings import Settings

CONTENT = bytes(range(256)) * 40


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def begun(uploads: Uploads, content: bytes) -> str:
    digest = digest_of(content)
    uploads.begin(UploadRequest(digest=digest, size=len(content)))
    return digest


def sent(uploads: Uploads, content: bytes) -> str:
    digest = begun(uploads, content)
    uploads.append(digest, 0, content)
    return digest


def packed(*members: tuple[str | tarfile.TarInfo, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for named, content in members:
            info = named if isinstance(named, tarfile.TarInfo) else tarfile.TarInfo(named)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def special(name: str, kind: bytes, to: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path / "state", max_upload_bytes=1 << 20)


@pytest.fixture
def uploads(settings: Settings) -> Uploads:
    return Uploads(settings)


# ── pieces ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_upload_goes_on_where_it_broke_off(uploads, settings):
    digest = begun(uploads, CONTENT)
    uploads.append(digest, 0, CONTENT[:1000])

    again = Uploads(settings).begin(UploadRequest(digest=digest, size=len(CONTENT)))
    done = uploads.append(digest, again.offset, CONTENT[again.offset :])

    assert again.offset == 1000
    assert done.complete


@pytest.mark.parametrize("offset", [0, 999, 1001])
def test_a_piece_that_does_not_begin_where_the_last_one_ended_is_refused(uploads, offset):
    digest = begun(uploads, CONTENT)
    uploads.append(digest, 0, CONTENT[:1000])

    with pytest.raises(WrongOffset, match="offset 1000"):
        uploads.append(digest, offset, b"x")

    assert uploads.state(digest).offset == 1000


def test_of_two_that_send_the_same_piece_one_is_told(uploads):
    digest = begun(uploads, CONTENT)

    def send(_: int) -> bool:
        try:
            uploads.append(digest, 0, CONTENT[:5000])
        except WrongOffset:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(send, range(8)))

    assert taken.count(True) == 1
    assert uploads.state(digest).offset == 5000


def test_a_piece_beyond_the_announced_end_is_refused_whole(uploads):
    digest = begun(uploads, CONTENT)

    with pytest.raises(BadRequest, match=str(len(CONTENT))):
        uploads.append(digest, 0, CONTENT + b"x")

    assert uploads.state(digest).offset == 0


def test_what_is_too_large_is_refused_before_a_byte_is_sent(uploads):
    with pytest.raises(BadRequest, match="TX81_MAX_UPLOAD_BYTES") as refusal:
        uploads.begin(UploadRequest(digest=digest_of(b""), size=(1 << 20) + 1))

    assert refusal.value.field == "size"


def test_a_discarded_upload_is_gone(uploads):
    digest = sent(uploads, CONTENT)

    uploads.discard(digest)
    uploads.discard(digest)

    with pytest.raises(NotFound, match="begin it again"):
        uploads.state(digest)


def test_an_upload_that_nobody_continues_is_removed(uploads, settings):
    digest = begun(uploads, CONTENT)
    for file in (settings.models / ".uploads").iterdir():
        long_ago = file.stat().st_mtime - FORGOTTEN_AFTER - 60
        os.utime(file, (long_ago, long_ago))

    begun(uploads, b"another")

    with pytest.raises(NotFound):
        uploads.state(digest)


# ── archives ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("top", ["", "./", "DeepSeek-R1/", "模型/"])
def test_the_folder_that_holds_the_files_is_found(uploads, top, mode):
    digest = sent(uploads, packed((f"{top}config.json", b"{}"), (f"{top}sub/w.bin", b"12"), mode=mode))

    folder = uploads.folder_of(digest, "qwen")

    assert {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()} == {
        "config.json",
        "sub/w.bin",
    }
    assert (folder / "sub/w.bin").read_bytes() == b"12"


def test_the_same_archive_is_unpacked_once(uploads):
    digest = sent(uploads, packed(("config.json", b"{}")))
    first = uploads.folder_of(digest, "qwen")
    uploads.discard(digest)

    again = uploads.folder_of(digest, "qwen")

    assert again == first


def test_an_upload_that_is_not_whole_is_not_unpacked(uploads):
    content = packed(("config.json", b"{}"))
    digest = begun(uploads, content)
    uploads.append(digest, 0, content[:-1])

    with pytest.raises(BadSpec, match=f"only {len(content) - 1} of {len(content)} bytes"):
        uploads.folder_of(digest, "qwen")


def test_bytes_that_do_not_have_the_announced_digest_are_thrown_away(uploads, settings):
    content = packed(("config.json", b"{}"))
    digest = digest_of(b"something else")
    uploads.begin(UploadRequest(digest=digest, size=len(content)))
    uploads.append(digest, 0, content)

    with pytest.raises(BadSpec, match="send the file again"):
        uploads.folder_of(digest, "qwen")

    with pytest.raises(NotFound):
        uploads.state(digest)
    assert sorted(path.name for path in settings.models.iterdir()) == [".uploads"]


ESCAPES = {
    "a path that climbs": packed(("../evil", b"x")),
    "a path that climbs from inside": packed(("a/../../evil", b"x")),
    "an absolute path": packed(("/tmp/evil", b"x")),
    "a link": packed((special("config.json", tarfile.SYMTYPE, "/etc/passwd"), b"")),
    "a hard link": packed(("a", b"x"), (special("b", tarfile.LNKTYPE, "/etc/passwd"), b"")),
    "a device": packed((special("null", tarfile.CHRTYPE), b"")),
    "a pipe": packed((special("pipe", tarfile.FIFOTYPE), b"")),
    "one name twice": packed(("a", b"1"), ("a", b"2")),
    "a link and then a file through it": packed((special("d", tarfile.SYMTYPE, ".."), b""), ("d/evil", b"x")),
    "nothing": packed(),
    "no archive": b"GIF89a" + b"\0" * 100,
    "half an archive": packed(("a", os.urandom(9000)))[:4000],
    "more than allowed": packed(("zeros", bytes((1 << 20) + 1))),
}


@pytest.mark.parametrize("content", ESCAPES.values(), ids=ESCAPES)
def test_an_archive_that_no_model_needs_is_refused_and_leaves_nothing(uploads, settings, content):
    digest = sent(uploads, content)
    before = sorted(settings.state_dir.rglob("*"))

    with pytest.raises(OrchestratorError) as refusal:
        uploads.folder_of(digest, "qwen")

    assert refusal.value.field == "upload"
    assert sorted(settings.state_dir.rglob("*")) == before
