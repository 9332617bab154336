"""How far two answers differ, as text."""

import pytest

from orchestrator.results.texts import (
    MOST_COMPARED,
    change,
    edit_similarity,
    final_answer,
    first_difference,
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
