"""Max-pooling and unpooling against the reference, to the last bit: ties, NaN, padding, duplicates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import DTYPES, FORMATS, arranged, integers, plane, same_bits

from upconv import kernels
from upconv.kernels import reference

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
dtypes, formats = st.sampled_from(DTYPES), st.sampled_from(FORMATS)
channels = st.sampled_from((1, 2, 3, 15, 16, 17, 33))
VALUES = [-np.inf, -1, -1, 0, 0, 1, 1, np.nan]  # few, so that ties are common


@st.composite
def poolings(draw):
    """(x shape, output size, the reference's window, ceil_mode)."""
    ceil_mode = draw(st.booleans())
    axes = []
    for _ in range(2):
        kernel, stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
        extent = dilation * (kernel - 1) + 1
        before, after = draw(st.integers(0, extent // 2)), draw(st.integers(0, extent // 2))
        size = max(1, extent - before - after) + draw(st.integers(0, 8))
        free = size + before + after - extent
        windows = -(-free // stride) + 1 if ceil_mode else free // stride + 1
        if ceil_mode and (windows - 1) * stride >= size + before:  # the last must start in the map or before it
            windows -= 1
        axes.append((size, windows, kernel, stride, (before, after), dilation))
    size, windows, *values = zip(*axes, strict=True)
    window = dict(zip(("kernel_size", "stride", "padding", "dilation"), values, strict=True))
    return (draw(st.integers(1, 3)), draw(channels), *size), windows, window, ceil_mode


@settings(max_examples=300)
@given(poolings(), seeds, dtypes, formats)
def test_pooling_its_indices_and_its_gradient(case, rng, dtype, format):
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


@settings(max_examples=100)
@given(
    st.tuples(st.integers(1, 3), channels, st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(0, 1), st.integers(-1, 1)),
    *(seeds, dtypes, formats),
    st.sampled_from((np.int64, np.uint8, np.int32, np.uint64)),
)
def test_unpooling_with_duplicates_and_its_gradient(shape, more, rng, dtype, format, index_dtype):
    size = 2 * shape[2] + more[0], 2 * shape[3] + more[1]
    x = arranged(integers(rng, shape, dtype), format)
    indices = rng.integers(0, size[0] * size[1], shape).astype(index_dtype)
    indices = arranged(indices, format) if format not in ("slice", "spread") else indices
    expected = reference.max_unpool2d(x, indices, output_size=size)
    same_bits(kernels.max_unpool2d(x, indices, 2, output_size=size), expected, dtype)
    grad = arranged(integers(rng, expected.shape, dtype), format)
    dx = kernels.max_unpool2d_input(grad, indices)
    same_bits(dx, reference.max_unpool2d_input(grad, indices), dtype)
    assert (expected * grad).sum() == (x * dx).sum()  # its adjoint


def test_unpooling_undoes_pooling():
    x = np.abs(np.random.default_rng(0).standard_normal((2, 5, 9, 12)))
    y, indices = kernels.max_pool2d(x, (3, 2), return_indices=True)
    unpooled = kernels.max_unpool2d(y, indices, (3, 2))
    kept = unpooled != 0
    assert unpooled.shape == x.shape
    assert kept.sum() == y.size
    np.testing.assert_array_equal(unpooled[kept], x[kept])
    np.testing.assert_array_equal(kernels.max_pool2d(unpooled, (3, 2)), y)


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4)])
def test_empty_maps(shape):
    x = np.zeros(shape)
    y, offsets = kernels.max_pool2d_offsets(x, 2)
    assert y.shape == offsets.shape == (*shape[:2], 2, 2)
    _, indices = kernels.max_pool2d(x, 2, return_indices=True)
    assert kernels.max_pool2d_input(shape, offsets, y, 2).shape == shape
    assert kernels.max_pool2d_indices(shape, offsets, 2).shape == indices.shape
    assert kernels.max_unpool2d(y, indices, 2).shape == shape
    assert kernels.max_unpool2d_input(x, indices).shape == y.shape
