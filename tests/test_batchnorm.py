"""Batch normalisation and its gradients against the reference, and where a mean is much larger than the deviation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import DTYPES, FORMATS, arranged, integers, same_bits

from upconv import kernels
from upconv.kernels import reference
from upconv.kernels.cpu import channelwise

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
dtypes, formats = st.sampled_from(DTYPES), st.sampled_from(FORMATS)
channels = st.sampled_from((1, 2, 3, 16, 17, 85, 255, 256, 257, 600))
shapes = st.tuples(st.integers(1, 3), channels, st.integers(1, 5), st.integers(1, 40))
ANY = pytest.mark.parametrize("dtype", DTYPES)


@pytest.fixture(params=[False, True], ids=["stored", "streamed"])
def streamed(request, monkeypatch):
    monkeypatch.setattr(channelwise, "streams", lambda nbytes: request.param)


def each(values):
    return np.asarray(values, np.float64)[:, None, None]


@settings(max_examples=120)
@given(shapes, seeds, dtypes, formats, formats, st.booleans(), st.booleans(), st.sampled_from((None, "relu")))
def test_given_statistics_are_exact_where_numbers_are(shape, rng, dtype, format, other, scaled, shifted, activation):
    x, grad = (arranged(integers(rng, shape, dtype), f) for f in (format, other))
    mean, weight, bias = (integers(rng, shape[1], dtype) for _ in range(3))
    variance = rng.choice(np.array([0.75, 3.75, 15.75], dtype), shape[1])  # + eps: squares
    weight, bias = weight if scaled else None, bias if shifted else None
    expected = reference.batch_norm(x, mean, variance, weight, bias, eps=0.25, activation=activation)
    same_bits(kernels.batch_norm(x, mean, variance, weight, bias, eps=0.25, activation=activation), expected, dtype)
    expected = reference.batch_norm_input(x, mean, variance, weight, grad, eps=0.25)
    for part, right in zip(kernels.batch_norm_input(x, mean, variance, weight, grad, eps=0.25), expected, strict=True):
        same_bits(part, right, dtype)


@settings(max_examples=120)
@given(
    *(shapes.filter(lambda shape: shape[0] * shape[2] * shape[3] > 1), seeds, dtypes, formats, formats),
    *(st.booleans(), st.booleans(), st.sampled_from((None, "relu")), st.sampled_from((0, 1, 1e4))),
)
def test_statistics_of_the_batch(shape, rng, dtype, format, other, scaled, shifted, activation, far):
    x = arranged((rng.standard_normal(shape) + far).astype(dtype), format)
    grad = arranged(rng.standard_normal(shape).astype(dtype), other)
    weight = rng.standard_normal(shape[1]).astype(dtype) if scaled else None
    bias = rng.standard_normal(shape[1]).astype(dtype) if shifted else None
    results = kernels.batch_norm_training(x, weight, bias, activation=activation)
    y, mean, variance = reference.batch_norm_training(x, weight, bias, eps=1e-5, activation=activation)
    assert [r.dtype for r in results] == [dtype] * 3
    eps, count = np.finfo(dtype).eps, x.size // shape[1]
    double = np.finfo(np.float64).eps * 4 * count  # of sums of `count` numbers
    np.testing.assert_allclose(results[1], mean, rtol=eps, atol=double * (1 + far))
    np.testing.assert_allclose(results[2], variance, rtol=eps + double, atol=double * (1 + far) * 1e-3)
    inverse = each(1 / np.sqrt(variance + 1e-5))
    scale = inverse if weight is None else inverse * abs(each(weight))
    # Four roundings of what is subtracted, scaled and shifted; and the mean's own error, in deviations.
    shift = 0 if bias is None else abs(each(bias))
    largest = np.finfo(np.float64).eps * 8 * count * (1 + far) * scale
    bound = eps * (4 * abs(x - each(mean)) * scale + 2 * shift + abs(y)) + largest
    assert (abs(results[0] - y) <= bound).all()

    parts = kernels.batch_norm_training_input(x, results[1], results[2], weight, grad)
    expected = reference.batch_norm_training_input(x, results[1], results[2], weight, grad, eps=1e-5)
    normal = (x.astype(np.float64) - each(mean)) * inverse
    sizes = [
        scale * (abs(grad) + each(abs(expected[2])) / count + abs(normal) * each(abs(expected[1])) / count),
        abs(grad * normal).sum(axis=(0, 2, 3)),
        abs(grad).sum(axis=(0, 2, 3), dtype=np.float64),
    ]
    for part, right, size in zip(parts, expected, sizes, strict=True):
        assert (part.shape, part.dtype) == (right.shape, dtype)
        assert (abs(part - right) <= 8 * eps * size + eps * abs(right) + double * (1 + far) * (1 + size)).all()


def differences(function, x, *places, step=1e-5):
    """d function / d x at each of the places."""
    for place in places:
        ahead, behind = x.copy(), x.copy()
        ahead[place] += step
        behind[place] -= step
        yield (function(ahead) - function(behind)) / (2 * step)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (2, 3, 2, 3)])
def test_gradients_are_the_limit_of_differences(training, shape):
    rng = np.random.default_rng(1)
    x, grad = rng.standard_normal(shape), rng.standard_normal(shape)
    weight, bias, given_mean = rng.standard_normal((3, 3))
    given_variance = 0.5 + rng.random(3)

    def loss(x, weight=weight, bias=bias):
        if training:
            y = kernels.batch_norm_training(x, weight, bias, eps=1e-3)[0]
        else:
            y = kernels.batch_norm(x, given_mean, given_variance, weight, bias, eps=1e-3)
        return (y * grad).sum()

    if training:
        _, mean, variance = kernels.batch_norm_training(x, eps=1e-3)
        found = kernels.batch_norm_training_input(x, mean, variance, weight, grad, eps=1e-3)
    else:
        found = kernels.batch_norm_input(x, given_mean, given_variance, weight, grad, eps=1e-3)
    expected = [
        [*differences(loss, x, *np.ndindex(shape))],
        [*differences(lambda w: loss(x, w), weight, 0, 1, 2)],
        [*differences(lambda b: loss(x, weight, b), bias, 0, 1, 2)],
    ]
    for part, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(part.ravel(), right, atol=1e-8)


@pytest.mark.usefixtures("streamed")
@pytest.mark.parametrize("many", [3, 64, 300])
def test_a_mean_far_from_zero_costs_no_accuracy(many):
    rng = np.random.default_rng(0)
    x = kernels.channels_last((1e4 + 1e-2 * rng.standard_normal((4, many, 33, 37))).astype(np.float32))
    grad = kernels.channels_last(rng.standard_normal(x.shape, np.float32))
    y, mean, variance = reference.batch_norm_training(x, None, None, eps=1e-5, activation=None)
    actual = kernels.batch_norm_training(x)
    assert abs(actual[0] - y).max() < 1e-6  # numbers are 1e-3 apart there, and y would be off by 0.05
    np.testing.assert_allclose(actual[1], mean, rtol=1e-7)
    np.testing.assert_allclose(actual[2], variance, rtol=1e-6)
    expected = reference.batch_norm_training_input(x, mean, variance, None, grad, eps=1e-5)
    for part, right in zip(kernels.batch_norm_training_input(x, *actual[1:], None, grad), expected, strict=True):
        assert abs(part - right).max() < 1e-6 * abs(right).max()


def test_the_first_number_may_be_any():
    x = np.random.default_rng(0).standard_normal((1, 2, 300, 300)).astype(np.float32)
    x[0, 0, 0, 0] = 1e8
    _, mean, variance = kernels.batch_norm_training(x)
    expected = reference.batch_norm_training(x, None, None, eps=1e-5, activation=None)
    np.testing.assert_allclose(mean, expected[1], rtol=1e-6)
    np.testing.assert_allclose(variance, expected[2], rtol=1e-6)


@ANY
def test_constant_channels_have_no_variance(dtype):
    x = np.broadcast_to(np.array([0.1, 1e30, 0], dtype)[:, None, None], (2, 3, 9, 9))
    y, mean, variance = kernels.batch_norm_training(x, bias=np.ones(3, dtype))
    np.testing.assert_array_equal(mean, x[0, :, 0, 0])
    np.testing.assert_array_equal(variance, np.zeros(3))
    np.testing.assert_array_equal(y, np.ones(x.shape))


@ANY
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 1, 0, 0), (1, 1, 3, 2)])
def test_what_is_not_finite_stays_in_its_channel(dtype, wrong, place):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(dtype)
    expected = kernels.batch_norm_training(x, activation="relu")
    x[place] = wrong
    for part, right in zip(kernels.batch_norm_training(x, activation="relu"), expected, strict=True):
        part, right = np.moveaxis(part, part.ndim > 1, 0), np.moveaxis(right, right.ndim > 1, 0)
        np.testing.assert_array_equal(part[[0, 2]], right[[0, 2]])
        assert not np.isfinite(part[1]).any()
    y = kernels.batch_norm(x, np.zeros(3, dtype), np.ones(3, dtype), activation="relu", eps=0)
    np.testing.assert_array_equal(y, np.maximum(x, 0))


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 7), (2, 5, 3, 4), (2, 5, 3, 2, 2)])
def test_any_number_of_axes(shape):
    rng = np.random.default_rng(0)
    x, grad, weight, bias = *rng.standard_normal((2, *shape)), *rng.standard_normal((2, 5))
    together = np.moveaxis(x, 1, -1).reshape(-1, 5)
    y, mean, variance = kernels.batch_norm_training(x, weight, bias)
    assert y.shape == shape
    expected = kernels.batch_norm_training(together, weight, bias)
    np.testing.assert_allclose(np.moveaxis(y, 1, -1).reshape(-1, 5), expected[0], rtol=1e-12)
    np.testing.assert_allclose(kernels.batch_norm(x, mean, variance, weight, bias), y, rtol=1e-9, atol=1e-12)
    for gradient in (kernels.batch_norm_training_input, kernels.batch_norm_input):
        dx, dweight, dbias = gradient(x, mean, variance, weight, grad)
        flat = gradient(together, mean, variance, weight, np.moveaxis(grad, 1, -1).reshape(-1, 5))
        np.testing.assert_allclose(np.moveaxis(dx, 1, -1).reshape(-1, 5), flat[0], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose([dweight, dbias], flat[1:], rtol=1e-12)
        assert dx.shape == shape


@pytest.mark.usefixtures("streamed")
@pytest.mark.parametrize("format", ["contiguous", "channels_last", "slice"])
def test_out_may_be_x_itself(format):
    x = np.random.default_rng(0).standard_normal((2, 19, 40, 41)).astype(np.float32)
    mean, variance = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
    expected = kernels.batch_norm(x, mean, variance)
    for operator, statistics in ((kernels.batch_norm, (mean, variance)), (kernels.batch_norm_training, ())):
        place = arranged(x, format)
        place.flags.writeable = True
        result = operator(place, *statistics, out=place)
        assert (result if statistics else result[0]) is place
        np.testing.assert_allclose(place, expected, rtol=1e-5, atol=1e-6)


@ANY
@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 3, 0, 4), (2, 0, 4, 4), (0, 3)])
def test_nothing(dtype, shape):
    x, one = np.zeros(shape, dtype), np.ones(shape[1], dtype)
    y, mean, variance = kernels.batch_norm_training(x)
    assert y.shape == kernels.batch_norm(x, one, one).shape == shape
    assert np.isnan([mean, variance]).all()
    for gradient in (kernels.batch_norm_training_input, kernels.batch_norm_input):
        dx, dweight, dbias = gradient(x, one, one, one, x)
        assert dx.shape == shape
        np.testing.assert_array_equal([dweight, dbias], np.zeros((2, shape[1])))


def test_threads_change_no_bit():
    rng = np.random.default_rng(0)
    x, grad = (kernels.channels_last(rng.standard_normal((3, 20, 99, 101), np.float32)) for _ in range(2))
    one = np.ones(20, np.float32)
    calls = [
        lambda: kernels.batch_norm_training(x, one),
        lambda: kernels.batch_norm_training_input(x, one, one, None, grad),
        lambda: kernels.batch_norm_input(x, one, one, None, grad),
    ]
    for call in calls:
        with kernels.num_threads(1):
            expected = call()
        with kernels.num_threads(3):
            for part, right in zip(call(), expected, strict=True):
                np.testing.assert_array_equal(part, right)


X, ONE = np.ones((2, 3, 4, 4)), np.ones(3)
WRONG = [
    (kernels.batch_norm, (np.ones(3), ONE, ONE), {}, ValueError, "x must have the axes NC or NCHW"),
    (kernels.batch_norm, (X, ONE[:2], ONE), {}, ValueError, r"mean must have shape \(3,\), got \(2,\)"),
    (kernels.batch_norm, (X, ONE, ONE.astype("f")), {}, TypeError, "variance must be float64 like the first array"),
    (kernels.batch_norm, (X, ONE, ONE), {"eps": -1e-5}, ValueError, "eps must be at least 0, got -1e-05"),
    (kernels.batch_norm, (X, ONE, ONE), {"eps": np.nan}, ValueError, "eps must be finite, got nan"),
    (kernels.batch_norm, (X, ONE, ONE), {"eps": "1"}, TypeError, "eps must be a number, got '1'"),
    (kernels.batch_norm, (X, ONE, ONE), {"activation": "tanh"}, ValueError, "activation must be one of None, 'relu'"),
    (kernels.batch_norm_training, (X,), {"eps": 0}, ValueError, "eps must be greater than 0, got 0"),
    (kernels.batch_norm_training, (X[:1, :, :1, :1],), {}, ValueError, "x must have more than one number for each"),
    (kernels.batch_norm_training, (X, ONE[:1]), {}, ValueError, r"weight must have shape \(3,\), got \(1,\)"),
    (kernels.batch_norm_training_input, (X, ONE, ONE, None, X[:1]), {}, ValueError, "grad must have shape"),
    (kernels.batch_norm_input, (X, ONE, ONE, None, X.astype("f")), {}, TypeError, "grad must be float64"),
]


@pytest.mark.parametrize(("function", "arguments", "options", "error", "message"), WRONG)
def test_wrong_arguments(function, arguments, options, error, message):
    with pytest.raises(error, match=f"{function.__name__}: {message}"):
        function(*arguments, **options)


def test_a_negative_variance_is_nan():
    y = kernels.batch_norm(X, ONE, np.array([-1.0, 1, -1e-5]))
    assert np.isnan(y[:, [0, 2]]).all()
    assert not y[:, 1].any()
