"""The commands about schedules: set, list, show, pause, resume, run, remove."""

from typing import Annotated

from cyclopts import App, Parameter

from cli.input.documents import validated
from cli.input.numbers import Seconds
from cli.input.times import duration
from cli.pages.suites import run_page, runs_table, schedule_page, schedules_table
from cli.session import HERE, Exit, Session, hint, hint_on_terminal, once
from cli.waiting.suites import exit_of_run, judged
from orchestrator.model.schedules import Missed, Overlap, ScheduleDocument

app = App(name="schedules", help="When suites run; `set`, `show`, `pause`, `resume`, `run`, `remove`.")

Switch = Parameter(negative="")


@app.default
def schedules(*, session: Session = HERE) -> Exit:
    """List schedules: the next time and the last outcome of each."""
    with session.client() as client:
        found = client.schedules.all()
        session.emit(found, schedules_table(found))
    return Exit.OK


app.command(schedules, name="list")


@app.command
def show(schedule: str, /, *, session: Session = HERE) -> Exit:
    """Show a schedule with its next five times and the outcomes of its latest ones."""
    with session.client() as client:
        found = client.schedules.show(schedule)
        session.emit(found, schedule_page(found))
    return Exit.OK


@app.command(name="set")
def set_schedule(
    schedule: str,
    /,
    *,
    suite: str,
    cron: str,
    zone: str = "UTC",
    missed: Missed = Missed.RUN_LATEST,
    overlap: Overlap = Overlap.SKIP,
    max_age: str | None = None,
    aa: Annotated[bool, Switch] = False,
    session: Session = HERE,
) -> Exit:
    """Make or change a schedule: tx81 schedules set night --suite nightly --cron "30 2 * * 1-5" --zone Asia/Shanghai

    Parameters
    ----------
    suite
        The suite that it runs.
    cron
        Minute, hour, day of month, month, day of week.
    zone
        Time zone in which cron is read.
    missed
        What becomes of times at which no dispatcher ran: one run for all, one for each, or none.
    overlap
        What becomes of a time at which the suite still runs.
    max_age
        The suite is missing, which is an alarm, if it was not judged for this long: 26h, 8d.
    aa
        Measure the suite against itself, to know its noise.
    """
    told: dict[str, object] = {"suite": suite, "cron": cron, "zone": zone, "missed": missed, "overlap": overlap}
    if aa:
        told |= {"purpose": "aa"}
    if max_age is not None:
        told |= {"max_age_seconds": int(duration(max_age, "--max-age").total_seconds())}
    document = validated(ScheduleDocument, told)
    with session.client() as client:
        made = client.schedules.set(schedule, document)
        session.emit(made, schedule_page(made))
    return Exit.OK


@app.command
def pause(schedule: str, /, *, session: Session = HERE) -> Exit:
    """Fire a schedule no more until `resume`; a run that has started goes on."""
    return _ordered(schedule, "pause", session)


@app.command
def resume(schedule: str, /, *, session: Session = HERE) -> Exit:
    """Fire a schedule again; times during the pause are not made up for."""
    return _ordered(schedule, "resume", session)


@app.command
def run(
    schedule: str,
    /,
    *,
    wait: Annotated[bool, Switch] = False,
    timeout: Seconds | None = None,
    key: str | None = None,
    session: Session = HERE,
) -> Exit:
    """Run the suite of a schedule now. With --wait: exit as `tx81 suites run` does.

    Parameters
    ----------
    wait
        Wait for the verdict and print it.
    timeout
        Seconds to wait; then exit with 124. The run continues.
    key
        Idempotency key: repeating the command with the same key never starts a second run.
    """
    with session.client() as client:
        with once(key) as sent:
            made = client.schedules.run(schedule, key=sent)
        if not (wait or timeout is not None):
            session.emit(made, runs_table([made]))
            hint_on_terminal(f"started; wait with: tx81 suites wait {made.id}")
            return Exit.OK
        ended = judged(client, made.id, timeout)
        session.emit(ended, run_page(ended))
    return exit_of_run(ended)


@app.command
def remove(schedule: str, /, *, session: Session = HERE) -> Exit:
    """Remove a schedule; a run that it has started goes on."""
    with session.client() as client:
        client.schedules.remove(schedule)
    hint(f"removed: {schedule}")
    return Exit.OK


def _ordered(schedule: str, order: str, session: Session) -> Exit:
    with session.client() as client:
        made = client.schedules.order(schedule, "pause" if order == "pause" else "resume")
        session.emit(made, schedule_page(made))
    return Exit.OK
