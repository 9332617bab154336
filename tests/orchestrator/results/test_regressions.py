"""Which regressions may be one case."""

import pytest

from orchestrator.results.regressions import Interval, finding_of, same_cause, without_evidence

NEW_TOOLS = {"field": "toolchain", "before": ["sha256:1"], "after": ["sha256:2"], "allowed": True}
ENTRY = {
    "slots": ["lab1.g3"],
    "jobs": {"measure": [4, 5], "confirm_same": [6], "confirm_other": [7]},
    "comparison": {
        "differences": [
            NEW_TOOLS,
            {"field": "slots", "before": [["lab1.g0"]], "after": [["lab1.g3"]], "allowed": True},
            {"field": "model", "before": ["sha256:9"], "after": ["sha256:9"], "allowed": True},
        ],
        "metrics": [{"metric": "ttft_seconds", "verdict": "worse"}, {"metric": "tpot_seconds", "verdict": "same"}],
        "answers": {"verdict": "worse"},
    },
}


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ((3, 5), (4, 6), True),
        ((3, 5), (5, 6), False),
        ((3, 5), (1, 4), True),
        ((3, 5), (1, 3), False),
        ((None, 5), (1, 2), True),
        ((None, 5), (5, 6), False),
        ((None, 1), (None, 9), True),
    ],
)
def test_two_regressions_may_have_one_cause_if_a_moment_lies_in_both_intervals(one, other, overlap):
    assert Interval(*one).overlaps(Interval(*other)) is overlap
    assert Interval(*other).overlaps(Interval(*one)) is overlap


def test_what_two_intervals_have_in_common_is_where_the_cause_lies():
    assert Interval(3, 6).common(Interval(4, 8)) == Interval(4, 6)
    assert Interval(None, 6).common(Interval(2, 8)) == Interval(2, 6)


def test_a_finding_names_what_is_worse_what_changed_and_the_jobs_that_say_so():
    found = finding_of(ENTRY, card=False)

    assert found.series == {"ttft_seconds", "answers"}
    assert found.change == {"toolchain": {"before": ["sha256:1"], "after": ["sha256:2"]}}
    assert found.jobs == (4, 5, 6, 7)


def test_of_a_bad_card_group_the_change_is_the_group_and_jobs_elsewhere_are_no_evidence():
    found = finding_of(ENTRY, card=True)

    assert found.change == {"slots": {"before": [], "after": ["lab1.g3"]}}
    assert found.jobs == (4, 5, 6)


def test_an_entry_without_a_comparison_finds_nothing():
    assert finding_of({"comparison": None, "jobs": None}, card=False).series == frozenset()


def test_one_shared_change_is_one_cause_and_so_is_none_on_both_sides():
    tools = {"toolchain": {"before": [1], "after": [2]}}
    model = {"model": {"before": ["a"], "after": ["b"]}}

    assert same_cause(tools, {**tools, **model})
    assert same_cause({}, {})
    assert not same_cause(tools, model)
    assert not same_cause(tools, {})
    assert not same_cause(tools, {"toolchain": {"before": [1], "after": [3]}})


def test_evidence_is_gone_only_when_every_job_of_it_is_in_doubt():
    assert without_evidence([4, 5], {4, 5, 9})
    assert not without_evidence([4, 5], {4})
    assert not without_evidence([], {4})
