"""Which ends of attempts are evidence against earlier results of their cards."""

import pytest
from pydantic import ValidationError

from orchestrator.model.doubts import DoubtReason, LiftOrder, reason_of
from orchestrator.model.failures import Failure, FailureKind, Suspicion

STICKY = frozenset({"hpgr_device_error"})


def _reason(failure=None, *, signature=None, canary=True, suspected=False) -> DoubtReason | None:
    suspicion = Suspicion(reason="seen", signature=signature)
    said = None if failure is None else Failure(kind=failure, reason="seen", signature=signature)
    return reason_of(suspicion, said, canary=canary, sticky=STICKY, suspected=suspected)


def test_wrong_answers_of_a_canary_and_device_errors_that_stay_speak_against_the_cards():
    assert _reason(FailureKind.WRONG_ANSWERS) is DoubtReason.CANARY_FAILED
    assert _reason(FailureKind.FAULT, signature="hpgr_device_error") is DoubtReason.CANARY_FAILED
    assert _reason(FailureKind.FAULT, signature="hpgr_device_error", canary=False) is DoubtReason.STICKY_FAULT
    assert _reason(None, signature="hpgr_device_error", canary=False) is DoubtReason.STICKY_FAULT


def test_a_canary_that_hangs_or_crashes_confirms_a_suspicion_and_says_nothing_alone():
    assert _reason(FailureKind.TOOL, suspected=True) is DoubtReason.SUSPICION_CONFIRMED
    assert _reason(FailureKind.SILENCE, suspected=True) is DoubtReason.SUSPICION_CONFIRMED
    assert _reason(FailureKind.TOOL) is None


@pytest.mark.parametrize("suspected", [True, False])
def test_troubles_of_the_host_and_the_system_cast_no_doubt(suspected):
    assert _reason(FailureKind.FAULT, signature="disk_full", suspected=suspected) is None
    assert _reason(FailureKind.FAULT, suspected=suspected) is None
    assert _reason(FailureKind.WRONG_CARDS, suspected=suspected) is None
    assert _reason(FailureKind.CANCELLED, suspected=suspected) is None
    assert _reason(None, suspected=suspected) is None


def test_a_job_that_fails_is_no_evidence_against_its_cards():
    assert _reason(FailureKind.TOOL, canary=False, suspected=True) is None
    assert _reason(FailureKind.WRONG_ANSWERS, canary=False) is None


@pytest.mark.parametrize(
    "order",
    [
        {"note": "n"},
        {"job": 1},
        {"job": 1, "note": ""},
        {"job": 1, "slot": "lab1.g0", "note": "n"},
        {"doubts": [0], "note": "n"},
        {"doubts": [], "note": "n"},
        {"slot": "../x", "note": "n"},
    ],
)
def test_an_order_to_lift_names_one_thing_and_a_reason(order):
    with pytest.raises(ValidationError):
        LiftOrder.model_validate(order)
