"""Operators on single numbers, sums over pixels and concatenation against the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import DTYPES, FORMATS, arranged, integers, same_bits

from upconv import kernels
from upconv.kernels import reference
from upconv.kernels.cpu import elementwise, machine, sums

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
        slope = {"negative_slope": 0.25}  # exact
        same_bits(kernels.leaky_relu(x, **slope), reference.leaky_relu(x, **slope), dtype)
        same_bits(kernels.leaky_relu_input(x, y, **slope), reference.leaky_relu_input(x, y, **slope), dtype)


def near(actual, expected, dtype, units):
    """`actual` is of `dtype`, and within `units` roundings of `expected`."""
    assert (actual.shape, actual.dtype) == (expected.shape, dtype)
    np.testing.assert_allclose(actual, expected, units * np.finfo(dtype).eps, np.finfo(dtype).smallest_normal)


@settings(max_examples=100)
@given(shapes, seeds, dtypes, formats, formats, st.sampled_from((1, 20, 1e4)))
def test_sigmoid_and_tanh_and_their_gradients(shape, rng, dtype, format, other, scale):
    x = arranged((scale * rng.standard_normal(shape)).astype(dtype), format)
    grad = arranged(rng.standard_normal(shape).astype(dtype), other)
    for name in ("sigmoid", "tanh"):
        y = getattr(kernels, name)(x)
        near(y, getattr(reference, name)(x), dtype, 4)
        near(getattr(kernels, f"{name}_input")(y, grad), getattr(reference, f"{name}_input")(y, grad), dtype, 4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sigmoid_and_tanh_of_special_values(dtype):
    x = np.array([-np.inf, -1e4, -0.0, 0.0, 1e4, np.inf, np.nan], dtype)
    np.testing.assert_array_equal(kernels.sigmoid(x), [0, 0, 0.5, 0.5, 1, 1, np.nan])
    y = kernels.tanh(x)
    np.testing.assert_array_equal(y, [-1, -1, 0, 0, 1, 1, np.nan])
    np.testing.assert_array_equal(np.signbit(y[:-1]), np.signbit(x[:-1]))


@pytest.mark.parametrize("shape", [(), (7,), (2, 3), (2, 3, 4), (2, 0, 3), (2, 3, 4, 5, 6), (1,) * 7])
def test_arrays_of_any_shape(shape):
    rng = np.random.default_rng(0)
    x, y = (np.array(rng.standard_normal(shape)) for _ in range(2))
    for each, other in ((x, y), (x.T, y.T), (x.copy(order="F"), y)):
        for result, expected in (
            (kernels.relu(each), np.maximum(each, 0)),
            (kernels.add(each, other), each + other),
            (kernels.leaky_relu_input(each, other), reference.leaky_relu_input(each, other, negative_slope=0.01)),
            (kernels.dropout(each, p=0.5, seed=3), reference.dropout(each, p=0.5, seed=3)),
        ):
            assert result.shape == each.shape
            np.testing.assert_array_equal(result, expected.reshape(each.shape))


@settings(max_examples=100)
@given(shapes, seeds, dtypes, formats, st.sampled_from((0, 0.1, 0.5, 1 / 3, 1 - 2**-53, 1)), st.integers(0, 2**64 - 1))
def test_dropout_is_a_function_of_seed_and_place(shape, rng, dtype, format, p, seed):
    x = arranged(rng.standard_normal(shape).astype(dtype), format)
    expected = reference.dropout(x, p=p, seed=seed)
    for name in ("dropout", "dropout_input"):
        y = getattr(kernels, name)(x, p=p, seed=seed)
        near(y, expected, dtype, 2)
        np.testing.assert_array_equal(y == 0, expected == 0)


def test_dropout_keeps_its_share_and_no_two_seeds_the_same():
    x = np.ones(10**6, np.float32)
    for p in (0.1, 0.5, 0.9):
        kept = [kernels.dropout(x, p=p, seed=seed) != 0 for seed in (0, 1, 2**63)]
        for each in kept:
            assert abs(each.mean() - (1 - p)) < 5 * np.sqrt(p * (1 - p) / x.size)
            after = each[1:] & each[:-1]  # neighbours are independent
            assert abs(after.mean() - (1 - p) ** 2) < 5 * np.sqrt(1 / x.size)
        for one, other in ((0, 1), (0, 2), (1, 2)):
            assert abs((kept[one] & kept[other]).mean() - (1 - p) ** 2) < 5 * np.sqrt(1 / x.size)
    np.testing.assert_array_equal(kernels.dropout(x, p=0.0, seed=7), x)
    np.testing.assert_array_equal(kernels.dropout(x, p=1.0, seed=7), 0 * x)


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"p": 1.5}, ValueError, "p must be"),
        ({"p": -0.1}, ValueError, "p must be"),
        ({"p": np.nan}, ValueError, "p must be finite"),
        ({"p": "half"}, TypeError, "p must be a number"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"seed": 2**64}, ValueError, "seed must be at most"),
        ({"seed": 1.0}, TypeError, "seed must be an integer"),
    ],
)
def test_wrong_dropouts_are_refused(keywords, error, message):
    with pytest.raises(error, match=f"^dropout: {message}"):
        kernels.dropout(np.ones(3), **{"p": 0.5, "seed": 0, **keywords})


@pytest.mark.parametrize("slope", [np.inf, np.nan, 10**400])
def test_a_slope_that_is_not_finite_is_refused(slope):
    with pytest.raises(ValueError, match=r"^leaky_relu: negative_slope must be finite"):
        kernels.leaky_relu(np.ones(3), negative_slope=slope)


@pytest.mark.parametrize("name", machine.KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_width_of_vectors_and_results_past_the_caches(dtype, name, monkeypatch):
    monkeypatch.setenv("UPCONV_VECTORS", name)
    for module in (elementwise, sums):
        monkeypatch.setattr(module, "streams", lambda nbytes: True)
    rng = np.random.default_rng(0)
    for channels, size in ((1, 50), (3, 70), (16, 9), (21, 33), (64, 20)):
        for format in ("contiguous", "channels_last", "slice", "spread"):
            x, y = (arranged(integers(rng, (2, channels, 3, size), dtype), format) for _ in range(2))
            same_bits(kernels.relu(x), reference.relu(x), dtype)
            same_bits(kernels.add(x, y), reference.add(x, y), dtype)
            same_bits(kernels.dropout(x, seed=5), reference.dropout(x, p=0.5, seed=5), dtype)
            same_bits(kernels.channel_sum(x), reference.channel_sum(x), dtype)
            for result, expected in zip(kernels.bias_relu_input(x, y), reference.bias_relu_input(x, y), strict=True):
                same_bits(result, expected, dtype)
            same_bits(kernels.concatenate([x, y]), reference.concatenate([x, y]), dtype)


def test_sums_of_one_image():
    x = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(kernels.channel_sum(x), x.sum(axis=(1, 2)))
    dx, db = kernels.bias_relu_input(x - 5, x)
    np.testing.assert_array_equal(dx, np.where(x <= 5, 0, x))
    np.testing.assert_array_equal(db, dx.sum(axis=(1, 2)))


@pytest.mark.parametrize("format", ["contiguous", "channels_last"])
def test_sums_are_the_same_for_any_number_of_threads(format):
    x, y = (arranged(each, format) for each in np.random.default_rng(0).standard_normal((2, 2, 24, 150, 130)))
    results = []
    for threads in (1, 2, 3):
        with kernels.num_threads(threads):
            results.append([kernels.channel_sum(x), *kernels.bias_relu_input(y, x)])
    for result in results[1:]:
        for one, other in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(one, other)


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
    kernels.relu(x), kernels.relu_input(x, y), kernels.add(x, y), kernels.tanh(x), kernels.concatenate([x, y])
    kernels.dropout(x, seed=1), kernels.bias_relu_input(x, y), kernels.leaky_relu(x)
    np.testing.assert_array_equal((x, y), kept)


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
