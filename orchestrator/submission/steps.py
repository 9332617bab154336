"""The three steps of every submission: store files, look up everything that is named, write all rows together.

Each step ends before the next begins. So no file is read or stored while a database session is open: a slow file server
does not block other requests. A submission is stored completely or not at all, and once for each key.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeVar

from sqlalchemy.orm import Session

from orchestrator.catalog.kcores import refuse_cards
from orchestrator.errors import BadSpec
from orchestrator.model.server_urls import refusal
from orchestrator.model.specs import ClientSpec, JobRequest
from orchestrator.settings import Settings
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.submission.drafts import Draft, Drafting, within
from orchestrator.submission.files import Intake
from orchestrator.submission.idempotency import Idempotency, Made, earlier, remember

T = TypeVar("T")


def _refuse_elsewhere(request: JobRequest, settings: Settings) -> None:
    """BadSpec if it asks a server elsewhere that the settings do not allow."""
    for server in request.spec.elsewhere if isinstance(request.spec, ClientSpec) else ():
        if (why := refusal(server, settings.endpoint_hosts)) is not None:
            raise BadSpec(why, field="spec.endpoint")


class Steps:
    """The parts of every kind of submission: `made_before`, then `look_up` or `drafts`, then `write`."""

    def __init__(self, settings: Settings, database: Database, store: ArtifactStore) -> None:
        self._settings = settings
        self._database = database
        self._store = store

    def made_before(self, idempotency: Idempotency | None) -> Made | None:
        """What an earlier request with the same key created. Checked first: the files it named may no longer exist."""
        with self._database.read() as session:
            return earlier(session, idempotency)

    def look_up(
        self, requests: Mapping[str, JobRequest], check: Callable[[Session, Drafting], T],
        *, siblings: Mapping[str, JobRequest] | None = None, keeps: bool = True,
    ) -> T:  # fmt: skip
        """Store the files of these requests (if it `keeps` them), then `check` them and what they name; writes no row.

        Requests are identified by their places in the document, to which a refusal's field refers."""
        intake = Intake(self._settings, self._store, keeps=keeps)
        for place, request in requests.items():
            with within(place):
                _refuse_elsewhere(request, self._settings)
                intake.take_in(request.spec)
        with self._database.read() as session:
            drafting = Drafting(session, self._store, intake, siblings)
            checked = check(session, drafting)
        for kcore, place in drafting.kcores.items():
            with within(place):
                refuse_cards(self._store, kcore.digest, kcore.cards)
        return checked

    def drafts(
        self, requests: Mapping[str, JobRequest], *, siblings: Mapping[str, JobRequest] | None = None,
        keeps: bool = True,
    ) -> list[Draft]:  # fmt: skip
        """The drafts of these requests, in their order."""

        def check(_: Session, drafting: Drafting) -> list[Draft]:
            return [drafting.draft(request, place) for place, request in requests.items()]

        return self.look_up(requests, check, siblings=siblings, keeps=keeps)

    def write(self, idempotency: Idempotency | None, make: Callable[[Session, datetime], Made]) -> Made:
        """Create it in one transaction; a key that was used before returns what it created then."""
        with self._database.admission() as (session, now):
            # Checked again: the same key may have been sent twice at the same time.
            if (made := earlier(session, idempotency)) is not None:
                return made
            made = make(session, now)
            remember(session, idempotency, made, now)
            return made
