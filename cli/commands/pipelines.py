"""The commands about pipelines: list, show, and orders for all their jobs."""

from typing import Annotated

from cyclopts import App, Parameter

from cli.commands.listing import USUAL, Listing
from cli.commands.orders import Which, ordered
from cli.pages.pipelines import pipeline_page, pipelines_table
from cli.session import HERE, Exit, Session, Stop
from orchestrator.model.orders import Action
from orchestrator.model.states import FINAL

app = App(name="pipelines", help="Jobs submitted together that use each other's outputs: list, `show`, `cancel`.")


@app.default
def pipelines(*, listing: Listing = USUAL, session: Session = HERE) -> Exit:
    """List pipelines, newest first."""
    with session.client() as client:
        listing.show(client, session, client.pipelines, pipelines_table, **listing.filters(client))
    return Exit.OK


app.command(pipelines, name="list")


@app.command
def show(pipeline: int, /, *, session: Session = HERE) -> Exit:
    """Show a pipeline with its jobs."""
    with session.client() as client:
        found = client.pipeline(pipeline)
        session.emit(found, pipeline_page(found))
    return Exit.OK


@app.command
def cancel(pipeline: int, /, *, note: str | None = None, session: Session = HERE) -> Exit:
    """Cancel all jobs of a pipeline that have not ended.

    Parameters
    ----------
    note
        Reason; shown with each job, with your name.
    """
    return _ordered(pipeline, Action.CANCEL, note, session)


@app.command
def hold(pipeline: int, /, *, note: str | None = None, session: Session = HERE) -> Exit:
    """Hold the jobs of a pipeline: they are not placed until `unhold`. Running jobs continue.

    Parameters
    ----------
    note
        Reason; shown with each job.
    """
    return _ordered(pipeline, Action.HOLD, note, session)


@app.command
def unhold(pipeline: int, /, *, note: str | None = None, session: Session = HERE) -> Exit:
    """Remove the holds of all jobs of a pipeline.

    Parameters
    ----------
    note
        Reason; kept in the events.
    """
    return _ordered(pipeline, Action.UNHOLD, note, session)


@app.command
def priority(
    pipeline: int,
    /,
    *,
    to: Annotated[int, Parameter(name=["--to", "-p"])],
    note: str | None = None,
    session: Session = HERE,
) -> Exit:
    """Change the priority of the jobs of a pipeline that have not started.

    Parameters
    ----------
    to
        The new priority, 0 to 9; 9 is placed first.
    note
        Reason; kept in the events.
    """
    return _ordered(pipeline, Action.PRIORITY, note, session, priority=to)


@app.command
def front(pipeline: int, /, *, note: str | None = None, session: Session = HERE) -> Exit:
    """Move the jobs of a pipeline to the front of their priority; their order stays the same.

    Parameters
    ----------
    note
        Reason; kept in the events.
    """
    return _ordered(pipeline, Action.FRONT, note, session)


def _ordered(pipeline: int, action: Action, note: str | None, session: Session, **more: int) -> Exit:
    with session.client() as client:
        jobs = client.pipeline(pipeline).jobs
    if all(job.state in FINAL for job in jobs):
        raise Stop(f"no job of pipeline {pipeline} is left to {action}: all have ended", Exit.REFUSED)
    return ordered(action, (), Which(pipeline=pipeline), note, session, **more)
