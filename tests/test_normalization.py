"""Softmax and its logarithm, and their gradients, against the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import DTYPES, FORMATS, arranged

from upconv import kernels
from upconv.kernels import reference
from upconv.kernels.cpu import machine, softmax

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
dtypes, formats, scales = st.sampled_from(DTYPES), st.sampled_from(FORMATS), st.sampled_from((1, 30, 1e4))
classes = st.sampled_from((1, 2, 3, 7, 8, 15, 16, 17, 21, 100))
shapes = st.tuples(st.integers(0, 3), classes, st.integers(0, 5), st.integers(0, 40))
FUNCTIONS = ("softmax", "log_softmax")


def near(actual, expected, dtype, bound):
    """`actual` is of `dtype` and within `bound` units of rounding of `expected`."""
    assert (actual.shape, actual.dtype) == (expected.shape, dtype)
    info = np.finfo(dtype)
    assert (abs(actual - expected) <= info.eps * bound + info.smallest_normal).all()


def of_sum(x):
    """Units of rounding that a sum over the classes may lose, in any order, of the sum of magnitudes."""
    return x.shape[1] / 2


def near_softmax(x, dtype):
    # exp(d + error) with |error| <= eps |d|; roundings of exp, sum, factor and product. It is 0 where d < -800
    distance = np.minimum(x.max(axis=1, keepdims=True, initial=-np.inf) - x, 800)
    expected = reference.softmax(x)
    near(kernels.softmax(x), expected, dtype, (distance + of_sum(x) + 4) * expected)


def near_log_softmax(x, dtype):
    # the roundings of a difference, of the sum, of the logarithm of at most K, and of their difference
    expected = reference.log_softmax(x)
    near(kernels.log_softmax(x), expected, dtype, 2 * abs(expected) + 2 * np.log(x.shape[1]) + of_sum(x) + 2)


def near_gradients(x, grad, dtype):
    size = (abs(reference.softmax(x)) * abs(grad)).sum(axis=1, keepdims=True)
    y = kernels.softmax(x)
    bound = y * (3 * abs(grad) + (of_sum(x) + 3) * size)
    near(kernels.softmax_input(y, grad), reference.softmax_input(y, grad), dtype, bound)
    y = kernels.log_softmax(x)
    size = abs(grad).sum(axis=1, keepdims=True, dtype=np.float64)
    bound = 2 * abs(grad) + (of_sum(x) + 5) * np.exp(y.astype(np.float64)) * size
    near(kernels.log_softmax_input(y, grad), reference.log_softmax_input(y, grad), dtype, bound)


@settings(max_examples=150)
@given(shapes, seeds, dtypes, formats, formats, scales)
def test_maps(shape, rng, dtype, format, other, scale):
    x = arranged((scale * rng.standard_normal(shape)).astype(dtype), format)
    near_softmax(x, dtype)
    near_log_softmax(x, dtype)
    near_gradients(x, arranged(rng.standard_normal(shape).astype(dtype), other), dtype)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 4), max_size=4), classes, st.integers(0, 9), seeds, dtypes, st.booleans())
def test_any_number_of_axes(more, count, batch, rng, dtype, turned):
    x, grad = rng.standard_normal((2, batch, count, *more), dtype=dtype)
    if turned:  # the classes last in memory
        x, grad = (np.moveaxis(np.ascontiguousarray(np.moveaxis(each, 1, -1)), -1, 1) for each in (x, grad))
    near_softmax(x, dtype)
    near_log_softmax(x, dtype)
    near_gradients(x, grad, dtype)


@pytest.mark.parametrize("name", machine.KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [3, 13, 21])
def test_every_width_of_vectors_and_blocks_with_a_rest(count, dtype, name, monkeypatch):
    """Also where results are written past the caches, and where threads get several blocks each."""
    monkeypatch.setenv("UPCONV_VECTORS", name)
    monkeypatch.setattr(softmax, "streams", lambda nbytes: True)
    monkeypatch.setattr(softmax, "WIDEST", 64)
    rng = np.random.default_rng(0)
    for pixels in (1, 63, 64, 65, 1100):
        for format in ("contiguous", "channels_last", "spread"):
            x, grad = (arranged(each, format) for each in rng.standard_normal((2, 2, count, 1, pixels), dtype=dtype))
            near_softmax(x, dtype)
            near_log_softmax(x, dtype)
            near_gradients(x, grad, dtype)


@pytest.mark.parametrize("format", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_special_values(dtype, format):
    inf, nan = np.inf, np.nan
    pixels = [[1e4, -1e4, 0], [-inf, 3, 3], [nan, 0, 1], [0, nan, 1], [inf, 0, 0], [-inf, -inf, -inf]]
    x = arranged(np.array(pixels, dtype).T.reshape(1, 3, 2, 3), format)
    p, logarithm = (getattr(kernels, name)(x)[0].reshape(3, 6).T for name in FUNCTIONS)
    np.testing.assert_array_equal(p, [[1, 0, 0], [0, 0.5, 0.5], *[[nan] * 3] * 4])
    half = np.log(np.array(0.5)).astype(dtype)
    np.testing.assert_array_equal(logarithm, [[0, -2e4, -1e4], [-inf, half, half], *[[nan] * 3] * 4])


def test_a_sum_of_many_classes_loses_no_digits():
    x = np.zeros((1, 100_001, 1, 2), np.float32)
    x[:, 0] = 17  # beside which float32 would not count the others
    total = np.exp(17.0) + 100_000
    np.testing.assert_allclose(kernels.softmax(x)[0, :2, 0, 0], [np.exp(17) / total, 1 / total], rtol=3e-7)


def test_nothing_is_written_to_the_inputs():
    rng = np.random.default_rng(0)
    for format in ("contiguous", "channels_last"):
        x, y = (arranged(each, format) for each in rng.standard_normal((2, 2, 7, 5, 6)))
        kept = x.copy(), y.copy()
        kernels.softmax(x), kernels.log_softmax(x), kernels.softmax_input(x, y), kernels.log_softmax_input(x, y)
        np.testing.assert_array_equal((x, y), kept)


@pytest.mark.parametrize("name", [*FUNCTIONS, "softmax_input", "log_softmax_input"])
def test_wrong_arrays_are_refused(name):
    function, two = getattr(kernels, name), name.endswith("_input")
    first = "y" if two else "x"
    good = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match=rf"^{name}: {first} must have the axes NK or NKHW, got shape \(3,\)"):
        function(*[good[0]] * (1 + two))
    with pytest.raises(TypeError, match=f"^{name}: {first} must be float32 or float64"):
        function(*[good.astype(int)] * (1 + two))
    if two:
        with pytest.raises(ValueError, match=rf"^{name}: grad must have shape \(2, 3\), got \(3, 2\)"):
            function(good, good.T)
        with pytest.raises(TypeError, match=f"^{name}: grad must be float32 like the first array, got float64"):
            function(good, good.astype(float))
