"""The operators against the array namespace: NumPy runs the lines here that CuPy runs on a GPU."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import (
    DTYPES,
    FORMATS,
    arranged,
    arrays,
    changed,
    check_against_reference,
    integers,
    plane,
    same_bits,
)

from benchmarks.calls import draw, function
from upconv import kernels
from upconv.kernels import base, reference
from upconv.kernels.base import convolution, unpooling
from upconv.kernels.op import OPERATORS

every = pytest.mark.parametrize("name", OPERATORS)
seeds = st.integers(0, 2**32 - 1)
CONVOLUTIONS = [name for name in base.__all__ if name.startswith("conv")]
UNPOOLINGS = ["max_unpool2d", "max_unpool2d_input"]


def drawn(name, seed, dtype, format, real=True, **given):
    """A call of the operator that asks for the base, its arrays in this format."""
    arguments = draw(name, np.random.default_rng(seed), dtype=dtype, real=real, **given) | {"algorithm": "base"}
    return {argument: changed(value, lambda x: arranged(x, format)) for argument, value in arguments.items()}


def by_base(name, *args, **kwargs):
    """The operator's result by its base."""
    return function(name)(*args, **kwargs, algorithm="base")


def test_every_operator_has_a_base():
    for name, op in OPERATORS.items():
        assert op.base.__module__.startswith("upconv.kernels.base."), name
        assert op.base is getattr(base, name, op.base), name
    assert {*base.__all__} <= {*OPERATORS}


@every
@settings(max_examples=25)
@given(seeds, st.sampled_from(DTYPES), st.sampled_from(FORMATS), st.booleans())
def test_any_call_equals_the_reference_and_writes_no_input(name, seed, dtype, format, real):
    arguments = drawn(name, seed, dtype, format, real)
    before = [x.tobytes() for x in arrays(arguments)]
    check_against_reference(name, arguments)
    assert [x.tobytes() for x in arrays(arguments)] == before


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# Convolutions


@pytest.mark.parametrize("name", CONVOLUTIONS)
@settings(max_examples=25)
@given(seeds, st.sampled_from(DTYPES), st.sampled_from((1, 300, 3000)))
def test_convolutions_of_integers_are_exact_in_pieces_of_any_size(name, seed, dtype, piece):
    arguments = drawn(name, seed, dtype, "contiguous", real=False)
    op = OPERATORS[name]
    case = op.rule(**arguments)
    expected = op.reference(*case.arguments, **case.parameters).reshape(case.outputs[0].given)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "PIECE", piece)
        same_bits(function(name)(**arguments), expected, dtype)


@pytest.mark.parametrize("groups", (1, 2))
def test_a_convolution_of_one_pixel_copies_no_pixel(rng, groups):
    x = integers(rng, (2, 5, 7, 8)).transpose(0, 3, 1, 2)
    windows = convolution._windows(x, (1, 1), (5, 7), (1, 1), ((0, 0), (0, 0)), (1, 1), groups)
    assert np.shares_memory(convolution._columns(windows), x)


@pytest.mark.parametrize("x_shape", ((2, 0, 5, 5), (2, 4, 5, 5)))
def test_no_channels_and_no_filters_give_zeros(x_shape):
    n, c, h, w = x_shape
    x, weight, bias = np.ones(x_shape), np.ones((3, c, 3, 3)), np.arange(3.0)
    y = by_base("conv2d", x, weight, bias)
    assert (y[:, :, 0, 0] == 9 * c + bias).all()
    none = np.ones((0, c, 3, 3))
    assert (by_base("conv2d_input", x_shape, none, np.ones((n, 0, h - 2, w - 2))) == 0).all()
    empty = np.ones((0, c, h, w))
    assert (by_base("conv2d_weight", empty, weight.shape, np.ones((0, 3, h - 2, w - 2))) == 0).all()


@pytest.mark.parametrize("groups", (1, 4))
@pytest.mark.parametrize(
    "geometry",
    (
        {"stride": (3, 4), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)},  # windows apart
        {"stride": (1, 2), "padding": ((3, 0), (1, 5)), "dilation": (1, 1)},  # windows in the padding alone
        {"stride": (2, 1), "padding": ((2, 1), (4, 0)), "dilation": (3, 2)},
    ),
)
def test_windows_apart_in_padding_and_dilated(rng, geometry, groups):
    x, weight = integers(rng, (2, 4, 7, 6)), integers(rng, (4, 4 // groups, 2, 3))
    geometry = geometry | {"groups": groups}
    y = reference.conv2d(x, weight, None, **geometry, activation=None)
    np.testing.assert_array_equal(by_base("conv2d", x, weight, **geometry), y)
    grad = integers(rng, y.shape)
    for name, first, second in (("conv2d_input", x.shape, weight), ("conv2d_weight", x, weight.shape)):
        expected = getattr(reference, name)(first, second, grad, **geometry)
        np.testing.assert_array_equal(by_base(name, first, second, grad, **geometry), expected)


# Pooling


@pytest.mark.parametrize("padding", (0, 1))
def test_the_first_of_equal_pixels_wins_and_the_first_nan_before_all(padding):
    nan, low = np.nan, -np.inf
    x = plane([[1, 1, nan, 5], [1, 1, 7, nan], [low, low, 2, low], [low, low, low, 2]])
    window = {"stride": (2, 2), "padding": ((padding, padding),) * 2, "dilation": (1, 1)}
    expected = reference.max_pool2d(x, kernel_size=(2, 2), output_size=(2 + padding,) * 2, **window)
    for results, known in (
        (by_base("max_pool2d_offsets", x, 2, **window), expected[::2]),
        (by_base("max_pool2d", x, 2, return_indices=True, **window), expected[:2]),
    ):
        for result, each in zip(results, known, strict=True):
            np.testing.assert_array_equal(result, each)


def test_global_pooling_names_the_first_nan_and_the_first_of_equal_pixels():
    x = np.array([[[[3, np.nan], [np.nan, 9]], [[4, 6], [6, 1]], [[-np.inf, -np.inf]] * 2]])
    y, indices = by_base("global_max_pool2d", x, return_indices=True)
    np.testing.assert_array_equal(y.ravel(), [np.nan, 6, -np.inf])
    np.testing.assert_array_equal(indices.ravel(), [1, 1, 0])


def test_taps_of_a_large_window_are_counted_in_more_than_a_byte(rng):
    x = rng.permutation(400).astype(np.float32).reshape(1, 1, 20, 20)
    y, offsets = by_base("max_pool2d_offsets", x, 20)
    assert (y.item(), offsets.item()) == (399, x.argmax())


@pytest.mark.parametrize("divisor_override", (None, 7))
def test_averages_are_sums_of_float64(rng, divisor_override):
    grad = rng.standard_normal((2, 3, 6, 6)).astype(np.float32) * np.float32([1e6, 1, 1e-6])[:, None, None]
    options = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "divisor_override": divisor_override}
    known = {"kernel_size": (3, 3), "count_include_pad": True} | options
    expected = reference.avg_pool2d_input((2, 3, 8, 8), grad, **known)
    same_bits(by_base("avg_pool2d_input", (2, 3, 8, 8), grad, 3, **options), expected, np.float32)
    expected = reference.avg_pool2d(grad, output_size=(4, 4), **known)
    same_bits(by_base("avg_pool2d", grad, 3, **options), expected, np.float32)


def test_means_of_planes_and_sums_for_the_bias_are_float64():
    column = np.float32([1e8, 1, -1e8, 2])
    assert by_base("global_avg_pool2d", column.reshape(1, 1, 2, 2)).item() == 0.75
    assert by_base("linear_bias", column[:, None]).item() == 3


# Unpooling


@pytest.mark.parametrize("name", UNPOOLINGS)
@pytest.mark.parametrize("most", (1, 100, 2**31 - 1))
def test_the_last_of_duplicates_stays(rng, name, most, monkeypatch):
    monkeypatch.setattr(unpooling, "MOST", most)
    x, indices = integers(rng, (3, 2, 4, 5)), rng.integers(0, 12, (3, 2, 4, 5))
    grad = integers(rng, (3, 2, 8, 10))
    y = by_base("max_unpool2d", x, indices, 2)
    np.testing.assert_array_equal(y, reference.max_unpool2d(x, indices, output_size=(8, 10)))
    dx = by_base("max_unpool2d_input", grad, indices)
    np.testing.assert_array_equal(dx, reference.max_unpool2d_input(grad, indices))


# Resampling


@pytest.mark.parametrize(("mode", "reached", "from_one"), (("nearest", 4, 1), ("bilinear", 16, 4), ("bicubic", 64, 16)))
def test_what_is_not_finite_stays_in_its_neighbourhood(mode, reached, from_one):
    x, grad = np.ones((1, 1, 8, 8)), np.ones((1, 1, 16, 16))
    x[0, 0, 3, 3] = grad[0, 0, 7, 7] = np.inf
    y = by_base("interpolate", x, size=16, mode=mode)
    dx = by_base("interpolate_input", x.shape, grad, mode=mode)
    assert (y.size - np.isfinite(y).sum(), dx.size - np.isfinite(dx).sum()) == (reached, from_one)


# Nothing to do


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_images_are_no_error(dtype):
    x, weight = np.ones((0, 3, 4, 4), dtype), np.ones((2, 3, 3, 3), dtype)
    assert by_base("conv2d", x, weight).shape == (0, 2, 2, 2)
    assert by_base("max_pool2d", x, 2).shape == (0, 3, 2, 2)
    assert by_base("interpolate", x, size=7).shape == (0, 3, 7, 7)
    assert kernels.linear(np.ones((0, 3), dtype), np.ones((2, 3), dtype), algorithm="base").shape == (0, 2)


# Numbers one at a time, channels, labels


@pytest.mark.parametrize("seed, p", [(0, 0.5), (2**64 - 1, 0.3), (12345, 0.0), (7, 1.0), (3, 1e-17)])
def test_dropout_drops_what_the_kernel_drops(rng, seed, p):
    x = rng.standard_normal((2, 3, 5, 7)).astype(np.float32)
    for format in ("contiguous", "channels_last"):
        given = arranged(x, format)
        np.testing.assert_array_equal(by_base("dropout", given, p=p, seed=seed), kernels.dropout(x, p=p, seed=seed))


def as_defined(name, *args, **kwargs):
    """The base gives what the reference gives, also where that is not finite."""
    case = OPERATORS[name].rule(*args, **kwargs)
    with np.errstate(all="ignore"):
        exact = OPERATORS[name].reference(*case.arguments, **case.parameters)
        exact = exact.reshape(case.outputs[0].given).astype(case.outputs[0].dtype)
    np.testing.assert_allclose(by_base(name, *args, **kwargs), exact, rtol=1e-6, atol=1e-6, err_msg=name)


def test_special_numbers(rng):
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 88.0, -90.0, 1e38], np.float32)
    grad, finite = rng.standard_normal(x.shape).astype(np.float32), x[3:]
    for name in ("relu", "leaky_relu", "sigmoid", "tanh"):
        as_defined(name, x)
        as_defined(f"{name}_input", x, grad)
    for name in ("l1_loss", "mse_loss", "binary_cross_entropy_with_logits"):
        for pair in ((x, x[::-1].copy()), (x, np.ones_like(x)), (finite, finite[::-1].copy()), (x[:0], x[:0])):
            as_defined(name, *pair)
            as_defined(f"{name}_input", *pair)


def test_void_labels_special_scores_and_weights_that_sum_to_nothing(rng):
    z = rng.standard_normal((2, 3, 2, 3)).astype(np.float32)
    special = z.copy()
    special[0, :, 0, 0], special[1, 0, 1, 1], special[1, 1, 1, 2], special[1, :, 0, 0] = (
        np.nan,
        np.inf,
        -np.inf,
        -np.inf,
    )
    labels = rng.integers(0, 3, (2, 2, 3)).astype(np.uint8)
    labels[0, 0] = 255
    for name in ("softmax", "log_softmax"):
        as_defined(name, special)
        as_defined(f"{name}_input", z, special)
    weights = ({}, {"weight": np.array([1, -1, 0], np.float32)}, {"weight": np.zeros(3, np.float32)})
    for scores in (z, special):
        for each in (labels, np.full_like(labels, 255), labels.astype(np.int64)):
            for name in ("dice_loss", "dice_loss_input"):
                as_defined(name, scores, each, ignore_index=255, smooth=0)
            for name in ("cross_entropy", "cross_entropy_input", "nll_loss", "nll_loss_input"):
                for weight in weights:
                    as_defined(name, scores, each, ignore_index=255, **weight)
                as_defined(name, scores, each, ignore_index=255, reduction="sum")
