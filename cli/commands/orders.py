"""The commands that change existing jobs: cancel, hold, unhold, priority, front; `stop` is in `servers`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from api.client.client import Client
from api.documents.jobs import OrderOutcome, OrderReport
from cli.commands.unknown_names import hint_if_unknown
from cli.input.documents import validated
from cli.pages.jobs import jobs_table, orders_table
from cli.session import HERE, Exit, Session, Stop, hint, hint_on_terminal
from orchestrator.model.orders import Action, BulkOrder
from orchestrator.model.states import FINAL, JobState


@Parameter(name="*")
@dataclass(frozen=True)
class Which:
    """Selects many jobs: those that have not ended and match all given options."""

    pipeline: int | None = None
    "All jobs of this pipeline."

    batch: int | None = None
    "All jobs of this batch."

    project: str | None = None
    "All jobs of this project."

    kind: str | None = None
    "All jobs of this kind."

    state: JobState | None = None
    "All jobs in this state."

    def filter(self) -> dict[str, Any]:
        """The filter as the server expects it; empty if no option is given."""
        said = {"pipeline": self.pipeline, "batch": self.batch, "project": self.project, "kind": self.kind}
        chosen = {name: value for name, value in said.items() if value is not None}
        return chosen | ({"states": [self.state]} if self.state is not None else {})


_ANY = Which()


def cancel(*jobs: int, which: Which = _ANY, note: str | None = None, session: Session = HERE) -> Exit:
    """Cancel jobs. A running job is ended by its worker, which takes some seconds.

    Parameters
    ----------
    note
        Reason; shown with each job, with your name.
    """
    if which != _ANY or not jobs:
        return ordered(Action.CANCEL, jobs, which, note, session)
    with session.client() as client:
        asked = [client.cancel(job, note) for job in jobs]
        session.emit(asked, jobs_table(asked))
        if going := [job for job in asked if job.state not in FINAL]:
            hint_on_terminal(f"requested; wait for the end with: tx81 wait {' '.join(str(job.id) for job in going)}")
    return Exit.OK


def hold(*jobs: int, which: Which = _ANY, note: str | None = None, session: Session = HERE) -> Exit:
    """Hold jobs: they are not placed until `unhold`. Running jobs continue.

    Parameters
    ----------
    note
        Reason; shown with the job.
    """
    return ordered(Action.HOLD, jobs, which, note, session)


def unhold(*jobs: int, which: Which = _ANY, note: str | None = None, session: Session = HERE) -> Exit:
    """Remove holds."""
    return ordered(Action.UNHOLD, jobs, which, note, session)


def priority(
    *jobs: int,
    to: Annotated[int, Parameter(name=["--to", "-p"])],
    which: Which = _ANY,
    note: str | None = None,
    session: Session = HERE,
) -> Exit:
    """Change the priority of jobs that have not started.

    Parameters
    ----------
    to
        The new priority, 0 to 9; 9 is placed first.
    """
    return ordered(Action.PRIORITY, jobs, which, note, session, priority=to)


def front(*jobs: int, which: Which = _ANY, note: str | None = None, session: Session = HERE) -> Exit:
    """Move jobs to the front of their priority; the order among them stays the same."""
    return ordered(Action.FRONT, jobs, which, note, session)


def ordered(action: Action, jobs: Sequence[int], which: Which, note: str | None, session: Session, **more: int) -> Exit:
    """Apply an action to these jobs, or to those that match; exit 0 only if nothing was refused."""
    wanted = which.filter()
    if bool(jobs) == bool(wanted):
        raise Stop(f"{action}: name at least one job, or use --pipeline, --batch, --project, --kind or --state")
    target = {"jobs": list(jobs)} if jobs else {"filter": wanted}
    order = validated(BulkOrder, {"action": action, **target, **({"note": note} if note else {}), **more})
    with session.client() as client:
        by_filter = action in (Action.CANCEL, Action.STOP)
        if which == Which(pipeline=which.pipeline) and which.pipeline is not None and not by_filter:
            # By its own route, which also reports the jobs for which it is too late.
            report = client.order_pipeline(which.pipeline, action, note, more.get("priority"))
        else:
            report = _all(client, order)
        session.emit(report, orders_table(report.items))
        if not report.items:
            hint("no job matches")
            hint_if_unknown(client, report.items, **wanted)
    return Exit.OK if report.refused == 0 else Exit.REFUSED


def _all(client: Client, order: BulkOrder) -> OrderReport:
    """Repeat until no matching job is left; each request is one transaction of the server."""
    items: list[OrderOutcome] = []
    while True:
        report = client.order(order)
        items += report.items
        if not report.left or not report.done:
            done = sum(item.done for item in items)
            return OrderReport(items=tuple(items), done=done, refused=len(items) - done, left=report.left)
