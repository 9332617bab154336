"""How far two answers differ, as text."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.results.texts import (
    MOST_COMPARED,
    change,
    edit_similarity,
    final_answer,
    first_difference,
    parts,
    signatures,
)


def test_equal_answers_have_no_difference():
    said = change("天津", "天津")

    assert (said.exact, said.first_character, said.similarity, said.chrf, said.bleu) == (True, None, 1.0, 100.0, 100.0)
    assert said.bounded == ()


@pytest.mark.parametrize(
    ("before", "after", "place"),
    [
        ("abc", "abd", 2),
        ("abc", "ab", 2),
        ("", "a", 0),
        ("a😀b", "a😁b", 1),
        ("你好吗", "你好嘛", 2),
        ("e\u0301", "é", 0),
    ],
)
def test_the_first_difference_is_counted_in_code_points(before, after, place):
    assert first_difference(before, after) == place
    assert change(before, after).first_character == place


def test_two_small_edits_in_chinese_leave_a_high_similarity_and_unrelated_text_none():
    sentence = "清微智能的可重构芯片在数据中心里回答中文问题，速度稳定。"
    edited = sentence.replace("稳定", "很稳").replace("中文", "英文")

    assert change(sentence, edited).similarity > 0.85
    assert change(sentence, edited).bleu > 50
    assert change(sentence, "明天北京有雨").bleu < 10


def test_the_similarity_is_that_of_the_longest_common_subsequence():
    assert edit_similarity("kitten", "sitting") == (pytest.approx(2 * 4 / 13), True)
    assert edit_similarity("", "abc") == (0.0, True)
    assert edit_similarity("aaa", "aaaa") == (pytest.approx(6 / 7), True)


@pytest.mark.parametrize(
    ("text", "final"),
    [
        ("<think>2+2</think> 4 ", "4"),
        ("4", "4"),
        ("<think>a</think>b</think>c", "c"),
        ("<think>never ends", "<think>never ends"),
    ],
)
def test_the_final_answer_is_what_follows_the_last_thought(text, final):
    assert final_answer(text) == final


def test_another_thought_with_the_same_final_answer_is_told_apart():
    assert change("<think>a</think>4", "<think>b</think>4").final_equal is True
    assert change("<think>a</think>4", "<think>a</think>5").final_equal is False
    assert change("4", "5").final_equal is None


def test_the_length_ratio_is_after_by_before():
    assert change("abcd", "ab").length_ratio == 0.5
    assert change("", "ab").length_ratio is None


def test_answers_of_a_megabyte_are_bounded_and_say_so():
    before, after = "长" * (1 << 20), "长" * 5 + "短" * (1 << 20)

    said = change(before, after)

    assert set(said.bounded) == {"similarity", "chrf", "bleu"}
    assert (said.chrf, said.bleu) == (None, None)
    assert 0 <= said.similarity < 0.1
    assert said.first_character == 5


def test_one_changed_character_in_a_megabyte_is_compared_as_a_whole():
    before = "字" * (1 << 20)
    after = before[:1000] + "x" + before[1001:]

    similarity, whole = edit_similarity(before, after)

    assert whole
    assert similarity == pytest.approx(1 - 1 / (1 << 20))


def test_a_bounded_similarity_is_never_higher_than_the_true_one():
    before, after = "ab" * MOST_COMPARED, "ba" * MOST_COMPARED + "c"

    similarity, whole = edit_similarity(before, after)

    assert not whole
    assert similarity <= 1 - 1 / len(before)


def test_scores_say_how_they_were_computed():
    assert "tok:zh" in signatures()["bleu"]
    assert "nc:6" in signatures()["chrf"]


def test_halves_of_surrogate_pairs_in_old_rows_are_compared_like_any_character():
    said = change("a\ud800b", "a\udfffb")

    assert (said.exact, said.first_character) == (False, 1)
    assert said.similarity == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("before", "after", "runs"),
    [
        ("北京是中国首都。", "北京市是我国首都", ["北京", ("", "市"), "是", ("中", "我"), "国首都", ("。", "")]),
        ("The answer is 42.", "The answer is 43!", ["The answer is 4", ("2.", "3!")]),
        ("aXbYc", "aZbWc", ["a", ("XbY", "ZbW"), "c"]),
        ("", "x", [("", "x")]),
        ("same", "same", ["same"]),
        ("", "", []),
        ("a😀b", "a😁b", ["a", ("😀", "😁"), "b"]),
        ("x" * 5000, "y" * 5000, [("x" * 5000, "y" * 5000)]),
    ],
)
def test_two_texts_are_runs_of_characters_that_are_equal_or_not(before, after, runs):
    assert [part.before if part.equal else (part.before, part.after) for part in parts(before, after)] == runs


@given(st.text("ab中", max_size=12), st.text("ab中", max_size=12))
def test_runs_joined_give_both_texts_and_change_by_turns(before, after):
    found = parts(before, after)

    assert "".join(part.before for part in found) == before
    assert "".join(part.after for part in found) == after
    assert all(one.equal != other.equal for one, other in pairwise(found))
