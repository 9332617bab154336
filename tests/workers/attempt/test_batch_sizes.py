"""One job that runs the test with several batch sizes, and what else a spec switches on."""

import json
import shlex

import pytest
from sqlalchemy import select

from orchestrator.model.slots import SlotName
from orchestrator.model.states import JobState
from orchestrator.results.answers import GivenAnswer
from orchestrator.storage.tables import Answer, Artifact, Release
from workers.slot import owned
from workers.toolchain.answers import Asked, problems_with

RULE = {"file_name": r"bs(?P<batch_size>\d)"}


@pytest.fixture
def g1(lab):
    with owned(lab.settings, lab.database, SlotName.parse("g1")) as slot:
        yield slot


def release_with(lab, **infer):
    """The release's profile, changed in how it runs inference."""
    with lab.database.write() as session:
        release = session.get_one(Release, "tiny")
        kinds = json.loads(json.dumps(release.profile["kinds"]))
        kinds["infer"] |= infer
        release.profile = {**release.profile, "kinds": kinds}
    return kinds["infer"]


def a_job(lab, *, others=("g1",), **spec):
    digest = {"digest": "sha256:" + "0" * 64}
    return lab.assigned(
        {
            "kind": "infer", "model": "tiny-model", "kcore": digest, "prompts": digest, "groups": 2,
            "batch_sizes": [1, 2], **spec,
        },
        {"kcore": lab.stored_tree("kcore", {"kcore.bin": "k"}), "prompts": lab.stored("prompts", "q")},
        others=others,
    )  # fmt: skip


def wrote(*files):
    """A tool that leaves these answers: one list of rows for each batch size."""
    commands = [
        f"printf '%s\\n' {' '.join(shlex.quote(json.dumps(row)) for row in rows)} > \"$2/bs{size}.jsonl\""
        for size, rows in files
    ]
    return "\n".join(commands)


def answer(batch, text, **more):
    return {"q": "q", "a": text, "r": 1, "i": 0, "b": batch, **more}


def test_every_batch_size_has_its_own_answers_and_files(lab, g0, g1):
    infer = release_with(lab)
    release_with(
        lab, answers={**infer["answers"], **RULE}, outputs={"answers": {**infer["outputs"]["answers"], "several": True}}
    )
    lab.tool(wrote((1, [answer(0, "alone")]), (2, [answer(0, "left"), answer(1, "right")])))
    attempt_id = a_job(lab)

    lab.run(attempt_id, g0)

    assert lab.job(attempt_id).failure is None
    with lab.database.read() as session:
        rows = session.scalars(select(Answer).order_by(Answer.repeat, Answer.batch)).all()
        kept = {row.name: row.file_name for row in session.scalars(select(Artifact)) if row.name.startswith("answers")}
    assert [(row.batch_size, row.repeat, row.batch, row.text) for row in rows] == [
        (1, 1, 0, "alone"), (2, 2, 0, "left"), (2, 2, 1, "right"),
    ]  # fmt: skip
    assert kept == {"answers.1": "bs1.jsonl", "answers.2": "bs2.jsonl"}


def test_a_batch_size_that_answered_nothing_fails_the_job(lab, g0, g1):
    infer = release_with(lab)
    release_with(lab, answers={**infer["answers"], **RULE})
    lab.tool(wrote((2, [answer(0, "left"), answer(1, "right")])))
    attempt_id = a_job(lab)

    lab.run(attempt_id, g0)

    assert lab.job(attempt_id).failure["kind"] == "output_missing"
    assert lab.job(attempt_id).failure["reason"] == "0 answers instead of 1 (1 prompts × 1 repeats) with batch size 1"


def test_a_rule_that_finds_no_file_of_answers_is_told_with_where_it_looked(lab, g0, g1):
    infer = release_with(lab)
    release_with(lab, answers={**infer["answers"], "glob": "*.txt"})
    lab.tool(wrote((1, [answer(0, "alone")])))
    attempt_id = a_job(lab)

    lab.run(attempt_id, g0)

    assert "no answers: no new file matches *.txt below " in lab.job(attempt_id).failure["reason"]


def test_answers_that_do_not_say_their_batch_size_are_no_result(lab, g0, g1):
    lab.tool(wrote((1, [answer(0, "alone")])))
    attempt_id = a_job(lab)

    lab.run(attempt_id, g0)

    assert "the profile must tell where to read it" in lab.job(attempt_id).failure["reason"]


def test_prompts_that_are_dealt_out_need_one_answer_each(lab, g0, g1):
    lab.tool(wrote((2, [answer(1, "one")])))
    attempt_id = a_job(lab, batch_sizes=None, traverse=False)

    lab.run(attempt_id, g0)

    assert lab.job(attempt_id).state is JobState.SUCCEEDED


def test_a_prompt_that_two_batches_answered_when_they_were_dealt_out_is_told():
    twice = [GivenAnswer(1, 0, "q", "a", lane=lane) for lane in (0, 1)]

    assert problems_with(twice, Asked(2, sizes=(2,), traverse=False)) == [
        "1 answers instead of 2 (2 prompts × 1 repeats) in all batches"
    ]


def test_the_device_log_is_kept_when_the_tool_fails_and_tells_of_a_dead_card(lab, g0):
    release_with(lab, optional={"txda_log": ["{work}/txda"]}, device_logs=["txda/**/*"])
    lab.tool('mkdir "$6"; echo "TXDA: card is gone" > "$6/dev.log"; exit 1')
    attempt_id = a_job(lab, batch_sizes=None, groups=1, txda_log=True, others=())

    lab.run(attempt_id, g0)

    with lab.database.read() as session:
        (log,) = session.scalars(select(Artifact).where(Artifact.name == "txda_log"))
    assert lab.store.path(log.digest).read_text() == "TXDA: card is gone\n"
    assert lab.attempt(attempt_id).failure["signature"] == "card_gone"
