"""The latest check of each release on each host: stored as it was found, and read."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.catalog import queries
from orchestrator.model.release_checks import Findings
from orchestrator.storage.tables import CheckedRelease


def replace(session: Session, release: str, host: str, found: Findings, *, by: str, now: datetime) -> CheckedRelease:
    """Put it in the place of the host's earlier check; NotFound if there is no such release.

    Callers are serialised: two that are the first for a host would both insert."""
    queries.release(session, release)
    facts = {
        "root": found.root, "ok": found.ok, "by": by, "checked_at": now,
        "findings": [finding.model_dump(mode="json") for finding in found.findings],
    }  # fmt: skip
    row = session.get(CheckedRelease, (release, host))
    if row is None:
        row = CheckedRelease(release=release, host=host, **facts)
        session.add(row)
    for name, value in facts.items():
        setattr(row, name, value)
    session.flush()
    return row


def checks(session: Session, release: str) -> Sequence[CheckedRelease]:
    """By host; NotFound if there is no such release."""
    queries.release(session, release)
    found = select(CheckedRelease).where(CheckedRelease.release == release).order_by(CheckedRelease.host)
    return session.scalars(found).all()
