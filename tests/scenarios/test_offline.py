"""The offline test with the vendor's other options, on kernel images that the vendor compiled."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from lab import MODEL, Lab

from emulator.cards.events import audit
from orchestrator.model.specs import JobRequest

pytestmark = [pytest.mark.xdist_group("lab"), pytest.mark.timeout(300)]


def a_prebuilt_kcore(lab: Lab, chips: int, model: str) -> str:
    """The digest of a compiled model that was taken in as the archive it came in."""
    home = Path(lab.tree["home"])
    command = [
        sys.executable,
        "-m",
        "emulator",
        "kcore",
        lab.tree["model"],
        str(home / "kcores"),
        "--chips",
        str(chips),
    ]
    packed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    made = lab.client.imports.kcore(packed, model)
    assert made.facts == {"chips": chips, "precision": "bf16", "sequence": 8192, "model": model}
    return made.digest


def some_prompts(lab: Lab) -> dict[str, str]:
    """Three of the vendor's questions, in a file of their own."""
    file = Path(lab.tree["home"]) / "three.txt"
    file.write_text("\n".join(Path(lab.tree["prompts"]).read_text("utf-8").split("\n")[:3]) + "\n", "utf-8")
    return {"path": str(file)}


def their_golden(lab: Lab) -> dict[str, str]:
    """What is known to be right, as somebody's file of plain lines would have it."""
    rows = [json.loads(line) for line in Path(lab.tree["golden"]).read_text("utf-8").splitlines()[:3]]
    file = Path(lab.tree["home"]) / "answers.jsonl"
    file.write_text(
        "".join(json.dumps({"question": row["question"], "response": row["answer"]}) + "\n" for row in rows)
    )
    return {"digest": lab.client.imports.golden(path=str(file), prompts=some_prompts(lab), model=MODEL).digest}


def test_several_batch_sizes_with_an_imported_kcore_and_an_imported_golden(lab: Lab):
    spec = {
        "kind": "infer", "model": MODEL, "kcore": {"digest": a_prebuilt_kcore(lab, 4, MODEL)}, "max_tokens": 512,
        "prompts": some_prompts(lab), "golden": their_golden(lab), "batch_sizes": [2, 1], "txda_log": True,
    }  # fmt: skip

    job = lab.ended(lab.client.submit(JobRequest.model_validate({"spec": spec})).id)

    assert job.failure is None
    answers = list(lab.client.all_answers(job.id))
    assert Counter((answer.batch_size, answer.slot_id) for answer in answers) == {
        (2, "lab1.g0"): 3, (2, "lab1.g1"): 3, (1, "lab1.g0"): 3,
    }  # fmt: skip
    assert {answer.exact for answer in answers} == {True}
    kept = Counter(output.name.partition(".")[0] for output in job.outputs)
    assert kept == {"answers": 2, "vendor_log": 2, "txda_log": 2, "log": 1}
    assert audit(Path(lab.tree["events"])) == []


def test_a_kcore_for_one_card_runs_on_card_0_alone(lab: Lab):
    config = Path(lab.tree["home"]) / "one_card.json"
    tx81 = json.loads(Path(lab.tree["model"], "config_tx81.json").read_text())
    config.write_text(json.dumps({**tx81, "tensor_parallel": {"use_tp": False, "parallel_size": 1}}))
    lab.client.register_model("one-card", lab.tree["model"], tx81_config=str(config))
    spec = {
        "kind": "infer", "model": "one-card", "kcore": {"digest": a_prebuilt_kcore(lab, 1, MODEL)}, "cards": "0",
        "prompts": some_prompts(lab), "golden": their_golden(lab), "max_tokens": 512,
    }  # fmt: skip

    job = lab.ended(lab.client.submit(JobRequest.model_validate({"spec": spec})).id)

    assert job.failure is None
    assert {answer.exact for answer in lab.client.all_answers(job.id)} == {True}
    assert [event["cards"] for event in lab.events("open")][-1] == [0]
