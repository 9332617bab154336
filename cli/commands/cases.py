"""The commands about cases: list, show, accept, close, reopen, comment."""

from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from cli.commands.unknown_names import hint_if_unknown
from cli.input.documents import validated
from cli.input.numbers import Limit
from cli.input.times import moment
from cli.pages.cases import case_page, cases_table
from cli.session import HERE, Exit, Session
from orchestrator.model.baselines import Because
from orchestrator.model.cases import AcceptOrder, CaseState, Comment

app = App(
    name="cases", help="Regressions that suites have found: list, `show`, `accept`, `close`, `reopen`, `comment`."
)


@app.default
@app.command(name="list")
def cases(
    *,
    suite: str | None = None,
    state: list[CaseState] | None = None,
    all_: Annotated[bool, Parameter(name="--all", negative="")] = False,
    limit: Limit = 100,
    session: Session = HERE,
) -> Exit:
    """List open cases, newest first.

    Parameters
    ----------
    suite
        Only those with a series of this suite.
    state
        Only those in this state; several times for several.
    all_
        Also closed ones.
    limit
        At most this number, up to 500.
    """
    with session.client() as client:
        found = client.cases.page(limit=limit, suite=suite, state=state, closed=all_).items
        session.emit(found, cases_table(found))
        hint_if_unknown(client, found, suite=suite)
    return Exit.OK


@app.command
def show(case: int, /, *, session: Session = HERE) -> Exit:
    """Show one case: its series, the change that they share, and its trail."""
    with session.client() as client:
        found = client.cases.show(case)
        session.emit(found, case_page(found))
    return Exit.OK


@app.command
def accept(case: int, /, *, until: str, reason: str, link: str | None = None, session: Session = HERE) -> Exit:
    """Accept a case as a known issue until a date. It comes back if it is still worse then.

    Parameters
    ----------
    until
        2026-03-01, '2026-03-01 14:00' (time zone of this machine), or with an offset.
    reason
        Why it is accepted; kept in the trail and in the events.
    link
        Where the issue is tracked.
    """
    due = moment(until, "--until", after=datetime.now(UTC))
    order = validated(AcceptOrder, {"until": due.isoformat(), "reason": reason, "link": link})
    with session.client() as client:
        found = client.cases.accept(case, order)
        session.emit(found, case_page(found))
    return Exit.OK


@app.command
def close(case: int, /, *, reason: str, session: Session = HERE) -> Exit:
    """Close a case. If a series of it is worse in a later run, that is another case.

    Parameters
    ----------
    reason
        Why it counts no more; kept in the trail and in the events.
    """
    with session.client() as client:
        found = client.cases.close(case, validated(Because, {"reason": reason}))
        session.emit(found, case_page(found))
    return Exit.OK


@app.command
def reopen(case: int, /, *, reason: str, session: Session = HERE) -> Exit:
    """Open a closed case again.

    Parameters
    ----------
    reason
        Why it counts again; kept in the trail and in the events.
    """
    with session.client() as client:
        found = client.cases.reopen(case, validated(Because, {"reason": reason}))
        session.emit(found, case_page(found))
    return Exit.OK


@app.command
def comment(case: int, text: str, /, *, session: Session = HERE) -> Exit:
    """Add a remark to the trail of a case."""
    with session.client() as client:
        found = client.cases.comment(case, validated(Comment, {"text": text}))
        session.emit(found, case_page(found))
    return Exit.OK
