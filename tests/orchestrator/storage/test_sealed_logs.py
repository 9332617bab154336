import random
import resource
import shutil
import subprocess
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from orchestrator.storage.artifacts import StoreFull
from orchestrator.storage.logs import FRAME, DamagedLog, SealedLogReader, seal


def a_noisy_log(size: int = 3 * FRAME + 1234) -> bytes:
    """Chinese text, bytes that are not UTF-8, carriage returns, one very long line."""
    chance = random.Random(81)
    lines = [f"第{number}行 tok/s={chance.random()}\r\n".encode() for number in range(2000)]
    lines += [b"\xff\xfe\x00 raw\n", b"=" * (FRAME + 99) + b"\n", b"\n\n\n"]
    while sum(map(len, lines)) < size:
        lines.append(chance.randbytes(chance.randrange(400)) + b"\n")
    return b"".join(lines)


def sealed(folder: Path, content: bytes) -> SealedLogReader:
    (folder / "attempt.log").write_bytes(content)
    seal(folder / "attempt.log", folder / "attempt.zst")
    return SealedLogReader(folder / "attempt.zst")


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"no newline", b"a\nb", b"x" * FRAME, b"y" * (FRAME - 1) + b"\n" + b"z", a_noisy_log()],
    ids=["empty", "one newline", "no newline", "unfinished line", "one frame", "newline ends frame", "noisy"],
)
def test_every_byte_comes_back(tmp_path, content):
    reader = sealed(tmp_path, content)

    assert reader.read(0, len(content) + 100) == content
    assert (reader.size, reader.lines) == (len(content), lines_of(content))


def lines_of(content: bytes) -> int:
    return len(content.removesuffix(b"\n").split(b"\n")) if content else 0


def test_any_range_is_that_range_of_the_log(tmp_path):
    content = a_noisy_log()
    reader = sealed(tmp_path, content)
    chance = random.Random(7)
    ranges = [(chance.randrange(len(content)), chance.randrange(2 * FRAME)) for _ in range(50)]
    ranges += [
        (FRAME, 1),
        (FRAME - 1, 2),
        (0, 0),
        (len(content) - 1, 5),
        (len(content), 5),
        (len(content) + 9, 5),
        (-1, 3),
    ]

    for offset, length in ranges:
        assert reader.read(offset, length) == (content[offset : offset + length] if offset >= 0 else b"")


def test_a_line_is_found_by_its_number(tmp_path):
    content = a_noisy_log()
    reader = sealed(tmp_path, content)
    starts = [0] + [at + 1 for at, byte in enumerate(content) if byte == 10]

    for number in (0, 1, 1999, 2000, 2001, 2002, 2003, len(starts) - 2):
        assert reader.offset_of_line(number) == starts[number]
    assert reader.offset_of_line(reader.lines) == reader.offset_of_line(10**9) == len(content)


def test_the_tail_is_the_last_lines(tmp_path):
    reader = sealed(tmp_path, a_noisy_log() + "倒数第二\n最后".encode())

    assert reader.tail(2).decode() == "倒数第二\n最后"
    assert reader.tail(0) == b""
    assert reader.tail(10**9, at_most=10**9) == reader.read(0, reader.size)


def test_the_tail_of_one_endless_line_is_cut(tmp_path):
    reader = sealed(tmp_path, b"#" * (4 * FRAME) + b"!")

    assert reader.tail(1, at_most=4) == b"###!"


def test_what_was_sealed_is_counted(tmp_path):
    content = b"step\n" * 100_000
    (tmp_path / "attempt.log").write_bytes(content)

    outcome = seal(tmp_path / "attempt.log", tmp_path / "attempt.zst")

    assert (outcome.lines, outcome.bytes) == (100_000, 500_000)
    assert outcome.zst_bytes == (tmp_path / "attempt.zst").stat().st_size < 5000


def test_the_ordinary_zstd_tool_can_read_it(tmp_path):
    if not (zstd := shutil.which("zstd")):
        pytest.skip("needs the zstd program")
    content = a_noisy_log()
    sealed(tmp_path, content)

    assert subprocess.run([zstd, "-dc", tmp_path / "attempt.zst"], capture_output=True, check=True).stdout == content


def test_a_file_that_is_no_sealed_log_is_refused(tmp_path):
    for content in (b"", b"short", b"\0" * 4096):
        (tmp_path / "other").write_bytes(content)

        with pytest.raises(DamagedLog, match="not a complete sealed log"):
            SealedLogReader(tmp_path / "other")


def test_a_truncated_log_is_refused(tmp_path):
    sealed(tmp_path, a_noisy_log())
    whole = (tmp_path / "attempt.zst").read_bytes()
    (tmp_path / "attempt.zst").write_bytes(whole[:-10])

    with pytest.raises(DamagedLog):
        SealedLogReader(tmp_path / "attempt.zst")


@pytest.mark.parametrize("place", [0, 3000, -1])
def test_a_flipped_bit_is_an_error_and_never_other_text(tmp_path, place):
    content = random.Random(3).randbytes(FRAME)
    sealed(tmp_path, content + content)
    whole = bytearray((tmp_path / "attempt.zst").read_bytes())
    second_frame = whole.index(bytes(whole[:4]), 4)
    whole[place if place >= 0 else second_frame + place] ^= 1
    (tmp_path / "attempt.zst").write_bytes(whole)

    with pytest.raises(DamagedLog, match="frame at byte 0"):
        SealedLogReader(tmp_path / "attempt.zst").read(0, 10)


def _seal_without_room(folder: Path) -> str:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    try:
        seal(folder / "attempt.log", folder / "attempt.zst")
    except StoreFull as error:
        return error.detail
    return "sealed"


def test_without_room_nothing_half_sealed_shows(tmp_path):
    (tmp_path / "attempt.log").write_bytes(random.Random(1).randbytes(FRAME * 2))

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        told = pool.submit(_seal_without_room, tmp_path).result()

    assert told.startswith(f"cannot write below {tmp_path}")
    assert [path.name for path in tmp_path.iterdir()] == ["attempt.log"]


def test_a_frame_that_claims_a_giant_window_is_damage_and_not_memory(tmp_path):
    sealed(tmp_path, b"x" * 100)
    whole = (tmp_path / "attempt.zst").read_bytes()
    # RFC 8878 §3.1.1: no single segment, a window of 128 MiB, no size of the content; an empty last block.
    frame = bytes.fromhex("28b52ffd") + b"\x00" + bytes([17 << 3]) + bytes([1, 0, 0])
    index = whole.rindex(b"\x57\x2a\x4d\x18")
    (tmp_path / "attempt.zst").write_bytes(frame + whole[index:])

    with pytest.raises(DamagedLog):
        SealedLogReader(tmp_path / "attempt.zst").read(0, 100)


def test_an_index_that_does_not_count_the_frames_is_damage(tmp_path):
    sealed(tmp_path, b"x" * 100)
    whole = bytearray((tmp_path / "attempt.zst").read_bytes())
    whole[-28:-20] = (1 << 62).to_bytes(8, "little")
    (tmp_path / "attempt.zst").write_bytes(whole)

    with pytest.raises(DamagedLog, match="index"):
        SealedLogReader(tmp_path / "attempt.zst")
