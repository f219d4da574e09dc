"""Max-pooling against the reference, to the last bit: ties, NaN, padding, dilation, large windows, single images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import arranged, integers, plane, same_bits
from pooling_cases import dtypes, formats, poolings, seeds, taken_for_large

from upconv import kernels
from upconv.kernels import reference

VALUES = [-np.inf, -1, -1, 0, 0, 1, 1, np.nan]  # few, so that ties are common


@settings(max_examples=300)
@given(poolings(), seeds, dtypes, formats, st.booleans())
def test_pooling_its_indices_and_its_gradient(case, rng, dtype, format, large):
    with taken_for_large(large):
        check_pooling(case, rng, dtype, format)


def check_pooling(case, rng, dtype, format):
    shape, output_size, window, ceil_mode = case
    x = arranged(rng.choice(VALUES, shape).astype(dtype), format)
    given = window | {"ceil_mode": ceil_mode}
    try:
        y, indices, offsets = reference.max_pool2d(x, output_size=output_size, **window)
    except ValueError:  # a window in which there is no pixel
        with pytest.raises(ValueError, match="max_pool2d: a window lies wholly in the padding"):
            kernels.max_pool2d(x, **given)
        return
    same_bits(kernels.max_pool2d(x, **given), y, dtype)
    results = kernels.max_pool2d(x, return_indices=True, **given)
    same_bits(results[0], y, dtype)
    same_bits(results[1], indices, np.int64)
    results = kernels.max_pool2d_offsets(x, **given)
    same_bits(results[0], y, dtype)
    same_bits(results[1], offsets, np.uint8)
    same_bits(kernels.max_pool2d_indices(shape, results[1], **given), indices, np.int64)
    grad = arranged(integers(rng, y.shape, dtype), format)
    expected = reference.max_pool2d_input(shape, offsets, grad, **window)
    same_bits(kernels.max_pool2d_input(shape, results[1], grad, **given), expected, dtype)
    same_bits(kernels.max_pool2d_input(shape, offsets.astype(np.int16), grad, **given), expected, dtype)


@pytest.mark.parametrize(("kernel", "dtype"), [(16, np.uint8), ((1, 257), np.int32), ((17, 16), np.int32)])
def test_large_windows_have_large_offsets(kernel, dtype):
    rng = np.random.default_rng(0)
    size = (16, 16) if kernel == 16 else kernel
    x = rng.permutation(2 * 3 * 40 * 300).reshape(2, 3, 40, 300).astype(np.float32)
    window = {"kernel_size": size, "stride": (5, 7), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}
    windows = (40 - size[0]) // 5 + 1, (300 - size[1]) // 7 + 1
    y, indices, offsets = reference.max_pool2d(x, output_size=windows, **window)
    assert offsets.max() > 250
    actual = kernels.max_pool2d_offsets(x, kernel, stride=(5, 7))
    same_bits(actual[0], y, np.float32)
    same_bits(actual[1], offsets, dtype)
    same_bits(kernels.max_pool2d(x, kernel, stride=(5, 7), return_indices=True)[1], indices, np.int64)
    same_bits(kernels.max_pool2d_indices(x.shape, actual[1], kernel, stride=(5, 7)), indices, np.int64)
    grad = integers(rng, y.shape, np.float32)
    actual = kernels.max_pool2d_input(x.shape, actual[1], grad, kernel, stride=(5, 7))
    same_bits(actual, reference.max_pool2d_input(x.shape, offsets, grad, **window), np.float32)


def test_the_first_of_equals_wins_and_the_first_nan():
    nan, inf = np.nan, np.inf
    x = plane([[2, 2, nan, 9], [2, 1, 9, nan], [-inf, -inf, -1, -1], [-inf, -inf, -1, -2]])
    y, indices = kernels.max_pool2d(x, 2, return_indices=True)
    np.testing.assert_array_equal(y[0, 0], [[2, nan], [-inf, -1]])
    assert indices[0, 0].tolist() == [[0, 2], [8, 10]]
    y, indices = kernels.max_pool2d(np.full((1, 1, 2, 2), -inf), 2, padding=1, return_indices=True)
    assert (y == -inf).all()
    assert indices[0, 0].tolist() == [[0, 1], [2, 3]]  # never in the padding


def test_the_stride_is_the_kernel_unless_given():
    x = np.arange(49.0).reshape(1, 1, 7, 7)
    np.testing.assert_array_equal(kernels.max_pool2d(x, (3, 2)), kernels.max_pool2d(x, (3, 2), stride=(3, 2)))
    y, offsets = kernels.max_pool2d_offsets(x, (3, 2))
    dx = kernels.max_pool2d_input(x.shape, offsets, y, (3, 2))
    np.testing.assert_array_equal(dx, kernels.max_pool2d_input(x.shape, offsets, y, (3, 2), stride=(3, 2)))


def test_one_image():
    x = integers(np.random.default_rng(0), (3, 7, 6))
    y, indices = kernels.max_pool2d(x[None], 3, stride=2, padding=1, return_indices=True)
    same_bits(kernels.max_pool2d(x, 3, stride=2, padding=1), y[0], np.float64)
    results = kernels.max_pool2d(x, 3, stride=2, padding=1, return_indices=True)
    same_bits(results[0], y[0], np.float64)
    same_bits(results[1], indices[0], np.int64)
    _, offsets = kernels.max_pool2d_offsets(x, 3, stride=2, padding=1)
    same_bits(kernels.max_pool2d_indices(x.shape, offsets, 3, stride=2, padding=1), indices[0], np.int64)
    dx = kernels.max_pool2d_input(x.shape, offsets, y[0], 3, stride=2, padding=1)
    same_bits(dx, kernels.max_pool2d_input((1, 3, 7, 6), offsets[None], y, 3, stride=2, padding=1)[0], np.float64)


def test_an_offset_into_the_padding_adds_nothing():
    offsets, grad = np.zeros((1, 1, 2, 2), np.uint8), np.ones((1, 1, 2, 2))
    dx = kernels.max_pool2d_input((1, 1, 2, 2), offsets, grad, 2, padding=1)
    assert dx.tolist() == [[[[0, 0], [0, 1]]]]
    expected = reference.max_pool2d_input(
        (1, 1, 2, 2), offsets, grad, kernel_size=(2, 2), stride=(2, 2), padding=((1, 1), (1, 1)), dilation=(1, 1)
    )
    same_bits(dx, expected, np.float64)


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4), (0, 4, 4)])
def test_empty_maps(shape):
    x = np.zeros(shape)
    y, offsets = kernels.max_pool2d_offsets(x, 2)
    assert y.shape == offsets.shape == (*shape[:-2], 2, 2)
    _, indices = kernels.max_pool2d(x, 2, return_indices=True)
    assert kernels.max_pool2d_input(shape, offsets, y, 2).shape == shape
    assert kernels.max_pool2d_indices(shape, offsets, 2).shape == indices.shape


@pytest.mark.parametrize("offset", [-1, 4, 2**32, 2**32 + 1])
def test_offsets_that_are_no_tap_are_refused(offset):
    offsets = np.full((1, 1, 2, 2), offset)
    for call in (
        lambda: kernels.max_pool2d_indices((1, 1, 4, 4), offsets, 2),
        lambda: kernels.max_pool2d_input((1, 1, 4, 4), offsets, np.zeros((1, 1, 2, 2)), 2),
    ):
        with pytest.raises(IndexError, match=f"offsets must be in 0..3, got {offset}"):
            call()
