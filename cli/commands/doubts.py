"""The commands about doubts: list results that are shown and not used, lift a doubt."""

from typing import Annotated

from cyclopts import App, Parameter

from cli.commands.listing import slot_id
from cli.commands.unknown_names import hint_if_unknown
from cli.input.documents import validated
from cli.input.numbers import Limit
from cli.pages.doubts import doubts_table
from cli.session import HERE, Exit, Session
from orchestrator.model.doubts import LiftOrder

app = App(name="doubts", help="Results that are shown and not used, and why; `lift` a doubt.")


@app.default
@app.command(name="list")
def doubts(
    *,
    job: int | None = None,
    slot: str | None = None,
    all_: Annotated[bool, Parameter(name="--all", negative="")] = False,
    limit: Limit = 100,
    session: Session = HERE,
) -> Exit:
    """List results that are in doubt, newest first, with the evidence against their cards.

    Parameters
    ----------
    job
        Only those of this job.
    slot
        Only those of this slot (HOST.g3).
    all_
        Also those that were lifted.
    limit
        At most this number, up to 500.
    """
    with session.client() as client:
        place = slot and slot_id(client, slot)
        found = client.doubts.page(limit=limit, job=job, slot=place, lifted=all_).items
        session.emit(found, doubts_table(found))
        hint_if_unknown(client, found, job=job, slot=place)
    return Exit.OK


@app.command
def lift(*doubts: int, job: int | None = None, slot: str | None = None, reason: str, session: Session = HERE) -> Exit:
    """Lift doubts, so that the results are used again.

    Parameters
    ----------
    doubts
        Numbers of doubts; see: tx81 doubts.
    job
        All doubts of this job.
    slot
        All doubts of this slot (HOST.g3).
    reason
        Why the results can be trusted; kept with the doubts and in the events.
    """
    with session.client() as client:
        place = slot and slot_id(client, slot)
        order = validated(LiftOrder, {"doubts": doubts, "job": job, "slot": place, "note": reason})
        lifted = client.doubts.lift(order).items
        session.emit(lifted, doubts_table(lifted))
    return Exit.OK
