"""Cases, as data: the states of a regression from its first sight to its end, and what people may order of it. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, StringConstraints

from orchestrator.model.baselines import Because, Why
from orchestrator.model.specs import Strict

GOOD_RUNS = 3
"""Good runs in a row of every series after which a case closes by itself."""


class CaseState(StrEnum):
    """Where a case stands; only `orchestrator.suites.cases` moves one."""

    OPENED = "opened"  #: Worse, and not measured a second time.
    CONFIRMED = "confirmed"  #: Worse again when it was measured a second time.
    ACCEPTED = "accepted"  #: A known issue until a date: it is no alarm before then.
    FIX_SEEN = "fix_seen"  #: Every series was good in its latest run.
    VERIFIED = "verified"  #: Every series was good often enough in a row.
    CLOSED = "closed"  #: It counts no more; the reason is in its trail.


CASE_TRANSITIONS: Mapping[CaseState, frozenset[CaseState]] = {
    CaseState.OPENED: frozenset({CaseState.CONFIRMED, CaseState.ACCEPTED, CaseState.FIX_SEEN, CaseState.CLOSED}),
    CaseState.CONFIRMED: frozenset({CaseState.ACCEPTED, CaseState.FIX_SEEN, CaseState.CLOSED}),
    CaseState.ACCEPTED: frozenset({CaseState.CONFIRMED, CaseState.FIX_SEEN, CaseState.CLOSED}),
    CaseState.FIX_SEEN: frozenset(
        {CaseState.CONFIRMED, CaseState.ACCEPTED, CaseState.VERIFIED, CaseState.CLOSED}
    ),
    CaseState.VERIFIED: frozenset({CaseState.CLOSED}),
    CaseState.CLOSED: frozenset({CaseState.CONFIRMED}),
}  # fmt: skip
"""Every transition of a case."""


class CaseRule(StrEnum):
    """What moves a case without a person."""

    CONFIRMED = "confirmed"  #: It was worse again in a second measurement.
    RED_AGAIN = "red_again"  #: It was worse after a good run.
    UNTIL_IS_OVER = "until_is_over"  #: It was accepted until a date, and is still worse.
    GOOD_AGAIN = "good_again"  #: Every series was good.
    GOOD_RUNS = "good_runs"  #: Every series was good often enough in a row.
    GROUPED = "grouped"  #: Another series became worse in the same interval by the same change.
    DOUBT = "doubt"  #: The results that it was opened on are in doubt.


Step = tuple[CaseState, CaseRule]
"""The next state, and the rule that leads there."""


def after_red(state: CaseState, until: datetime | None, *, confirmed: bool, now: datetime) -> Step | None:
    """What follows when a series of a case is worse once more; None if nothing does."""
    accepted = until is not None and until > now
    if state is CaseState.OPENED and confirmed:
        return CaseState.CONFIRMED, CaseRule.CONFIRMED
    if state is CaseState.FIX_SEEN:
        return (CaseState.ACCEPTED if accepted else CaseState.CONFIRMED), CaseRule.RED_AGAIN
    if state is CaseState.ACCEPTED and not accepted:
        return CaseState.CONFIRMED, CaseRule.UNTIL_IS_OVER
    return None


def after_good(state: CaseState, good_runs: Sequence[int], *, needed: int = GOOD_RUNS) -> list[Step]:
    """The steps that follow when all series of a case have had so many good runs in a row."""
    if not good_runs or min(good_runs) < 1 or state in (CaseState.VERIFIED, CaseState.CLOSED):
        return []
    steps: list[Step] = [] if state is CaseState.FIX_SEEN else [(CaseState.FIX_SEEN, CaseRule.GOOD_AGAIN)]
    if min(good_runs) >= needed:
        steps += [(CaseState.VERIFIED, CaseRule.GOOD_RUNS), (CaseState.CLOSED, CaseRule.GOOD_RUNS)]
    return steps


class AcceptOrder(Because):
    """Take a case as a known issue until a date, when it comes back if it is still worse."""

    until: AwareDatetime
    link: Annotated[str, StringConstraints(max_length=500, pattern=r"^https?://[!-~]+$")] | None = None


class Comment(Strict):
    """A remark for the trail of a case."""

    text: Why
