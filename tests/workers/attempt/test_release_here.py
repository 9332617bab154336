"""A release lies elsewhere on some hosts."""

import json
from dataclasses import replace

import pytest

from orchestrator.catalog.registry import release_digest
from orchestrator.model.failures import FailureKind
from orchestrator.model.profile import Profile
from orchestrator.model.states import AttemptState, JobState
from orchestrator.storage.tables import Release, Slot
from workers.slot import announce

QUANTIZE = {"kind": "quantize", "model": "tiny-model"}


@pytest.fixture
def registered(lab):
    """The release, told from other builds by the text of its one tool."""
    lab.tool('cat "$0" > "$2/weights.gm"')
    with lab.database.write() as session:
        release = session.get_one(Release, "tiny")
        profile = Profile.model_validate({**release.profile, "fingerprint": ["tool.sh"]})
        release.profile = json.loads(profile.model_dump_json())
        release.digest = release_digest(profile, lab.folder / "release")
    return lab


def lacking(lab):
    with lab.database.read() as session:
        return session.get_one(Slot, "lab.cpu0").lacks


def on_a_host_that_has_it_at(slot, folder):
    return replace(slot, settings=slot.settings.model_copy(update={"release_roots": {"tiny": folder}}))


def test_a_host_runs_its_own_copy_of_the_tools(registered, cpu0):
    mine = registered.folder / "工具 of this host"
    mine.mkdir()
    (registered.folder / "release" / "tool.sh").rename(mine / "tool.sh")
    attempt_id = registered.assigned(QUANTIZE, slot="cpu0")

    registered.run(attempt_id, on_a_host_that_has_it_at(cpu0, mine))

    assert registered.job(attempt_id).state is JobState.SUCCEEDED
    assert registered.attempt(attempt_id).command["argv"][1] == str(mine / "tool.sh")


@pytest.mark.parametrize("content", ["another build", None], ids=["another build", "nothing"])
def test_a_host_without_that_build_starts_nothing_and_is_left_alone_until_its_worker_starts_again(
    registered, cpu0, content
):
    mine = registered.folder / "mine"
    if content is not None:
        mine.mkdir()
        (mine / "tool.sh").write_text(content)
    attempt_id = registered.assigned(QUANTIZE, slot="cpu0")

    registered.run(attempt_id, on_a_host_that_has_it_at(cpu0, mine))

    attempt = registered.attempt(attempt_id)
    assert (attempt.state, attempt.failure["kind"], attempt.pid) == (AttemptState.LOST, FailureKind.STOPPED, None)
    assert f"lab has no release tiny at {mine}" in attempt.failure["reason"]
    assert "TX81_RELEASE_ROOTS" in attempt.failure["reason"]
    assert registered.job(attempt_id).state is JobState.QUEUED
    lack = lacking(registered)["tiny"]
    assert (lack["why"], lack["until"]) == (attempt.failure["reason"], None)
    announce(cpu0)
    assert lacking(registered) is None
