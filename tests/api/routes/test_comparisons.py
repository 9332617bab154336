"""Comparisons, as HTTP sees them."""

import pytest
from builders.results import PROMPTS, a_batch, a_run, add_results, in_doubt
from builders.rows import a_job_row, a_model, a_slot_row, an_attempt
from sqlalchemy import update
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from orchestrator.model.states import AttemptState, JobState
from orchestrator.storage.tables import Job, Model

SAID = {"2+2": "4", "3+3": "6", "首都": "北京"}
RATES = (40.0, 40.2, 39.8, 40.1, 39.9, 40.05, 39.95)


@pytest.fixture
def run(database):
    """Writes a run with results; its number."""
    with database.write() as session:
        a_model(session)
        for slot in ("lab1.g0", "lab1.g1"):
            a_slot_row(session, slot)

    def write(*args, **facts) -> int:
        with database.write() as session:
            return a_run(session, *args, **facts)

    return write


def compared(http, *subjects, **query):
    return http.get("/comparisons", params={"subject": list(subjects), **query})


def test_one_changed_answer_is_found_and_its_card_group_named(http, run):
    before, same, other = run(SAID), run(SAID), run(SAID | {"3+3": "7"}, slot="lab1.g1")

    said = compared(http, before, f"job:{same}", f"job:{other}").json()

    assert (said["verdict"], said["why"]) == ("worse", f"job:{other}: answers: 1 of 3 answers changed")
    assert [(each["subject"], each["verdict"]) for each in said["comparisons"]] == [
        (f"job:{same}", "same"), (f"job:{other}", "worse"),
    ]  # fmt: skip
    assert (said["prompts"], said["changed_prompts"]) == (3, 1)
    (prompt,) = said["items"]
    assert (prompt["question"]["text"], prompt["distinct"]) == ("3+3", 2)
    assert prompt["answers"][0]["counts"] == {f"job:{before}": 1, f"job:{same}": 1}
    (change,) = prompt["changes"]
    assert (change["subject"], change["before"], change["after"]) == (f"job:{other}", 0, 1)
    assert change["places"] == [{"job_id": other, "slot_id": "lab1.g1"}]
    assert (change["first_character"], change["similarity"]) == (0, 0.0)
    assert "tok:zh" in said["signatures"]["bleu"]


def test_settings_that_differ_give_fields_and_no_number(http, run):
    before, after = run(SAID, {"output_throughput": 1.0}), run(SAID, spec={"max_tokens": 7})

    said = compared(http, before, after).json()

    (side,) = said["comparisons"]
    assert (said["verdict"], side["metrics"], side["answers"], said["items"]) == ("not_comparable", [], None, [])
    assert side["differences"] == [{"field": "max_tokens", "before": [1024], "after": [7], "allowed": False}]
    assert compared(http, before, after, across="max_tokens", metric="none").json()["verdict"] == "same"


def test_jobs_of_different_kinds_differ_in_their_kind(http, database, run):
    spec = {"kind": "client", "endpoint": {"job": 1, "artifact": "endpoint"}, "prompts": {"digest": PROMPTS}}
    with database.write() as session:
        client = a_job_row(session, request={"spec": spec}, state=JobState.SUCCEEDED)
        attempt = an_attempt(session, client, slot_id="lab1.cpu0", state=AttemptState.SUCCEEDED)
        add_results(session, attempt, SAID, {}, {})

    said = compared(http, run(SAID), client.id).json()

    assert said["verdict"] == "not_comparable"
    assert "kind" in [each["field"] for each in said["comparisons"][0]["differences"]]


def test_numbers_of_several_runs_are_judged_with_their_interval(http, database, run):
    before = [run({}, {"output_throughput": rate}) for rate in RATES]
    after = [run({}, {"output_throughput": rate * 0.9}) for rate in RATES]
    batches = []
    with database.write() as session:
        for jobs in (before, after):
            batch = a_batch(session)
            for job in jobs:
                session.get_one(Job, job).batch_id = batch
            batches.append(f"batch:{batch}")

    said = compared(http, *batches).json()

    (metric,) = said["comparisons"][0]["metrics"]
    assert (said["verdict"], metric["verdict"], metric["unit"]) == ("worse", "worse", "tokens/s")
    assert metric["relative"] == pytest.approx(-0.1, abs=0.005)
    assert metric["low"] < metric["difference"] < metric["high"] < 0
    assert metric["p_value"] < 0.01
    assert metric["corrected"] is None


def test_one_run_on_each_side_is_too_few_to_judge_a_number(http, run):
    said = compared(http, run({}, {"output_throughput": 40.0}), run({}, {"output_throughput": 20.0})).json()

    (metric,) = said["comparisons"][0]["metrics"]
    assert (said["verdict"], metric["low"], metric["high"]) == ("unknown", None, None)
    assert metric["needed"] >= 5


@pytest.mark.parametrize(
    ("state", "verdict"),
    [(JobState.RUNNING, "missing"), (JobState.FAILED, "missing"), (JobState.QUEUED, "missing")],
)
def test_a_job_without_results_is_missing_and_says_why(http, run, state, verdict):
    said = compared(http, run(SAID), run({}, state=state)).json()

    assert said["verdict"] == verdict
    assert sum(said["subjects"][1]["left_out"].values()) == 1


def test_jobs_that_answered_nothing_have_not_passed(http, run):
    assert compared(http, run(), run()).json()["verdict"] == "missing"


def test_results_in_doubt_are_left_out_and_said_so(http, database, run):
    before, after = run(SAID), run(SAID)
    with database.write() as session:
        in_doubt(session, after)

    said = compared(http, before, after).json()

    assert said["verdict"] == "missing"
    assert said["subjects"][1]["left_out"] == {"doubtful": 1}


def test_a_prompt_that_occurs_twice_and_answers_of_a_megabyte_are_compared(http, run):
    long = "长" * (1 << 20)
    before = run({"twice": ["a", "b"], "long": long})
    after = run({"twice": ["a", "c"], "long": long[:-1] + "x"})

    said = compared(http, before, after).json()

    twice, megabyte = said["items"]
    assert [each["count"] for each in twice["changes"]] == [1]
    assert megabyte["answers"][0]["answer"]["characters"] == 1 << 20
    assert len(megabyte["answers"][0]["answer"]["text"]) <= 4_000
    assert megabyte["changes"][0]["first_character"] == (1 << 20) - 1
    assert megabyte["changes"][0]["bounded"] == ["chrf", "bleu"]
    assert megabyte["changes"][0]["after_excerpt"].endswith("x")


def test_pages_list_each_changed_prompt_once(http, run):
    before = run({f"q{i}": "a" for i in range(5)})
    after = run({f"q{i}": "b" for i in range(5)})
    seen, cursor = [], None

    while True:
        page = compared(http, before, after, limit=2, **({"cursor": cursor} if cursor else {})).json()
        seen += [each["question"]["text"] for each in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break

    assert seen == [f"q{i}" for i in range(5)]


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ({"subject": ["1"]}, 422, "subject"),
        ({"subject": ["1", "x"]}, 422, "subject.1"),
        ({"subject": ["1"] * 51}, 422, "subject"),
        ({"subject": ["1", "1"]}, 422, "subject"),
        ({"subject": ["1", "999"]}, 404, "subject"),
        ({"subject": ["1", "run:5"]}, 404, "subject"),
        ({"subject": ["1", "9" * 19]}, 422, "subject"),
        ({"effect": 0}, 422, "effect"),
        ({"effect": "nan"}, 422, "effect"),
        ({"rule": "better"}, 422, "rule"),
        ({"across": "nothing"}, 422, "across"),
        ({"strict": "model"}, 422, "strict"),
        ({"metric": "answers"}, 422, "metric"),
        ({"answers": "some"}, 422, "answers"),
        ({"cursor": "!"}, 422, "cursor"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_its_field(http, run, query, status, field):
    first, second = run(SAID), run(SAID)
    words = {"1": str(first)}
    asked = {"subject": [str(first), str(second)], **query}
    asked["subject"] = [words.get(word, word) for word in asked["subject"]]

    refused = http.get("/comparisons", params=asked)

    assert (refused.status_code, refused.json().get("field")) == (status, field)


def test_a_build_is_not_compared(http, database, run):
    with database.write() as session:
        build = a_job_row(session).id

    refused = compared(http, run(SAID), build)

    assert refused.status_code == 422
    assert f"job {build} is of kind quantize" in refused.json()["detail"]


def test_the_first_token_that_differs_is_found_by_the_models_own_tokenizer_if_it_is_asked_for(
    http, database, run, tmp_path
):
    tokenizer = Tokenizer(WordLevel({"the": 0, "cat": 1, "dog": 2, "sat": 3, "?": 4}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    with database.write() as session:
        session.execute(update(Model).values(path=str(tmp_path)))
    subjects = [str(run({"q": text})) for text in ("the cat sat", "the dog sat")]

    def first_token(**query) -> int | None:
        return compared(http, *subjects, **query).json()["items"][0]["changes"][0]["first_token"]

    without = first_token(tokens=True)
    tokenizer.save(str(tmp_path / "tokenizer.json"))

    assert without is None
    assert first_token(tokens=True) == 1
    assert first_token() is None
