"""Why nothing moves: what is watched and stands still says what it waits for, once it has done so for a while."""

import time
from collections.abc import Callable, Collection
from typing import NamedTuple

from api.client.client import Client, ServerUnreachable
from cli.pages.explanations import folded
from cli.pages.layout import clean
from orchestrator.model.states import JobState

PATIENCE = 10.0
"""Seconds in which most jobs find their slot."""

WAITING = (JobState.QUEUED, JobState.WAITING)

_MOVING = frozenset({JobState.ASSIGNED, JobState.RUNNING})


class Why(NamedTuple):
    """What it waits for: the kinds of its reasons, and all of it in one line."""

    kinds: frozenset[str]
    line: str


class Standstill:
    """Asks the server no more often than it is patient."""

    def __init__(self, client: Client, patience: float) -> None:
        self._client = client
        self._patience = patience
        self._since = time.monotonic()
        self._why: Why | None = None

    def why(self, states: Collection[JobState], waiting: Callable[[], int | None]) -> Why | None:
        """That, while some of these jobs have waited for long and none of them runs; else None.

        `waiting` finds one of them: it is asked when there may be something to tell."""
        if frozenset(WAITING).isdisjoint(states) or not _MOVING.isdisjoint(states):
            self._since, self._why = time.monotonic(), None
        elif time.monotonic() - self._since >= self._patience:
            self._since = time.monotonic()
            self._why = self._asked(waiting) or self._why
        return self._why

    def _asked(self, waiting: Callable[[], int | None]) -> Why | None:
        try:
            job = waiting()
            reasons = self._client.explain(job).reasons if job is not None else ()
        except ServerUnreachable:
            return None
        if not reasons:
            return None
        because = "; ".join(f"{kind}: {clean(detail)}" for kind, detail in folded(reasons))
        line = f"none of these jobs runs; job {job} waits for {because}"
        return Why(frozenset(reason.kind for reason in reasons), line)
