"""Average and global pooling against the reference, to the last bit wherever sums are exact."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import arranged, integers, plane, same_bits
from pooling_cases import channels, dtypes, formats, poolings, seeds, taken_for_large

from upconv import kernels
from upconv.kernels import reference

divisors = st.sampled_from((None, None, 1, -1, 3, -7, 2**40))


def options(window, ceil_mode, include, divisor):
    """(the reference's, the operator's) keywords."""
    window = {name: window[name] for name in ("kernel_size", "stride", "padding")}
    given = window | {"count_include_pad": include, "divisor_override": divisor}
    return given, given | {"ceil_mode": ceil_mode}


def close(actual, expected, magnitude, dtype):
    """`actual` is `expected`, a float64 result, up to its own rounding and that of sums of `magnitude` in float64."""
    assert (actual.shape, actual.dtype) == (expected.shape, dtype)
    bound = np.finfo(dtype).eps / 2 * abs(expected) + 64 * np.finfo(np.float64).eps * magnitude
    assert (abs(actual - expected) <= bound + np.finfo(dtype).smallest_subnormal).all()


@settings(max_examples=300)
@given(poolings(largest_dilation=1), seeds, dtypes, formats, st.booleans(), divisors, st.booleans())
def test_averages_and_their_gradient(case, rng, dtype, format, include, divisor, large):
    shape, output_size, window, ceil_mode = case
    known, asked = options(window, ceil_mode, include, divisor)
    x = arranged(integers(rng, shape, dtype), format)
    y = reference.avg_pool2d(x, output_size=output_size, **known)
    real = arranged(rng.standard_normal(shape).astype(dtype), format)
    average = reference.avg_pool2d(real, output_size=output_size, **known)
    grad = arranged(integers(rng, y.shape, dtype), format)
    dx = reference.avg_pool2d_input(shape, grad, **known)
    with taken_for_large(large):
        same_bits(kernels.avg_pool2d(x, **asked), y, dtype)  # the sum is exact, so the quotient is rounded alike
        same_bits(kernels.avg_pool2d(real, **asked), average, dtype)  # summed in the same order
        actual = kernels.avg_pool2d_input(shape, grad, **asked)
    close(actual, dx, reference.avg_pool2d_input(shape, abs(grad), **(known | {"divisor_override": 1})), dtype)


@settings(max_examples=100)
@given(poolings(largest_dilation=1), seeds, dtypes, formats, st.sampled_from((-2, 1, 4)), st.booleans())
def test_the_gradient_of_averages_is_their_adjoint(case, rng, dtype, format, divisor, large):
    """<A x, g> = <x, A' g> exactly, the divisor being a power of two."""
    shape, _, window, ceil_mode = case
    _, asked = options(window, ceil_mode, True, divisor)
    x = arranged(integers(rng, shape, dtype), format)
    with taken_for_large(large):
        y = kernels.avg_pool2d(x, **asked)
        grad = arranged(integers(rng, y.shape, dtype), format)
        dx = kernels.avg_pool2d_input(shape, grad, **asked)
    same_bits(dx, reference.avg_pool2d_input(shape, grad, **options(window, ceil_mode, True, divisor)[0]), dtype)
    assert (y * grad).sum() == (x * dx).sum()


def test_what_the_divisor_counts():
    x = plane(np.ones((3, 3)))
    y = kernels.avg_pool2d(x, 2, padding=1)
    assert y.tolist() == [[[[0.25, 0.5], [0.5, 1]]]]
    assert kernels.avg_pool2d(x, 2, padding=1, count_include_pad=False).tolist() == [[[[1, 1], [1, 1]]]]
    # ceil_mode: what lies beyond the padding is no part of a window
    assert kernels.avg_pool2d(x, 2, ceil_mode=True).tolist() == [[[[1, 1], [1, 1]]]]
    assert kernels.avg_pool2d(x, 2, ceil_mode=True, divisor_override=-4).tolist() == [[[[-1, -0.5], [-0.5, -0.25]]]]


def test_nan_and_infinity_stay_in_their_windows():
    x = plane([[np.nan, 1, np.inf, 1, 2, 2], [1, 1, 1, -np.inf, 2, 2]])
    np.testing.assert_array_equal(kernels.avg_pool2d(x, 2), [[[[np.nan, np.nan, 2]]]])
    dx = kernels.avg_pool2d_input((1, 1, 1, 6), plane([[np.nan, np.inf, 2]]), (1, 2))
    np.testing.assert_array_equal(dx, [[[[np.nan, np.nan, np.inf, np.inf, 1, 1]]]])
    np.testing.assert_array_equal(kernels.global_avg_pool2d(x), [[[[np.nan]]]])


def test_the_stride_is_the_kernel_unless_given():
    x = np.arange(49.0).reshape(1, 1, 7, 7)
    y = kernels.avg_pool2d(x, (3, 2))
    np.testing.assert_array_equal(y, kernels.avg_pool2d(x, (3, 2), stride=(3, 2)))
    dx = kernels.avg_pool2d_input(x.shape, y, (3, 2))
    np.testing.assert_array_equal(dx, kernels.avg_pool2d_input(x.shape, y, (3, 2), stride=(3, 2)))


planes = st.tuples(st.integers(1, 3), channels, st.integers(1, 12), st.integers(1, 12))


@settings(max_examples=150)
@given(planes, seeds, dtypes, formats, st.booleans())
def test_global_averages_and_their_gradient(shape, rng, dtype, format, large):
    x = arranged(integers(rng, shape, dtype), format)
    grad = arranged(integers(rng, (*shape[:2], 1, 1), dtype), format)
    with taken_for_large(large):
        same_bits(kernels.global_avg_pool2d(x), reference.global_avg_pool2d(x), dtype)
        dx = kernels.global_avg_pool2d_input(shape, grad)
    same_bits(dx, reference.global_avg_pool2d_input(shape, grad), dtype)


@settings(max_examples=150)
@given(planes, seeds, dtypes, formats, st.booleans())
def test_global_maxima_and_their_gradient(shape, rng, dtype, format, large):
    x = arranged(rng.choice([-np.inf, -1, -1, 0, 0, 1, 1, np.nan], shape).astype(dtype), format)
    y, indices = reference.global_max_pool2d(x)
    grad = arranged(integers(rng, y.shape, dtype), format)
    with taken_for_large(large):
        same_bits(kernels.global_max_pool2d(x), y, dtype)
        results = kernels.global_max_pool2d(x, return_indices=True)
        dx = kernels.global_max_pool2d_input(shape, indices.astype(np.int32), grad)
    same_bits(results[0], y, dtype)
    same_bits(results[1], indices, np.int64)
    same_bits(dx, reference.global_max_pool2d_input(shape, indices, grad), dtype)


@pytest.mark.parametrize("largest", [(0, 0), (20, 3), (40, 52)])
def test_ties_between_the_parts_of_a_plane_go_to_the_first(largest):
    x = np.zeros((1, 2, 41, 53), np.float32)
    x[..., *largest] = x[..., 40, 52] = 1
    assert kernels.global_max_pool2d(x, return_indices=True)[1].tolist() == [[[[largest[0] * 53 + largest[1]]]] * 2]
    x[..., *largest] = x[..., 40, 52] = np.nan
    assert kernels.global_max_pool2d(x, return_indices=True)[1].tolist() == [[[[largest[0] * 53 + largest[1]]]] * 2]
    assert np.isnan(kernels.global_max_pool2d(x)).all()
    x[...] = -np.inf
    assert kernels.global_max_pool2d(x, return_indices=True)[1].tolist() == [[[[0]]] * 2]


def test_global_averages_are_summed_in_float64():
    x = np.full((2, 3, 300, 301), 0.1, np.float32)
    x[:, :, 0, 0] = 1e7  # in float32 each further sum would round to a whole number
    expected = reference.global_avg_pool2d(x)
    np.testing.assert_array_max_ulp(kernels.global_avg_pool2d(x), expected.astype(np.float32), 1)


def test_one_image():
    x = integers(np.random.default_rng(0), (3, 7, 6))
    y = kernels.avg_pool2d(x, 3, stride=2, padding=1)
    same_bits(y, kernels.avg_pool2d(x[None], 3, stride=2, padding=1)[0], np.float64)
    dx = kernels.avg_pool2d_input(x.shape, y, 3, stride=2, padding=1)
    same_bits(dx, kernels.avg_pool2d_input((1, 3, 7, 6), y[None], 3, stride=2, padding=1)[0], np.float64)
    mean = kernels.global_avg_pool2d(x)
    same_bits(mean, kernels.global_avg_pool2d(x[None])[0], np.float64)
    dx = kernels.global_avg_pool2d_input(x.shape, mean)
    same_bits(dx, kernels.global_avg_pool2d_input((1, 3, 7, 6), mean[None])[0], np.float64)
    y, indices = kernels.global_max_pool2d(x, return_indices=True)
    assert y.shape == indices.shape == (3, 1, 1)
    dx = kernels.global_max_pool2d_input(x.shape, indices, y)
    same_bits(dx, kernels.global_max_pool2d_input((1, 3, 7, 6), indices[None], y[None])[0], np.float64)


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4), (0, 4, 4)])
def test_empty_maps(shape):
    x = np.zeros(shape)
    y = kernels.avg_pool2d(x, 2)
    assert y.shape == (*shape[:-2], 2, 2)
    assert kernels.avg_pool2d_input(shape, y, 2).shape == shape
    mean = kernels.global_avg_pool2d(x)
    assert mean.shape == (*shape[:-2], 1, 1)
    assert kernels.global_avg_pool2d_input(shape, mean).shape == shape
    y, indices = kernels.global_max_pool2d(x, return_indices=True)
    assert y.shape == indices.shape == mean.shape
    assert kernels.global_max_pool2d_input(shape, indices, y).shape == shape


X, ONE = np.zeros((1, 2, 4, 4)), np.zeros((1, 2, 1, 1))
REFUSED = {
    "divisor_override must be None or an integer other than 0, got 0": lambda: kernels.avg_pool2d(
        X, 2, divisor_override=0
    ),
    "divisor_override must be an integer, got 0.5": lambda: kernels.avg_pool2d(X, 2, divisor_override=0.5),
    "divisor_override must be an integer, got True": lambda: kernels.avg_pool2d(X, 2, divisor_override=True),
    "count_include_pad must be True or False, got 1": lambda: kernels.avg_pool2d(X, 2, count_include_pad=1),
    "padding must be at most half of kernel_size": lambda: kernels.avg_pool2d(X, 2, padding=2),
    "kernel_size with its dilation covers \\(5, 5\\) pixels": lambda: kernels.avg_pool2d(X, 5),
    "a window lies wholly in the padding": lambda: kernels.avg_pool2d(X[:, :, :0], 2, padding=1),
    "grad must have shape \\(1, 2, 2, 2\\), got \\(1, 2, 1, 1\\)": lambda: kernels.avg_pool2d_input(X.shape, ONE, 2),
    "x must have at least one pixel, got shape \\(1, 2, 0, 4\\)": lambda: kernels.global_avg_pool2d(X[:, :, :0]),
    "x must have at least one pixel, got shape \\(2, 4, 0\\)": lambda: kernels.global_max_pool2d(X[0, :, :, :0]),
    "input_shape must have at least one pixel": lambda: kernels.global_avg_pool2d_input((1, 2, 0, 4), ONE),
    "indices must be in 0..15, got 16": lambda: kernels.global_max_pool2d_input(X.shape, np.full(ONE.shape, 16), ONE),
    f"indices must be in 0..15, got {2**32}": lambda: kernels.global_max_pool2d_input(
        X.shape, np.full(ONE.shape, 2**32), ONE
    ),
    "indices must be in 0..15, got -1": lambda: kernels.global_max_pool2d_input(X.shape, np.full(ONE.shape, -1), ONE),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refusals(message):
    with pytest.raises((ValueError, TypeError, IndexError), match=message):
        REFUSED[message]()
