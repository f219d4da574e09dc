"""ReLU, sums, softmax and concatenation against the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import DTYPES, FORMATS, arranged, integers, same_bits

from upconv import kernels
from upconv.kernels import reference

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
dtypes, formats = st.sampled_from(DTYPES), st.sampled_from(FORMATS)
sizes = st.integers(0, 5)
shapes = st.tuples(sizes, st.sampled_from((0, 1, 2, 3, 15, 16, 17, 33)), sizes, st.integers(0, 40))
SPECIAL = [-np.inf, -1.5, -0.0, 0.0, 2.5, np.inf, np.nan]


@settings(max_examples=150)
@given(shapes, seeds, dtypes, formats, formats)
def test_elementwise_operators(shape, rng, dtype, format, other):
    x = arranged(rng.choice(SPECIAL, shape).astype(dtype), format)
    y = arranged(rng.choice(SPECIAL, shape).astype(dtype), other)
    same_bits(kernels.relu(x), reference.relu(x), dtype)
    same_bits(kernels.relu_input(x, y), reference.relu_input(x, y), dtype)
    with np.errstate(invalid="ignore"):  # inf - inf
        same_bits(kernels.bias_relu_input(x, y)[0], reference.relu_input(x, y), dtype)
        same_bits(kernels.add(x, y), reference.add(x, y), dtype)


@settings(max_examples=100)
@given(shapes, seeds, dtypes, formats)
def test_channel_sum(shape, rng, dtype, format):
    x = arranged(integers(rng, shape, dtype), format)
    same_bits(kernels.channel_sum(x), reference.channel_sum(x), dtype)
    y = integers(rng, shape, dtype)
    same_bits(kernels.bias_relu_input(y, x)[1], reference.channel_sum(reference.relu_input(y, x)), dtype)
    x = arranged(rng.standard_normal(shape).astype(dtype), format)
    terms, half = max(1, x.size), np.finfo(np.float64).eps / 2
    # twice gamma(n), see test_convolution, for two float64 sums; then one rounding to dtype
    bound = 2 * terms * half / (1 - terms * half) * reference.channel_sum(abs(x))
    expected = reference.channel_sum(x)
    assert (abs(kernels.channel_sum(x) - expected) <= bound + np.finfo(dtype).eps * abs(expected)).all()


def test_channel_sum_of_many_float32_is_summed_in_float64():
    x = np.full((1, 1, 4096, 4097), 1, np.float32)
    assert kernels.channel_sum(x) == x.size > 2**24  # where float32 stops counting


@settings(max_examples=100)
@given(shapes.filter(lambda shape: shape[1] > 0), seeds, dtypes, formats, st.sampled_from((1, 30, 1e4)))
def test_softmax_and_its_gradient(shape, rng, dtype, format, scale):
    x = arranged((scale * rng.standard_normal(shape)).astype(dtype), format)
    p = kernels.softmax(x)
    assert (p.shape, p.dtype) == (x.shape, dtype)
    # exp(d + error) with |error| <= eps |d|, a few roundings of exp itself, K of the sum: and p is 0 where d < -800
    distance = np.minimum(x.max(axis=1, keepdims=True, initial=-np.inf) - x, 800)
    bound = np.finfo(dtype).eps * (distance + shape[1] + 8)
    expected = reference.softmax(x)
    assert (abs(p - expected) <= bound * expected + np.finfo(dtype).smallest_normal).all()
    # y (grad - sum of K products): K + 4 roundings of the absolute values
    grad = arranged(rng.standard_normal(shape).astype(dtype), format)
    dx = kernels.softmax_input(p, grad)
    magnitude = abs(p) * (abs(grad) + (abs(p) * abs(grad)).sum(axis=1, keepdims=True, dtype=np.float64))
    bound = np.finfo(dtype).eps * (shape[1] + 4) * magnitude + np.finfo(dtype).smallest_normal
    assert (abs(dx - reference.softmax_input(p, grad)) <= bound).all()


def test_softmax_of_special_values():
    inf, nan = np.inf, np.nan
    x = np.array([[1e4, -1e4, 0], [-inf, 3, 3], [nan, 0, 1], [5, 5, 5]]).T.reshape(1, 3, 2, 2)
    p = kernels.softmax(x)[0].reshape(3, 4).T
    np.testing.assert_array_equal(p[:3], [[1, 0, 0], [0, 0.5, 0.5], [nan, nan, nan]])
    np.testing.assert_allclose(p[3], 1 / 3)


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.sampled_from((0, 1, 2, 5, 16)), formats), min_size=1, max_size=4),
    *(st.integers(1, 3), st.integers(1, 6), seeds, dtypes),
)
def test_concatenation(parts, batch, size, rng, dtype):
    xs = [arranged(integers(rng, (batch, channels, size, size + 1), dtype), format) for channels, format in parts]
    same_bits(kernels.concatenate(xs), reference.concatenate(xs), dtype)
    same_bits(kernels.concatenate(tuple(xs)), reference.concatenate(xs), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_is_written_to_the_inputs(dtype):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 2, 7, 5, 6), dtype=dtype)
    kept = x.copy(), y.copy()
    kernels.relu(x), kernels.relu_input(x, y), kernels.add(x, y), kernels.softmax(x), kernels.concatenate([x, y])
    np.testing.assert_array_equal((x, y), kept)


@settings(max_examples=60)
@given(shapes.filter(lambda shape: shape[1] > 0), seeds, dtypes, formats, formats)
def test_softmax_gradient(shape, rng, dtype, format, other):
    y = arranged(reference.softmax(rng.standard_normal(shape)).astype(dtype), format)
    grad = arranged(rng.standard_normal(shape).astype(dtype), other)
    dx, expected = kernels.softmax_input(y, grad), reference.softmax_input(y, grad)
    assert (dx.shape, dx.dtype) == (shape, dtype)
    # the sum over channels is float64; what remains are the roundings of a difference and of a product
    size = abs(grad) + (y.astype(np.float64) * abs(grad)).sum(axis=1, keepdims=True)
    bound = 3 * np.finfo(dtype).eps * y * size
    assert (abs(dx - expected) <= bound + np.finfo(dtype).smallest_normal).all()


@settings(max_examples=100)
@given(shapes, seeds, dtypes, formats, formats, st.booleans())
def test_gradients_of_bias_and_relu(shape, rng, dtype, format, other, in_place):
    y = arranged(rng.choice(SPECIAL, shape).astype(dtype), format)
    grad = arranged(integers(rng, shape, dtype), other)
    dx, db = reference.bias_relu_input(y, grad)
    out = grad.copy(order="K") if in_place else None
    result, sums = kernels.bias_relu_input(y, grad if out is None else out, out=out)
    assert out is None or result is out
    same_bits(result, dx, dtype)
    same_bits(sums, db, dtype)
