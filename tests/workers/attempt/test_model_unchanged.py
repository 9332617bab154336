"""A model whose folder somebody wrote to after it was registered."""

import hashlib
import json
import os

import pytest
from sqlalchemy import update

from orchestrator.catalog.weights import weights_of
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


def _as_registered_by_the_earlier_rule(lab) -> str:
    """Make the row what it was when everything in the folder counted; returns its digest."""
    folder = lab.folder / "models/tiny-model"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    files = [path for path in files if not (path.name.startswith("config") and path.name.endswith(".json"))]
    contents = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    times = {str(path.relative_to(folder)): [path.stat().st_size, path.stat().st_mtime_ns] for path in files}
    digest, stamp = (
        f"sha256:{hashlib.sha256(json.dumps(each, sort_keys=True, separators=(',', ':')).encode()).hexdigest()}"
        for each in (contents, times)
    )
    with lab.database.write() as session:
        session.execute(update(Model).values(digest=digest, stamp=stamp))
    return digest


BYSTANDERS = [
    ".git/index",
    ".cache/huggingface/download/model.safetensors.metadata",
    ".DS_Store",
    "._model.safetensors",
]


@pytest.mark.parametrize("bystander", BYSTANDERS)
def test_what_no_tool_reads_may_come_change_and_go(lab, g0, bystander):
    lab.tool(ANSWERS)
    place = lab.folder / "models/tiny-model" / bystander
    for change in ("came", "changed", "went"):
        attempt_id = inferring(lab)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink() if change == "went" else place.write_text(change)

        lab.run(attempt_id, g0)

        assert lab.job(attempt_id).state is JobState.SUCCEEDED, change


@pytest.mark.parametrize("touched", [False, True])
def test_a_model_registered_by_the_rule_that_counted_bystanders_still_runs(lab, g0, touched):
    lab.tool(ANSWERS)
    folder = lab.folder / "models/tiny-model"
    (folder / ".git").mkdir()
    (folder / ".git/index").write_text("as it was registered")
    earlier = _as_registered_by_the_earlier_rule(lab)
    attempt_id = inferring(lab)
    if touched:
        os.utime(folder / "model.safetensors", ns=(1, 1))

    lab.run(attempt_id, g0)

    assert lab.job(attempt_id).state is JobState.SUCCEEDED
    with lab.database.read() as session:
        row = session.get_one(Model, "tiny-model")
        assert row.digest != earlier
        assert (row.digest, row.stamp) == (
            weights_of(lab.settings, folder).digest,
            weights_of(lab.settings, folder).stamp,
        )
    # From then on, the bystanders may change.
    (folder / ".git/index").write_text("git status was asked")
    attempt_id = inferring(lab)
    lab.run(attempt_id, g0)
    assert lab.job(attempt_id).state is JobState.SUCCEEDED


def test_a_model_of_the_earlier_rule_that_was_written_to_is_refused(lab, g0):
    lab.tool(ANSWERS)
    folder = lab.folder / "models/tiny-model"
    (folder / ".DS_Store").write_text("x")
    _as_registered_by_the_earlier_rule(lab)
    attempt_id = inferring(lab)
    (folder / "extra/merges.txt").write_text("others")

    lab.run(attempt_id, g0)

    failure = lab.job(attempt_id).failure
    assert failure["kind"] == "bad_spec"
    assert "extra/merges.txt was written at 20" in failure["reason"]


def test_a_file_that_went_away_is_told_too(lab, g0):
    lab.tool(ANSWERS)
    attempt_id = inferring(lab)
    (lab.folder / "models/tiny-model/extra/merges.txt").unlink()

    lab.run(attempt_id, g0)

    assert "a file was removed" in lab.job(attempt_id).failure["reason"]
