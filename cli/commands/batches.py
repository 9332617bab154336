"""The commands about batches: list, show, submit, wait, report, and orders for all their jobs."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from cli.commands.listing import USUAL, Listing
from cli.input.documents import batch_in
from cli.input.files import OwnFiles
from cli.input.numbers import Seconds
from cli.output_files import require_writable
from cli.pages.batches import batch_page, batches_table
from cli.pages.jobs import orders_table
from cli.session import HERE, Exit, Session, Stop, hint, hint_on_terminal, once
from cli.waiting.batches import end_of, followed, saved_junit
from orchestrator.model.orders import Action

Switch = Parameter(negative="")

app = App(name="batches", help="Many jobs with one report; `show`, `wait`, `report`, `cancel` and more.")


@app.default
def batches(
    *,
    listing: Listing = USUAL,
    session: Session = HERE,
) -> Exit:
    """List batches, newest first."""
    with session.client() as client:
        listing.show(client, session, client.batches.page, batches_table, **listing.filters(client))
    return Exit.OK


app.command(batches, name="list")


@app.command
def show(batch: int, /, *, session: Session = HERE) -> Exit:
    """Show a batch with its report: failures by kind, faults separately, slots side by side."""
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
        The document; - means standard input.
    key
        Idempotency key: repeating the command with the same key and document never creates a second batch.
    """
    files = OwnFiles()
    request = batch_in(file, files)
    with session.client() as client:
        files.send(client)
        with once(key) as sent:
            made = client.batches.submit(request, key=sent)
        session.emit(made, batches_table([made]))
        hint_on_terminal(f"submitted; wait with: tx81 batches wait {made.id}")
    return Exit.OK


@app.command
def wait(
    batch: int,
    /,
    *,
    timeout: Seconds | None = None,
    junit: Path | None = None,
    require_agreement: Annotated[bool, Switch] = False,
    session: Session = HERE,
) -> Exit:
    """Wait until a batch has ended and print its report; exit 0 only if all of its jobs succeeded.

    Parameters
    ----------
    timeout
        Seconds to wait; then exit with 124. The batch continues.
    junit
        Also write the report as JUnit XML into this file.
    require_agreement
        Exit with 1, and fail in JUnit, unless all slots give the same answers.
    """
    require_writable(junit, "--junit")
    with session.client() as client:
        ended = followed(client, batch, timeout)
        saved_junit(client, batch, junit, require_agreement=require_agreement)
        session.emit(ended, batch_page(ended))
    return end_of(ended, require_agreement=require_agreement)


@app.command
def report(
    batch: int, /, *, junit: Path, require_agreement: Annotated[bool, Switch] = False, session: Session = HERE
) -> Exit:
    """Write the report of a batch as JUnit XML, also while it runs: faults are errors, failed jobs are failures.

    Parameters
    ----------
    junit
        The file; an existing one is replaced.
    require_agreement
        Fail in JUnit unless all slots give the same answers.
    """
    require_writable(junit, "--junit")
    with session.client() as client:
        saved_junit(client, batch, junit, require_agreement=require_agreement)
    hint(f"written: {junit}")
    return Exit.OK


@app.command
def cancel(batch: int, /, *, note: str | None = None, session: Session = HERE) -> Exit:
    """Cancel all jobs of a batch that have not ended.

    Parameters
    ----------
    note
        Reason; shown with each job, with your name.
    """
    return _ordered(batch, Action.CANCEL, note, session)


@app.command
def hold(batch: int, /, *, note: str | None = None, session: Session = HERE) -> Exit:
    """Hold the jobs of a batch: they are not placed until `unhold`. Running jobs continue.

    Parameters
    ----------
    note
        Reason; shown with each job.
    """
    return _ordered(batch, Action.HOLD, note, session)


@app.command
def unhold(batch: int, /, *, note: str | None = None, session: Session = HERE) -> Exit:
    """Remove the holds of all jobs of a batch."""
    return _ordered(batch, Action.UNHOLD, note, session)


app.command(unhold, name="release", help="Old name of `unhold`, for one more version.", show=False)


@app.command
def priority(
    batch: int,
    /,
    *,
    to: Annotated[int, Parameter(name=["--to", "-p"])],
    note: str | None = None,
    session: Session = HERE,
) -> Exit:
    """Change the priority of the jobs of a batch that have not started.

    Parameters
    ----------
    to
        The new priority, 0 to 9; 9 is placed first.
    """
    return _ordered(batch, Action.PRIORITY, note, session, to)


@app.command
def front(batch: int, /, *, note: str | None = None, session: Session = HERE) -> Exit:
    """Move the jobs of a batch to the front of their priority; their order stays the same."""
    return _ordered(batch, Action.FRONT, note, session)


def _ordered(batch: int, action: Action, note: str | None, session: Session, to: int | None = None) -> Exit:
    """Exit 0 unless nothing could be done: it is normal that some jobs have already ended or started."""
    with session.client() as client:
        found = client.batches.order(batch, action, note, to)
    session.emit(found, orders_table(found.items))
    if not found.items:
        raise Stop(f"no job of batch {batch} is left to {action}: all have ended", Exit.REFUSED)
    return Exit.OK if found.done else Exit.REFUSED
