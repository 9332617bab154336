"""The commands that order something of jobs that exist: cancel, hold, release, priority, front (and `serving.stop`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from api.client.client import Client
from api.documents.jobs import OrderOutcome, OrderReport
from cli.input.documents import validated
from cli.pages.jobs import jobs_table, orders_table
from cli.session import HERE, Exit, Session, Stop, hint, hint_on_terminal
from orchestrator.model.orders import Action, BulkOrder
from orchestrator.model.states import FINAL, JobState


@Parameter(name="*")
@dataclass(frozen=True)
class Which:
    """Many jobs at once: those that have not ended and fit all that is said."""

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
        """As the server wants it; empty if nothing is said."""
        said = {"pipeline": self.pipeline, "batch": self.batch, "project": self.project, "kind": self.kind}
        chosen = {name: value for name, value in said.items() if value is not None}
        return chosen | ({"states": [self.state]} if self.state is not None else {})


_ANY = Which()


def cancel(*jobs: int, which: Which = _ANY, note: str | None = None, session: Session = HERE) -> Exit:
    """Ask jobs to stop; one that runs is ended by its worker, which takes some seconds.

    Parameters
    ----------
    note
        Why; shown as the reason of jobs that are chosen by --pipeline, --batch, --project, --kind or --state.
    """
    if which != _ANY or not jobs:
        return ordered(Action.CANCEL, jobs, which, note, session)
    with session.client() as client:
        asked = [client.cancel(job) for job in jobs]
        session.emit(asked, jobs_table(asked))
        if going := [job for job in asked if job.state not in FINAL]:
            hint_on_terminal(f"asked; see them end with: tx81 wait {' '.join(str(job.id) for job in going)}")
    return Exit.OK


def hold(*jobs: int, which: Which = _ANY, note: str | None = None, session: Session = HERE) -> Exit:
    """Keep jobs from being placed until they are released; what runs goes on.

    Parameters
    ----------
    note
        Why; everybody who looks at the job sees it.
    """
    return ordered(Action.HOLD, jobs, which, note, session)


def release(*jobs: int, which: Which = _ANY, note: str | None = None, session: Session = HERE) -> Exit:
    """Undo holds."""
    return ordered(Action.RELEASE, jobs, which, note, session)


def priority(
    *jobs: int,
    to: Annotated[int, Parameter(name=["--to", "-p"])],
    which: Which = _ANY,
    note: str | None = None,
    session: Session = HERE,
) -> Exit:
    """Give jobs that have not begun another priority.

    Parameters
    ----------
    to
        The new priority, 0 to 9; 9 goes first.
    """
    return ordered(Action.PRIORITY, jobs, which, note, session, priority=to)


def front(*jobs: int, which: Which = _ANY, note: str | None = None, session: Session = HERE) -> Exit:
    """Move jobs before all others of their priority; several stay in the order they have."""
    return ordered(Action.FRONT, jobs, which, note, session)


def ordered(action: Action, jobs: Sequence[int], which: Which, note: str | None, session: Session, **more: int) -> Exit:
    """Carry out an order for these jobs, or for those that fit; exit 0 only if nothing was refused."""
    wanted = which.filter()
    if bool(jobs) == bool(wanted):
        raise Stop(
            f"{action}: name at least one job, or else choose by --pipeline, --batch, --project, --kind or --state"
        )
    target = {"jobs": list(jobs)} if jobs else {"filter": wanted}
    order = validated(BulkOrder, {"action": action, **target, **({"note": note} if note else {}), **more})
    with session.client() as client:
        by_filter = action in (Action.CANCEL, Action.STOP)
        if which == Which(pipeline=which.pipeline) and which.pipeline is not None and not by_filter:
            # By its own route, which also tells which of its jobs it is too late for.
            report = client.order_pipeline(which.pipeline, action, note, more.get("priority"))
        else:
            report = _all(client, order)
    session.emit(report, orders_table(report.items))
    if not report.items:
        hint("no job fits")
    return Exit.OK if report.refused == 0 else Exit.USAGE


def _all(client: Client, order: BulkOrder) -> OrderReport:
    """Order again until no job is left that fits; each answer is one transaction of the server."""
    items: list[OrderOutcome] = []
    while True:
        report = client.order(order)
        items += report.items
        if not report.left or not report.done:
            done = sum(item.done for item in items)
            return OrderReport(items=tuple(items), done=done, refused=len(items) - done, left=report.left)
