"""One search for a pattern, as a process whose processor time is limited: a script for `workers.processes.matching`.

It imports nothing of ours. Standard input is one JSON object: `pattern`, `text` and `seconds`. Standard output is
`null`, or one JSON object: `start` and `groups`.
"""

from __future__ import annotations

import json
import re
import resource
import sys


def main() -> int:
    """Search, and print what was found."""
    asked = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (asked["seconds"], asked["seconds"]))
    found = re.search(asked["pattern"], asked["text"])
    print(json.dumps(None if found is None else {"start": found.start(), "groups": found.groupdict()}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
