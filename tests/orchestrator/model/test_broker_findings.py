"""What answers through the broker, beside the slots that should."""

import pytest

from orchestrator.model.broker_findings import BrokerFinding, finding

SLOTS = {"g0@a": "a.g0", "g1@a": "a.g1"}


def found(answers, *, alive=("a.g0", "a.g1"), before=("a.g0", "a.g1")):
    return finding(answers, slots=SLOTS, alive=alive, silent_before=before)[0]


def test_a_lab_whose_workers_all_answer_and_nobody_else_is_fine():
    assert found({"g0@a": 1, "g1@a": 1}).sentence() is None


@pytest.mark.parametrize(
    ("answers", "foreign"),
    [
        ({"g0@a": 1, "g1@a": 1, "celery@b": 1}, ("celery@b",)),
        ({"g0@a": 2, "g1@a": 1}, ("g0@a (second)",)),
    ],
    ids=["another project", "another lab of that name"],
)
def test_a_worker_that_belongs_to_no_slot_is_named(answers, foreign):
    trouble = found(answers)

    assert trouble.foreign == foreign
    assert foreign[0] in trouble.sentence()
    assert "give each installation its own" in trouble.sentence()


def test_a_live_worker_that_is_silent_twice_is_named_and_once_is_not():
    first, silent = finding({"g0@a": 1}, slots=SLOTS, alive=["a.g0", "a.g1"], silent_before=())
    again, _ = finding({"g0@a": 1}, slots=SLOTS, alive=["a.g0", "a.g1"], silent_before=silent)

    assert first.sentence() is None
    assert again.silent == ("a.g1",)
    assert "TX81_BROKER_URL" in again.sentence()


def test_a_worker_that_is_away_is_not_expected_to_answer():
    assert found({"g0@a": 1}, alive=["a.g0"]).sentence() is None


def test_who_has_no_token_is_told_no_names():
    trouble = BrokerFinding("no route to 10.0.0.7", ("celery@secret",), ("a.g0",))

    told = trouble.sentence(names=False)

    assert "the broker does not answer" in told
    assert not any(name in told for name in ("10.0.0.7", "secret", "a.g0"))


def test_many_workers_are_counted():
    told = BrokerFinding(silent=tuple(f"a.g{number}" for number in range(8))).sentence()

    assert "a.g0, a.g1, a.g2, a.g3, a.g4 and 3 more; " in told


def test_a_finding_is_stored_and_read_back():
    trouble = BrokerFinding("gone", ("x@y",), ("a.g0",))

    assert BrokerFinding.of(trouble.document()) == trouble
    assert BrokerFinding.of(None) == BrokerFinding()
