"""Golden jobs: reference answers, computed by an interpreter that has transformers."""

import json
import sys
from dataclasses import replace

import pytest
from sqlalchemy import select

from orchestrator.model.slots import SlotName
from orchestrator.model.states import JobState
from orchestrator.storage.tables import Artifact, Slot
from workers.slot import owned

GOLDEN = {"kind": "golden", "model": "tiny-model", "prompts": {"digest": f"sha256:{'0' * 64}"}, "max_tokens": 7}


def a_job(lab):
    return lab.assigned(GOLDEN, {"prompts": lab.stored("prompts", "问\n")}, slot="cpu0")


def with_interpreter(slot, path):
    return replace(slot, settings=slot.settings.model_copy(update={"golden_python": path}))


def test_without_transformers_the_job_says_what_to_install(lab, cpu0):
    attempt_id = a_job(lab)

    lab.run(attempt_id, cpu0)

    failure = lab.job(attempt_id).failure
    assert failure["kind"] == "tool"
    assert f"torch is not installed for {sys.executable}: pip install '.[golden]'" in failure["reason"]
    assert "TX81_GOLDEN_PYTHON" in failure["reason"]


@pytest.mark.parametrize(("has", "labels"), [(True, {"rack": "a", "golden": "yes"}), (False, {"rack": "a"})])
def test_a_seat_tells_whether_golden_jobs_can_run_there(lab, has, labels):
    interpreter = lab.folder / "another-python"
    interpreter.write_text(f"#!/bin/sh\n{has!s}\n".lower())
    interpreter.chmod(0o755)
    settings = lab.settings.model_copy(update={"golden_python": interpreter, "labels": {"rack": "a"}})

    with owned(settings, lab.database, SlotName.parse("cpu0")), lab.database.read() as session:
        assert session.get_one(Slot, "lab.cpu0").labels == labels


def test_what_the_interpreter_of_this_host_answers_is_kept_as_a_golden(lab, cpu0):
    interpreter = lab.folder / "another-python"
    interpreter.write_text(f"#!{sys.executable}\n{ECHO}")
    interpreter.chmod(0o755)
    attempt_id = a_job(lab)

    lab.run(attempt_id, with_interpreter(cpu0, interpreter))

    assert lab.job(attempt_id).state is JobState.SUCCEEDED
    argv = lab.attempt(attempt_id).command["argv"]
    assert argv[:2] == [str(interpreter), "-I"]
    assert argv[argv.index("--max-tokens") :] == ["--max-tokens", "7", "--dtype", "bfloat16", "--device", "cpu"]
    with lab.database.read() as session:
        golden = session.scalars(select(Artifact).where(Artifact.name == "golden")).one()
    assert json.loads(lab.store.path(golden.digest).read_bytes()) == {"question": "问", "answer": "official config"}


ECHO = """
import json, sys
given = dict(zip(sys.argv[3::2], sys.argv[4::2]))
official = json.load(open(given["--model"] + "/config.json")) == {"official": True}
with open(given["--prompts"], encoding="utf-8") as prompts, open(given["--out"], "w", encoding="utf-8") as out:
    for question in prompts:
        row = {"question": question.strip(), "answer": "official config" if official else "another config"}
        out.write(json.dumps(row, ensure_ascii=False) + "\\n")
"""


def test_an_answer_file_that_is_not_there_is_no_success(lab, cpu0):
    interpreter = lab.folder / "another-python"
    interpreter.write_text("#!/bin/sh\necho all fine\n")
    interpreter.chmod(0o755)
    attempt_id = a_job(lab)

    lab.run(attempt_id, with_interpreter(cpu0, interpreter))

    assert lab.job(attempt_id).failure["kind"] == "output_missing"


@pytest.mark.parametrize("dtype", ["int8", "", "float64"])
def test_a_number_format_that_transformers_is_not_asked_for_is_refused(lab, cpu0, dtype):
    attempt_id = lab.assigned({**GOLDEN, "dtype": dtype}, {"prompts": lab.stored("prompts", "q")}, slot="cpu0")

    lab.run(attempt_id, cpu0)

    assert lab.job(attempt_id).failure["kind"] == "bad_spec"
