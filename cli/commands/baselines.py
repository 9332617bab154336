"""The commands about baselines: list, show, set, accept a shift, retire."""

from typing import Annotated, Any

from cyclopts import App, Parameter

from cli.commands.unknown_names import hint_if_unknown
from cli.input.documents import validated
from cli.input.numbers import Limit
from cli.pages.baselines import baseline_page, baselines_table
from cli.session import HERE, Exit, Session, Stop
from orchestrator.model.baselines import BaselineOrder, Because

app = App(name="baselines", help="What runs of a suite are held to: list, `show`, `set`, `accept`, `retire`.")


@app.default
@app.command(name="list")
def baselines(
    *,
    suite: str | None = None,
    cell: str | None = None,
    all_: Annotated[bool, Parameter(name="--all", negative="")] = False,
    limit: Limit = 100,
    session: Session = HERE,
) -> Exit:
    """List baselines that are in force, newest first.

    Parameters
    ----------
    suite
        Only those of this suite.
    cell
        Only that of this cell: model=qwen,prompts=basic.
    all_
        Also those that have ended.
    limit
        At most this number, up to 500.
    """
    with session.client() as client:
        found = client.baselines.page(limit=limit, suite=suite, cell=cell, ended=all_).items
        session.emit(found, baselines_table(found))
        hint_if_unknown(client, found, suite=suite)
    return Exit.OK


@app.command
def show(baseline: int, /, *, session: Session = HERE) -> Exit:
    """Show one baseline with its samples; also one that has ended."""
    with session.client() as client:
        found = client.baselines.show(baseline)
        session.emit(found, baseline_page(found))
    return Exit.OK


@app.command(name="set")
def set_baseline(
    suite: str, cell: str, *, jobs: str | None = None, run: int | None = None, reason: str, session: Session = HERE
) -> Exit:
    """Make the results of jobs, or of a run of the suite, the baseline of a cell that has none.

    Parameters
    ----------
    suite
        Name of the suite.
    cell
        Key of the cell: model=qwen,prompts=basic.
    jobs
        Numbers of the jobs: 4,5,6. All have succeeded and none is in doubt.
    run
        Instead of jobs: what this run of the suite has measured.
    reason
        Why these are good; kept with the baseline and in the events.
    """
    wanted = {"suite": suite, "cell": cell, **_source(jobs, run), "reason": reason}
    with session.client() as client:
        made = client.baselines.set(validated(BaselineOrder, wanted))
        session.emit(made, baseline_page(made))
    return Exit.OK


@app.command
def accept(
    baseline: int, /, *, jobs: str | None = None, run: int | None = None, reason: str, session: Session = HERE
) -> Exit:
    """Accept a shift: later jobs take the place of a baseline that is in force.

    Parameters
    ----------
    jobs
        Numbers of the jobs: 14,15,16. All are later than those of the baseline.
    run
        Instead of jobs: what this run of the suite has measured.
    reason
        Why the shift is right; kept with both baselines and in the events.
    """
    with session.client() as client:
        old = client.baselines.show(baseline)
        wanted = {"suite": old.suite, "cell": old.cell, **_source(jobs, run), "reason": reason, "replaces": old.id}
        made = client.baselines.set(validated(BaselineOrder, wanted))
        session.emit(made, baseline_page(made))
    return Exit.OK


@app.command
def retire(baseline: int, /, *, reason: str, session: Session = HERE) -> Exit:
    """End a baseline without another one.

    Parameters
    ----------
    reason
        Why it is no longer right; kept with the baseline and in the events.
    """
    with session.client() as client:
        ended = client.baselines.retire(baseline, validated(Because, {"reason": reason}))
        session.emit(ended, baselines_table([ended]))
    return Exit.OK


def _source(jobs: str | None, run: int | None) -> dict[str, Any]:
    if jobs is None:
        return {"run": run}
    try:
        return {"jobs": [int(part) for part in jobs.split(",")], "run": run}
    except ValueError:
        raise Stop(f"--jobs: {jobs!r} is not a list of numbers; write it like 4,5,6") from None
