"""Lists of jobs that people keep: filters under a name, for one person on all of their browsers."""

from collections.abc import Sequence

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from orchestrator.errors import BadRequest, NotFound
from orchestrator.storage.tables import JobList

MOST_LISTS = 50
"""Of one person."""


def lists(session: Session, owner: str) -> Sequence[JobList]:
    """Those of a person, by name."""
    return session.scalars(select(JobList).where(JobList.owner == owner).order_by(JobList.name)).all()


def keep(session: Session, owner: str, name: str, query: str, *, opens_first: bool) -> JobList:
    """Keep a list, in place of the one of that name; if it opens first, no other of its owner does.

    BadRequest if its owner has too many."""
    row = session.get(JobList, (owner, name))
    if row is None and (session.scalar(select(func.count()).where(JobList.owner == owner)) or 0) >= MOST_LISTS:
        raise BadRequest(f"you keep {MOST_LISTS} lists already: delete one first", field="name")
    if opens_first:
        session.execute(update(JobList).where(JobList.owner == owner).values(opens_first=False))
    row = session.merge(JobList(owner=owner, name=name, query=query, opens_first=opens_first))
    session.flush()
    return row


def forget(session: Session, owner: str, name: str) -> None:
    """Delete a list; NotFound if there is none."""
    gone = session.execute(delete(JobList).where(JobList.owner == owner, JobList.name == name))
    if not gone.rowcount:  # type: ignore[attr-defined]  # of a CursorResult
        raise NotFound(f"you keep no list of the name {name}")
