"""Triages: is it the card, the toolchain or the model?"""

from fastapi import APIRouter, Request, Response

from api.access import Actor, GuardedRoute, Once
from api.context import Context, Given
from api.documents.triages import TriageRequest, TriageView
from api.http.replay import note_replay, replays
from api.parameters import Number
from api.views.triages import triage_view
from orchestrator.submission.idempotency import Made
from orchestrator.suites import triage as triages

router = APIRouter(tags=["triages"], route_class=GuardedRoute)


@router.post("/jobs/{job}/triage", status_code=201, responses=replays(TriageView))
def start_triage(
    job: Number, body: TriageRequest, context: Given, actor: Actor, request: Request, response: Response, once: Once
) -> TriageView:
    """Find what is to blame for wrong answers or faults of an inference that has ended: the same kernel image runs on
    another card group, and the last good one on this card group, each several times, as ordinary jobs of a batch.

    The verdict is in the triage once they have ended."""
    number, replayed = context.triages.start(job, repeats=body.repeats, by=actor, idempotency=once)
    note_replay(Made((), replayed=replayed), response)
    response.headers["Location"] = request.app.url_path_for("show_triage", triage=number)
    return _view(context, number)


@router.get("/triages/{triage}")
def show_triage(triage: Number, context: Given) -> TriageView:
    """A triage: its runs, and once they have ended the verdict with the sentence and the table it stands on."""
    return _view(context, triage)


def _view(context: Context, triage: int) -> TriageView:
    with context.database.read() as session:
        return triage_view(triages.show(session, triage))
