"""Conditions of a profile on the fields of a spec."""

import pytest

from orchestrator.model.conditions import holds, terms_of

FIELDS = {"groups": 2, "golden": {"path": "/g"}, "gm": None, "dtype": "int8", "traverse": False, "rate": 0.5}


@pytest.mark.parametrize(
    ("condition", "is_true"),
    [
        ("golden", True),
        ("gm", False),
        ("not gm", True),
        ("traverse", False),
        ("traverse == false", True),
        ("absent", False),
        ("not absent", True),
        ("groups > 1", True),
        ("groups>2", False),
        ("groups >= 2 and groups <= 2", True),
        ("groups == 2", True),
        ("groups != 2", False),
        ("rate < 1", True),
        ("dtype == int8", True),
        ("dtype != bfloat16 and golden", True),
        ("golden and gm", False),
        ("gm > 1", False),
        ("dtype > 1", False),
        ("traverse == 0", False),
    ],
)
def test_a_condition_is_true_of_a_spec_or_not(condition, is_true):
    assert holds(condition, FIELDS) is is_true


@pytest.mark.parametrize(
    "text", ["", "groups >", "> 1", "groups = 1", "groups > many", "a or b", "not groups > 1", "{gm}"]
)
def test_what_is_no_condition_is_refused_with_examples(text):
    with pytest.raises(ValueError, match=r"groups > 1|compares with a number"):
        terms_of(text)
