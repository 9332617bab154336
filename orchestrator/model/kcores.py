"""Kernel images: what is known of how one was made, and for which jobs it is the wrong one. Pure.

A kcore is a folder: a literal `kcore.bin`, or `model_info.json` with `chipN/tileM/kcore_fw.bin` (newer graphs:
`kcore_fw.so`) for every chip. The name of a vendor's archive says more: `deepseek_7b_bf16_seq8192_c4` is bf16, up to
8192 tokens, four cards. `model_info.json` wins over the name.
"""

import math
import re
from collections.abc import Collection, Mapping
from json import JSONDecodeError
from typing import Any, Literal

from pydantic import Field

from orchestrator.model.slots import CARDS_PER_GROUP, SINGLE_CARD
from orchestrator.model.specs import Name, Strict
from orchestrator.strict_json import BadDocument, loads

LITERAL = "kcore.bin"
MODEL_INFO = "model_info.json"
SOURCE_MANIFEST = "manifest.json"
"""What converted source says of itself; its `fingerprint` is part of the image that is compiled from it."""

MODEL_INFO_LIMIT = 1 << 20
"""Bytes; the vendor's own have some kilobytes."""

MOST_INFO_VALUES = 100_000

TILES = 16
"""Of a whole card: 4 × 4. Cards with half of them exist, so model_info.json may say fewer."""

Precision = Literal["bf16", "fp16", "quant"]

_FINGERPRINT = re.compile(rb'"fingerprint"\s*:\s*"([0-9a-f]{64})"')
_NAMED = re.compile(r"_(?P<precision>bf16|fp16|int8|quant)_seq(?P<sequence>[0-9]{1,6})_c(?P<chips>[0-9]{1,2})(?![0-9])")
_PRECISIONS: dict[str, Precision] = {"bf16": "bf16", "fp16": "fp16", "int8": "quant", "quant": "quant"}


class KcoreFacts(Strict):
    """What is known of a kernel image; None is not known."""

    chips: int | None = Field(default=None, description="How many cards it was compiled for.")
    precision: Precision | None = None
    sequence: int | None = Field(default=None, description="The most tokens of a question with its answer.")
    model: Name | None = Field(default=None, description="The registered model it was compiled from.")


MOST_CHIPS = 256
"""Cards of one kernel image that are believed; more is no number of cards."""


class BadKcore(ValueError):
    """The folder is no whole kernel image; the text says what is wrong."""


def chips_in(model_info: bytes) -> int:
    """How many cards `model_info.json` speaks of; BadKcore if it is none."""
    document = _document(model_info)
    chips = document.get("chip_num")
    if not isinstance(chips, int) or isinstance(chips, bool) or not 1 <= chips <= MOST_CHIPS:
        raise BadKcore(f"{MODEL_INFO} has no chip_num from 1 to {MOST_CHIPS}")
    return chips


def facts_in_name(name: str) -> KcoreFacts:
    """What the name of an archive or a folder tells."""
    found = _NAMED.search(name)
    if found is None:
        return KcoreFacts()
    precision, sequence, chips = _PRECISIONS[found["precision"]], int(found["sequence"]), int(found["chips"])
    return KcoreFacts(precision=precision, sequence=sequence, chips=chips)


def missing(files: Collection[str], model_info: bytes | None) -> str | None:
    """The first file that a whole kernel image would have; None if nothing is missing.

    `files` are the paths of those that are not empty."""
    if LITERAL in files:
        return None
    if model_info is None:
        return f"{LITERAL} or {MODEL_INFO}"
    tiles = _tiles(_document(model_info))
    for chip in range(chips_in(model_info)):
        for tile in range(tiles[chip] if chip < len(tiles) else TILES):
            image = f"chip{chip}/tile{tile}/kcore_fw"
            if f"{image}.bin" not in files and f"{image}.so" not in files:
                return f"{image}.bin"
    return None


def fingerprint_of(source_manifest: bytes) -> str | None:
    """The fingerprint of converted source; None if it has none."""
    found = _FINGERPRINT.search(source_manifest)
    return None if found is None else found[1].decode()


def is_from_another_source(image: bytes, fingerprint: str) -> bool:
    """Whether a part of an image names a source with another fingerprint."""
    return any(told.decode() != fingerprint for told in _FINGERPRINT.findall(image))


def misfit_of_cards(chips: int | None, cards: str | None) -> str | None:
    """Why a kernel image for that number of cards cannot run on those that a job requests."""
    wanted = 1 if cards == SINGLE_CARD else CARDS_PER_GROUP
    if chips is None or chips == wanted:
        return None
    compiled = "1 card" if chips == 1 else f"{chips} cards"
    if chips == 1:
        return f'the kcore was compiled for {compiled}, not for a card group: use cards: "{SINGLE_CARD}"'
    if wanted == 1 and chips == CARDS_PER_GROUP:
        return f"the kcore was compiled for {compiled}, but cards {SINGLE_CARD} is one card: request a whole card group"
    return f"the kcore was compiled for {compiled}, but this job runs on {wanted}: compile one for them"


def misfit_of_precision(precision: Precision | None, *, has_gm: bool) -> str | None:
    """Why a kernel image of that precision does not take the quantised weights that a job gives it."""
    if has_gm and precision in ("bf16", "fp16"):
        return f"the kcore was compiled for {precision} weights and takes no quantised weights: omit gm"
    return None


def lacks_weights(precision: Precision | None, *, has_gm: bool) -> str | None:
    """Why a kernel image of that precision cannot run without the quantised weights that a job does not give."""
    if precision == "quant" and not has_gm:
        return "the kcore was compiled for quantised weights: give gm, the weights that its conversion used"
    return None


def misfit_of_parallel_size(tx81_config: Mapping[str, Any] | None, cards: str | None) -> str | None:
    """Why a model's TX81 config.json does not fit a kernel image for the cards that a job requests."""
    parallel = (tx81_config or {}).get("tensor_parallel")
    size = parallel.get("parallel_size") if isinstance(parallel, Mapping) else None
    wanted = 1 if cards == SINGLE_CARD else CARDS_PER_GROUP
    if size is None or size == wanted:
        return None
    return (
        f"its TX81 config.json says tensor_parallel.parallel_size {size!r}, and the kcore of this job runs on {wanted} "
        f"card{'s' if wanted > 1 else ''}: register the model with parallel_size {wanted}"
    )


def misfit_of_length(sequence: int | None, max_model_len: int) -> str | None:
    """Why a kernel image for questions and answers of `sequence` tokens does not fit a server for longer ones."""
    if sequence is None or max_model_len <= sequence:
        return None
    return f"the kcore was compiled for {sequence} tokens, not for {max_model_len}: use at most {sequence}"


def too_few_blocks(*, blocks: int, block_size: int, max_model_len: int) -> str | None:
    """Why the cache of keys and values of a server cannot hold one question with its answer."""
    if blocks * block_size >= max_model_len:
        return None
    return (
        f"{blocks} blocks of {block_size} tokens hold {blocks * block_size} tokens, and max_model_len is "
        f"{max_model_len}: use at least {math.ceil(max_model_len / block_size)} blocks, or a smaller max_model_len"
    )


def misfit_of_dtype(precision: Precision | None, dtype: str) -> str | None:
    """Why a kernel image of that precision does not fit a server that computes in `dtype`."""
    if precision is not None and (precision == "quant") != (dtype == "int8"):
        return f"the kcore was compiled for {precision} weights, but dtype says {dtype}"
    return None


def _document(model_info: bytes) -> dict[str, Any]:
    try:
        document = loads(model_info, most_values=MOST_INFO_VALUES, largest=math.inf)
    except JSONDecodeError:
        document = None
    except BadDocument as bad:
        raise BadKcore(f"{MODEL_INFO} is not taken: {bad}") from None
    if not isinstance(document, dict):
        raise BadKcore(f"{MODEL_INFO} is not a JSON object")
    return document


def _tiles(document: dict[str, Any]) -> list[int]:
    """Tiles of each chip, as far as known."""
    listed = document.get("chip")
    tiles = (
        [each.get("tile_num") if isinstance(each, dict) else None for each in listed]
        if isinstance(listed, list)
        else []
    )
    return [number if isinstance(number, int) and 1 <= number <= TILES else TILES for number in tiles]
