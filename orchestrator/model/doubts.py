"""When results of a card group are no longer trusted, and how a person lifts that. Pure.

Doubt is cast by evidence about the cards, never by the results themselves: a slow or a wrong-looking result is not
doubtful because of what it says.
"""

from collections.abc import Collection
from enum import StrEnum

from pydantic import Field, model_validator

from orchestrator.model.failures import Failure, FailureKind, Suspicion
from orchestrator.model.orders import LARGEST_NUMBER, Note
from orchestrator.model.specs import Name, Strict
from orchestrator.model.suspects import COUNTED

MOST_DOUBTS = 1000
"""Doubts that one order names."""


class DoubtReason(StrEnum):
    """What was found about the cards."""

    CANARY_FAILED = "canary_failed"  #: A canary gave other answers than the golden ones, or met a sticky device error.
    STICKY_FAULT = "sticky_fault"  #: A run met a device error that stays until a person or a reset helps.
    SUSPICION_CONFIRMED = "suspicion_confirmed"  #: Unrelated jobs had failed here alone, and then a canary failed too.
    OUT_OF_LIMITS = "out_of_limits"  #: While it ran, a card was hotter or slower than the profile allows.
    SILENT_CORRUPTION = "silent_corruption"  #: Repeats of one measurement are wrong here, and right elsewhere.


def reason_of(
    suspicion: Suspicion, failure: Failure | None, *, canary: bool, sticky: Collection[str], suspected: bool
) -> DoubtReason | None:
    """Why an attempt that put its slot under suspicion casts doubt on earlier results; None if it says nothing of them.

    `sticky` are the signatures of the release that show a broken card; `suspected`: the slot was in quarantine already,
    because unrelated jobs had failed there. Cards in use elsewhere, a full disk, a container that is away and processes
    that cannot be killed are troubles of the host or the system."""
    if suspicion.signature in sticky:
        return DoubtReason.CANARY_FAILED if canary else DoubtReason.STICKY_FAULT
    if not canary or failure is None:
        return None
    if failure.kind is FailureKind.WRONG_ANSWERS:
        return DoubtReason.CANARY_FAILED
    counted = failure.kind in COUNTED and failure.kind is not FailureKind.FAULT
    return DoubtReason.SUSPICION_CONFIRMED if suspected and counted else None


class LiftOrder(Strict):
    """Doubts that a person lifts, and why: those with these numbers, all of one job, or all of one slot."""

    doubts: tuple[int, ...] = Field(default=(), max_length=MOST_DOUBTS)
    job: int | None = Field(default=None, ge=1, le=LARGEST_NUMBER)
    slot: Name | None = None
    note: Note

    @model_validator(mode="after")
    def _names_one_thing(self) -> "LiftOrder":
        if sum((bool(self.doubts), self.job is not None, self.slot is not None)) != 1:
            raise ValueError("say which doubts: give either doubts (a list of numbers), job or slot")
        if any(not 1 <= number <= LARGEST_NUMBER for number in self.doubts):
            raise ValueError("doubts: numbers begin with 1; see: tx81 doubts")
        return self
