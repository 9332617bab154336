"""A model whose folder somebody wrote to after it was registered."""

import json
import os

import pytest
from sqlalchemy import update

from orchestrator.model.states import JobState
from orchestrator.storage.tables import Model

DIGEST = {"digest": "sha256:" + "0" * 64}
ANSWERS = """printf '{"q": "who", "a": "me", "r": 1, "i": 0}\\n' > "$2/a.jsonl"; touch "$0.ran" """


def inferring(lab):
    return lab.assigned(
        {"kind": "infer", "model": "tiny-model", "kcore": DIGEST, "prompts": DIGEST},
        {"kcore": lab.stored_tree("kcore", {"kcore.bin": "k"}), "prompts": lab.stored("prompts", "who")},
    )


@pytest.mark.parametrize("file", ["model.safetensors", "extra/merges.txt", "new.txt"])
def test_inference_on_a_model_that_was_written_to_is_refused_before_it_starts(lab, g0, file):
    lab.tool(ANSWERS)
    attempt_id = inferring(lab)
    with (lab.folder / "models/tiny-model" / file).open("ab") as changed:
        changed.seek(0, os.SEEK_END)
        changed.seek(max(0, changed.tell() - 1))
        changed.write(b"!")
        changed.truncate()

    lab.run(attempt_id, g0)

    failure = lab.job(attempt_id).failure
    assert failure["kind"] == "bad_spec"
    assert failure["reason"].startswith(
        ("the weights of model tiny-model have changed", "model.safetensors is cut off")
    )
    assert not (lab.folder / "release/tool.sh.ran").exists()


@pytest.mark.parametrize("change", ["touched", "config", "registered long ago"])
def test_a_model_whose_bytes_are_the_same_is_used(lab, g0, change):
    lab.tool(ANSWERS)
    attempt_id = inferring(lab)
    folder = lab.folder / "models/tiny-model"
    if change == "touched":
        os.utime(folder / "model.safetensors", ns=(1, 1))
    elif change == "config":
        (folder / "config.json").write_text("another for each use; the registered one is in SQL")
    else:
        (folder / "extra/merges.txt").write_text("nobody can tell")
        with lab.database.write() as session:
            session.execute(update(Model).values(stamp=None, weights=None))

    lab.run(attempt_id, g0)

    assert lab.job(attempt_id).state is JobState.SUCCEEDED


@pytest.mark.parametrize(("chips", "started"), [(4, True), (1, False), ("many", True)])
def test_a_kernel_image_for_other_cards_is_refused_before_the_tool_starts(lab, g0, chips, started):
    lab.tool(ANSWERS)
    kcore = {"kcore.bin": "k", "model_info.json": json.dumps({"chip_num": chips})}
    attempt_id = lab.assigned(
        {"kind": "infer", "model": "tiny-model", "kcore": DIGEST, "prompts": DIGEST},
        {"kcore": lab.stored_tree("kcore", kcore), "prompts": lab.stored("prompts", "who")},
    )

    lab.run(attempt_id, g0)

    assert (lab.folder / "release/tool.sh.ran").exists() == started
    if not started:
        assert lab.job(attempt_id).failure["kind"] == "bad_spec"
        assert "compiled for 1 card, not for a card group" in lab.job(attempt_id).failure["reason"]
