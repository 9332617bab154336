"""Counts the tokens of texts with a model's own tokenizer: a script for `workers.toolchain.token_counts`.

It imports nothing of ours. Standard input is one JSON object: `tokenizer` (path of a tokenizer.json), `texts`, and the
limits `seconds` and `memory`. Standard output is the list of counts.
"""

from __future__ import annotations

import json
import resource
import sys


def main() -> int:
    """Count, and print the counts."""
    asked = json.load(sys.stdin)
    from tokenizers import Tokenizer  # before the limit: the library alone maps much memory

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (asked["seconds"], asked["seconds"]))
    resource.setrlimit(resource.RLIMIT_AS, (asked["memory"], asked["memory"]))
    tokenizer = Tokenizer.from_file(asked["tokenizer"])
    tokenizer.no_truncation()
    tokenizer.no_padding()
    print(json.dumps([len(tokenizer.encode(text, add_special_tokens=False).ids) for text in asked["texts"]]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
