"""Whether the process is alive, and whether it is ready; needs no token."""

import logging

from fastapi import APIRouter, Response
from sqlalchemy import inspect
from sqlalchemy.exc import SQLAlchemyError

from api.context import Given
from api.documents.health import Readiness
from orchestrator.slots import queries
from orchestrator.storage.away import why
from orchestrator.storage.tables import Base

log = logging.getLogger("api")
router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live")
async def live() -> dict[str, bool]:
    """The process answers; neither the database nor a thread is needed for it."""
    return {"live": True}


@router.get("/ready", responses={503: {"model": Readiness, "description": "It cannot do its work."}})
def ready(context: Given, response: Response) -> Readiness:
    """The database answers and has its tables."""
    outcome = _readiness(context)
    response.status_code = 200 if outcome.ready else 503
    return outcome


def _readiness(context: Given) -> Readiness:
    try:
        missing = Base.metadata.tables.keys() - set(inspect(context.database.engine).get_table_names())
        if missing:
            lack = f"the database lacks {', '.join(sorted(missing))}: run the migrations (tx81 migrate)"
            return Readiness(ready=False, database=True, dispatcher=False, detail=lack)
        with context.database.read() as session:
            now = context.database.now(session)
            alive = queries.dispatcher_alive(session, now)
            trouble = queries.broker_finding(session, now).sentence(names=False)
            unheard = queries.bells_unheard(session, now, context.settings.lease)
    except SQLAlchemyError as error:
        log.warning("not ready: the database does not answer: %s", why(error))
        lack = "the database does not answer; the log of the API says why"  # not shown to clients without a token
        return Readiness(ready=False, database=False, dispatcher=False, detail=lack)
    detail = trouble if alive else "no dispatcher is running: jobs are accepted, but wait"
    return Readiness(
        ready=True, database=True, dispatcher=alive, bells_unheard=unheard, broker_trouble=trouble, detail=detail
    )
