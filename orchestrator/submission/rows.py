"""Writes drafts as rows: jobs with their inputs and needs and the files they name, in a few statements for all of them.

On SQLite no other process can write meanwhile, so everything that can be looked up or checked earlier is not done here.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from orchestrator.jobs import bulk, needs
from orchestrator.model.states import Until
from orchestrator.storage.tables import Base, Document
from orchestrator.submission.drafts import Draft

_INPUT, _ARTIFACT = (Base.metadata.tables[name] for name in ("job_input", "artifact"))
_ADD_INPUT, _NAME_FILE = insert(_INPUT), insert(_ARTIFACT)

_AT_ONCE = 1000
"""Digests named in one statement: databases limit the number of parameters."""


def write(
    session: Session,
    drafts: Sequence[Draft],
    *,
    now: datetime,
    by: str | None = None,
    siblings: Mapping[str, int] | None = None,
    **more: Any,
) -> list[int]:
    """Write jobs, `waiting`, and return their numbers in the order of `drafts`.

    `by` is who submits them, see `Job.submitted_by`. `siblings` are the numbers of the jobs of their pipeline that they
    name; `more` are columns set for all of them.
    """
    numbers = siblings or {}
    name_files(session, drafts)
    made = bulk.create(session, [_job(draft, now, numbers, {**more, "submitted_by": by}) for draft in drafts], now=now)
    inputs = [
        {**entry, "job_id": job_id, "from_job_id": _numbered(entry["from_job_id"], numbers)}
        for job_id, draft in zip(made, drafts, strict=True)
        for entry in draft.inputs
    ]
    needed = [
        (job_id, need, until)
        for job_id, draft in zip(made, drafts, strict=True)
        for need, until in sorted(_needs(draft, numbers).items())
    ]
    if inputs:
        session.execute(_ADD_INPUT, inputs)
    needs.add(session, needed)
    return made


def _needs(draft: Draft, numbers: Mapping[str, int]) -> dict[int, Until]:
    ended = {_numbered(need, numbers): Until.SUCCEEDED for need in draft.needs}
    return {**ended, **{_numbered(server, numbers): Until.READY for server in draft.servers}}


def _job(draft: Draft, now: datetime, numbers: Mapping[str, int], more: Mapping[str, Any]) -> Document:
    columns = {**draft.job, **more}
    total = columns.pop("total_seconds")
    deadline = now + timedelta(seconds=total) if total else None
    return {**columns, "request": _alone(draft, columns, numbers), "deadline_at": deadline}


def _alone(draft: Draft, columns: Document, numbers: Mapping[str, int]) -> Document:
    """The request in a form that is valid outside its pipeline: other jobs by number, and its owner."""
    request: Document = {**columns["request"], "project": columns["project"]}
    if numbers:
        outputs: Document = {
            entry["name"]: {"job": _numbered(entry["from_job_id"], numbers), "artifact": entry["from_artifact"]}
            for entry in draft.inputs
            if entry["from_job_id"] is not None
        }
        if draft.servers:
            used = [{"job": _numbered(server, numbers), "artifact": "endpoint"} for server in draft.servers]
            outputs["endpoint"] = used if len(used) > 1 else used[0]
        request["spec"] = {**request["spec"], **outputs}
        request["needs"] = [_numbered(need, numbers) for need in request["needs"]]
    return request


def _numbered(need: Any, numbers: Mapping[str, int]) -> Any:
    return numbers[need] if isinstance(need, str) else need


def name_files(session: Session, drafts: Iterable[Draft]) -> None:
    """Register stored files, once each, so that other requests can use them by digest."""
    taken = {(name, file.digest): file for draft in drafts for name, file in draft.files.items()}
    digests = sorted({digest for _, digest in taken})
    for start in range(0, len(digests), _AT_ONCE):
        some = digests[start : start + _AT_ONCE]
        known = select(_ARTIFACT.c.name, _ARTIFACT.c.digest).where(_ARTIFACT.c.digest.in_(some))
        for name, digest in session.execute(known):
            taken.pop((name, digest), None)
    rows = [
        {
            "digest": digest, "tree": False, "name": name, "file_name": file.file_name, "size": file.size,
            "created_at": file.at,
        }
        for (name, digest), file in taken.items()
    ]  # fmt: skip
    if rows:
        session.execute(_NAME_FILE, rows)
