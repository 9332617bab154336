"""The commands about batches: list, show, submit, wait, report, and orders for all their jobs."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from cli.input.documents import batch_in
from cli.pages.batches import batch_page, batches_table
from cli.pages.jobs import orders_table
from cli.session import HERE, Exit, Session, Stop, hint, hint_on_terminal, once
from cli.waiting.batches import checked_place, end_of, followed, saved_junit
from orchestrator.model.orders import Action

app = App(name="batches", help="Many jobs as one thing with one report; `show`, `wait`, `report`, `cancel` and more.")


@app.default
def batches(
    *,
    project: str | None = None,
    name: str | None = None,
    limit: Annotated[int, Parameter(name=["--limit", "-n"])] = 50,
    session: Session = HERE,
) -> Exit:
    """List batches, newest first."""
    with session.client() as client:
        found = client.batches.page(limit=limit, project=project, name=name).items
        session.emit(found, batches_table(found))
    return Exit.OK


app.command(batches, name="list")


@app.command
def show(batch: int, /, *, session: Session = HERE) -> Exit:
    """A batch with its report: failures by kind, faults apart, each slot beside the others."""
    with session.client() as client:
        found = client.batches.show(batch)
        session.emit(found, batch_page(found))
    return Exit.OK


@app.command
def submit(
    file: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    key: str | None = None,
    session: Session = HERE,
) -> Exit:
    """Submit a batch from a file, JSON or YAML: `name` and `jobs`, or `name`, `template`, `times` and `slots`.

    Parameters
    ----------
    file
        The document; - reads standard input.
    key
        Idempotency key: the same key and document never makes a second batch.
    """
    request = batch_in(file)
    with session.client() as client:
        with once(key) as sent:
            made = client.batches.submit(request, key=sent)
        session.emit(made, batches_table([made]))
        hint_on_terminal(f"submitted; watch with: tx81 batches wait {made.id}")
    return Exit.OK


@app.command
def wait(
    batch: int,
    /,
    *,
    timeout: float | None = None,
    junit: Path | None = None,
    session: Session = HERE,
) -> Exit:
    """Wait until a batch has ended and print its report; exit 0 only if all of its jobs succeeded.

    Parameters
    ----------
    timeout
        Seconds; then exit 124, and the batch goes on.
    junit
        Write the report as JUnit XML into this file too.
    """
    checked_place(junit)
    with session.client() as client:
        ended = followed(client, batch, timeout)
        saved_junit(client, batch, junit)
        session.emit(ended, batch_page(ended))
    return end_of(ended)


@app.command
def report(batch: int, /, *, junit: Path, session: Session = HERE) -> Exit:
    """Write the report of a batch as JUnit XML, whether it has ended or not: faults are errors, failed jobs failures.

    Parameters
    ----------
    junit
        The file; one that is there is replaced.
    """
    checked_place(junit)
    with session.client() as client:
        saved_junit(client, batch, junit)
    hint(f"written: {junit}")
    return Exit.OK


@app.command
def cancel(batch: int, /, *, note: str | None = None, session: Session = HERE) -> Exit:
    """Ask all jobs of a batch that have not ended to stop.

    Parameters
    ----------
    note
        Why; shown as the reason of each job.
    """
    return _ordered(batch, Action.CANCEL, note, session)


@app.command
def hold(batch: int, /, *, note: str | None = None, session: Session = HERE) -> Exit:
    """Keep the jobs of a batch from being placed until they are released; what runs goes on.

    Parameters
    ----------
    note
        Why; everybody who looks at the jobs sees it.
    """
    return _ordered(batch, Action.HOLD, note, session)


@app.command
def release(batch: int, /, *, note: str | None = None, session: Session = HERE) -> Exit:
    """Undo the holds of all jobs of a batch."""
    return _ordered(batch, Action.RELEASE, note, session)


@app.command
def priority(
    batch: int,
    /,
    *,
    to: Annotated[int, Parameter(name=["--to", "-p"])],
    note: str | None = None,
    session: Session = HERE,
) -> Exit:
    """Give the jobs of a batch that have not begun another priority.

    Parameters
    ----------
    to
        The new priority, 0 to 9; 9 goes first.
    """
    return _ordered(batch, Action.PRIORITY, note, session, to)


@app.command
def front(batch: int, /, *, note: str | None = None, session: Session = HERE) -> Exit:
    """Move the jobs of a batch before all others of their priority, in the order they have."""
    return _ordered(batch, Action.FRONT, note, session)


def _ordered(batch: int, action: Action, note: str | None, session: Session, to: int | None = None) -> Exit:
    """Exit 0 unless nothing could be done: that some jobs are too far gone is what an order for many meets."""
    with session.client() as client:
        found = client.batches.order(batch, action, note, to)
    session.emit(found, orders_table(found.items))
    if not found.items:
        raise Stop(f"no job of batch {batch} is left to {action}: all have ended")
    return Exit.OK if found.done else Exit.USAGE
