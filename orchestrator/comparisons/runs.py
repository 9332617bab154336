"""A run as it is compared: how it was set, what it measured, and whether its results are in doubt.

`setting` is what decides whether two runs may be compared. Its fields: `kind`, `model` (digest of its weights and
tokenizer), `kcore` (digest), `toolchain` (digest of the release that built the kcore), `backend_type` and `precision`
(where known), `release` (digest of the one that ran it), `prompts` and `golden` (digests), `slot_kind`, `groups`,
`slots` (that it ran on), `host`, and every other field of the spec under its own name. Of a client, the fields about
the model are those of the servers that it asked, with `server` (their options), `server_slots`, and `client_release`
(the release of the vendor's client, where it is one).
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from orchestrator.comparisons.settings import RunSettings
from orchestrator.model.failures import WITH_RESULTS, Failure
from orchestrator.model.states import JobState
from orchestrator.storage.tables import Attempt, Doubt, Job, Metric


@dataclass(frozen=True)
class Run:
    """One job, by its latest attempt."""

    job_id: int
    attempt_id: int | None
    """None if it never began."""
    name: str
    state: JobState
    failure: Failure | None
    setting: Mapping[str, Any]
    metrics: Mapping[str, Metric]
    doubt: str | None
    """Why its results are not used; None if they are."""

    @property
    def measured(self) -> bool:
        """Whether it has results: those of answers that are wrong are results too."""
        kind = self.failure.kind if self.failure is not None else None
        return self.state is JobState.SUCCEEDED or (self.state is JobState.FAILED and kind in WITH_RESULTS)

    @property
    def used(self) -> bool:
        """Whether its results count: it measured something, and nothing speaks against its cards."""
        return self.measured and self.doubt is None


def read_runs(session: Session, job_ids: Collection[int]) -> list[Run]:
    """These jobs as runs, in the order of their numbers; a job that is not there is left out."""
    jobs = session.scalars(select(Job).where(Job.id.in_(job_ids)).order_by(Job.id)).all()
    latest = select(func.max(Attempt.id)).where(Attempt.job_id.in_(job_ids)).group_by(Attempt.job_id)
    attempts = {each.job_id: each for each in session.scalars(select(Attempt).where(Attempt.id.in_(latest)))}
    numbers = [attempt.id for attempt in attempts.values()]
    settings = RunSettings(session, jobs, attempts)
    # Bad cards of a server are as good a reason to doubt as those of the run itself.
    behind = {each.job_id: (each.id, *settings.served_by(each.job_id)) for each in attempts.values()}
    metrics, doubts = _metrics(session, numbers), _doubts(session, [each for all_ in behind.values() for each in all_])
    return [
        Run(
            job.id, attempt.id if attempt else None, job.name, job.state,
            Failure.model_validate(job.failure) if job.failure else None,
            settings.of(job, attempt), metrics.get(attempt.id, {}) if attempt else {},
            next((doubts[each] for each in behind.get(job.id, ()) if each in doubts), None),
        )
        for job in jobs
        for attempt in [attempts.get(job.id)]
    ]  # fmt: skip


def _metrics(session: Session, attempts: Sequence[int]) -> dict[int, dict[str, Metric]]:
    found: dict[int, dict[str, Metric]] = defaultdict(dict)
    for row in session.scalars(select(Metric).where(Metric.attempt_id.in_(attempts))):
        found[row.attempt_id][row.name] = row
    return found


def _doubts(session: Session, attempts: Sequence[int]) -> dict[int, str]:
    counted = select(Doubt.attempt_id, Doubt.reason).where(Doubt.attempt_id.in_(attempts), Doubt.lifted.is_(None))
    return dict(session.execute(counted.order_by(Doubt.id.desc())).all())
