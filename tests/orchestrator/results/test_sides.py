"""Two sides become one verdict, or the reason why there is none."""

from dataclasses import replace

from orchestrator.model.verdicts import AnswerRule, Verdict
from orchestrator.results.sides import AnswerOf, Rules, Side, aligned, compare

SETTING = {"kind": "infer", "model": "sha256:m", "toolchain": "sha256:t", "slots": ["lab1.g0"], "host": "lab1"}
RATE = (100.0, 101.0, 99.0, 100.5, 99.5, 100.2, 99.8)


def a_side(label="before", *, texts=("4", "6"), rates=RATE, **changed) -> Side:
    answers = tuple(AnswerOf(f"question {i}", 0, text, None) for i, text in enumerate(texts))
    settings = tuple({**SETTING, **changed} for _ in rates)
    return Side(label, settings, {"output_throughput": rates}, {"output_throughput": ("tokens/s", "x")}, answers)


def test_equal_sides_are_the_same():
    said = compare(a_side(), a_side("after"), Rules())

    assert said.verdict is Verdict.SAME


def test_what_was_not_to_differ_gives_the_list_of_fields_and_no_number():
    said = compare(a_side(), a_side("after", toolchain="sha256:u", model="sha256:n"), Rules())

    assert said.verdict is Verdict.NOT_COMPARABLE
    assert [difference.field for difference in said.differences] == ["model", "toolchain"]
    assert said.metrics == ()
    assert said.answers is None


def test_what_may_differ_is_shown_and_compared():
    said = compare(a_side(), a_side("after", toolchain="sha256:u"), Rules(across=frozenset({"toolchain"})))

    assert said.verdict is Verdict.SAME
    assert [(each.field, each.allowed) for each in said.differences] == [("toolchain", True)]


def test_another_card_group_is_no_hindrance_unless_it_is_named():
    elsewhere = a_side("after", slots=["lab1.g5"])

    assert compare(a_side(), elsewhere, Rules()).verdict is Verdict.SAME
    assert compare(a_side(), elsewhere, Rules(strict=frozenset({"slots"}))).verdict is Verdict.NOT_COMPARABLE


def test_one_changed_answer_outweighs_equal_numbers_and_is_told_first():
    said = compare(a_side(), a_side("after", texts=("4", "7")), Rules())

    assert said.verdict is Verdict.WORSE
    assert said.why == "answers: 1 of 2 answers changed"


def test_answers_are_aligned_by_what_was_asked_and_not_by_place():
    turned = replace(a_side("after"), answers=tuple(reversed(a_side().answers)))

    assert compare(a_side(), turned, Rules()).verdict is Verdict.SAME


def test_a_prompt_that_occurs_twice_is_aligned_repeat_by_repeat():
    twice = [AnswerOf("same", 0, "a", None), AnswerOf("same", 1, "b", None)]

    pairs, alone = aligned(twice, list(reversed(twice)))

    assert [(old.text, new.text) for old, new in pairs] == [("a", "a"), ("b", "b")]
    assert alone == []


def test_a_steady_answer_stands_for_the_repeats_that_one_side_did_not_run():
    once, thrice = [AnswerOf("q", 0, "a", None)], [AnswerOf("q", i, text, None) for i, text in enumerate("aba")]

    pairs, alone = aligned(once, thrice)

    assert [new.text for _, new in pairs] == ["a", "b", "a"]
    assert alone == []


def test_an_unsteady_answer_stands_for_nothing_but_itself():
    twice, thrice = [[AnswerOf("q", i, text, None) for i, text in enumerate(said)] for said in ("ab", "aba")]

    pairs, alone = aligned(twice, thrice)

    assert len(pairs) == 2
    assert len(alone) == 1


def test_runs_that_all_ended_by_faults_are_infrastructure_and_any_other_lack_is_missing():
    nothing = Side("after", left_out={"infrastructure": 3})

    assert compare(a_side(), nothing, Rules()).verdict is Verdict.INFRASTRUCTURE
    assert compare(a_side(), replace(nothing, left_out={"failed": 1}), Rules()).verdict is Verdict.MISSING
    assert compare(a_side(), Side("after"), Rules()).verdict is Verdict.MISSING


def test_numbers_of_two_definitions_are_not_compared():
    other = replace(a_side("after"), definitions={"output_throughput": ("tokens/s", "y")})

    assert compare(a_side(), other, Rules()).verdict is Verdict.NOT_COMPARABLE


def test_without_anything_to_judge_nothing_has_passed():
    bare = a_side(texts=(), rates=RATE)
    bare = replace(bare, samples={}, definitions={})

    assert compare(bare, replace(bare, label="after"), Rules()).verdict is Verdict.MISSING


def test_answers_that_are_only_reported_decide_nothing():
    said = compare(a_side(), a_side("after", texts=("4", "7")), Rules(answers=AnswerRule.REPORT))

    assert said.verdict is Verdict.SAME
    assert said.answers.pairs.changed == 1
