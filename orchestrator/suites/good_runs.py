"""Which runs are right, and which kernel image was good last: what a triage compares with."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session, aliased

from orchestrator.catalog.lineage import backend_type
from orchestrator.model.failures import FailureKind
from orchestrator.model.states import JobState
from orchestrator.results.triage import CrossOutcome
from orchestrator.storage.tables import Answer, Attempt, Doubt, Job, JobInput

MOST_RUNS = 500
"""Latest runs of a model among which a good kernel image is searched."""

_FAULTS = frozenset({FailureKind.FAULT, FailureKind.DEVICE_KILLS})
_NO_RESULT = frozenset(
    {FailureKind.CANCELLED, FailureKind.STOPPED, FailureKind.QUEUE_DEADLINE, FailureKind.TOTAL_DEADLINE,
     FailureKind.BAD_SPEC}
)  # fmt: skip


@dataclass(frozen=True)
class GoodRun:
    """A run that is known to be right, and its kernel image."""

    job_id: int
    kcore: str


@dataclass(frozen=True)
class Reference:
    """The answers of a good run: question → every text that it gave."""

    texts: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, session: Session, job_id: int) -> "Reference":
        """Those of the latest attempt of a job."""
        attempt = latest_attempt(session, job_id)
        found: dict[str, set[str]] = defaultdict(set)
        if attempt is not None:
            rows = select(Answer.question, Answer.text).where(Answer.attempt_id == attempt.id)
            for question, text in session.execute(rows):
                found[question].add(text)
        return cls({question: frozenset(texts) for question, texts in found.items()})


class Judging:
    """Says of each run whether it is right: by its golden answers, or without them by those of a good run."""

    def __init__(self, session: Session, reference: Reference | None) -> None:
        self._session = session
        self._reference = reference

    def doubt(self, attempt_id: int) -> str | None:
        """Why the results of an attempt are not used; None if they are."""
        counted = select(Doubt.reason).where(Doubt.attempt_id == attempt_id, Doubt.lifted.is_(None))
        return self._session.scalar(counted.order_by(Doubt.id).limit(1))

    def outcome(self, job: Job) -> tuple[CrossOutcome, int, int]:
        """The outcome of a job that has ended, and how many of its answers are right and wrong.

        Without any reference a job that succeeded is right, with 0 right answers."""
        attempt = latest_attempt(self._session, job.id)
        kind = FailureKind(job.failure["kind"]) if job.failure else None
        if attempt is None or kind in _NO_RESULT or job.state in (JobState.CANCELLED, JobState.SKIPPED):
            return CrossOutcome.UNFINISHED, 0, 0
        if kind in _FAULTS or self.doubt(attempt.id) is not None:
            return CrossOutcome.FAULTED, 0, 0
        right, wrong = self._counted(attempt.id)
        failed = job.state is JobState.FAILED or wrong
        return CrossOutcome.WRONG if failed else CrossOutcome.RIGHT, right, wrong

    def by_prompt(self, job: Job) -> dict[str, bool]:
        """Of every prompt whose right answer is known, whether each answer of the latest attempt is right."""
        attempt = latest_attempt(self._session, job.id)
        found: dict[str, bool] = {}
        if attempt is not None:
            for question, known in self._known(attempt.id):
                found[question] = known and found.get(question, True)
        return found

    def _counted(self, attempt_id: int) -> tuple[int, int]:
        known = [right for _, right in self._known(attempt_id)]
        return sum(known), len(known) - sum(known)

    def _known(self, attempt_id: int) -> Iterator[tuple[str, bool]]:
        """Prompt by prompt, whether an answer is right; without those of which nothing says so."""
        rows = select(Answer.question, Answer.text, Answer.exact).where(Answer.attempt_id == attempt_id)
        for question, text, exact in self._session.execute(rows):
            known = exact if exact is not None else self._as_before(question, text)
            if known is not None:
                yield question, known

    def _as_before(self, question: str, text: str) -> bool | None:
        texts = self._reference.texts.get(question) if self._reference else None
        return None if texts is None else text in texts


def latest_attempt(session: Session, job_id: int) -> Attempt | None:
    """The latest attempt of a job, or None."""
    return session.scalars(
        select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.number.desc()).limit(1)
    ).first()


def inputs_of_job(session: Session, job_id: int) -> dict[str, str]:
    """The digests of a job's inputs by name."""
    rows = select(JobInput.name, JobInput.digest).where(JobInput.job_id == job_id, JobInput.digest.is_not(None))
    return {name: digest for name, digest in session.execute(rows) if digest is not None}


def last_good(session: Session, job: Job, inputs: Mapping[str, str]) -> GoodRun | None:
    """The newest run of another kernel image of the same model, backend type and prompts that is known to be right.

    Known by golden answers, all exact; or without golden, because another run of that kernel image gave the same ones.
    """
    kcore = inputs.get("kcore")
    if kcore is None:
        return None
    wanted = backend_type(session, kcore)
    runs: dict[str, list[_Candidate]] = defaultdict(list)
    for candidate in _candidates(session, job, inputs):
        runs[candidate.kcore].append(candidate)
    for other, candidates in runs.items():
        good = _good_among(candidates)
        if good is not None and backend_type(session, other) == wanted:
            return GoodRun(good, other)
    return None


@dataclass(frozen=True)
class _Candidate:
    job_id: int
    kcore: str
    answers_digest: str | None
    answers: int
    exact: int
    inexact: int


def _good_among(candidates: Sequence[_Candidate]) -> int | None:
    """The newest of these runs of one kernel image that is known to be right."""
    seen = [candidate.answers_digest for candidate in candidates]
    for candidate in candidates:
        all_exact = candidate.exact == candidate.answers and candidate.answers > 0
        unchanged = not candidate.inexact and candidate.answers_digest and seen.count(candidate.answers_digest) > 1
        if all_exact or unchanged:
            return candidate.job_id
    return None


def _candidates(session: Session, job: Job, inputs: Mapping[str, str]) -> list[_Candidate]:
    """The latest runs with other kernel images that succeeded and are not in doubt, newest first."""
    kcore, prompts = aliased(JobInput), aliased(JobInput)
    runs = (
        select(Job.id, Job.spec, kcore.digest)
        .join(kcore, (kcore.job_id == Job.id) & (kcore.name == "kcore"))
        .join(prompts, (prompts.job_id == Job.id) & (prompts.name == "prompts"))
        .where(Job.kind == "infer", Job.state == JobState.SUCCEEDED, Job.id != job.id)
        .where(Job.spec["model"].as_string() == job.spec["model"])
        .where(prompts.digest == inputs.get("prompts"), kcore.digest != inputs["kcore"])
        .order_by(Job.id.desc())
        .limit(MOST_RUNS)
    )
    found = {
        job_id: str(digest) for job_id, spec, digest in session.execute(runs)
        if spec.get("max_tokens") == job.spec.get("max_tokens") and spec.get("groups", 1) == 1
    }  # fmt: skip
    latest = select(func.max(Attempt.id)).where(Attempt.job_id.in_(found)).group_by(Attempt.job_id)
    doubted = select(Doubt.attempt_id).where(Doubt.lifted.is_(None))
    counted = (
        select(
            Attempt.job_id, Attempt.answers_digest, func.count(Answer.index),
            func.sum(case((Answer.exact.is_(True), 1), else_=0)),
            func.sum(case((Answer.exact.is_(False), 1), else_=0)),
        )
        .outerjoin(Answer, Answer.attempt_id == Attempt.id)
        .where(Attempt.id.in_(latest), Attempt.id.not_in(doubted))
        .group_by(Attempt.job_id, Attempt.answers_digest)
        .order_by(Attempt.job_id.desc())
    )  # fmt: skip
    rows = session.execute(counted).all()
    return [_Candidate(job_id, found[job_id], *rest) for job_id, *rest in rows]
