"""The outcome of each step: lines that are added while steps are done, and the document that is made of them.

A line is written before and after everything that changes the host, so that it is known where a process that died had
come to.
"""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any


class StepState(StrEnum):
    """Where a step stands."""

    CHECKING = "checking"  #: It is looked at whether there is anything to do.
    DONE_BEFORE = "done_before"  #: There was nothing to do.
    WOULD_DO = "would_do"  #: A dry run: there is something to do.
    DOING = "doing"  #: The host is being changed.
    DONE = "done"  #: It was done, and its check agrees.
    FAILED = "failed"  #: `why` says how.
    INTERRUPTED = "interrupted"  #: It was stopped, or died, on the way.
    NOT_REACHED = "not_reached"  #: A step before it failed.
    LEFT_TO_CANARIES = "left_to_canaries"  #: Each card group that waits for it gets a canary, and comes back by it.


_LONGEST_WHY = 500
_UNFINISHED = (StepState.CHECKING, StepState.DOING)


@dataclass(frozen=True)
class Outcome:
    """The outcome of one step."""

    step: str
    title: str
    state: StepState
    why: str = ""
    changed: bool = False
    """The host may be another than before."""
    began_at: str | None = None
    ended_at: str | None = None

    def document(self) -> dict[str, Any]:
        """As JSON."""
        told = {"step": self.step, "title": self.title, "state": self.state, "why": self.why}
        return {**told, "began_at": self.began_at, "ended_at": self.ended_at}


class Journal:
    """The file that the lines are added to."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, step: str, title: str, state: StepState, why: str = "") -> None:
        """Write one line, on disk when this returns; `why` may quote what a tool has printed."""
        at = datetime.now(UTC).isoformat()
        said = {"at": at, "step": step, "title": title, "state": state, "why": in_one_line(why)}
        with self._path.open("a", encoding="utf-8") as opened:
            opened.write(f"{json.dumps(said)}\n")
            opened.flush()
            os.fsync(opened.fileno())


def in_one_line(text: str) -> str:
    """A text as it can be shown and stored: no line ends, no control characters, no end of a long one."""
    shown = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(shown.split())[:_LONGEST_WHY]


def read(path: Path) -> list[Outcome]:
    """The outcomes of the steps that were begun, in order; a last line that was not written to its end is nothing."""
    found: dict[str, Outcome] = {}
    with suppress(FileNotFoundError):
        for line in path.read_text("utf-8").splitlines():
            with suppress(ValueError):
                said = json.loads(line)
                title, state = said["title"], StepState(said["state"])
                before = found.get(title) or Outcome(said["step"], title, state, began_at=said["at"])
                found[title] = replace(
                    before, state=state, why=said["why"], ended_at=said["at"],
                    changed=before.changed or state is StepState.DOING,
                )  # fmt: skip
    return [_at_rest(outcome) for outcome in found.values()]


def _at_rest(outcome: Outcome) -> Outcome:
    """Nothing goes on any more when it is read."""
    if outcome.state not in _UNFINISHED:
        return outcome
    return replace(outcome, state=StepState.INTERRUPTED, why="it did not finish")


def failed(outcomes: Iterable[Outcome]) -> Outcome | None:
    """The step that did not come to its end, if there is one."""
    return next((each for each in outcomes if each.state in (StepState.FAILED, StepState.INTERRUPTED)), None)
