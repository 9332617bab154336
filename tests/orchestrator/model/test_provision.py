"""What may be asked of a provisioning, and which steps a plan has."""

import pytest
from pydantic import ValidationError

from orchestrator.model.provision import ProvisionRequest, ProvisionRule, StepRule
from orchestrator.model.slots import SlotKind

ASKED = {"packages": "/srv/p", "root": "/opt/r", "release": "r2", "profile": "p"}


def a_step(name: str, **facts) -> dict:
    return {"name": name, "title": name, "done": {"argv": ["true"]}, "do": [{"argv": ["true"]}], **facts}


@pytest.fixture
def rule() -> ProvisionRule:
    steps = [a_step("driver", driver=True), a_step("engine")]
    return ProvisionRule.model_validate({"archives": ["a.tar.gz"], "steps": steps})


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"packages": "srv/p"}, "packages"),
        ({"root": "/opt/\0r"}, "root"),
        ({"release": "--default"}, "release"),
        ({"profile": "../secret"}, "profile"),
        ({"steps": []}, "steps"),
        ({"steps": ["-x"]}, "steps"),
        ({"host": "lab1"}, "host"),
        ({"shell": "rm -rf /"}, "shell"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_field(facts, field):
    with pytest.raises(ValidationError) as refused:
        ProvisionRequest.model_validate({**ASKED, **facts})

    assert refused.value.errors()[0]["loc"][0] == field


def test_only_named_steps_can_be_forced():
    with pytest.raises(ValidationError, match="needs steps"):
        ProvisionRequest.model_validate({**ASKED, "force": True})


def test_a_dry_run_needs_no_cards():
    looks, does = (ProvisionRequest.model_validate({**ASKED, "dry_run": dry}).spec("lab1") for dry in (True, False))

    assert (looks.slot_kind, does.slot_kind) == (SlotKind.CPU, SlotKind.CARD_GROUP)


@pytest.mark.parametrize(
    ("steps", "driver", "chosen"),
    [
        (None, True, ("packages", "driver", "engine", "register", "prove")),
        (None, False, ("packages", "engine", "register", "prove")),
        (("prove", "packages"), True, ("packages", "prove")),
    ],
)
def test_the_steps_of_a_plan_are_in_the_order_of_the_profile(rule, steps, driver, chosen):
    assert rule.chosen(steps, driver=driver) == chosen


@pytest.mark.parametrize(
    ("steps", "told"), [(("engin",), "no step 'engin'; known: packages, driver"), (("driver",), "excluded")]
)
def test_steps_that_contradict_the_profile_or_each_other_are_refused(rule, steps, told):
    with pytest.raises(ValueError, match=told):
        rule.chosen(steps, driver=False)


def test_a_profile_with_two_steps_of_one_name_is_refused():
    with pytest.raises(ValidationError, match="same name"):
        ProvisionRule.model_validate({"archives": ["a"], "steps": [a_step("x"), a_step("x")]})


def test_a_profile_can_not_have_a_step_that_every_plan_has():
    with pytest.raises(ValidationError, match="choose another name"):
        StepRule.model_validate(a_step("register"))
