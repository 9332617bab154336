"""The parts of a batch's report; the API answers with them as they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from orchestrator.model.failures import FailureKind
from orchestrator.model.states import JobState
from orchestrator.model.verdicts import Verdict


@dataclass(frozen=True)
class FailedJob:
    """A job that failed, and where it was tried last."""

    job_id: int
    name: str
    slot_id: str | None
    kind: FailureKind
    reason: str


@dataclass(frozen=True)
class SlotLine:
    """What one slot did for a batch. Seconds are those of the tool's process in attempts with results."""

    slot_id: str
    jobs: int
    failures: int
    faults: int
    seconds_p50: float | None
    seconds_p95: Annotated[float | None, Field(description="Null below 130 attempts: too few for a 95th percentile.")]
    seconds_max: float | None
    exact: Annotated[int | None, Field(description="Answers equal to the golden ones, of `compared`.")]
    compared: int | None
    odd_prompts: Annotated[int, Field(description="Prompts on which it differs from the majority of the slots.")]


@dataclass(frozen=True)
class OddGroup:
    """A card group whose numbers or answers are not those of the others."""

    slot_id: str
    cards: tuple[int, ...]
    what: Annotated[str, Field(description="A metric, or `answers`.")]
    verdict: Annotated[
        Verdict, Field(description="`worse` or `better` than the other groups; `unknown`: too few runs to be sure.")
    ]
    why: str
    value: float | None = None
    usual: Annotated[float | None, Field(description="Median of all groups, in the metric's unit.")] = None
    z: Annotated[float | None, Field(description="Robust: distance / (1.4826 × median absolute deviation).")] = None
    p_value: float | None = None


@dataclass(frozen=True)
class DeviceTime:
    """One slot from the first start to the last end of a batch. The parts add up to `seconds`."""

    slot_id: str
    seconds: float
    productive: Annotated[float, Field(description="Tools of attempts that succeeded, of this batch or others.")]
    warm_up: Annotated[float, Field(description="Preparing, checking and reporting of those attempts.")]
    lost: Annotated[float, Field(description="Attempts that did not succeed.")]
    reserved: Annotated[float, Field(description="Reserved, and no job ran.")]
    broken: Annotated[float, Field(description="Quarantined, and no job ran.")]
    waiting: Annotated[float, Field(description="Everything else.")]


@dataclass(frozen=True)
class AnswerSet:
    """Attempts whose answers are all equal, among those that were asked the same."""

    name: Annotated[str, Field(description="`A` is the most frequent one; `2A` of the second kind of question.")]
    attempts: int
    slots: Annotated[Mapping[str, int], Field(description="How many attempts of each slot gave it.")]
    job_id: Annotated[int, Field(description="One of the jobs that gave it.")]


@dataclass(frozen=True)
class MatrixCell:
    """One job of a batch in its round."""

    job_id: int
    state: JobState
    failure: FailureKind | None
    retried: Annotated[int, Field(description="Attempts before the last one that the infrastructure spoiled.")]
    answers: Annotated[str | None, Field(description="Name of its set of answers; null without answers.")]
    exact: Annotated[int | None, Field(description="Answers equal to the golden ones, of `compared`.")]
    compared: int | None
    suspect: Annotated[bool, Field(description="Its end put the slot under suspicion.")]


@dataclass(frozen=True)
class MatrixLine:
    """The rounds of one card group; counts are over all rounds, cells of those that are shown."""

    slot_id: str
    jobs: int
    failures: Annotated[int, Field(description="Jobs that failed, without faults of the infrastructure.")]
    faults: Annotated[int, Field(description="Attempts that the infrastructure spoiled.")]
    unlike: Annotated[int, Field(description="Jobs whose answers are not the most frequent ones.")]
    suspicions: int
    cells: Annotated[tuple[MatrixCell | None, ...], Field(description="One a round; null: it has no job there.")]
