"""Results as data, as HTTP and files see them."""

import csv
import io
import json
from collections.abc import Mapping
from datetime import timedelta

import pytest
from builders.databases import both_databases
from builders.rows import A_MOMENT, a_job_row, a_model, a_slot_row, an_attempt
from pyarrow import parquet

from orchestrator.model.states import AttemptState, JobState
from orchestrator.storage.tables import Answer, Doubt, JobInput, Metric

pytestmark = both_databases

KCORE, PROMPTS = "sha256:" + "c" * 64, "sha256:" + "d" * 64


def an_inference(session, *, tokens_a_second: float = 40.0, hours: float = 0, text="四", **facts) -> int:
    spec = {"kind": "infer", "model": "qwen", "kcore": {"digest": KCORE}, "prompts": {"digest": PROMPTS}, "repeats": 2}
    ended = A_MOMENT + timedelta(hours=hours)
    job = a_job_row(session, request={"spec": spec}, state=JobState.SUCCEEDED, ended_at=ended, **facts)
    session.add_all(
        JobInput(job_id=job.id, name=name, digest=digest) for name, digest in (("kcore", KCORE), ("prompts", PROMPTS))
    )
    attempt = an_attempt(session, job, state=AttemptState.SUCCEEDED)
    rate = {"unit": "tokens/s", "definition": "output_throughput/process_wall", "count": 2, "counter": "tool"}
    count = {"unit": "answers", "definition": "answers/rows", "count": 2}
    session.add(Metric(attempt_id=attempt.id, name="output_throughput", value=tokens_a_second, **rate))
    session.add(Metric(attempt_id=attempt.id, name="answers", value=2, **count))
    for repeat in (0, 1):
        session.add(
            Answer(
                attempt_id=attempt.id, repeat=repeat, index=0, question="2+2", text=text, output_tokens=1, exact=True
            )
        )
    session.flush()
    return job.id


@pytest.fixture
def jobs(database) -> list[int]:
    with database.write() as session:
        a_model(session)
        a_slot_row(session, "lab1.g0")
        return [an_inference(session, tokens_a_second=40.0 + i, hours=i, name=f"run{i}") for i in range(3)]


def everything(http, path: str, **query) -> list[Mapping]:
    found, cursor = [], None
    while True:
        page = http.get(path, params={**query, **({"cursor": cursor} if cursor else {})}).json()
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            return found


def test_a_number_comes_with_all_that_it_depends_on(http, jobs):
    run = http.get("/results/metrics", params={"job": jobs[0]}).json()["items"][0]

    rate = next(number for number in run["metrics"] if number["name"] == "output_throughput")
    assert rate == {
        "name": "output_throughput", "value": 40.0, "unit": "tokens/s", "definition": "output_throughput/process_wall",
        "n": 2, "counter": "tool",
    }  # fmt: skip
    assert (run["host"], run["slots"], run["cards"]) == ("lab1", ["lab1.g0"], [0, 1, 2, 3])
    assert (run["kcore"], run["prompts"], run["release"]) == (KCORE, PROMPTS, "r1")
    assert run["model_digest"] == run["release_digest"] == "sha256:" + "a" * 64
    assert run["options"]["repeats"] == 2
    assert (run["warm"], run["doubt"]) == (False, None)


@pytest.mark.parametrize("what", ["metrics", "answers"])
def test_pages_hold_everything_once_newest_first(http, jobs, what):
    found = everything(http, f"/results/{what}", limit=1)

    assert [each["job_id"] for each in found] == sorted((each["job_id"] for each in found), reverse=True)
    assert {each["job_id"] for each in found} == set(jobs)
    assert len(found) == (3 if what == "metrics" else 6)


def test_filters_narrow_by_time_name_metric_and_kernel_image(http, jobs):
    def found(**query) -> list[int]:
        return [run["job_id"] for run in http.get("/results/metrics", params=query).json()["items"]]

    second = (A_MOMENT + timedelta(hours=1)).isoformat()
    assert found(since=second) == [jobs[2], jobs[1]]
    assert found(until=second) == [jobs[0]]
    assert found(name="run1") == [jobs[1]]
    assert found(kcore=KCORE) == [jobs[2], jobs[1], jobs[0]]
    assert found(kcore="sha256:" + "e" * 64) == []
    only = http.get("/results/metrics", params={"metric": "answers"}).json()["items"]
    assert {number["name"] for run in only for number in run["metrics"]} == {"answers"}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"since": "2026-03-01 12:00"}, "since"),
        ({"until": "0.5"}, "until"),
        ({"kcore": "abc"}, "kcore"),
        ({"job": "x"}, "job.0"),
        ({"metric": "a b"}, "metric.0"),
        ({"cursor": "!"}, "cursor"),
    ],
)
def test_a_filter_that_can_match_nothing_is_refused_with_its_name(http, query, field):
    refused = http.get("/results/metrics", params=query)

    assert refused.status_code == 422
    assert refused.json()["field"].endswith(field)


def test_results_in_doubt_are_shown_with_the_reason(http, database, jobs):
    with database.write() as session:
        attempt = session.query(Metric).order_by(Metric.attempt_id).first().attempt_id
        session.add(Doubt(attempt_id=attempt, slot_id="lab1.g0", reason="canary_failed", evidence={}, at=A_MOMENT))

    shown = {run["job_id"]: run["doubt"] for run in http.get("/results/metrics").json()["items"]}

    assert shown == {jobs[0]: "canary_failed", jobs[1]: None, jobs[2]: None}


def test_a_file_has_the_rows_of_all_pages_in_every_format(http, jobs, monkeypatch):
    monkeypatch.setattr("api.routes.results.PAGE", 1)
    told = {form: http.get("/results/answers/export", params={"format": form}) for form in ("csv", "jsonl", "parquet")}

    as_csv = list(csv.DictReader(io.StringIO(told["csv"].text)))
    as_json = [json.loads(line) for line in told["jsonl"].text.splitlines()]
    as_parquet = parquet.read_table(io.BytesIO(told["parquet"].content)).to_pylist()

    assert as_parquet == as_json
    assert [(row["job_id"], row["text"]) for row in as_csv] == [(str(row["job_id"]), row["text"]) for row in as_json]
    assert len(as_json) == 6
    assert told["csv"].headers["content-type"].startswith("text/csv")


def test_a_file_of_numbers_has_one_row_for_each(http, jobs):
    rows = list(csv.DictReader(io.StringIO(http.get("/results/metrics/export", params={"metric": "answers"}).text)))

    assert [(int(row["job_id"]), row["metric"], row["value"]) for row in rows] == [
        (job, "answers", "2.0") for job in reversed(jobs)
    ]


def test_hostile_text_stays_one_cell(http, database, jobs):
    text = 'a,"b"\r\n=1+1\x00'
    with database.write() as session:
        job = an_inference(session, text="x")
        rows = session.query(Answer).all()
        if database.is_sqlite:  # PostgreSQL takes no NUL
            rows[-1].text = text
        else:
            rows[-1].text = text = 'a,"b"\r\n=1+1'
        assert job

    for form in ("csv", "jsonl", "parquet"):
        assert http.get("/results/answers/export", params={"format": form}).status_code == 200
    table = http.get("/results/answers/export", params={"format": "csv"}).text
    cells = [row["text"] for row in csv.DictReader(io.StringIO(table, newline=""))]
    assert text.encode("utf-8", "backslashreplace").decode() in cells


def test_without_results_a_file_has_its_header_only(http):
    assert http.get("/results/metrics/export").text.startswith("job_id,attempt_id,name,")
    assert http.get("/results/metrics/export", params={"format": "jsonl"}).text == ""
    assert parquet.read_table(io.BytesIO(http.get("/results/metrics/export?format=parquet").content)).num_rows == 0
