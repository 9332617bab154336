"""Where the level of a series changed."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.results.history import LEAST_SEGMENT, segments


def _noisy(*levels: tuple[float, int], seed: int = 7) -> list[float]:
    dice = random.Random(seed)
    return [dice.gauss(level, 0.01 * level) for level, count in levels for _ in range(count)]


def test_two_changes_of_level_are_found_where_they_are_with_their_sizes():
    found = segments(_noisy((100, 30), (110, 20), (95, 25)))

    assert [(each.start, each.end) for each in found] == [(0, 30), (30, 50), (50, 75)]
    assert found[0].change is None
    assert found[1].change == pytest.approx(0.10, abs=0.02)
    assert found[2].change == pytest.approx(-0.136, abs=0.02)


def test_noise_and_one_point_that_stands_out_are_no_change():
    steady = _noisy((100, 40))
    steady[20] *= 1.08

    assert len(segments(steady)) == 1


def test_values_without_noise_change_exactly_where_they_differ():
    assert [(each.start, each.end, each.level) for each in segments([4.0] * 5 + [5.0] * 3)] == [
        (0, 5, 4.0),
        (5, 8, 5.0),
    ]
    assert len(segments([0.1 + 0.2, 0.3] * 6)) == 1


@pytest.mark.parametrize("values", [[1.0], [1.0, 9.0], [1.0, 1.0, 9.0]])
def test_too_few_points_are_one_segment(values):
    assert [(each.start, each.end) for each in segments(values)] == [(0, len(values))]


def test_nothing_has_no_segment_and_what_is_no_number_is_refused():
    assert segments([]) == ()
    with pytest.raises(ValueError, match="finite"):
        segments([1.0, math.nan])


@settings(deadline=None)  # the first call loads ruptures
@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=60))
def test_segments_cover_all_points_once_and_are_always_the_same(values):
    found = segments(values)

    assert [each.start for each in found] == [0, *(each.end for each in found[:-1])]
    assert found[-1].end == len(values)
    assert len(found) == 1 or min(each.end - each.start for each in found) >= LEAST_SEGMENT
    assert segments(values) == found
