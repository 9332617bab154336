"""Tokens of texts by a model's own tokenizer.json, where it is there and the package `tokenizers` is installed.

A tokenizer is a file from outside: it is read in a process of its own, with limits. What cannot be read, or takes too
long, gives None; nothing depends on it.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.catalog import child
from orchestrator.catalog.child import Broken, ChildLimits, OverLimit

log = logging.getLogger(__name__)

FILE = "tokenizer.json"

_PROGRAM = Path(__file__).with_name("tokenization.py")
"""Not imported here: it loads the package, which may not be installed."""

LIMITS = ChildLimits(memory=4 << 30, cpu_seconds=60, wall_seconds=120, file_bytes=64 << 20)
"""A vocabulary of 150,000 words takes some hundred MiB; the answer is a number for each text."""


def token_counts(model: Path, texts: Sequence[str]) -> list[int] | None:
    """The number of tokens of each text, special tokens not among them."""
    counts: list[int] | None = _asked(model, {"texts": list(texts)})
    return counts


def first_differing_tokens(model: Path, pairs: Sequence[tuple[str, str]]) -> list[int | None] | None:
    """Index, from 0, of the first token that differs in each pair; null for equal tokens."""
    places: list[int | None] | None = _asked(model, {"pairs": list(pairs)})
    return places


def _asked(model: Path, task: dict[str, Any]) -> Any:
    tokenizer = model / FILE
    if not tokenizer.is_file():
        return None
    try:
        said = {**task, "tokenizer": str(tokenizer.absolute())}
        return child.answer(_PROGRAM, said, LIMITS, packages=True)["found"]
    except (OverLimit, Broken) as trouble:
        log.info("no tokens by %s: %s", tokenizer, str(trouble)[-300:])
        return None
