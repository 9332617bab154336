"""Archives and headers of weights with anything in them: taken, or refused in words; never anything else."""

import gzip
import io
import json
import tarfile
import tempfile
from pathlib import Path

from fuzzing import bounded
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.catalog import tensor_headers, unpacking

KINDS = [bytes([kind]) for kind in b"\00001234567xgXLKSVDMN"]
NAMES = st.one_of(
    st.text(max_size=300),
    st.sampled_from(["a", "a/b", "../a", "/a", "._a", ".git/x", "a" * 300, "a/" * 80, "", ".", "a/../b"]),
)


@st.composite
def members(draw) -> bytes:
    """One header, sound or not, and some bytes after it."""
    info = tarfile.TarInfo(draw(NAMES)[:90].replace("\0", ""))
    info.type = draw(st.sampled_from(KINDS))
    content = draw(st.binary(max_size=1200))
    info.size = draw(st.one_of(st.just(len(content)), st.integers(0, 1 << 40)))
    info.linkname = draw(NAMES)[:90].replace("\0", "")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
    for place, byte in draw(st.lists(st.tuples(st.integers(0, 511), st.integers(0, 255)), max_size=2)):
        header[place] = byte
    if draw(st.booleans()):
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header[:512])
    padding = draw(st.sampled_from([-len(content) % 512, 0]))
    return bytes(header) + content + bytes(padding)


@given(parts=st.lists(members(), max_size=5), ends=st.booleans(), packed=st.booleans(), over=st.booleans())
@bounded()
def test_fuzz_archives_are_unpacked_or_refused(parts, ends, packed, over):
    content = b"".join(parts) + (bytes(1024) if ends else b"")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "target"
        target.mkdir()
        (Path(folder) / "archive").write_bytes(gzip.compress(content, 1) if packed else content)

        found = unpacking.outcome(
            {
                "archive": f"{folder}/archive", "target": str(target), "most_bytes": 1 << 20, "most_members": 100,
                "over": over, "skipped": r"\\._.*|\\.git",
            }
        )  # fmt: skip

        assert found == {} or found.get("refused") in ("size", "content", "broken")
        assert [path.name for path in Path(folder).iterdir()].count("target") == 1
        assert len(list(Path(folder).iterdir())) == 2


@given(content=st.binary(max_size=2000), cut=st.integers(0, 600))
@bounded()
def test_fuzz_anything_is_an_archive_or_refused(content, cut):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo("a")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    for given_bytes in (content, buffer.getvalue()[:cut], buffer.getvalue() + content):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "target").mkdir()
            (Path(folder) / "archive").write_bytes(given_bytes)
            task = {"archive": f"{folder}/archive", "target": f"{folder}/target", "most_bytes": 1 << 20}

            found = unpacking.outcome(task | {"most_members": 9, "over": False, "skipped": None})

            assert found == {} or found.get("refused") in ("size", "content", "broken")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
OFFSETS = st.lists(st.integers(-2, 40) | st.floats() | st.text(max_size=3), max_size=3)
TENSORS = st.dictionaries(
    st.text(max_size=8) | st.just("__metadata__"),
    VALUES | st.fixed_dictionaries({"data_offsets": OFFSETS}, optional={"dtype": VALUES, "shape": VALUES}),
    max_size=4,
)


@given(header=TENSORS | VALUES | st.binary(max_size=300), data=st.binary(max_size=40), off=st.integers(-9, 9))
@bounded()
def test_fuzz_headers_of_weights_are_sound_or_refused(header, data, off):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        file.write_bytes(max(0, len(text) + off).to_bytes(8, "little") + text + data)

        found = tensor_headers.outcome({"folder": folder, "weights": [str(file)], "indexes": []})

        assert found == {} or set(found) == {"refused"}


@given(index=st.fixed_dictionaries({"weight_map": VALUES}) | VALUES | st.binary(max_size=300))
@bounded()
def test_fuzz_indexes_of_shards_are_sound_or_refused(index):
    text = index if isinstance(index, bytes) else json.dumps(index).encode()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.index.json").write_bytes(text)

        found = tensor_headers.outcome({"folder": folder, "weights": [], "indexes": ["a.index.json"]})

        assert found == {} or set(found) == {"refused"}
