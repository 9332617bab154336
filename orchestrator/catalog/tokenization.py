"""Texts to tokens with a model's own tokenizer, in a process of its own that `orchestrator.catalog.child` starts.

It imports nothing of ours. The task: `tokenizer`, the path of a tokenizer.json, and `texts` or `pairs` of texts. The
answer: `found`, the number of tokens of each text, or the index of the first token that differs in each pair, null if
none does.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from tokenizers import Tokenizer  # before the limits are set: the library alone maps much memory


def outcome(task: dict[str, Any]) -> dict[str, Any]:
    """Read the tokenizer, and count or compare."""
    tokenizer = Tokenizer.from_file(task["tokenizer"])
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def tokens(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False).ids)

    def first_difference(before: list[int], after: list[int]) -> int | None:
        return next((place for place, (one, other) in enumerate(zip_longest(before, after)) if one != other), None)

    if "texts" in task:
        return {"found": [len(tokens(text)) for text in task["texts"]]}
    return {"found": [first_difference(tokens(before), tokens(after)) for before, after in task["pairs"]]}
