"""Texts to tokens with a model's own tokenizer: a script for `orchestrator.catalog.tokenizers`.

It imports nothing of ours. Standard input is one JSON object: `tokenizer` (path of a tokenizer.json), the limits
`seconds` and `memory`, and `texts` or `pairs` of texts. Standard output is the number of tokens of each text, or the
index of the first token that differs in each pair, null if none does.
"""

from __future__ import annotations

import json
import resource
import sys
from itertools import zip_longest


def main() -> int:
    """Read, and print the list."""
    asked = json.load(sys.stdin)
    from tokenizers import Tokenizer  # before the limit: the library alone maps much memory

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (asked["seconds"], asked["seconds"]))
    resource.setrlimit(resource.RLIMIT_AS, (asked["memory"], asked["memory"]))
    tokenizer = Tokenizer.from_file(asked["tokenizer"])
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def tokens(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False).ids)

    def first_difference(before: list[int], after: list[int]) -> int | None:
        return next((place for place, (one, other) in enumerate(zip_longest(before, after)) if one != other), None)

    if "texts" in asked:
        print(json.dumps([len(tokens(text)) for text in asked["texts"]]))
    else:
        print(json.dumps([first_difference(tokens(before), tokens(after)) for before, after in asked["pairs"]]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
