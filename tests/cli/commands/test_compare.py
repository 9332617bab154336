"""`tx81 compare` from the shell: the verdict is the exit code, and every format is a file."""

import json
import shlex
from pathlib import Path
from xml.etree import ElementTree

import pytest
from builders.results import a_batch, a_run
from builders.rows import a_slot_row

from cli.commands.compare import ENDS
from cli.session import Exit
from orchestrator.model.states import JobState
from orchestrator.model.verdicts import Verdict
from orchestrator.settings import url_of_sqlite
from orchestrator.storage.database import Database

PAGE = Path(__file__).parents[3] / "docs" / "results.md"
SAID = {"2+2": "4", "3+3": "6", "首都": "北京"}
FAULT = {"kind": "fault", "reason": "card lost"}


@pytest.fixture
def run(at_site):
    """Writes a run with results into the database of the installation; its number."""
    database = Database(url_of_sqlite(at_site.token_file.with_name("tx81.db")))

    def write(*args, **facts) -> int:
        with database.write() as session:
            a_slot_row(session, "lab1.g0")
            return a_run(session, *args, **facts)

    yield write
    database.close()


@pytest.fixture
def batch(at_site):
    """Writes a batch without jobs; its number."""
    database = Database(url_of_sqlite(at_site.token_file.with_name("tx81.db")))

    def write() -> int:
        with database.write() as session:
            return a_batch(session)

    yield write
    database.close()


def test_every_command_on_the_page_about_results_does_what_it_says(tx81, run, batch):
    block = PAGE.read_text("utf-8").split("```sh\n")[1].split("```")[0]
    commands = [shlex.split(line, comments=True)[1:] for line in block.splitlines()]
    named = {f"batch:{number}": batch() for number in (1, 2)}
    jobs = {f"job:{number}": run(SAID) for number in (1, 2)}
    for number in named.values():
        run(SAID, batch_id=number)
    words = {word: f"batch:{number}" for word, number in named.items()} | {
        word: f"job:{number}" for word, number in jobs.items()
    }

    ends = [tx81(*(words.get(word, word) for word in command)) for command in commands]

    assert len(commands) >= 5
    assert [ran.err for ran in ends if ran.code not in (0, 2) or ran.err.startswith("tx81:")] == []
    assert Path("report.html").read_text().startswith("<!DOCTYPE html>")


def test_every_verdict_has_its_exit_code_and_only_good_ones_are_0():
    assert set(ENDS) == set(Verdict)
    assert {verdict for verdict, code in ENDS.items() if code == 0} == {Verdict.SAME, Verdict.BETTER, Verdict.KNOWN}
    assert ENDS[Verdict.WORSE] == 1
    assert {ENDS[each] for each in (Verdict.UNKNOWN, Verdict.MISSING, Verdict.NOT_COMPARABLE)} == {2}
    assert ENDS[Verdict.INFRASTRUCTURE] == Exit.FAULT == 4


def test_the_exit_code_is_the_verdict(tx81, run):
    before, same, worse = run(SAID), run(SAID), run(SAID | {"3+3": "7"})
    other, failed = run(SAID, spec={"max_tokens": 7}), run(state=JobState.FAILED, failure=FAULT)

    assert tx81("compare", before, same).code == 0
    assert tx81("compare", before, f"job:{worse}").code == 1
    assert tx81("compare", before, other).code == 2
    assert tx81("compare", before, failed).code == 4
    assert tx81("compare", before, run()).code == 2


def test_the_page_names_what_changed_and_json_is_one_document(tx81, run):
    before, worse = run(SAID), run(SAID | {"3+3": "7"})

    page = tx81("compare", before, worse)
    documents = [
        tx81("compare", before, worse, *form).document for form in (("--output", "json"), ("--format", "json"))
    ]

    assert f"job:{worse} against job:{before}" in page.out
    assert "1 of 3 answers changed" in page.out
    assert "prompt 2: 3+3" in page.out
    assert documents[0] == documents[1]
    assert documents[0]["verdict"] == "worse"


def test_what_may_differ_and_what_is_judged_are_options(tx81, run):
    before, other = (
        run(SAID, {"output_throughput": 40.0}),
        run(SAID, {"output_throughput": 40.0}, spec={"max_tokens": 7}),
    )

    assert tx81("compare", before, other, "--across", "max_tokens").code == 2  # one run cannot tell a rate
    assert tx81("compare", before, other, "--across", "max_tokens", "--metric", "none").code == 0
    assert tx81("compare", before, run(SAID | {"2+2": "5"}), "--rule", "report", "--metric", "none").code == 2


@pytest.mark.parametrize("form", ["text", "json", "markdown", "html", "junit"])
def test_every_format_is_written_to_a_file_whole(tx81, run, form):
    before, worse = run(SAID), run(SAID | {"3+3": "\x1b]0;<script>"})
    Path("old").write_text("old")

    ran = tx81("compare", before, worse, "--format", form, "--out", "old")

    text = Path("old").read_text()
    assert (ran.code, ran.out) == (1, "")
    assert f"job:{worse}" in text or f"job\\:{worse}" in text
    assert "\x1b" not in text
    assert [file.name for file in Path().iterdir()] == ["old"]
    if form == "json":
        assert json.loads(text)["verdict"] == "worse"
    if form == "junit":
        assert ElementTree.fromstring(text)[0].get("failures") == "2"


def test_more_prompts_than_a_page_are_fetched_up_to_the_limit(tx81, run, monkeypatch):
    monkeypatch.setattr("cli.commands.compare.PAGE", 2)
    before, after = (run({f"q{i}": text for i in range(5)}) for text in "ab")

    def listed(limit: int) -> list[str]:
        found = tx81("compare", before, after, "--limit", limit, "--format", "json").document
        return [each["question"]["text"] for each in found["items"]]

    assert listed(3) == ["q0", "q1", "q2"]
    assert listed(100) == [f"q{i}" for i in range(5)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("1",), "SUBJECTS"),
        (("1", "1"), "named twice"),
        (("1", "x"), "SUBJECTS"),
        (("1", "999999"), "there is no job 999999"),
        (("1", "2", "--limit", "0"), "--limit"),
        (("1", "2", "--out", "no/such/file"), "--out"),
        (("1", "2", "--format", "pdf"), "format"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(tx81, run, arguments, said):
    words = {"1": str(run(SAID)), "2": str(run(SAID))}

    ran = tx81("compare", *(words.get(word, word) for word in arguments[:2]), *arguments[2:])

    assert (ran.code in (2, 5), ran.out) == (True, "")
    assert said in ran.err
    assert ran.err.count("\n") == 1
