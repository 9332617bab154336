"""Cases: opened by confirmed regressions, grouped by cause, closed by good runs, by doubt or by people."""

from datetime import datetime, timedelta

import pytest
from builders.databases import both_databases
from builders.ended import a_result
from builders.lifecycle import now
from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.errors import BadRequest, IllegalTransition, NotFound
from orchestrator.model.cases import AcceptOrder, CaseState
from orchestrator.model.doubts import DoubtReason
from orchestrator.results.regressions import Interval, Worse
from orchestrator.slots import doubt
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Case, Event
from orchestrator.suites import cases

pytestmark = both_databases

CELL, OTHER = "model=qwen", "model=llama"
TOOLS = {"toolchain": {"before": ["sha256:1"], "after": ["sha256:2"]}}
MODEL = {"model": {"before": ["sha256:3"], "after": ["sha256:4"]}}
CARD = {"outcome": "card", "change": {"slots": {"before": [], "after": ["lab1.g0"]}}}
DAY = timedelta(days=1)


def _worse(
    session: Session, run: int, *series: str, cell: str = CELL, change=TOOLS, last_good: int | None = 1, jobs=(),
    confirmed: bool = True, outcome: str = "model_or_toolchain", suite: str = "nightly", at: datetime | None = None,
) -> list[Case]:  # fmt: skip
    finding = Worse(frozenset(series or {"ttft"}), change, tuple(jobs))
    interval = Interval(last_good, run)
    return cases.note_worse(
        session, suite, cell, finding, interval, outcome=outcome, confirmed=confirmed, now=at or now()
    )


def _good(session: Session, *runs: int, cell: str = CELL) -> None:
    for run in runs:
        cases.note_good(session, "nightly", cell, run, now=now())


def _trail(session: Session, number: int) -> list[tuple[str | None, str, str | None]]:
    return [(entry.start, entry.to, entry.rule or entry.by) for entry in cases.case(session, number).entries]


def test_a_confirmed_regression_opens_one_case_for_all_series_of_the_cell(database: Database):
    with database.write() as session:
        (case,) = _worse(session, 5, "ttft", "answers")

        facts = cases.case(session, case.id)
        assert (case.state, case.last_good_run, case.first_bad_run) == ("confirmed", 1, 5)
        assert [row.metric for row in facts.series] == ["answers", "ttft"]
        assert _trail(session, case.id) == [(None, "opened", None), ("opened", "confirmed", "confirmed")]
        kinds = select(Event.kind).where(Event.kind.startswith("case.")).order_by(Event.id)
        assert session.scalars(kinds).all() == ["case.opened", "case.confirmed"]


def test_the_same_regression_in_the_next_run_extends_its_case(database: Database):
    with database.write() as session:
        (first,) = _worse(session, 5, jobs=[1])
        (again,) = _worse(session, 6, jobs=[2])

        assert again.id == first.id
        (row,) = cases.case(session, first.id).series
        assert (row.first_bad_run, row.last_run, row.jobs) == (5, 6, [2])


def test_without_a_second_measurement_a_case_is_opened_and_confirmed_by_a_later_run(database: Database):
    with database.write() as session:
        (case,) = _worse(session, 5, confirmed=False, outcome="worse")
        assert case.state == CaseState.OPENED
        _worse(session, 6)
        assert (case.state, case.outcome) == ("confirmed", "model_or_toolchain")


def test_series_that_became_worse_at_the_same_time_by_the_same_change_are_one_case(database: Database):
    with database.write() as session:
        (first,) = _worse(session, 5, last_good=3)
        (same,) = _worse(session, 6, cell=OTHER, last_good=4, change={**TOOLS, **MODEL}, suite="weekly")

        assert same.id == first.id
        assert (first.last_good_run, first.first_bad_run) == (4, 5)
        assert _trail(session, first.id)[-1] == (None, "confirmed", "grouped")


@pytest.mark.parametrize(
    "facts",
    [
        {"change": MODEL},
        {"change": {}},
        {"last_good": 5},
        CARD,
    ],
)
def test_another_change_another_time_or_a_card_is_another_case(database: Database, facts):
    with database.write() as session:
        (first,) = _worse(session, 5, last_good=3)
        (other,) = _worse(session, 6, cell=OTHER, **{"last_good": 3, **facts})

        assert other.id != first.id


@pytest.mark.parametrize(
    "later", [CARD, {"outcome": "card", "change": {"slots": {"before": [], "after": ["lab1.g7"]}}}]
)
def test_a_bad_card_a_bad_build_and_another_bad_card_of_one_series_are_told_apart(database: Database, later):
    with database.write() as session:
        (build,) = _worse(session, 5)
        (card,) = _worse(session, 6, **CARD)
        (again,) = _worse(session, 7)
        (latest,) = _worse(session, 8, last_good=7, **later)

        assert again.id == build.id != card.id
        assert (latest.id == card.id) is (later == CARD)
        assert latest.id != build.id
        assert (build.outcome, card.outcome) == ("model_or_toolchain", "card")


def test_a_card_that_is_known_to_be_bad_excuses_no_build(database: Database):
    with database.write() as session:
        (card,) = _worse(session, 5, **CARD)
        cases.accept(session, card.id, AcceptOrder(until=now() + DAY, reason="ordered"), by="alice", now=now())

        assert cases.known_issues(session, "nightly", now=now()) == {}


def test_the_case_of_a_card_is_opened_again_while_a_build_is_worse(database: Database):
    with database.write() as session:
        (card,) = _worse(session, 5, **CARD)
        cases.close(session, card.id, by="alice", reason="replaced", now=now())
        _worse(session, 6)

        assert cases.reopen(session, card.id, by="alice", reason="no", now=now()).state == CaseState.CONFIRMED


def test_a_case_closes_only_after_three_good_runs_of_every_series(database: Database):
    with database.write() as session:
        (case,) = _worse(session, 5)
        _worse(session, 5, cell=OTHER)
        _good(session, 6, 7, 8)
        assert case.state == CaseState.CONFIRMED
        _good(session, 6, 7, cell=OTHER)
        assert case.state == CaseState.FIX_SEEN
        _good(session, 7, cell=OTHER)
        assert case.state == CaseState.FIX_SEEN
        _good(session, 8, cell=OTHER)
        assert case.state == CaseState.CLOSED
        states = [to for _, to, _ in _trail(session, case.id)]

    assert states == ["opened", "confirmed", "confirmed", "fix_seen", "verified", "closed"]


def test_a_bad_run_after_a_good_one_starts_the_count_again(database: Database):
    with database.write() as session:
        (case,) = _worse(session, 5)
        _good(session, 6, 7)
        _worse(session, 8)
        assert case.state == CaseState.CONFIRMED
        _good(session, 9, 10)
        assert case.state == CaseState.FIX_SEEN


def test_a_run_that_is_judged_twice_counts_once(database: Database):
    with database.write() as session:
        (case,) = _worse(session, 5)
        _good(session, 6, 6, 6)
        _worse(session, 6)

        assert case.state == CaseState.FIX_SEEN


def test_a_regression_after_a_case_was_closed_is_another_case(database: Database):
    with database.write() as session:
        (case,) = _worse(session, 5)
        cases.close(session, case.id, by="alice", reason="wrong prompts", now=now())
        (new,) = _worse(session, 6)

        assert new.id != case.id
        with pytest.raises(IllegalTransition, match=f"is in case {new.id} now"):
            cases.reopen(session, case.id, by="alice", reason="r", now=now())


def test_a_known_issue_is_known_until_its_date_and_comes_back_if_it_is_still_worse(database: Database):
    with database.write() as session:
        (case,) = _worse(session, 5)
        number = case.id
        order = AcceptOrder(until=now() + DAY, reason="ordered a fix", link="https://issues.example/7")
        cases.accept(session, number, order, by="alice", now=now())
        _worse(session, 6)
        assert case.state == CaseState.ACCEPTED
        assert cases.known_issues(session, "nightly", now=now()) == {(CELL, "ttft"): number}
        assert cases.known_issues(session, "nightly", now=now() + 2 * DAY) == {}
        assert cases.known_issues(session, "weekly", now=now()) == {}
    assert cases.tend(database) == 0

    with database.write() as session:
        session.get_one(Case, number).until = now() - DAY
    assert [cases.tend(database), cases.tend(database)] == [1, 0]

    with database.read() as session:
        case = session.get_one(Case, number)
        assert (case.state, case.link) == ("confirmed", "https://issues.example/7")
        assert _trail(session, number)[-2:] == [
            ("confirmed", "accepted", "alice"), ("accepted", "confirmed", "until_is_over"),
        ]  # fmt: skip


def test_doubt_on_all_results_that_a_case_was_opened_on_closes_it_with_that_reason(database: Database):
    with database.write() as session:
        bad, good = (a_result(session, {"ttft": 2.0}, slots=(slot,)).job_id for slot in ("lab1.g7", "lab1.g0"))
        (closed,) = _worse(session, 5, jobs=[bad])
        (stays,) = _worse(session, 5, cell=OTHER, change=MODEL, jobs=[bad, good])
        closed, stays = closed.id, stays.id
    assert cases.tend(database) == 0
    with database.write() as session:
        doubt.doubt_since_last_proof(session, "lab1.g7", DoubtReason.CANARY_FAILED, {"reason": "r"}, now())

    assert [cases.tend(database), cases.tend(database)] == [1, 0]

    with database.read() as session:
        assert session.get_one(Case, closed).state == CaseState.CLOSED
        assert session.get_one(Case, stays).state == CaseState.CONFIRMED
        last = cases.case(session, closed).entries[-1]
    assert (last.rule, last.note) == ("doubt", "the results it was opened on are in doubt: canary_failed on lab1.g7")


def test_what_people_order_is_in_the_trail_and_what_does_not_fit_is_refused(database: Database):
    with database.write() as session:
        (case,) = _worse(session, 5)
        cases.comment(session, case.id, by="bob", text="seen on lab2 too", now=now())
        with pytest.raises(BadRequest) as late:
            cases.accept(session, case.id, AcceptOrder(until=now() - DAY, reason="r"), by="alice", now=now())
        cases.close(session, case.id, by="alice", reason="wrong prompts", now=now())
        for order in (
            lambda: cases.close(session, case.id, by="alice", reason="r", now=now()),
            lambda: cases.accept(session, case.id, AcceptOrder(until=now() + DAY, reason="r"), by="a", now=now()),
        ):
            with pytest.raises(IllegalTransition):
                order()
        cases.reopen(session, case.id, by="alice", reason="it was not", now=now())
        with pytest.raises(NotFound):
            cases.close(session, 4711, by="alice", reason="r", now=now())

        assert late.value.field == "until"
        assert case.closed_at is None
        assert _trail(session, case.id)[2:] == [
            (None, "confirmed", "bob"), ("confirmed", "closed", "alice"), ("closed", "confirmed", "alice"),
        ]  # fmt: skip
