"""A suite written out: its cells, their keys, its jobs, and what it may not say."""

from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.errors import BadSpec
from orchestrator.model.suite_cells import cells_of, plan
from orchestrator.model.suites import MOST_CELLS, SuiteDocument
from orchestrator.model.verdicts import AnswerRule, Direction
from orchestrator.results.sides import Rules

KCORE = {"digest": f"sha256:{'a' * 64}"}
PROMPTS = {"basic": {"prompts": {"digest": f"sha256:{'b' * 64}"}}}


def _suite(matrix: dict[str, Any] | None = None, **facts: Any) -> SuiteDocument:
    whole = {"models": ["m1"], "prompts": PROMPTS, **(matrix or {})}
    template = {} if "backend_types" in whole else {"template": {"kcore": KCORE}}
    return SuiteDocument.model_validate({"name": "s", "matrix": whole, **template, **facts})


def _keys(document: SuiteDocument) -> list[str]:
    return [cell.key for cell in cells_of(document)]


def test_a_cell_is_named_by_the_axes_that_are_given_in_a_fixed_order():
    document = _suite({"slots": ["g1"], "models": ["m1"], "releases": ["r1"], "options": {"short": {"max_tokens": 8}}})

    assert _keys(document) == ["model=m1,release=r1,prompts=basic,options=short,slots=g1"]


def test_keys_stay_the_same_when_values_are_added_or_moved():
    one = _keys(_suite({"models": ["m1"]}))
    more = _keys(_suite({"models": ["m2", "m1"]}))

    assert set(one) < set(more)


def test_an_exclusion_leaves_out_the_cells_that_have_all_of_its_values():
    matrix = {"models": ["m1", "m2"], "slots": ["g0", "g1"], "exclude": [{"model": "m2", "slots": "g1"}]}

    assert _keys(_suite(matrix)) == [
        "model=m1,prompts=basic,slots=g0", "model=m1,prompts=basic,slots=g1", "model=m2,prompts=basic,slots=g0",
    ]  # fmt: skip


def test_the_digest_is_of_what_is_said_and_not_of_how_it_is_written():
    plain = _suite()
    written_out = SuiteDocument.model_validate({**plain.model_dump(mode="json"), "repeats": 3, "confirm": True})

    assert plain.digest == written_out.digest
    assert plain.digest != _suite(repeats=4).digest


def test_the_suite_judges_the_answers_of_its_inferences_and_not_the_job():
    prompts = {"basic": {**PROMPTS["basic"], "golden": {"digest": f"sha256:{'c' * 64}"}}}
    document = _suite({"prompts": prompts})

    planned = plan(document, cells_of(document))

    assert {request.spec.requirement for request in planned.requests.values()} == {None}


def test_every_repeat_measures_all_cells_before_the_next_repeat_begins():
    document = _suite({"models": ["m1", "m2"]}, repeats=2)

    planned = plan(document, cells_of(document))

    assert list(planned.requests) == ["1-m1-basic.1", "2-m2-basic.1", "1-m1-basic.2", "2-m2-basic.2"]
    assert {request.priority for request in planned.requests.values()} == {1}


def test_builds_are_written_once_for_the_cells_that_share_them_and_come_first():
    matrix = {"backend_types": ["t1", "t2"], "releases": ["r1"], "options": {"a": {}, "b": {"max_tokens": 9}}}
    document = _suite(matrix, template={"quantize": True}, repeats=1)

    planned = plan(document, cells_of(document))

    kinds = [request.spec.kind for request in planned.requests.values()]
    assert kinds == ["quantize", "convert", "compile", "convert", "compile", *["infer"] * 4]
    for position, (name, request) in enumerate(planned.requests.items()):
        needed = {source.job for source in vars(request.spec).values() if hasattr(source, "job")}
        assert needed <= set(list(planned.requests)[:position]), name
    assert {request.release for request in planned.requests.values()} == {"r1"}


@pytest.mark.parametrize(
    ("repeats", "budget", "looks"),
    [(3, None, (3,)), (3, 12, (3, 6, 12)), (3, 10, (3, 6, 10)), (5, 6, (5, 6)), (1, 9, (1, 2, 4, 8, 9))],
)
def test_a_cell_is_looked_at_each_time_that_its_runs_have_doubled(repeats, budget, looks):
    assert _suite(repeats=repeats, budget=budget).looks == looks


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"matrix": {"backend_types": ["t1"]}, "template": {"kcore": KCORE}}, "give either matrix.backend_types"),
        ({"template": {}}, "give either matrix.backend_types"),
        ({"template": {"kcore": KCORE, "quantize": True}}, "template.quantize is for kernel images that are built"),
        ({"matrix": {"backend_types": ["t1"]}, "template": {"gm": KCORE}}, "template.gm belongs to template.kcore"),
        ({"repeats": 5, "budget": 4}, "budget 4 is less than repeats 5"),
        ({"answers": "report"}, "nothing is judged"),
        ({"matrix": {"exclude": [{}]}}, "would exclude every cell"),
        ({"matrix": {"slots": ["g0", "g0"]}}, "slots lists a value twice"),
        ({"matrix": {"slots": ["g99"]}}, "slots"),
        ({"repeats": "3"}, "repeats"),
    ],
)
def test_what_contradicts_itself_is_refused(facts, said):
    with pytest.raises(ValidationError, match=said):
        _suite(facts.pop("matrix", None), **facts)


def test_a_job_that_can_never_be_is_refused_with_the_field_of_the_suite():
    document = _suite({"slots": ["g0", "cpu0"]})

    with pytest.raises(BadSpec, match="do not run on cpu0") as refused:
        plan(document, cells_of(document))

    assert refused.value.field == "matrix.slots.1"


def test_combinations_without_number_are_counted_and_not_written_out():
    names = [f"m{number}" for number in range(100)]
    document = _suite({"models": names, "releases": names})

    with pytest.raises(BadSpec, match=f"10000 combinations are more than {MOST_CELLS}"):
        cells_of(document)


def test_the_words_of_a_suite_are_those_of_comparisons():
    fields = SuiteDocument.model_json_schema()
    gate = fields["$defs"]["GateRule"]["properties"]["direction"]["anyOf"][0]["enum"]

    assert fields["properties"]["answers"]["enum"] == list(AnswerRule)
    assert set(gate) == {Direction.HIGHER, Direction.LOWER}
    assert Rules().answers == SuiteDocument.model_fields["answers"].default
