"""Safetensors files, well-formed and hostile."""

import json
import struct

import numpy as np
import pytest

from emulator.models.floats import widened
from emulator.models.weights import Planned, SafetensorsFile, open_model, write
from emulator.tool import Refused
from tests.emulator.builders import a_model


def a_file(path, header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_what_is_written_is_read_back(tmp_path):
    first, second = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([7], np.float16)
    plan = [Planned("a", "F32", (2, 3)), Planned("b", "F16", (1,))]

    write(tmp_path / "x.gm", plan, [[first.tobytes()], [second.tobytes()]], {"format": "tx8-quant"})

    file = SafetensorsFile(tmp_path / "x.gm")
    assert file.metadata == {"format": "tx8-quant"}
    assert np.array_equal(widened(file.tensors["a"]), first)
    assert widened(file.tensors["b"]) == [7]
    assert file.tensors["a"].address() % 4 == 0


def test_a_write_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="bytes for"):
        write(tmp_path / "x.gm", [Planned("a", "F32", (2,))], [[b"sho", b"rt"]], {})

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "header",
    [
        b"not json",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        {"a": 5},
        {"a": entry(offsets=(0, 80))},
        {"a": entry(offsets=(-8, 0))},
        {"a": entry(offsets=(8, 0))},
        {"a": entry(offsets=(0,))},
        {"a": entry(shape=(3,))},
        {"a": entry(shape=(-2,))},
        {"a": entry(shape=("x",))},
        {"a": entry(shape=(float("inf"),))},
        {"a": {"dtype": "F32"}},
        {"__metadata__": 5},
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, header):
    with pytest.raises(Refused, match="not a safetensors file"):
        SafetensorsFile(a_file(tmp_path / "x", header, data=b"\0" * 8))


@pytest.mark.parametrize("length", [1 << 63, 10_000, 3])
def test_a_header_length_that_lies_is_refused(tmp_path, length):
    with pytest.raises(Refused, match="not a safetensors file"):
        SafetensorsFile(a_file(tmp_path / "x", {"a": entry()}, data=b"\0" * 8, length=length))


def test_an_empty_or_missing_file_is_refused(tmp_path):
    (tmp_path / "empty").touch()

    for name in ("empty", "missing"):
        with pytest.raises(Refused, match="cannot be read"):
            SafetensorsFile(tmp_path / name)


def test_data_at_an_odd_address_is_copied_to_an_even_one(tmp_path):
    header = json.dumps({"a": entry()}).encode()
    header += b" " * ((-len(header)) % 8 + 1)

    tensor = SafetensorsFile(a_file(tmp_path / "x", header, data=struct.pack("<2f", 1, 2))).tensors["a"]

    assert tensor.address() % 4 == 0
    assert list(widened(tensor)) == [1, 2]


def test_shards_are_found_by_the_index(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / f"{name}.safetensors", [Planned(name, "F32", (1,))], [[struct.pack("<f", 1)]], {})
    index = {"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))

    assert sorted(open_model(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize("name", ["../a.safetensors", "/etc/passwd", "a/b.safetensors", ""])
def test_an_index_cannot_lead_out_of_the_folder(tmp_path, name):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))

    with pytest.raises(Refused, match="not the name of a shard"):
        open_model(tmp_path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "model-00002-of-00003.safetensors").unlink(), "shard model-00002-of-00003"),
        (lambda folder: (folder / "model-00002-of-00003.safetensors").write_bytes(b"x" * 40), "not a safetensors file"),
        (
            lambda folder: index_of(folder, **{"lost.weight": "model-00001-of-00003.safetensors"}),
            "lost.weight is not in",
        ),
        (lambda folder: (folder / "model.safetensors.index.json").write_text('{"weight_map": []}'), "not an index"),
        (lambda folder: (folder / "model.safetensors.index.json").write_bytes(b"\xff"), "not an index"),
        (lambda folder: (folder / "model.safetensors.index.json").unlink(), "neither model.safetensors nor"),
    ],
)
def test_a_sharded_model_that_is_not_whole_is_refused_by_what_it_lacks(tmp_path, damage, reason):
    model = a_model(tmp_path / "model", shards=3)
    damage(model)

    with pytest.raises(Refused, match=reason):
        open_model(model)


def index_of(folder, **more):
    """The folder's index, with more in its map."""
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    path.write_text(json.dumps({"weight_map": index["weight_map"] | more}))
