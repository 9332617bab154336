"""Cases: every arrow of a regression from its first sight to its end, by a rule or by a person, with its trail.

A rule acts in the transaction that judges a run (`note_worse`, `note_good`) or on a timer (`tend`). The case's row is
locked before it is changed, so that the order of a person and a rule never mix.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.errors import BadRequest, IllegalTransition, NotFound
from orchestrator.model.cases import (
    CASE_TRANSITIONS,
    AcceptOrder,
    CaseRule,
    CaseState,
    after_good,
    after_red,
)
from orchestrator.model.suites import ALARMS, CellOutcome, RunPurpose
from orchestrator.results.regressions import Change, Interval, Worse, finding_of, same_cause, without_evidence
from orchestrator.storage.database import Database
from orchestrator.storage.events import record
from orchestrator.storage.tables import Attempt, Case, CaseEntry, CaseSeries, Doubt, SuiteRun

_WORSE = frozenset({CellOutcome.WORSE, CellOutcome.MODEL_OR_TOOLCHAIN, CellOutcome.CARD})

Series = tuple[str, str, str]
"""Suite, cell, and metric or `answers`."""


@dataclass(frozen=True)
class CaseFacts:
    """A case with its series and its trail."""

    case: Case
    series: Sequence[CaseSeries]
    entries: Sequence[CaseEntry]


# ── after a run was judged ────────────────────────────────────────────────────────────────────────────────────────────


def note_outcome(
    session: Session, run_id: int, cell: str, outcome: CellOutcome, *, comparison: Mapping[str, Any] | None,
    now: datetime,
) -> None:  # fmt: skip
    """What a judged cell of a run means for cases; `comparison` is its entry in the report of the run.

    What could not be judged, or was not worse the second time, changes no case; neither does a run that measures a
    suite against itself."""
    run = session.get_one(SuiteRun, run_id)
    if outcome in ALARMS:
        record(session, "suite.alarm", now, suite=run.suite, run=run_id, cell=cell, outcome=outcome)
    if run.purpose != RunPurpose.MEASURE or run.suite is None:
        return
    if outcome is CellOutcome.GOOD:
        note_good(session, run.suite, cell, run_id, now=now)
    elif outcome in _WORSE:
        found = finding_of(comparison or {}, card=outcome is CellOutcome.CARD)
        if outcome is CellOutcome.CARD:
            found = replace(found, jobs=_on(session, found.jobs, (comparison or {}).get("slots", ())))
        if found.series:
            interval = Interval(_last_good(session, run, cell), run_id)
            confirmed = outcome is not CellOutcome.WORSE
            note_worse(session, run.suite, cell, found, interval, outcome=outcome, confirmed=confirmed, now=now)


def _on(session: Session, jobs: Collection[int], slots: Collection[str]) -> tuple[int, ...]:
    """Those of the jobs that ran on one of the slots."""
    tried = select(Attempt.job_id, Attempt.slot_ids).where(Attempt.job_id.in_(jobs)).order_by(Attempt.job_id)
    return tuple(dict.fromkeys(job for job, where in session.execute(tried) if set(where) & set(slots)))


def _last_good(session: Session, run: SuiteRun, cell: str) -> int | None:
    """The last run of the suite before this one in which the cell was good."""
    entry = SuiteRun.report["cells"][cell]["outcome"].as_string()
    before = select(SuiteRun.id).where(SuiteRun.suite == run.suite, SuiteRun.id < run.id, entry == CellOutcome.GOOD)
    before = before.where(SuiteRun.purpose == RunPurpose.MEASURE)
    return session.scalar(before.order_by(SuiteRun.id.desc()).limit(1))


# ── rules ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def note_worse(
    session: Session, suite: str, cell: str, finding: Worse, interval: Interval, *, outcome: str, confirmed: bool,
    now: datetime,
) -> list[Case]:  # fmt: skip
    """Extend the cases that have these series, and open or join one for the others; `interval.first_bad` is the run
    that was judged. Returns the cases, each once. A run that counted already changes nothing.

    A bad card group is another cause than a bad build or another card group: none extends the case of another."""
    run, touched = interval.first_bad, dict[int, Case]()
    known = {
        row.metric: row
        for row in _open_series(session, suite, cell)
        if row.metric in finding.series and _may_be(session.get_one(Case, row.case_id), outcome, finding.change)
    }
    for row in known.values():
        if row.last_run >= run:
            continue
        row.last_run, row.good_runs, row.jobs = run, 0, list(finding.jobs)
        touched[row.case_id] = _locked(session, row.case_id)
    for case in touched.values():
        case.outcome = outcome if confirmed else case.outcome
        step = after_red(CaseState(case.state), case.until, confirmed=confirmed, now=now)
        if step is not None:
            _move(session, case, step[0], now, rule=step[1], note=f"run {run}: {cell} is worse")
    new = sorted(finding.series - known.keys())
    if new:
        case = _grouped(session, finding, interval, outcome) or _opened(
            session, suite, cell, finding, interval, outcome=outcome, confirmed=confirmed, now=now
        )
        touched[case.id] = case
        _add_series(session, case, [(suite, cell, metric) for metric in new], finding, interval, now)
    session.flush()
    return list(touched.values())


def note_good(session: Session, suite: str, cell: str, run: int, *, now: datetime) -> list[Case]:
    """Count a good run of a cell for its open cases, which close after enough of them; returns those cases."""
    touched = dict[int, Case]()
    for row in _open_series(session, suite, cell):
        if row.last_run < run:
            row.last_run, row.good_runs = run, row.good_runs + 1
            touched[row.case_id] = _locked(session, row.case_id)
    session.flush()
    for case in touched.values():
        for state, rule in after_good(CaseState(case.state), [row.good_runs for row in _series(session, case.id)]):
            _move(session, case, state, now, rule=rule, note=f"run {run}: every series is good")
    session.flush()
    return list(touched.values())


def known_issues(session: Session, suite: str, *, now: datetime) -> dict[tuple[str, str], int]:
    """Series of a suite, as cell and metric, that are accepted as worse now, with the case: a verdict of `known`.

    That a card group is known to be bad excuses no build."""
    found = select(CaseSeries).join(Case, Case.id == CaseSeries.case_id)
    found = found.where(CaseSeries.suite == suite, Case.state == CaseState.ACCEPTED, Case.until > now)
    found = found.where(Case.outcome != CellOutcome.CARD)
    return {(row.cell, row.metric): row.case_id for row in session.scalars(found)}


def tend(database: Database) -> int:
    """Close cases whose evidence is in doubt, and bring back those that were accepted until now and are still worse;
    returns how many."""
    with database.read() as session:
        due = sorted({*_without_evidence(session), *_over(session, database.now(session))})
    if not due:
        return 0
    with database.write() as session:
        now = database.now(session)
        for case_id in due:
            _locked(session, case_id)
        # Again, now that no person can change them.
        doubtful, over = _without_evidence(session), _over(session, now)
        for case_id, note in doubtful.items():
            _move(session, _locked(session, case_id), CaseState.CLOSED, now, rule=CaseRule.DOUBT, note=note)
        for case_id in over:
            case = _locked(session, case_id)
            note = f"accepted until {case.until:%Y-%m-%d %H:%M} UTC, and still worse"
            _move(session, case, CaseState.CONFIRMED, now, rule=CaseRule.UNTIL_IS_OVER, note=note)
        return len(doubtful) + len(over)


# ── orders of people ──────────────────────────────────────────────────────────────────────────────────────────────────


def accept(session: Session, case_id: int, order: AcceptOrder, *, by: str, now: datetime) -> Case:
    """Take a case as a known issue until a date; a case that is accepted already gets another date.

    BadRequest for a date in the past; IllegalTransition for a closed case."""
    if order.until <= now:
        raise BadRequest(f"until is in the past: {order.until:%Y-%m-%d %H:%M %Z}; name a later time", field="until")
    case = _locked(session, case_id)
    case.until, case.link = order.until, order.link or case.link
    note = f"until {order.until.isoformat()}{f', {order.link}' if order.link else ''}: {order.reason}"
    if case.state == CaseState.ACCEPTED:
        _note(session, case, now, by=by, note=note)
    else:
        _move(session, case, CaseState.ACCEPTED, now, by=by, note=note)
    return case


def close(session: Session, case_id: int, *, by: str, reason: str, now: datetime) -> Case:
    """Close a case; IllegalTransition if it is closed."""
    case = _locked(session, case_id)
    _move(session, case, CaseState.CLOSED, now, by=by, note=reason)
    return case


def reopen(session: Session, case_id: int, *, by: str, reason: str, now: datetime) -> Case:
    """Open a closed case again; IllegalTransition if it is open, or if another open case has one of its series and may
    have its cause."""
    case = _locked(session, case_id)
    for row in _series(session, case_id):
        alike = (
            each for each in _open_series(session, row.suite, row.cell)
            if each.metric == row.metric and _may_be(session.get_one(Case, each.case_id), case.outcome, case.change)
        )  # fmt: skip
        other = next(alike, None)
        if case.state == CaseState.CLOSED and other is not None:
            raise IllegalTransition(f"{row.metric} of {row.cell} is in case {other.case_id} now", case=case_id)
    _move(session, case, CaseState.CONFIRMED, now, by=by, note=reason)
    return case


def comment(session: Session, case_id: int, *, by: str, text: str, now: datetime) -> Case:
    """Add a remark to the trail of a case, open or closed."""
    case = _locked(session, case_id)
    _note(session, case, now, by=by, note=text)
    return case


# ── what there is ─────────────────────────────────────────────────────────────────────────────────────────────────────


def case(session: Session, case_id: int) -> CaseFacts:
    """One case; NotFound if there is none."""
    row = session.get(Case, case_id)
    if row is None:
        raise _no_case(case_id)
    entries = select(CaseEntry).where(CaseEntry.case_id == case_id).order_by(CaseEntry.id)
    return CaseFacts(row, _series(session, case_id), session.scalars(entries).all())


def cases(
    session: Session, *, limit: int, before: int | None = None, suite: str | None = None,
    states: Collection[CaseState] = (), closed: bool = False,
) -> Sequence[Case]:  # fmt: skip
    """Cases with numbers below `before`, newest first: open ones, those in `states`, or with `closed` all of them."""
    found = select(Case).order_by(Case.id.desc()).limit(limit)
    found = found if before is None else found.where(Case.id < before)
    if suite is not None:
        found = found.where(Case.id.in_(select(CaseSeries.case_id).where(CaseSeries.suite == suite)))
    if states:
        found = found.where(Case.state.in_(states))
    elif not closed:
        found = found.where(Case.state != CaseState.CLOSED)
    return session.scalars(found).all()


# ── shared steps ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _locked(session: Session, case_id: int) -> Case:
    row = session.get(Case, case_id, populate_existing=True, with_for_update={"key_share": True})
    if row is None:
        raise _no_case(case_id)
    return row


def _no_case(case_id: int) -> NotFound:
    return NotFound(f"there is no case {case_id}; see: tx81 cases --all", case=case_id)


def _series(session: Session, case_id: int) -> Sequence[CaseSeries]:
    found = select(CaseSeries).where(CaseSeries.case_id == case_id)
    return session.scalars(found.order_by(CaseSeries.suite, CaseSeries.cell, CaseSeries.metric)).all()


def _open_series(session: Session, suite: str, cell: str) -> Sequence[CaseSeries]:
    found = select(CaseSeries).join(Case, Case.id == CaseSeries.case_id)
    found = found.where(CaseSeries.suite == suite, CaseSeries.cell == cell, Case.state != CaseState.CLOSED)
    return session.scalars(found.order_by(CaseSeries.case_id, CaseSeries.metric)).all()


def _may_be(case: Case, outcome: str, change: Change) -> bool:
    """Whether a case can have this cause too."""
    if CellOutcome.CARD in (case.outcome, outcome):
        return case.outcome == outcome and case.change == change
    return True


def _grouped(session: Session, finding: Worse, interval: Interval, outcome: str) -> Case | None:
    """The oldest open case that may have the same cause."""
    present = select(Case).where(Case.state != CaseState.CLOSED, Case.outcome == outcome).order_by(Case.id)
    for row in session.scalars(present):
        theirs = Interval(row.last_good_run, row.first_bad_run)
        if theirs.overlaps(interval) and same_cause(row.change, finding.change):
            return _locked(session, row.id)
    return None


def _opened(
    session: Session, suite: str, cell: str, finding: Worse, interval: Interval, *, outcome: str, confirmed: bool,
    now: datetime,
) -> Case:  # fmt: skip
    made = Case(
        state=CaseState.OPENED, outcome=outcome, suite=suite, change=finding.change,
        last_good_run=interval.last_good, first_bad_run=interval.first_bad, opened_at=now,
    )  # fmt: skip
    session.add(made)
    session.flush()
    told = f"run {interval.first_bad}: {cell} is worse"
    session.add(CaseEntry(case_id=made.id, at=now, to=CaseState.OPENED, note=told))
    record(session, "case.opened", now, case=made.id, suite=suite, cell=cell, run=interval.first_bad)
    if confirmed:
        _move(session, made, CaseState.CONFIRMED, now, rule=CaseRule.CONFIRMED, note=f"{told} again: {outcome}")
    return made


def _add_series(
    session: Session, case: Case, series: Iterable[Series], finding: Worse, interval: Interval, now: datetime
) -> None:
    joined = bool(_series(session, case.id))
    for suite, cell, metric in series:
        row = CaseSeries(
            case_id=case.id, suite=suite, cell=cell, metric=metric, last_good_run=interval.last_good,
            first_bad_run=interval.first_bad, last_run=interval.first_bad, good_runs=0, jobs=list(finding.jobs),
        )  # fmt: skip
        session.add(row)
        if joined:
            _note(session, case, now, rule=CaseRule.GROUPED, note=f"{metric} of {cell} of suite {suite} joins")
    common = Interval(case.last_good_run, case.first_bad_run).common(interval)
    case.last_good_run, case.first_bad_run = common.last_good, common.first_bad
    if joined and case.state == CaseState.FIX_SEEN:
        _move(session, case, CaseState.CONFIRMED, now, rule=CaseRule.RED_AGAIN, note="another series is worse")


def _without_evidence(session: Session) -> dict[int, str]:
    """Open cases all of whose series have lost their evidence to doubt, each with the reason."""
    rows = select(CaseSeries.case_id, CaseSeries.jobs).join(Case, Case.id == CaseSeries.case_id)
    evidence: dict[int, list[list[int]]] = {}
    for case_id, jobs in session.execute(rows.where(Case.state != CaseState.CLOSED)):
        evidence.setdefault(case_id, []).append(jobs)
    numbers = {job for series in evidence.values() for jobs in series for job in jobs}
    doubts = select(Attempt.job_id, Doubt.slot_id, Doubt.reason).join(Doubt, Doubt.attempt_id == Attempt.id)
    doubts = doubts.where(Attempt.job_id.in_(numbers), Doubt.lifted.is_(None)).order_by(Doubt.id)
    why = {job: f"{reason} on {slot_id}" for job, slot_id, reason in session.execute(doubts)}
    return {
        case_id: f"the results it was opened on are in doubt: {', '.join(sorted(_reasons(series, why)))}"
        for case_id, series in evidence.items()
        if all(without_evidence(jobs, why) for jobs in series)
    }


def _reasons(series: Iterable[Iterable[int]], why: dict[int, str]) -> set[str]:
    return {why[job] for jobs in series for job in jobs}


def _over(session: Session, now: datetime) -> list[int]:
    """Cases that were accepted until now, and are still worse: after a good run a case is no longer `accepted`."""
    found = select(Case.id).where(Case.state == CaseState.ACCEPTED, Case.until <= now)
    return list(session.scalars(found.order_by(Case.id)))


def _move(
    session: Session, case: Case, to: CaseState, now: datetime, *, note: str, by: str | None = None,
    rule: CaseRule | None = None,
) -> None:  # fmt: skip
    start = CaseState(case.state)
    if to not in CASE_TRANSITIONS[start]:
        raise IllegalTransition(f"case {case.id} is {start}, and cannot become {to}", case=case.id)
    case.state, case.closed_at = to, now if to is CaseState.CLOSED else None
    session.add(CaseEntry(case_id=case.id, at=now, by=by, rule=rule, start=start, to=to, note=note))
    session.flush()
    record(session, f"case.{to}", now, case=case.id, suite=case.suite, by=by, rule=rule, start=start, why=note)


def _note(
    session: Session, case: Case, now: datetime, *, note: str, by: str | None = None, rule: CaseRule | None = None
) -> None:
    session.add(CaseEntry(case_id=case.id, at=now, by=by, rule=rule, to=case.state, note=note))
    session.flush()
    record(session, "case.noted", now, case=case.id, suite=case.suite, by=by, rule=rule, why=note)
