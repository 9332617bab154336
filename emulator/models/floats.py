"""Weights as numpy numbers: widened to fp32 exactly, and narrowed to bfloat16."""

import numpy as np
import numpy.typing as npt

from emulator.models.weights import Tensor

Floats = npt.NDArray[np.float32]


def widened(tensor: Tensor) -> Floats:
    """A tensor's values in fp32, exactly."""
    if tensor.dtype == "BF16":
        raw = np.frombuffer(tensor.bytes(), np.uint16).astype(np.uint32) << 16
        return raw.view(np.float32).reshape(tensor.shape)
    kind = np.float16 if tensor.dtype == "F16" else np.float32
    return np.frombuffer(tensor.bytes(), kind).astype(np.float32).reshape(tensor.shape)


def to_bfloat16(values: Floats) -> npt.NDArray[np.uint16]:
    """Finite fp32 values as the nearest bfloat16, ties to even."""
    raw = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((raw + 0x7FFF + ((raw >> 16) & 1)) >> 16).astype(np.uint16)
