"""The line of a history."""

from cli.pages.history import sparkline


def test_a_line_has_a_character_for_each_value_and_marks_changes():
    assert sparkline([0, 7, 3.5, 0], [2]) == "▁█|▅▁"


def test_equal_values_are_a_level_line():
    assert sparkline([2.0, 2.0], []) == "▄▄"
