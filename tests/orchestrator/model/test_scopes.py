import pytest

from orchestrator.model.scopes import Scope, allows

STEPS = ["viewer", "submitter", "operator", "admin"]


@pytest.mark.parametrize("needed", STEPS)
@pytest.mark.parametrize("granted", STEPS)
def test_a_scope_has_all_that_the_ones_before_it_have(granted, needed):
    assert allows((granted,), Scope(needed)) == (STEPS.index(granted) >= STEPS.index(needed))


def test_models_are_asked_with_the_scope_for_it_or_by_a_token_that_may_submit():
    enough = {granted for granted in Scope if allows((granted,), Scope.INFERENCE)}

    assert enough == {"inference", "submitter", "operator", "admin"}


@pytest.mark.parametrize("needed", STEPS)
def test_the_scope_for_asking_models_is_good_for_nothing_else(needed):
    assert not allows(("inference",), Scope(needed))


@pytest.mark.parametrize("granted", [(), ("root",), ("Admin",), ("",)])
@pytest.mark.parametrize("needed", Scope)
def test_no_scope_and_an_unknown_one_grant_nothing(granted, needed):
    assert not allows(granted, needed)
