"""What the API answers about trust in cards: why a slot is out of service, what was tried there, and its canaries."""

from datetime import datetime
from typing import Any

from pydantic import Field

from api.schemas import JobReference, SlotDetail, View
from orchestrator.model.failures import Failure
from orchestrator.model.states import AttemptState


class TriedView(View):
    """One attempt on a slot, as the history of the slot shows it."""

    id: int
    number: int
    job: JobReference
    state: AttemptState
    started_at: datetime | None
    ended_at: datetime | None
    failure: Failure | None


class CanaryRunView(JobReference):
    """One canary job on a slot."""

    created_at: datetime
    ended_at: datetime | None
    failure: Failure | None


class SlotHistory(SlotDetail):
    """A slot with everything that speaks for or against its cards."""

    score: float = Field(description="Unrelated failures here that such jobs do not have elsewhere, faded by age.")
    suspect_at: float = Field(description="The score from which on a slot is quarantined.")
    counted: tuple[int, ...] = Field(description="The attempts that make the score.")
    recent: tuple[TriedView, ...] = Field(description="Its latest attempts, newest first.")
    canaries: tuple[CanaryRunView, ...] = Field(description="Its latest canaries, newest first.")
    lacks: dict[str, str] = Field(description="Releases that its host turned out not to have, each with the reason.")


class CanaryView(View):
    """What checks the cards of quarantined slots: a short inference with known answers."""

    release: str
    spec: dict[str, Any] = Field(description="With every input by digest.")
    set_by: str
    set_at: datetime
