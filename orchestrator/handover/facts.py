"""What the rows say of one job, read at once in one session: the bill of materials and all that the script needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from orchestrator.catalog.lineage import builds_behind
from orchestrator.jobs import queries
from orchestrator.jobs.queries import JobFacts
from orchestrator.model.slots import SlotName, cards_of_groups
from orchestrator.storage.tables import Attempt, Document, Model, Release


@dataclass(frozen=True)
class Handover:
    """Everything known of one job, and of the job whose result it took, if it took one."""

    facts: JobFacts
    ran: JobFacts
    """The job that really ran: another one if its result came from the cache."""
    release: Release | None
    model: Model | None
    lineage: Mapping[str, Sequence[Document]]
    """Input → the builds behind it, the nearest first."""

    @property
    def attempt(self) -> Attempt | None:
        """The attempt that is repeated: the latest that started a process."""
        started = [attempt for attempt in self.ran.attempts if attempt.command is not None]
        return started[-1] if started else None


def read(session: Session, job_id: int, now: datetime) -> Handover:
    """All of it; NotFound if there is no such job."""
    facts = queries.job_facts(session, job_id, now)
    origin = facts.listed.job.cached_from
    ran = facts if origin is None else queries.job_facts(session, origin, now)
    job = ran.listed.job
    model = job.spec.get("model")
    release = session.get(Release, job.release) if job.release else None
    weights = session.get(Model, model) if isinstance(model, str) else None
    lineage = {
        row.name: builds_behind(session, row.name, row.digest, made_by=row.from_job_id)
        for row in ran.inputs
        if row.name in ("kcore", "c_source", "gm")
    }
    return Handover(facts, ran, release, weights, lineage)


def cards_of(attempt: Attempt) -> str | None:
    """The cards of its slots, as the vendor numbers them; None on CPU seats."""
    groups = [SlotName.parse(slot_id.rpartition(".")[2]) for slot_id in attempt.slot_ids]
    return cards_of_groups(groups) if groups and all(group.cards for group in groups) else None


def bill_of_materials(handover: Handover, *, product: str) -> dict[str, Any]:
    """Which exact things the run was made of."""
    job, ran, attempt = handover.facts.listed.job, handover.ran.listed.job, handover.attempt
    release, model = handover.release, handover.model
    return {
        "format": "tx81-bundle/1",
        "product": {"name": "tx81-orchestrator", "version": product},
        "job": {
            "id": job.id, "name": job.name, "kind": job.kind, "project": job.project, "state": job.state,
            "result_of_job": ran.id if ran.id != job.id else None, "failure": job.failure,
            "created_at": job.created_at, "started_at": job.started_at, "ended_at": job.ended_at,
        },
        "place": attempt and {
            "host": attempt.slot_id.rpartition(".")[0], "slots": attempt.slot_ids, "cards": cards_of(attempt),
            "worker": attempt.worker,
        },
        "release": release and {
            "name": release.name, "digest": release.digest, "root": release.root,
            "profile": release.profile.get("profile"), "versions": release.profile.get("versions"),
        },
        "model": model and {
            "name": model.name, "family": model.family, "digest": model.digest, "weights": model.weights,
            "size": model.size, "path": model.path,
        },
        "inputs": [
            {
                "name": row.name, "digest": row.digest, "file_name": row.file_name, "from_job": row.from_job_id,
                "lineage": list(handover.lineage.get(row.name, ())),
            }
            for row in handover.ran.inputs
        ],
        "outputs": [
            {"name": row.name, "digest": row.digest, "file_name": row.file_name, "size": row.size, "tree": row.tree}
            for row in handover.ran.outputs
        ],
    }  # fmt: skip
