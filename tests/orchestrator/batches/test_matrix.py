"""A batch as card group × round, on both databases."""

import pytest
from builders.results import a_batch, a_run
from builders.rows import a_job_row, a_slot_row, an_attempt
from sqlalchemy import update

from orchestrator.batches.matrix import matrix
from orchestrator.errors import NotFound
from orchestrator.model.failures import FailureKind
from orchestrator.model.states import AttemptState, JobState
from orchestrator.storage.tables import Attempt, Job

FAULT = {"kind": FailureKind.FAULT, "reason": "the card died"}


@pytest.fixture
def batch(database) -> int:
    """Three card groups in two rounds: g1 fails once, g2 answers otherwise once and was tried again once."""
    with database.write() as session:
        number = a_batch(session)
        for slot in ("lab1.g0", "lab1.g1", "lab1.g2"):
            a_slot_row(session, slot)
        for round_ in (1, 2):
            for slot in ("lab1.g0", "lab1.g1", "lab1.g2"):
                odd = (slot, round_) == ("lab1.g2", 2)
                job = a_run(session, {"2+2": "5" if odd else "4"}, slot=slot, batch_id=number)
                digest = "sha256:odd" if odd else "sha256:usual"
                session.execute(update(Attempt).where(Attempt.job_id == job).values(answers_digest=digest))
                if odd:
                    session.execute(update(Attempt).where(Attempt.job_id == job).values(number=2))
                    spoiled = {"slot_id": slot, "state": AttemptState.FAILED, "failure": FAULT}
                    an_attempt(session, session.get_one(Job, job), **spoiled)
        failure = {"kind": FailureKind.TOOL, "reason": "exit code 1"}
        failed = a_job_row(session, batch_id=number, state=JobState.FAILED, failure=failure)
        an_attempt(session, failed, slot_id="lab1.g1", state=AttemptState.FAILED, failure=failure)
        request = {"placement": {"slot": "lab1.g0"}, "spec": _INFER}
        a_job_row(session, batch_id=number, request=request)
        a_job_row(session, batch_id=number, request={"spec": _INFER})
        return number


_INFER = {
    "kind": "infer", "model": "qwen", "kcore": {"digest": f"sha256:{'c' * 64}"},
    "prompts": {"digest": f"sha256:{'d' * 64}"},
}  # fmt: skip


def test_the_worst_card_group_comes_first_and_each_job_is_in_its_round(database, batch):
    with database.read() as session:
        found = matrix(session, batch)

    assert [(line.slot_id, line.failures, line.unlike, line.faults) for line in found.lines] == [
        ("lab1.g1", 1, 0, 0), ("lab1.g2", 0, 1, 1), ("lab1.g0", 0, 0, 0),
    ]  # fmt: skip
    assert (found.rounds, found.first, found.last, found.unplaced) == (3, 1, 3, 1)
    failed, odd, waits = found.lines[0].cells[2], found.lines[1].cells[1], found.lines[2].cells[2]
    assert (failed.state, failed.failure) == (JobState.FAILED, FailureKind.TOOL)
    assert (odd.state, odd.answers, odd.retried) == (JobState.SUCCEEDED, "B", 1)
    assert waits.state is JobState.QUEUED
    assert found.lines[1].cells[2] is None


def test_the_different_answers_are_counted_and_say_which_card_groups_gave_them(database, batch):
    with database.read() as session:
        usual, odd = matrix(session, batch).answer_sets

    assert (usual.name, usual.attempts, usual.slots) == ("A", 5, {"lab1.g0": 2, "lab1.g1": 2, "lab1.g2": 1})
    assert (odd.name, odd.slots) == ("B", {"lab1.g2": 1})


def test_rounds_are_shown_from_the_one_that_is_asked_for(database, batch):
    with database.read() as session:
        found, beyond = matrix(session, batch, first=2), matrix(session, batch, first=99)

    assert (found.first, found.last, [len(line.cells) for line in found.lines]) == (2, 3, [2, 2, 2])
    assert (beyond.first, beyond.last) == (3, 3)


def test_a_batch_that_is_not_there_is_not_found(database):
    with database.read() as session, pytest.raises(NotFound, match="no batch 9"):
        matrix(session, 9)
