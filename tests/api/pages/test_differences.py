"""Two texts side by side, character by character."""

from api.pages.differences import KEPT, MOST_COMPARED, characters, side_by_side


def marked(parts):
    return "".join(f"[{part.text}]" if part.changed else part.text for part in parts)


def test_one_chinese_character_is_marked_and_nothing_else():
    found = side_by_side("北京是中国的首都。", "南京是中国的首都。")

    assert (marked(found.before), marked(found.after)) == ("[北]京是中国的首都。", "[南]京是中国的首都。")
    assert not found.cut


def test_what_was_added_or_left_out_is_marked_on_one_side():
    found = side_by_side("政治、文化中心", "政治、经济、文化中心")

    assert (marked(found.before), marked(found.after)) == ("政治、文化中心", "政治、[经济、]文化中心")


def test_a_joined_sign_is_one_character():
    assert characters("e\u0301好👨‍👩‍👧👍🏽") == ["e\u0301", "好", "👨‍👩‍👧", "👍🏽"]
    assert marked(side_by_side("好👨‍👩‍👧", "好👨‍👩‍👦").before) == "好[👨‍👩‍👧]"


def test_single_characters_that_are_equal_by_chance_do_not_split_a_change():
    assert marked(side_by_side("甲乙的丙丁", "戊己的庚辛").before) == "[甲乙的丙丁]"


def test_long_texts_begin_shortly_before_the_first_difference_and_are_cut():
    found = side_by_side("同" * 5000 + "甲" + "尾" * 5000, "同" * 5000 + "乙" + "尾" * 5000)

    assert marked(found.before).startswith("…" + "同" * KEPT + "[甲]")
    assert found.cut
    assert len(marked(found.before)) < MOST_COMPARED


def test_equal_and_empty_texts_have_nothing_marked():
    assert marked(side_by_side("", "").before) == ""
    assert marked(side_by_side("四", "四").after) == "四"
    assert (marked(side_by_side("", "四").before), marked(side_by_side("", "四").after)) == ("", "[四]")
