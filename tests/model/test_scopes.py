import pytest

from orchestrator.model.scopes import Scope, allows


@pytest.mark.parametrize("needed", Scope)
@pytest.mark.parametrize("granted", Scope)
def test_a_scope_has_all_that_the_ones_before_it_have(granted, needed):
    order = ["viewer", "submitter", "operator", "admin"]

    assert allows((granted,), needed) == (order.index(granted) >= order.index(needed))


@pytest.mark.parametrize("granted", [(), ("root",), ("Admin",), ("",)])
def test_no_scope_and_an_unknown_one_grant_nothing(granted):
    assert not allows(granted, Scope.VIEWER)
