"""Rounding loses as little as it must."""

import numpy as np
import pytest

from emulator.compiler.quantise import restored, round_to_nearest
from emulator.models.floats import to_bfloat16


@pytest.mark.parametrize("cols", [1, 31, 32, 33, 80, 128])
def test_each_value_is_off_by_at_most_half_a_step_of_its_group(cols):
    values = np.random.default_rng(cols).standard_normal((5, cols)).astype(np.float32)

    whole, scales = round_to_nearest(values)

    step = np.repeat(scales, 32, axis=1)[:, :cols]
    assert whole.shape == values.shape
    assert scales.shape == (5, -(-cols // 32))
    assert np.all(np.abs(restored(whole, scales) - values) <= step * 0.5001)
    assert np.abs(whole).max() == 127


def test_a_group_of_zeros_stays_zero():
    whole, scales = round_to_nearest(np.zeros((2, 40), np.float32))

    assert not restored(whole, scales).any()


def test_normal_weights_lose_less_than_a_ten_thousandth_of_their_size():
    values = np.random.default_rng(1).standard_normal((64, 256)).astype(np.float32)

    loss = values - restored(*round_to_nearest(values))

    assert np.square(loss).sum() / np.square(values).sum() < 1e-4


def test_bfloat16_rounds_to_nearest_even():
    values = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, -(1 + 2**-8 + 2**-12)], np.float32)

    rounded = (to_bfloat16(values).astype(np.uint32) << 16).view(np.float32)

    assert list(rounded) == [1.0, 1.0, 1 + 2**-6, -(1 + 2**-7)]
