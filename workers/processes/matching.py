"""Patterns of a profile, searched for in what programs print, in bounded time.

A pattern that tries for ever would hold up every thread of the worker, the heartbeat first. One whose form says that it
cannot is tried here; any other in a process of its own, whose processor time the kernel limits.
"""

import json
import logging
import re
import signal
import subprocess
import sys
from dataclasses import dataclass

from orchestrator.model.patterns import steps
from workers.processes import matcher

log = logging.getLogger(__name__)

CHEAP = 1e7
"""Steps that are taken here: a fraction of a second."""

SECONDS = 5
"""Of processor time for any other search; beyond it the pattern counts as not found."""


@dataclass(frozen=True)
class Found:
    """Where a pattern was found first, and its named groups."""

    start: int
    groups: dict[str, str | None]


def search_all(pattern: str, text: str) -> list[Found]:
    """Every match, of a pattern whose form says that it cannot try for long; of any other, the first."""
    if steps(pattern, text) <= CHEAP:
        return [Found(found.start(), found.groupdict()) for found in re.finditer(pattern, text)]
    first = search(pattern, text)
    return [] if first is None else [first]


def search(pattern: str, text: str, *, seconds: int = SECONDS) -> Found | None:
    """The first match; None if there is none, or if it was not found in time, which is logged."""
    if steps(pattern, text) <= CHEAP:
        found = re.search(pattern, text)
        return None if found is None else Found(found.start(), found.groupdict())
    ended = subprocess.run(
        [sys.executable, "-S", "-E", "-I", "-X", "utf8", matcher.__file__],
        input=json.dumps({"pattern": pattern, "text": text, "seconds": seconds}).encode(),
        capture_output=True, check=False,
    )  # fmt: skip
    if ended.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        log.warning("the pattern %r was not done after %s s and counts as not found: simplify it", pattern, seconds)
        return None
    if ended.returncode:
        told = ended.stderr[-500:].decode("utf-8", "replace")
        raise RuntimeError(f"the search ended with {ended.returncode}: {told}")
    there = json.loads(ended.stdout)
    return None if there is None else Found(there["start"], there["groups"])
