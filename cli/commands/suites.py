"""The commands about suites: apply, list, show, run and wait, gate, remove."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from api.client.client import ApiError
from cli.input.documents import folder_of, validated, written_in
from cli.input.files import OwnFiles
from cli.input.numbers import Limit, Seconds
from cli.output_files import require_writable
from cli.pages.suites import run_page, runs_table, suite_page, suites_table
from cli.session import HERE, Exit, Session, Stop, hint, hint_on_terminal, once
from cli.waiting.suites import exit_of_run, judged, saved_suite_junit
from orchestrator.model.suites import SuiteDocument, SuiteRunRequest

app = App(name="suites", help="Suites, measured again and again; `apply`, `show`, `run`, `wait`, `gate`, `remove`.")

Switch = Parameter(negative="")


@app.default
def suites(*, session: Session = HERE) -> Exit:
    """List suites, with the verdict of each."""
    with session.client() as client:
        found = client.suites.all()
        session.emit(found, suites_table(found))
    return Exit.OK


app.command(suites, name="list")


@app.command
def apply(file: Annotated[str, Parameter(allow_leading_hyphen=True)], /, *, session: Session = HERE) -> Exit:
    """Make a file (JSON or YAML) the present version of its suite; see docs/suites.md.

    Parameters
    ----------
    file
        The suite; - means standard input.
    """
    written = written_in(file)
    if not isinstance(written.values, dict):
        raise Stop(f"{written.shown}: expected a suite: a mapping with `name` and `matrix`")
    files = OwnFiles()
    document = validated(SuiteDocument, files.in_document(written.values, folder_of(file)), written=written)
    with session.client() as client:
        files.send(client)
        try:
            made = client.suites.apply(document)
        except ApiError as refused:
            if refused.field is None:
                raise
            raise Stop(f"{written.at(refused.field)}{refused}") from None
        session.emit(made, suite_page(made))
        hint_on_terminal(f"applied; run it with: tx81 suites run {made.name} --wait")
    return Exit.OK


@app.command
def show(suite: str, /, *, run: int | None = None, session: Session = HERE) -> Exit:
    """Show a suite with its cells and how often its alarms were false; or one of its runs.

    Parameters
    ----------
    run
        Number of a run: each of its cells with its verdict.
    """
    with session.client() as client:
        if run is None:
            found = client.suites.show(suite)
            session.emit(found, suite_page(found))
            return Exit.OK
        of_run = client.suites.run(run)
        if of_run.suite != suite:
            raise Stop(f"run {run} is of suite {of_run.suite}, not of {suite}")
        session.emit(of_run, run_page(of_run))
    return Exit.OK


@app.command
def runs(suite: str, /, *, limit: Limit = 20, session: Session = HERE) -> Exit:
    """List the runs of a suite, newest first.

    Parameters
    ----------
    limit
        Number of entries at most, up to 500.
    """
    with session.client() as client:
        found = client.suites.runs(suite, limit=limit).items
        session.emit(found, runs_table(found))
    return Exit.OK


@app.command
def run(
    suite: str,
    /,
    *,
    aa: Annotated[bool, Switch] = False,
    wait: Annotated[bool, Switch] = False,
    timeout: Seconds | None = None,
    junit: Path | None = None,
    key: str | None = None,
    session: Session = HERE,
) -> Exit:
    """Run a suite now. With --wait: exit 0 pass, 1 worse, 2 could not be judged, 4 infrastructure fault.

    Parameters
    ----------
    aa
        Measure it against itself: what differs is noise, below which later runs call nothing worse.
    wait
        Wait for the verdict and print it.
    timeout
        Seconds to wait; then exit with 124. The run continues.
    junit
        Also write the verdicts as JUnit XML into this file; implies --wait.
    key
        Idempotency key: repeating the command with the same key never starts a second run.
    """
    require_writable(junit, "--junit")
    with session.client() as client:
        with once(key) as sent:
            made = client.suites.start(suite, SuiteRunRequest(purpose="aa" if aa else "measure"), key=sent)
        if not (wait or timeout is not None or junit is not None):
            session.emit(made, runs_table([made]))
            hint_on_terminal(f"started; wait with: tx81 suites wait {made.id}")
            return Exit.OK
        return _waited(session, made.id, timeout, junit)


@app.command(name="wait")
def wait_for(
    run: int, /, *, timeout: Seconds | None = None, junit: Path | None = None, session: Session = HERE
) -> Exit:
    """Wait for the verdict of a run; exit 0 pass, 1 worse, 2 could not be judged, 4 infrastructure fault.

    Parameters
    ----------
    timeout
        Seconds to wait; then exit with 124. The run continues.
    junit
        Also write the verdicts as JUnit XML into this file.
    """
    require_writable(junit, "--junit")
    return _waited(session, run, timeout, junit)


@app.command
def gate(suite: str, /, *, junit: Path | None = None, session: Session = HERE) -> Exit:
    """Exit by the latest verdict of a suite: 0 pass, 1 worse, 2 could not be judged or not judged in time, 4
    infrastructure fault.

    Parameters
    ----------
    junit
        Also write the verdicts as JUnit XML into this file.
    """
    require_writable(junit, "--junit")
    with session.client() as client:
        found = client.suites.show(suite)
        if found.last is None:
            raise Stop(f"suite {suite} was not judged yet: tx81 suites run {suite} --wait")
        last = client.suites.run(found.last.id)
        saved_suite_junit(client, last, junit)
        session.emit(last, run_page(last))
    if found.missing_since is not None:
        hint(f"suite {suite} should have been judged again by {found.missing_since:%Y-%m-%d %H:%M} UTC")
        return Exit.USAGE
    return exit_of_run(last)


@app.command
def remove(suite: str, /, *, session: Session = HERE) -> Exit:
    """Remove a suite; its runs and baselines stay."""
    with session.client() as client:
        client.suites.remove(suite)
    hint(f"removed: {suite}")
    return Exit.OK


def _waited(session: Session, run: int, timeout: float | None, junit: Path | None) -> Exit:
    with session.client() as client:
        ended = judged(client, run, timeout)
        if ended.cells is not None:
            saved_suite_junit(client, ended, junit)
        session.emit(ended, run_page(ended))
    return exit_of_run(ended)
