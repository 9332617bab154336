"""Safetensors files, read through a memory map and written in one stream.

The format: eight bytes with the little-endian length of a JSON header, the header (tensor name → dtype, shape,
data_offsets counted from its end, and `__metadata__` with strings), the data. Nothing in a header is trusted: every
offset is checked against the file before a pointer is made of it.
"""

import ctypes
import json
import math
import mmap
import os
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator.tool import Refused

SIZES = {"BF16": 2, "F16": 2, "F32": 4, "I8": 1}
"""The dtypes this toolchain computes with, and their bytes a value."""
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
"""Where a model of several files says which tensor is in which."""
_HEADER_LIMIT = 100_000_000
_ALIGNMENT = 64
_SHARD = re.compile(r"[\w.-]+\.safetensors")


@dataclass(frozen=True)
class Tensor:
    """Where one tensor's bytes lie."""

    dtype: str
    shape: tuple[int, ...]
    file: "SafetensorsFile" = field(repr=False, compare=False)
    begin: int = field(compare=False)
    end: int = field(compare=False)

    def bytes(self) -> memoryview:
        """The raw values, not copied."""
        return memoryview(self.file.mapped)[self.begin : self.end]

    def address(self) -> int:
        """A pointer for native code, aligned to the value's size; it lives as long as the file object."""
        address = self.file.base + self.begin
        return address if address % SIZES[self.dtype] == 0 else self.file.aligned_copy(self)


class SafetensorsFile:
    """One file mapped into memory; its pages are shared with every process that maps it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metadata: dict[str, str] = {}
        self.tensors: dict[str, Tensor] = {}
        self._copies: list[Any] = []
        try:
            with path.open("rb") as file:
                # A private writable mapping: ctypes wants one to point into, and nobody writes.
                self.mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except (OSError, ValueError) as error:
            raise Refused(f"{path}: cannot be read: {error}") from None
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.mapped))
        self._read_header()

    def _read_header(self) -> None:
        size = len(self.mapped)
        length = struct.unpack("<Q", self.mapped[:8])[0] if size >= 8 else size
        if length > min(size - 8, _HEADER_LIMIT):
            raise Refused(f"{self.path}: not a safetensors file")
        try:
            header = json.loads(self.mapped[8 : 8 + length])
            metadata = header.pop("__metadata__", {})
            self.metadata = {str(key): str(value) for key, value in metadata.items()}
            self.tensors = {name: self._tensor(entry, 8 + length) for name, entry in header.items()}
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise Refused(f"{self.path}: not a safetensors file: {error!r}") from None

    def _tensor(self, entry: dict[str, Any], start: int) -> Tensor:
        dtype, shape = str(entry["dtype"]), tuple(int(side) for side in entry["shape"])
        begin, end = (start + int(offset) for offset in entry["data_offsets"])
        if not start <= begin <= end <= len(self.mapped) or min(shape, default=0) < 0:
            raise ValueError("a tensor lies outside the file")
        if dtype in SIZES and end - begin != math.prod(shape) * SIZES[dtype]:
            raise ValueError("a tensor's size is not that of its shape")
        return Tensor(dtype, shape, self, begin, end)

    def aligned_copy(self, tensor: Tensor) -> int:
        """A copy at an aligned address, for the rare file whose data start at an odd one."""
        copy = ctypes.create_string_buffer(bytes(tensor.bytes()), tensor.end - tensor.begin)
        self._copies.append(copy)
        return ctypes.addressof(copy)


def open_model(folder: Path) -> dict[str, Tensor]:
    """All tensors of a Hugging Face folder: `model.safetensors`, or those that its index finds in the shards."""
    single, index = folder / SINGLE, folder / INDEX
    if single.is_file():
        return SafetensorsFile(single).tensors
    if not index.is_file():
        raise Refused(f"{folder}: neither {SINGLE} nor {INDEX} in it")
    places = _places(index)
    shards: dict[str, SafetensorsFile] = {}
    for shard in sorted(set(places.values())):
        if not (folder / shard).is_file():
            raise Refused(f"{index}: its shard {shard} is missing; fetch the model again")
        shards[shard] = SafetensorsFile(folder / shard)
    lost = next((name for name, shard in places.items() if name not in shards[shard].tensors), None)
    if lost is not None:
        raise Refused(f"{index}: {lost} is not in {places[lost]}, where the index says it is; fetch the model again")
    return {name: shards[shard].tensors[name] for name, shard in places.items()}


def _places(index: Path) -> dict[str, str]:
    """The name of the shard of every tensor."""
    try:
        places = {str(name): str(shard) for name, shard in json.loads(index.read_text("utf-8"))["weight_map"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise Refused(f"{index}: not an index: {error!r}") from None
    odd = next((shard for shard in places.values() if not _SHARD.fullmatch(shard)), None)
    if odd is not None:
        raise Refused(f"{index}: {odd!r} is not the name of a shard in this folder")
    return places


@dataclass(frozen=True)
class Planned:
    """A tensor that is going to be written."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Its bytes in the file."""
        return math.prod(self.shape) * SIZES[self.dtype]


def write(path: Path, plan: Sequence[Planned], data: Iterable[Iterable[bytes]], metadata: dict[str, str]) -> None:
    """Write the planned tensors as their pieces come; the file appears under its name only when it is whole."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with fresh.open("wb") as file:
            file.write(_header(plan, metadata))
            for planned, pieces in zip(plan, data, strict=True):
                written = sum(file.write(piece) for piece in pieces)
                if written != planned.size:
                    raise ValueError(f"{planned.name}: {written} bytes for {planned.size}")
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def _header(plan: Sequence[Planned], metadata: dict[str, str]) -> bytes:
    header: dict[str, object] = {"__metadata__": metadata}
    header |= {
        planned.name: {
            "dtype": planned.dtype,
            "shape": list(planned.shape),
            "data_offsets": [begin, begin + planned.size],
        }
        for planned, begin in zip(plan, _offsets(plan), strict=True)
    }
    text = json.dumps(header, ensure_ascii=True).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    return struct.pack("<Q", len(text)) + text


def _offsets(plan: Sequence[Planned]) -> Iterator[int]:
    at = 0
    for planned in plan:
        yield at
        at += planned.size
