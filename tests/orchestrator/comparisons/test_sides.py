"""Sides read from SQL, on both databases."""

import pytest
from builders.results import KCORE, a_run, in_doubt
from builders.rows import a_job_row, a_model, a_slot_row

from orchestrator.comparisons import sides
from orchestrator.comparisons.sides import series_of, side_of, sides_of
from orchestrator.errors import BadRequest
from orchestrator.model.failures import FailureKind
from orchestrator.model.states import JobState
from orchestrator.model.verdicts import Verdict
from orchestrator.results.reports import prompts, report
from orchestrator.results.sides import Rules, compare
from orchestrator.storage.tables import Answer, Attempt, JobInput

SAID = {"2+2": "4", "3+3": "6", "首都": "北京"}


@pytest.fixture
def session(database):
    with database.write() as session:
        a_model(session)
        for slot in ("lab1.g0", "lab1.g1"):
            a_slot_row(session, slot)
        yield session


def texts(side) -> list[tuple[str, int, str]]:
    return [(answer.question, answer.repeat, answer.text) for answer in side.answers]


def test_a_side_has_the_answers_samples_and_places_of_its_runs(session):
    first = a_run(session, SAID, {"output_throughput": 40.0})
    second = a_run(session, SAID | {"3+3": "7"}, {"output_throughput": 41.0}, slot="lab1.g1")

    side = side_of(session, "both", [second, first])

    assert side.samples == {"output_throughput": (40.0, 41.0)}
    assert side.definitions["output_throughput"] == ("tokens/s", "output_throughput/process_wall counted by tool")
    assert texts(side) == [
        ("2+2", 0, "4"), ("3+3", 0, "6"), ("首都", 0, "北京"), ("2+2", 1, "4"), ("3+3", 1, "7"), ("首都", 1, "北京"),
    ]  # fmt: skip
    assert [(answer.job_id, answer.slot_id) for answer in side.answers][2:4] == [
        (first, "lab1.g0"), (second, "lab1.g1"),
    ]  # fmt: skip
    assert [each.text for each in side.by_question["3+3"]] == ["6", "7"]
    assert side.jobs == (first, second)


@pytest.mark.parametrize(
    "other",
    [
        SAID,
        SAID | {"3+3": "7"},
        {"2+2": "4"},
        SAID | {"5+5": "10"},
        {"3+3": "6", "2+2": "4", "首都": "北京"},
        {"2+2": "4", "what?": "6", "首都": "北京"},
        {"2+2": ["4", "5"], "3+3": "6", "首都": "北京"},
        {},
    ],
)
def test_whatever_a_run_answered_it_is_read_as_it_was_written(session, other):
    first, second = a_run(session, SAID), a_run(session, other)

    _, after = sides_of(session, {"a": [first], "b": [second]})

    alone = side_of(session, "b", [second])
    assert texts(after) == texts(alone)
    assert {question: [each.text for each in said] for question, said in after.by_question.items()} == {
        question: [text] if isinstance(text, str) else text for question, text in other.items()
    }


def test_wrong_answers_are_results_too_and_their_rule_is_no_setting(session):
    right = a_run(session, SAID, {"output_throughput": 40.0})
    wrong = a_run(
        session, SAID | {"3+3": "7"}, {"output_throughput": 41.0}, golden=SAID, state=JobState.FAILED,
        spec={"golden": {"digest": KCORE}, "require": "exact", "most_empty": 0}, inputs={"golden": KCORE},
        failure={"kind": FailureKind.WRONG_ANSWERS, "reason": "1 of 3"},
    )  # fmt: skip
    broken = a_run(session, SAID, state=JobState.FAILED, failure={"kind": FailureKind.TOOL, "reason": "broken"})

    before, after = sides_of(session, {"a": [right], "b": [wrong, broken]})

    assert (after.jobs, after.left_out) == ((wrong,), {"failed": 1})
    assert after.samples == {"output_throughput": (41.0,)}
    assert not {"require", "most_empty"} & set(after.settings[0])
    assert compare(before, after, Rules(across=frozenset({"golden"}))).answers.verdict is Verdict.WORSE


def test_wrong_answers_of_cards_in_doubt_are_not_used(session):
    failure = {"kind": FailureKind.WRONG_ANSWERS, "reason": "1 of 3"}
    run = a_run(session, SAID, state=JobState.FAILED, failure=failure)
    in_doubt(session, run)

    assert side_of(session, "b", [run]).left_out == {"doubtful": 1}


def test_only_answers_that_differ_from_the_first_run_are_read(session):
    runs = [a_run(session, SAID), a_run(session, SAID), a_run(session, SAID | {"2+2": "5"})]

    before, same, other = sides_of(session, {str(run): [run] for run in runs})

    assert same.by_question["2+2"] is before.by_question["2+2"]
    assert other.by_question["首都"] is before.by_question["首都"]
    assert compare(before, other, Rules()).answers.pairs.changed == 1


def test_right_and_wrong_differ_where_the_references_do_although_the_answers_are_equal(session):
    right = a_run(session, SAID, golden={"2+2": "4"})
    wrong = a_run(session, SAID, golden={"2+2": "vier"})
    without = a_run(session, SAID)
    for job in (right, wrong, without):
        session.query(Attempt).where(Attempt.job_id == job).one().answers_digest = "sha256:same"
    session.flush()
    for job, golden in ((right, "a"), (wrong, "b")):
        session.add(JobInput(job_id=job, name="golden", digest="sha256:" + golden * 64))
    session.flush()

    found = sides_of(session, {"right": [right], "wrong": [wrong], "without": [without]})

    assert [side.by_question["2+2"][0].exact for side in found] == [True, False, None]


def test_runs_that_do_not_count_are_left_out_by_their_reason(session):
    good, doubtful = a_run(session, SAID), a_run(session, SAID)
    in_doubt(session, doubtful)
    failed = {"kind": FailureKind.TOOL, "reason": "exit code 1"}
    fault = {"kind": FailureKind.FAULT, "reason": "card lost"}
    others = [
        a_run(session, state=JobState.FAILED, failure=failed),
        a_run(session, state=JobState.FAILED, failure=fault),
        a_run(session, state=JobState.CANCELLED),
        a_run(session, state=JobState.SKIPPED),
        a_run(session, state=JobState.RUNNING),
        a_job_row(session, state=JobState.QUEUED).id,
    ]

    side = side_of(session, "batch", [good, doubtful, *others])

    assert side.jobs == (good,)
    assert len(side.answers) == 3
    assert side.left_out == {
        "doubtful": 1, "failed": 1, "infrastructure": 1, "cancelled": 1, "skipped": 1, "unfinished": 2,
    }  # fmt: skip


def test_faults_alone_are_infrastructure_and_results_in_doubt_are_missing(session):
    good, doubtful = a_run(session, SAID), a_run(session, SAID)
    in_doubt(session, doubtful)
    lost = a_run(session, state=JobState.FAILED, failure={"kind": FailureKind.FAULT, "reason": "card lost"})

    before, doubted, faults = sides_of(session, {"a": [good], "b": [doubtful], "c": [lost]})

    assert compare(before, doubted, Rules()).verdict is Verdict.MISSING
    assert "1 doubtful" in compare(before, doubted, Rules()).why
    assert compare(before, faults, Rules()).verdict is Verdict.INFRASTRUCTURE


def test_more_answers_or_text_than_one_comparison_may_have_are_refused(session, monkeypatch):
    runs = [a_run(session, SAID), a_run(session, {"2+2": "x" * 100})]

    monkeypatch.setattr(sides, "MOST_TEXT", 50)
    with pytest.raises(BadRequest, match="more than 50 characters"):
        sides_of(session, {"a": runs[:1], "b": runs[1:]})
    monkeypatch.setattr(sides, "MOST_ANSWERS", 3)
    with pytest.raises(BadRequest, match="4 answers are too many: at most 3"):
        sides_of(session, {"a": runs[:1], "b": runs[1:]})


def test_several_lanes_of_one_run_are_repeats_of_a_question_each_with_its_slot(session):
    job = a_run(session)
    attempt = session.query(Attempt).where(Attempt.job_id == job).one()
    attempt.slot_ids = ["lab1.g0", "lab1.g1"]
    for lane, text in enumerate(("4", "5")):
        session.add(Answer(attempt_id=attempt.id, repeat=1, index=0, batch=lane, question="2+2", text=text))
    session.flush()

    side = side_of(session, "gang", [job])

    assert [(each.repeat, each.text, each.slot_id) for each in side.answers] == [
        (0, "4", "lab1.g0"), (1, "5", "lab1.g1"),
    ]  # fmt: skip


def test_runs_that_are_set_differently_are_compared_series_by_series(session):
    def subject(answer: str) -> list[int]:
        return [a_run(session, SAID | {"2+2": answer}, spec={"max_tokens": tokens}) for tokens in (10, 20)]

    before, after = subject("4"), subject("5")
    alone = a_run(session, SAID, spec={"max_tokens": 30})

    series = series_of(session, {"a": before, "b": [*after, alone]}, Rules())

    assert [(each.key, [side.jobs for side in each.sides]) for each in series] == [
        ({"max_tokens": 10}, [(before[0],), (after[0],)]),
        ({"max_tokens": 20}, [(before[1],), (after[1],)]),
        ({"max_tokens": 30}, [(), (alone,)]),
    ]  # fmt: skip
    found = report(series, Rules())
    assert [each.found.verdict for each in found.comparisons] == [Verdict.WORSE, Verdict.WORSE, Verdict.MISSING]
    page, _ = prompts(found, series, "changed", limit=10)
    assert [(each.series, each.question) for each in page] == [({"max_tokens": 10}, "2+2"), ({"max_tokens": 20}, "2+2")]
    assert [each.index for each in page] == list(found.changed)


def test_what_may_differ_makes_no_series_of_its_own(session):
    runs = [a_run(session, SAID, spec={"max_tokens": tokens}) for tokens in (10, 20, 10, 20)]

    series = series_of(session, {"a": runs[:2], "b": runs[2:]}, Rules(across=frozenset({"max_tokens"})))

    assert [each.key for each in series] == [{}]


def test_sides_without_a_setting_in_common_are_one_series_that_says_what_differs(session):
    before = [a_run(session, SAID, spec={"max_tokens": tokens}) for tokens in (10, 20)]
    after = a_run(session, SAID, spec={"max_tokens": 30})

    (series,) = series_of(session, {"a": before, "b": [after]}, Rules())

    (compared,) = report([series], Rules()).comparisons
    assert compared.found.verdict is Verdict.NOT_COMPARABLE
    assert [each.field for each in compared.found.differences] == ["max_tokens"]


def test_a_comparison_has_a_bounded_number_of_series(session, monkeypatch):
    runs = [a_run(session, SAID, spec={"max_tokens": tokens}) for tokens in (10, 20, 10)]
    monkeypatch.setattr("orchestrator.results.series.MOST_SERIES", 1)

    with pytest.raises(BadRequest, match="2 different settings"):
        series_of(session, {"a": runs[:2], "b": runs[2:]}, Rules())
