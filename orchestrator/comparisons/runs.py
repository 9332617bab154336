"""A run as it is compared: how it was set, what it measured, and whether its results are in doubt.

`setting` is what decides whether two runs may be compared. Its fields: `kind`, `model` (digest of its weights and
tokenizer), `kcore` (digest), `toolchain` (digest of the release that built the kcore), `release` (digest of the one
that ran it), `prompts` and `golden` (digests), `slot_kind`, `groups`, `slots` (that it ran on), `host`, and every other
field of the spec under its own name.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from orchestrator.model.failures import Failure
from orchestrator.model.states import JobState
from orchestrator.storage.tables import Artifact, Attempt, Doubt, Job, JobInput, Metric, Model, Release

FILES = ("kcore", "prompts", "golden", "gm")
"""Fields of a spec that name a file: compared by its content, wherever it came from."""


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
    def used(self) -> bool:
        """Whether its results count: it succeeded, and nothing speaks against its cards."""
        return self.state is JobState.SUCCEEDED and self.doubt is None


def read_runs(session: Session, job_ids: Collection[int]) -> list[Run]:
    """These jobs as runs, in the order of their numbers; a job that is not there is left out."""
    jobs = session.scalars(select(Job).where(Job.id.in_(job_ids)).order_by(Job.id)).all()
    latest = select(func.max(Attempt.id)).where(Attempt.job_id.in_(job_ids)).group_by(Attempt.job_id)
    attempts = {each.job_id: each for each in session.scalars(select(Attempt).where(Attempt.id.in_(latest)))}
    numbers = [attempt.id for attempt in attempts.values()]
    metrics, doubts = _metrics(session, numbers), _doubts(session, numbers)
    settings = _Settings(session, jobs)
    return [
        Run(
            job.id, attempt.id if attempt else None, job.name, job.state,
            Failure.model_validate(job.failure) if job.failure else None,
            settings.of(job, attempt), metrics.get(attempt.id, {}) if attempt else {},
            doubts.get(attempt.id) if attempt else None,
        )
        for job in jobs
        for attempt in [attempts.get(job.id)]
    ]  # fmt: skip


class _Settings:
    """The settings of some jobs, from as few SELECTs as there are tables."""

    def __init__(self, session: Session, jobs: Sequence[Job]) -> None:
        numbers = [job.id for job in jobs]
        self._releases = dict(session.execute(select(Release.name, Release.digest)).all())
        self._models = dict(session.execute(select(Model.name, Model.digest)).all())
        self._inputs: dict[int, dict[str, str | None]] = defaultdict(dict)
        for row in session.scalars(select(JobInput).where(JobInput.job_id.in_(numbers))):
            self._inputs[row.job_id][row.name] = row.digest
        kcores = {digest for inputs in self._inputs.values() if (digest := inputs.get("kcore"))}
        built = select(Artifact.digest, func.max(Job.release)).join(Job, Job.id == Artifact.job_id)
        built = built.where(Artifact.digest.in_(kcores), Artifact.name == "kcore").group_by(Artifact.digest)
        self._built_by = dict(session.execute(built).all())

    def of(self, job: Job, attempt: Attempt | None) -> dict[str, Any]:
        inputs = self._inputs[job.id]
        setting = {name: value for name, value in job.spec.items() if name not in FILES and value is not None}
        setting |= {name: digest for name in FILES if (digest := inputs.get(name))}
        if (model := job.spec.get("model")) is not None:
            setting["model"] = self._models.get(model, model)
        if (kcore := inputs.get("kcore")) is not None:
            setting["toolchain"] = self._release(self._built_by.get(kcore))
        setting |= {"release": self._release(job.release), "slot_kind": job.slot_kind.value}
        if attempt is not None:
            setting |= {"slots": list(attempt.slot_ids), "host": attempt.slot_id.rpartition(".")[0]}
        return setting

    def _release(self, name: str | None) -> str | None:
        return None if name is None else self._releases.get(name, name)


def _metrics(session: Session, attempts: Sequence[int]) -> dict[int, dict[str, Metric]]:
    found: dict[int, dict[str, Metric]] = defaultdict(dict)
    for row in session.scalars(select(Metric).where(Metric.attempt_id.in_(attempts))):
        found[row.attempt_id][row.name] = row
    return found


def _doubts(session: Session, attempts: Sequence[int]) -> dict[int, str]:
    counted = select(Doubt.attempt_id, Doubt.reason).where(Doubt.attempt_id.in_(attempts), Doubt.lifted.is_(None))
    return dict(session.execute(counted.order_by(Doubt.id.desc())).all())
