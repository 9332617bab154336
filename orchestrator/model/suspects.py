"""Which slot fails where others do not: a score from the attempts that have ended. Pure.

Jobs are similar if they run the same kind on the same model and kernel image (or backend type, or source): such jobs
fail together for a reason of their own. So only failures of jobs that are *not* similar add up. Each is weighted by how
often similar jobs succeed on other slots, so one bad job never makes a slot suspect, however often and wherever it
fails.

An attempt on several slots counts on each of them. If it fails, it is unknown which was the cause, so each gets its
part of the failure; if it succeeds, it is a success of all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.model.failures import FailureKind

SUSPECT_AT = 2.5
"""Three unrelated failures in a row, with room for one that is some hours old or that failed once elsewhere too."""

RELIEF = 0.5
"""What a success leaves of the suspicion from jobs that are not like it."""

COUNTED = frozenset(
    {FailureKind.TOOL, FailureKind.SILENCE, FailureKind.RUN_LIMIT, FailureKind.OUTPUT_MISSING, FailureKind.FAULT,
     FailureKind.WRONG_ANSWERS}
)  # fmt: skip
"""Failures that a bad card can be the cause of."""


def counts(job_kind: str, failure: FailureKind) -> bool:
    """Whether a failure of such a job is evidence about its slot: wrong answers of a client are those of its server."""
    return failure in COUNTED and not (failure is FailureKind.WRONG_ANSWERS and job_kind == "client")


@dataclass(frozen=True)
class Trial:
    """One attempt that has ended, on one of its slots: where, when, whether it failed, and its key for similar jobs."""

    attempt_id: int
    job_id: int
    slot_id: str
    at: datetime
    likeness: str
    failed: bool
    share: float = 1.0
    """Its part of the attempt: 1 / number of slots."""


@dataclass(frozen=True)
class Score:
    """How suspect a slot is, and the latest failure of each sort of job that makes it so."""

    value: float
    failures: tuple[Trial, ...]

    @property
    def suspect(self) -> bool:
        """Whether the slot must not be given more work."""
        return self.value >= SUSPECT_AT


def likeness(kind: str, model: str | None, image: str | None) -> str:
    """What jobs have in common that fail together; `image` is the kernel image, backend type or source."""
    return " ".join([kind, model or "-", image or "-"])


def score(slot_id: str, trials: Sequence[Trial], *, now: datetime, half_life: timedelta) -> Score:
    """The score of one slot from the recent attempts on all slots, in any order.

    In the order in which they ended: a failure counts once for all jobs like it, as much as their like succeeds
    elsewhere; a success clears its like and halves the rest; all of it fades by half in each `half_life`."""
    here = sorted(
        (trial for trial in trials if trial.slot_id == slot_id), key=lambda trial: (trial.at, trial.attempt_id)
    )
    elsewhere = _success_elsewhere(slot_id, trials, now, half_life)
    standing: dict[str, tuple[float, Trial]] = {}
    for trial in here:
        standing.pop(trial.likeness, None)
        if trial.failed:
            weight = elsewhere.get(trial.likeness, 0.0) * _fade(trial.at, now, half_life) * trial.share
            standing[trial.likeness] = weight, trial
        else:
            standing = {like: (weight * RELIEF, failure) for like, (weight, failure) in standing.items()}
    failures = sorted((failure for weight, failure in standing.values() if weight > 0), key=lambda trial: trial.at)
    return Score(sum(weight for weight, _ in standing.values()), tuple(failures))


def _success_elsewhere(
    slot_id: str, trials: Sequence[Trial], now: datetime, half_life: timedelta
) -> Mapping[str, float]:
    """Of each sort of job, which part of its recent attempts on other slots alone succeeded; recent ones count more."""
    here = {trial.attempt_id for trial in trials if trial.slot_id == slot_id}
    good: dict[str, float] = {}
    every: dict[str, float] = {}
    for trial in trials:
        if trial.attempt_id not in here:
            weight = _fade(trial.at, now, half_life) * trial.share
            every[trial.likeness] = every.get(trial.likeness, 0.0) + weight
            good[trial.likeness] = good.get(trial.likeness, 0.0) + (0.0 if trial.failed else weight)
    return {like: good[like] / total for like, total in every.items() if total > 0}


def _fade(at: datetime, now: datetime, half_life: timedelta) -> float:
    return float(0.5 ** (max(now - at, timedelta(0)) / half_life))
