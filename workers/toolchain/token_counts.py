"""Token counts of answers by the model's own tokenizer, where the tool does not report them.

A tokenizer is a file from outside: it is read in a process of its own, with limits.
"""

import json
import logging
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.results.answers import GivenAnswer
from workers.toolchain import token_counter

log = logging.getLogger(__name__)

COUNTER = "tokenizer.json"
"""Name of this counter in metrics."""

SECONDS = 60
"""Of processor time, for all answers of an attempt."""

MEMORY = 4 << 30
"""Bytes of address space; a vocabulary of 150,000 words takes some hundred MiB."""


def counted(answers: Sequence[GivenAnswer], model: Path | None) -> tuple[list[GivenAnswer], str | None]:
    """The answers with their output tokens, and who counted them; as they are if the tool reported any, or if the model
    has no tokenizer.json that can be used here.

    The text is counted without special tokens, so an end-of-text token that the tool removed is not counted."""
    tokenizer = None if model is None else model / "tokenizer.json"
    unknown = [answer for answer in answers if answer.output_tokens is None]
    if len(unknown) < len(answers) or not answers or tokenizer is None or not tokenizer.is_file():
        return list(answers), None
    asked = {
        "tokenizer": str(tokenizer), "texts": [answer.text for answer in answers], "seconds": SECONDS, "memory": MEMORY
    }  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "-E", "-I", "-X", "utf8", token_counter.__file__],
        input=json.dumps(asked).encode(), capture_output=True, check=False, env={"RAYON_NUM_THREADS": "1"},
    )  # fmt: skip
    if ended.returncode:
        told = ended.stderr.decode("utf-8", "replace").strip().splitlines()
        log.info("tokens are not counted: %s", told[-1][:300] if told else f"ended with {ended.returncode}")
        return list(answers), None
    counts = json.loads(ended.stdout)
    return [replace(answer, output_tokens=count) for answer, count in zip(answers, counts, strict=True)], COUNTER
