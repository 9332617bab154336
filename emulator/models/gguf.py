"""GGUF files, as far as needed for models: version 3, facts by name, and tensors in four of its formats.

The format: magic, version, counts, the facts, a table of tensors (name, sides from the innermost on, format, offset),
the data from the next multiple of 32 bytes on. Quantised formats hold 32 values per block:

| number | format | bytes per block |
|---|---|---|
| 0 | F32 | |
| 1 | F16 | |
| 3 | Q4_1 | F16 scale, F16 least value, 16 bytes: low halves are the first 16 values, high ones the others |
| 8 | Q8_0 | F16 scale, 32 signed bytes |
"""

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emulator.models.floats import Floats
from emulator.tool import Refused

_BEGINNING = b"GGUF" + struct.pack("<I", 3)
_ALIGNMENT = 32
_BLOCK = 32
_TEXT, _LIST = 8, 9
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_F32, _F16, _Q4_1, _Q8_0 = 0, 1, 3, 8
_Q4_1_BLOCK = np.dtype([("scale", "<f2"), ("least", "<f2"), ("halves", "u1", 16)])
_Q8_0_BLOCK = np.dtype([("scale", "<f2"), ("whole", "i1", _BLOCK)])
_BYTES = {_F32: (1, 4), _F16: (1, 2), _Q4_1: (_BLOCK, _Q4_1_BLOCK.itemsize), _Q8_0: (_BLOCK, _Q8_0_BLOCK.itemsize)}
"""Values in a block of each format, and its bytes."""


@dataclass(frozen=True)
class _Entry:
    shape: tuple[int, ...]
    """The outermost side first, as everywhere else."""
    format: int
    offset: int


class GgufFile:
    """One file: its facts, and its tensors in fp32 when asked for."""

    def __init__(self, path: Path) -> None:
        self.facts: dict[str, Any] = {}
        self._entries: dict[str, _Entry] = {}
        self._at = 0
        try:
            with path.open("rb") as file:
                self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._read()
        except (OSError, ValueError, KeyError, struct.error) as error:
            raise Refused(f"{path}: not a GGUF file of version 3: {error!r}") from None

    @property
    def names(self) -> list[str]:
        """Its tensors, in its order."""
        return list(self._entries)

    def tensor(self, name: str) -> Floats:
        """One tensor's values; a format that is not known, or data beyond the file's end, is refused."""
        entry = self._entries[name]
        values, size = _BYTES.get(entry.format, (0, 0))
        count = math.prod(entry.shape)
        if not values or count % values:
            raise Refused(f"{name}: GGUF format {entry.format} of {count} values is not known")
        begin = self._at + entry.offset
        raw = self._mapped[begin : begin + count // values * size]
        if len(raw) != count // values * size:
            raise Refused(f"{name}: its data lie beyond the end of the file")
        return _widened(raw, entry.format).reshape(entry.shape)

    def _read(self) -> None:
        if self._mapped[:8] != _BEGINNING:
            raise ValueError("magic or version")
        self._at = len(_BEGINNING)
        tensors, facts = self._number("Q"), self._number("Q")
        for _ in range(facts):
            name = self._text()
            self.facts[name] = self._value(self._number("I"))
        for _ in range(tensors):
            name = self._text()
            sides = [self._number("Q") for _ in range(self._number("I"))]
            self._entries[name] = _Entry(tuple(reversed(sides)), self._number("I"), self._number("Q"))
        self._at += -self._at % _ALIGNMENT

    def _number(self, code: str) -> Any:
        (value,) = struct.unpack_from(f"<{code}", self._mapped, self._at)
        self._at += struct.calcsize(f"<{code}")
        return value

    def _text(self) -> str:
        length = self._number("Q")
        text = self._mapped[self._at : self._at + length]
        if len(text) != length:
            raise ValueError("a text beyond the end of the file")
        self._at += length
        return text.decode("utf-8")

    def _value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind == _LIST:
            inner = self._number("I")
            return [self._value(inner) for _ in range(self._number("Q"))]
        return self._number(_NUMBERS[kind])


def _widened(raw: bytes, kind: int) -> Floats:
    if kind in (_F32, _F16):
        return np.frombuffer(raw, "<f4" if kind == _F32 else "<f2").astype(np.float32)
    if kind == _Q8_0:
        blocks = np.frombuffer(raw, _Q8_0_BLOCK)
        return blocks["whole"].astype(np.float32) * blocks["scale"].astype(np.float32)[:, None]
    blocks = np.frombuffer(raw, _Q4_1_BLOCK)
    whole = np.concatenate([blocks["halves"] & 15, blocks["halves"] >> 4], axis=1).astype(np.float32)
    return whole * blocks["scale"].astype(np.float32)[:, None] + blocks["least"].astype(np.float32)[:, None]
