"""What a tool wrote is stored where nobody understood it."""

import json

import pytest
from sqlalchemy import select

from orchestrator.model.states import JobState
from orchestrator.storage.tables import Answer, Artifact
from workers.attempt import left_files

INFER = {"kind": "infer", "model": "tiny-model", "kcore": {"job": 1, "artifact": "kcore"}, "prompts": {"path": "/p"}}


def outputs_of(lab, attempt_id):
    with lab.database.read() as session:
        return {row.name: row for row in session.scalars(select(Artifact).where(Artifact.attempt_id == attempt_id))}


def answers_of(lab, attempt_id):
    with lab.database.read() as session:
        rows = session.scalars(select(Answer).where(Answer.attempt_id == attempt_id).order_by(Answer.index))
        return [row.text for row in rows]


def read(lab, output, path):
    return lab.store.read_entry(output.digest, path, most=1 << 20)


def inferred(lab, g0, script, prompts="你好\nWhat is 2+2?\n", **spec):
    lab.tool(script)
    inputs = {"kcore": lab.stored("k", "k"), "prompts": lab.stored("p", prompts)}
    if "golden" in spec:
        inputs["golden"] = lab.stored("g", '{"question": "你好", "answer": "hi"}\n')
    attempt_id = lab.assigned({**INFER, **spec}, inputs)
    lab.run(attempt_id, g0)
    return attempt_id


UNKNOWN = 'printf "Q: 你好\\nA: hi\\nQ: What is 2+2?\\nA: 4\\n" > "$2/responses.txt"; echo trace > beside.log'


def test_answers_in_an_unknown_file_fail_the_job_and_every_file_that_the_tool_wrote_is_kept(lab, g0):
    attempt_id = inferred(lab, g0, UNKNOWN)

    assert lab.job(attempt_id).failure["kind"] == "output_missing"
    left = outputs_of(lab, attempt_id)["left_files"]
    assert left.tree
    assert read(lab, left, "out/responses.txt").startswith(b"Q: ")
    assert read(lab, left, "cwd/beside.log") == b"trace\n"
    listed = json.loads(read(lab, left, "files.json"))
    assert {one["path"] for one in listed} == {"out/responses.txt", "cwd/beside.log"}


def test_a_tool_that_fails_leaves_what_it_wrote_so_far(lab, g0):
    attempt_id = inferred(lab, g0, f"{UNKNOWN}; exit 3")

    assert lab.job(attempt_id).failure["kind"] == "tool"
    assert "left_files" in outputs_of(lab, attempt_id)


def test_a_profile_that_does_not_read_answers_makes_a_success_whose_files_are_kept(lab, g0):
    lab.says("infer", answers="none")

    attempt_id = inferred(lab, g0, UNKNOWN)

    assert lab.job(attempt_id).state is JobState.SUCCEEDED
    assert read(lab, outputs_of(lab, attempt_id)["left_files"], "out/responses.txt")
    assert answers_of(lab, attempt_id) == []


def test_golden_answers_are_refused_where_no_answers_are_read(lab, g0):
    lab.says("infer", answers="none")

    attempt_id = inferred(lab, g0, UNKNOWN, golden={"path": "/g"})

    assert lab.job(attempt_id).failure["kind"] == "bad_spec"
    assert "does not read the answers" in lab.job(attempt_id).failure["reason"]


EITHER_OR = [
    {"glob": "*.jsonl", "question": "q", "text": "a"},
    {"glob": "*.txt", "format": "regex", "starts": "^Q: ", "pattern": r"(?s)^Q: (?P<question>[^\n]*)\nA: (?P<text>.*)"},
]


@pytest.mark.parametrize(
    "script",
    [UNKNOWN, 'printf \'{"q": "你好", "a": "hi"}\\n{"q": "What is 2+2?", "a": "4"}\\n\' > "$2/r.jsonl"'],
    ids=["text", "json"],
)
def test_of_several_rules_the_first_that_fits_reads_the_answers(lab, g0, script):
    outputs = {"answers": {"search": "{out}", "glob": ["*.jsonl", "*.txt"], "kind": "file"}}
    lab.says("infer", answers=EITHER_OR, outputs=outputs)

    attempt_id = inferred(lab, g0, script)

    assert answers_of(lab, attempt_id) == ["hi", "4"]
    assert "left_files" not in outputs_of(lab, attempt_id)


def test_where_no_rule_fits_each_says_why(lab, g0):
    lab.says("infer", answers=EITHER_OR, outputs={"answers": {"search": "{out}", "glob": "*", "kind": "file"}})

    attempt_id = inferred(lab, g0, 'printf "something else\\n" > "$2/r.txt"')

    reason = lab.job(attempt_id).failure["reason"]
    assert "rule 1: no answers: no new file matches *.jsonl" in reason
    assert "rule 2: the answers cannot be read: r.txt: no line matches" in reason


def test_what_is_kept_is_bounded_in_files_and_bytes_and_says_what_is_not(lab, g0, monkeypatch):
    monkeypatch.setattr(left_files, "MOST_FILES", 3)
    monkeypatch.setattr(left_files, "MOST_BYTES", 1000)

    attempt_id = inferred(
        lab, g0, 'head -c 2000 /dev/zero > "$2/large"; for n in 1 2 3 4; do echo $n > "$2/$n"; done; exit 1'
    )

    listed = json.loads(read(lab, outputs_of(lab, attempt_id)["left_files"], "files.json"))
    assert [one["path"] for one in listed if one["stored"]] == ["out/1", "out/2", "out/3"]
    assert [one["path"] for one in listed if not one["stored"]] == ["out/4", "out/large"]


def test_links_and_pipes_are_not_followed(lab, g0):
    (lab.folder / "secret").write_text("secret")

    attempt_id = inferred(lab, g0, f'ln -s {lab.folder}/secret "$2/link"; mkfifo "$2/pipe"; echo a > "$2/a"; exit 1')

    listed = json.loads(read(lab, outputs_of(lab, attempt_id)["left_files"], "files.json"))
    assert [one["path"] for one in listed] == ["out/a"]
