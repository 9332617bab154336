"""Which answers are what a job requires, and what is said of those that are not."""

import pytest

from orchestrator.model.requirements import EXACT, FinalAnswer, Similarity
from orchestrator.results.answers import CheckedAnswer, GivenAnswer
from orchestrator.results.requirements import missed

ALIKE, FINAL = Similarity(similarity=0.9), FinalAnswer(final_answer=True)


def answer(text, golden="Beijing", *, index=0, repeat=1, question="capital?"):
    given = GivenAnswer(repeat, index, question, text)
    return CheckedAnswer(given, golden, None if golden is None else text == golden)


@pytest.mark.parametrize(
    ("require", "golden", "text", "met"),
    [
        (EXACT, "Beijing", "Beijing", True),
        (EXACT, "Beijing", "Beijing ", False),
        (EXACT, "", "", True),
        (ALIKE, "the capital is Beijing", "the capital is Beijing.", True),
        (ALIKE, "the capital is Beijing", "the capital is Shanghai", False),
        (ALIKE, "北京", "", False),
        (FINAL, "<think>let me see</think>\nBeijing", "<think>hm, well</think> Beijing\n", True),
        (FINAL, "<think>let me see</think>Beijing", "<think>let me see</think>Shanghai", False),
        (FINAL, "Beijing", "<think>hm</think>Beijing", True),
        (FINAL, "<think>a</think>Beijing", "<think>thought without an end, Beijing", False),
    ],
)
def test_a_rule_is_met_or_missed(require, golden, text, met):
    assert (missed([answer(text, golden)], require) is None) is met


def test_the_reason_says_how_many_of_how_many_and_names_the_first_prompts_once():
    asked = [answer("?", index=index, repeat=repeat, question=f"q{index}") for repeat in (1, 2) for index in range(5)]

    why = missed([answer("Beijing"), *asked], EXACT)

    named = "prompt 0 “q0”, prompt 1 “q1”, prompt 2 “q2” and 2 more prompts"
    assert why == f"10 of 11 answers are not the golden answers: {named}"


def test_a_long_prompt_of_many_lines_stays_one_short_line():
    why = missed([answer("?", question="a\nb " + "c" * 9000)], EXACT)

    assert why.startswith("1 of 1 answers are not the golden answers: prompt 0 “a b ccc")
    assert len(why) < 120


@pytest.mark.parametrize("require", [EXACT, ALIKE, FINAL])
def test_no_rule_is_met_by_answers_without_a_golden_answer_which_are_counted_and_named(require):
    good, other = answer("Beijing"), answer("whatever", None, index=1, question="other?")

    assert missed([good, other, other], require) == "2 of 3 answers have no golden answer: prompt 1 “other?”"
    assert missed([answer("?"), other], EXACT).endswith("; 1 of 2 answers have no golden answer: prompt 1 “other?”")


def test_a_golden_that_answers_no_prompt_is_not_met():
    assert "golden is of other prompts" in missed([answer("Beijing", None)], EXACT)


def test_a_similarity_that_is_only_known_from_below_is_not_enough():
    long = "ab" * 30_000
    assert missed([answer(long[::-1], long)], Similarity(similarity=0.99)) is not None
