"""A loaded `kcore.bin` with the weights it was compiled for, and the greedy loop over it."""

import ctypes
import json
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from emulator.engine.image import FORMAT, KCORE, MANIFEST, library_in, runs_here
from emulator.models.config import Dimensions, dimensions
from emulator.models.decoder import scale_name, scale_shape
from emulator.models.weights import SafetensorsFile, Tensor, open_model
from emulator.tool import Failed, Refused
from emulator.tree import Precision

_CODES = {-1: "token out of range", -2: "context is full", -3: "logits are not numbers"}


class Kcore:
    """The code of one compiled node, and what it says it was made from."""

    def __init__(self, folder: Path) -> None:
        path = folder / KCORE
        library = library_in(folder)
        try:
            self.library = ctypes.CDLL(library)
            self._declare()
        except (OSError, AttributeError) as error:
            raise Refused(f"{path}: not a kcore for this machine: {error}") from None
        march = self.library.kcore_march().decode()
        if not runs_here(march):
            raise Refused(f"{path}: compiled for {march}, which this machine is not")
        self.manifest: dict[str, Any] = json.loads(self.library.kcore_manifest())
        if self.manifest.get("format") != FORMAT:
            raise Refused(f"{path}: compiled by another build of the toolchain; convert and compile again")
        self.chips = int(self.manifest["chip_num"])
        """How many cards it runs on."""
        self.dims = Dimensions.restored(self.manifest["dimensions"])
        self._require_own_source(folder / MANIFEST)

    def _declare(self) -> None:
        for name in ("kcore_manifest", "kcore_march"):
            getattr(self.library, name).restype = ctypes.c_char_p
        self.library.kcore_open.restype = ctypes.c_void_p
        self.library.kcore_close.argtypes = [ctypes.c_void_p]
        self.library.kcore_forward.argtypes = [
            ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_void_p,
        ]  # fmt: skip

    def _require_own_source(self, beside: Path) -> None:
        """A `kcore.bin` beside another model's source is a leftover; alone it is fine."""
        if beside.is_file() and _json(beside) != self.manifest:
            raise Refused(f"{beside.parent}: kcore.bin is not from the source beside it; run soc_compile.sh again")

    def require_model(self, config: dict[str, Any]) -> None:
        """Refuse a model whose config is not the one this kcore was compiled from."""
        found = dimensions(config)
        for key, wanted in vars(self.dims).items():
            if getattr(found, key) != wanted:
                raise Refused(f"config.json: {key} is {getattr(found, key)}, the kcore was compiled for {wanted}")


def _json(path: Path) -> object:
    try:
        return json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError):
        return None


def weights_for(kcore: Kcore, model: Path) -> dict[str, Tensor]:
    """The tensors to bind: the folder's own, or the `.gm` the kcore names, in the folder or beside it; or a `.gm`
    itself."""
    if model.is_file():
        return SafetensorsFile(model).tensors
    if kcore.manifest["precision"] != Precision.INT8:
        return open_model(model)
    name = Path(str(kcore.manifest["weights"])).name
    places = [model / name, model.resolve() / name, model.resolve().parent / name, model.parent / name]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise Refused(f"the kcore needs {name}, which is neither in {model} nor beside it")
    return SafetensorsFile(found).tensors


class Weights:
    """Pointers to the tensors in the order the kcore binds them, each checked against its table."""

    def __init__(self, kcore: Kcore, tensors: dict[str, Tensor]) -> None:
        listed = kcore.manifest["tensors"]
        self.count = len(listed)
        self._keep = tensors
        self.data = (ctypes.c_void_p * self.count)()
        self.scales = (ctypes.c_void_p * self.count)()
        for at, (name, dtype, shape) in enumerate(listed):
            tensor = self._tensor(name, dtype, tuple(shape))
            self.data[at] = tensor.address()
            if dtype == "I8":
                self.scales[at] = self._tensor(scale_name(name), "F32", scale_shape(tuple(shape))).address()

    def _tensor(self, name: str, dtype: str, shape: tuple[int, ...]) -> Tensor:
        tensor = self._keep.get(name)
        if tensor is None:
            raise Refused(f"weights: {name} is missing, the kcore was compiled with it")
        if (tensor.dtype, tensor.shape) != (dtype, shape):
            found = f"{tensor.dtype} {list(tensor.shape)}"
            raise Refused(f"weights: {name} is {found}, the kcore was compiled for {dtype} {list(shape)}")
        return tensor


class Session:
    """One conversation's memory on one card group. Sessions of one kcore may run in threads side by side."""

    def __init__(self, kcore: Kcore, weights: Weights) -> None:
        self._kcore = kcore
        self._weights = weights
        self._handle = kcore.library.kcore_open(weights.data, weights.scales, weights.count)
        if not self._handle:
            raise Failed("out of memory")
        self.max_sequence = kcore.dims.max_sequence
        self.logits = (ctypes.c_float * kcore.dims.vocab_size)()
        """Scores of the token that follows the last one read; overwritten by every `forward`."""

    def forward(self, tokens: Sequence[int], start: int) -> int:
        """Read tokens that stand from position `start` on (0 forgets the conversation); the most likely next one."""
        array = (ctypes.c_int32 * len(tokens))(*tokens)
        code: int = self._kcore.library.kcore_forward(self._handle, array, len(tokens), start, self.logits)
        if code < 0:
            raise Failed(f"RuntimeError: TXDA error: (txLaunchModel(model)) = {_CODES.get(code, code)}")
        return code

    def close(self) -> None:
        """Free the memory; twice is fine."""
        handle, self._handle = self._handle, None
        self._kcore.library.kcore_close(handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class Generation:
    """One greedy answer: token ids without the end mark, times in seconds from the first prompt token on."""

    tokens: list[int]
    seconds: float
    ttft_seconds: float
    finish_reason: str
    """`stop`: the model ended it; `length`: max_tokens or the compiled length did."""


def generate(
    session: Session,
    prompt: Sequence[int],
    *,
    room: int,
    ends: Collection[int],
    stop: threading.Event,
    strike: Callable[[], bool],
    each: Callable[[int], bool] | None = None,
) -> Generation:
    """Decode greedily until one of `ends` or `room` tokens; `strike` is asked before every token and says if it comes
    out wrong, `each` is told every token and says if the answer ends there (`stop`).

    A wrong token is one spoiled on its way out: the model goes on with the right one, so the length stays what it
    was."""
    began = time.perf_counter()
    tokens: list[int] = []
    reading, position, first = list(prompt), 0, 0.0
    while not stop.is_set():
        spoiled = strike()
        token = session.forward(reading, position)
        position += len(reading)
        first = first or time.perf_counter() - began
        if token in ends:
            return Generation(tokens, time.perf_counter() - began, first, "stop")
        tokens.append((token + 1) % len(session.logits) if spoiled else token)
        if each is not None and each(tokens[-1]):
            return Generation(tokens, time.perf_counter() - began, first, "stop")
        if len(tokens) == room:
            return Generation(tokens, time.perf_counter() - began, first, "length")
        reading = [token]
    return Generation(tokens, time.perf_counter() - began, first, "interrupted")
