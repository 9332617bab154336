"""Tokens of texts by a model's own tokenizer.json, where it is there and the package `tokenizers` is installed.

A tokenizer is a file from outside: it is read in a process of its own, with limits. What cannot be read, or takes too
long, gives None; nothing depends on it.
"""

import json
import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.catalog import tokenizer_main

log = logging.getLogger(__name__)

FILE = "tokenizer.json"

SECONDS = 60
"""Of processor time of one call."""

MEMORY = 4 << 30
"""Bytes of address space; a vocabulary of 150,000 words takes some hundred MiB."""


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
    said = {**task, "tokenizer": str(tokenizer), "seconds": SECONDS, "memory": MEMORY}
    ended = subprocess.run(
        [sys.executable, "-E", "-I", "-X", "utf8", tokenizer_main.__file__],
        input=json.dumps(said).encode(), capture_output=True, check=False, env={"RAYON_NUM_THREADS": "1"},
    )  # fmt: skip
    if ended.returncode:
        told = ended.stderr.decode("utf-8", "replace").strip().splitlines()
        log.info("no tokens by %s: %s", tokenizer, told[-1][:300] if told else f"ended with {ended.returncode}")
        return None
    return json.loads(ended.stdout)
