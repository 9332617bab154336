"""Token counts of answers by the model's own tokenizer, where the tool does not report them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.catalog.tokenizers import FILE, token_counts
from orchestrator.results.answers import GivenAnswer

COUNTER = FILE
"""Name of this counter in metrics."""


def counted(answers: Sequence[GivenAnswer], model: Path | None) -> tuple[list[GivenAnswer], str | None]:
    """The answers with their output tokens, and who counted them; as they are if the tool reported any, or if the model
    has no tokenizer.json that can be used here.

    The text is counted without special tokens, so an end-of-text token that the tool removed is not counted."""
    unknown = [answer for answer in answers if answer.output_tokens is None]
    if model is None or len(unknown) < len(answers) or not answers:
        return list(answers), None
    counts = token_counts(model, [answer.text for answer in answers])
    if counts is None:
        return list(answers), None
    return [replace(answer, output_tokens=count) for answer, count in zip(answers, counts, strict=True)], COUNTER
