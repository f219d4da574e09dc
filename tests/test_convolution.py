"""The six sides of convolution against the reference: exact in small integers, within a bound in real numbers."""

from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import (
    DTYPES,
    FORMATS,
    REPEATED,
    Convolution,
    arranged,
    convolutions,
    integers,
    planned,
    same_bits,
    shortened,
)

from upconv import kernels
from upconv.kernels import reference
from upconv.kernels.cpu import correlation, gradient

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
dtypes, formats = st.sampled_from(DTYPES), st.sampled_from(FORMATS)
activations = st.sampled_from((None, "relu"))


def small_blocks():
    """Plans cut into chunks and blocks so small that small maps have many."""
    return planned(
        *(correlation.plan, gradient.plan),
        correlation={"CHANNELS": 5, "PATCH": 1024, "PIXELS": 8, "ITEMS": 3, "MERGED": 24, "WHOLE": 0},
        gradient={"CHANNELS": 5, "FILTERS": 16, "PATCH": 1024, "ITEMS": 3, "MERGED": 24},
        patches={"COLUMNS": 5},
    )


def check_all_sides(case, rng, dtype, format, activation=None):
    """Each of the six operators, with one geometry, in small integers."""
    x, y = (arranged(integers(rng, shape, dtype), format) for shape in (case.x_shape, case.y_shape))
    weight = arranged(integers(rng, case.weight_shape, dtype), format)
    bias, up_bias = (integers(rng, shape[1], dtype) for shape in (case.y_shape, case.x_shape))
    for name, arguments, more in case.sides(x, weight, y, bias, up_bias, activation):
        expected = getattr(reference, name)(*arguments, **more, **case.geometry)
        given = more | shortened(case.geometry)
        same_bits(getattr(kernels, name)(*arguments, **given, algorithm="direct"), expected, dtype, name)
        if case.groups > 1:  # where another variant comes first, as exact
            same_bits(getattr(kernels, name)(*arguments, **given), expected, dtype, name)


@settings(max_examples=200)
@given(convolutions(), seeds, dtypes, formats, activations)
def test_all_sides_are_exact_in_small_integers(case, rng, dtype, format, activation):
    check_all_sides(case, rng, dtype, format, activation)


@pytest.mark.slow
@settings(max_examples=4000)
@given(convolutions(), seeds, dtypes, formats, activations)
def test_all_sides_are_exact_in_a_long_sweep(case, rng, dtype, format, activation):
    check_all_sides(case, rng, dtype, format, activation)


@settings(max_examples=150)
@given(convolutions(largest=15), seeds, dtypes, formats, activations)
def test_every_border_between_chunks_and_blocks(case, rng, dtype, format, activation):
    with small_blocks():
        check_all_sides(case, rng, dtype, format, activation)


# As planned for real layers: more channels than a chunk, maps of several blocks, framed by padding or all of it.
LARGE = {
    "chunks": Convolution((1, 300, 6, 5), (20, 300, 3, 3), padding=((1, 1), (1, 1))),
    "chunks of one pixel": Convolution((3, 513, 1, 1), (65, 513, 1, 1)),
    "blocks": Convolution((2, 16, 70, 210), (17, 16, 3, 3), padding=((1, 1), (1, 1))),
    "strided blocks": Convolution((1, 24, 121, 205), (16, 24, 3, 3), (2, 2), ((1, 1), (1, 1))),
    "wide dilation": Convolution((1, 9, 60, 60), (8, 9, 3, 3), (1, 1), ((12, 12), (12, 12)), (12, 12)),
    "pixels a power of two apart": Convolution((1, 512, 9, 9), (40, 512, 3, 3), padding=((1, 1), (1, 1))),
    "depthwise": Convolution((1, 48, 33, 33), (48, 1, 3, 3), padding=((1, 1), (1, 1)), groups=48),
    "depthwise in one row": Convolution((2, 35, 1, 60), (35, 1, 1, 5), (1, 2), ((0, 0), (3, 1)), (1, 2), 35),
    "groups of four": Convolution((1, 40, 20, 19), (40, 4, 3, 3), (2, 1), ((1, 2), (0, 1)), groups=10),
    "groups of few filters": Convolution((2, 56, 9, 20), (14, 8, 2, 3), padding=((1, 0), (1, 1)), groups=7),
    "groups of few channels": Convolution((2, 7, 9, 20), (56, 1, 3, 2), (2, 3), ((1, 0), (1, 1)), groups=7),
    "many filters": Convolution((1, 8, 5, 5), (300, 8, 3, 3), padding=((1, 1), (1, 1))),
    "kernel as large as the map": Convolution((2, 7, 31, 33), (5, 7, 31, 33)),
}


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("format", ["contiguous", "channels_last", "slice"])
def test_large_layers_are_exact(name, format):
    check_all_sides(LARGE[name], np.random.default_rng(0), np.float32, format)


def check_within_bound(name, arguments, terms, **more):
    """|error| <= gamma(n) * sum |a||b| for a sum of n products in any order, fused or not, n u / (1 - n u) = gamma(n).

    u is half of epsilon. Source: Higham, "Accuracy and Stability of Numerical Algorithms" (2002), equation 3.5. The
    reference's own error, in float64, has the same bound.
    """
    dtype = next(a.dtype for a in arguments if isinstance(a, np.ndarray))
    sizes = [abs(a) if isinstance(a, np.ndarray) else a for a in arguments]
    expected = getattr(reference, name)(*arguments, **more)
    magnitude = getattr(reference, name)(*sizes, **more)
    gamma = sum(terms * u / (1 - terms * u) for u in (np.finfo(dtype).eps / 2, np.finfo(np.float64).eps / 2))
    actual = getattr(kernels, name)(*arguments, **more, algorithm="direct")
    assert actual.dtype == dtype
    excess = abs(actual - expected) - gamma * magnitude
    assert excess.max(initial=0) <= 0, f"{name}: {excess.max()} beyond the bound for {terms} terms"


@settings(max_examples=60)
@given(convolutions(), seeds, dtypes, activations)
def test_real_numbers_stay_within_the_bound_of_their_sums(case, rng, dtype, activation):
    def real(shape):
        return rng.standard_normal(shape).astype(dtype)

    x, weight, y, given = real(case.x_shape), real(case.weight_shape), real(case.y_shape), case.geometry
    bias, up_bias = real(case.y_shape[1]), real(case.x_shape[1])
    (filters, channels, *_), taps, windows = case.weight_shape, weight[0, 0].size, y[:, 0].size
    end, up = {"activation": activation}, {"activation": activation, "output_padding": case.output_padding}
    back = filters // case.groups * taps
    check_within_bound("conv2d", (x, weight, bias), channels * taps + 1, **end, **given)
    check_within_bound("conv2d_input", (x.shape, weight, y), back, **given)
    check_within_bound("conv2d_weight", (x, weight.shape, y), windows, **given)
    check_within_bound("conv_transpose2d", (y, weight, up_bias), back + 1, **up, **given)
    check_within_bound("conv_transpose2d_input", (y.shape, weight, x), channels * taps, **given)
    check_within_bound("conv_transpose2d_weight", (y, weight.shape, x), windows, **given)


@settings(max_examples=60)
@given(convolutions(), seeds, dtypes)
def test_the_gradients_are_adjoints(case, rng, dtype):
    """<A(w) x, g> = <x, A(w)' g> = <w, dw>, to the last bit in small integers; and the same for the transposed."""

    def dot(a, b):
        assert a.shape == b.shape
        return int((a.astype(np.int64) * b.astype(np.int64)).sum())

    given = shortened(case.geometry) | {"algorithm": "direct"}
    x, weight, y = (integers(rng, shape, dtype) for shape in (case.x_shape, case.weight_shape, case.y_shape))
    expected = dot(kernels.conv2d(x, weight, **given), y)
    assert dot(x, kernels.conv2d_input(x.shape, weight, y, **given)) == expected
    assert dot(weight, kernels.conv2d_weight(x, weight.shape, y, **given)) == expected
    # y -> x is its transposed convolution
    assert dot(kernels.conv_transpose2d(y, weight, output_size=x.shape[2:], **given), x) == expected
    assert dot(y, kernels.conv_transpose2d_input(y.shape, weight, x, **given)) == expected
    assert dot(weight, kernels.conv_transpose2d_weight(y, weight.shape, x, **given)) == expected


@settings(max_examples=60)
@given(convolutions(), seeds)
def test_padding_by_name(case, rng):
    x, weight = integers(rng, case.x_shape), integers(rng, case.weight_shape)
    steps = {"stride": case.stride, "dilation": case.dilation, "groups": case.groups}
    border = [(0, 0), (0, 0)]
    for axis in (0, 1):  # ceil(size / stride) windows; an odd pixel goes to the bottom and right: ONNX SAME_UPPER
        size, stride = x.shape[2 + axis], case.stride[axis]
        extent = case.dilation[axis] * (weight.shape[2 + axis] - 1) + 1
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
        border.append((total // 2, total - total // 2))
    expected = kernels.conv2d(np.pad(x, border), weight, **steps)
    actual = kernels.conv2d(x, weight, padding="same", **steps)
    assert actual.shape[2:] == tuple(-(-size // stride) for size, stride in zip(x.shape[2:], case.stride, strict=True))
    np.testing.assert_array_equal(actual, expected)
    grad = integers(rng, actual.shape)
    for name, arguments in (("conv2d_input", (x.shape, weight, grad)), ("conv2d_weight", (x, weight.shape, grad))):
        function = getattr(kernels, name)
        np.testing.assert_array_equal(
            function(*arguments, padding="same", **steps), function(*arguments, padding=tuple(border[2:]), **steps)
        )
    np.testing.assert_array_equal(kernels.conv2d(np.pad(x, border), weight, padding="valid", **steps), expected)


special = st.sampled_from((np.nan, np.inf, -np.inf))


@settings(max_examples=100)
@given(convolutions(), seeds, dtypes, formats.filter(lambda format: format not in REPEATED), special, st.booleans())
def test_special_values_reach_their_windows_and_no_others(case, rng, dtype, format, value, small):
    """One bad pixel spoils exactly the sums that contain it: nothing unwanted is read and multiplied by 0."""

    def spoiled(shape):
        x = integers(rng, shape, dtype)
        x[tuple(rng.integers(0, shape))] = value
        return arranged(x, format)

    def nonzero(shape):
        return np.abs(integers(rng, shape, dtype)) + 1

    weight, x, y = nonzero(case.weight_shape), nonzero(case.x_shape), nonzero(case.y_shape)
    bad_x, bad_y = spoiled(x.shape), spoiled(y.shape)
    table = [
        ("conv2d", (bad_x, weight, None), {"activation": None}),
        ("conv2d_input", (x.shape, weight, bad_y), {}),
        ("conv2d_weight", (bad_x, weight.shape, y), {}),
        ("conv2d_weight", (x, weight.shape, bad_y), {}),
        ("conv_transpose2d", (bad_y, weight, None), {"output_padding": case.output_padding, "activation": None}),
        ("conv_transpose2d_input", (y.shape, weight, bad_x), {}),
        ("conv_transpose2d_weight", (bad_y, weight.shape, x), {}),
        ("conv_transpose2d_weight", (y, weight.shape, bad_x), {}),
    ]
    with small_blocks() if small else nullcontext():
        for name, arguments, more in table:
            expected = getattr(reference, name)(*arguments, **more, **case.geometry)
            # The definition multiplies the zeros of the padding too; groups side by side leave those taps out. Winograd
            # spoils whole tiles.
            more |= {"algorithm": "direct"} if case.groups == 1 or np.any(case.padding) else {}
            same_bits(getattr(kernels, name)(*arguments, **more, **case.geometry), expected, dtype, name)


def test_a_bad_weight_spoils_no_pixel_that_its_tap_does_not_reach():
    """In groups of a few channels taps outside the map are left out."""
    x, weight = np.ones((1, 6, 4, 5)), np.ones((6, 2, 3, 3))
    weight[1, 0, 0, 0] = np.nan
    y = kernels.conv2d(x, weight, padding=1, groups=3)
    assert kernels.explain(kernels.conv2d, x, weight, padding=1, groups=3).variant == "grouped"
    spoiled = np.zeros(y.shape, bool)
    spoiled[0, 1, 1:, 1:] = True
    np.testing.assert_array_equal(np.isnan(y), spoiled)
    grad = np.ones(y.shape)
    grad[0, 2, 0, 0] = np.nan
    spoiled = np.zeros(weight.shape, bool)
    spoiled[2, :, 1:, 1:] = True
    dw = kernels.conv2d_weight(x, weight.shape, grad, padding=1, groups=3)
    np.testing.assert_array_equal(np.isnan(dw), spoiled)


@pytest.mark.parametrize(
    ("groups", "shape", "why"),
    [
        (1, (4, 4, 3, 3), "there is one group only"),
        (2, (6, 2, 3, 3), "3 filters in a group are no proper divisor of the "),
        (2, (2, 16, 3, 3), "16 channels in a group are too many for 1 filters"),
    ],
)
def test_which_groups_are_not_put_side_by_side(groups, shape, why):
    x = np.ones((1, shape[1] * groups, 5, 5), np.float32)
    weight = np.ones(shape, np.float32)
    assert f"  grouped: cannot serve: {why}" in str(kernels.explain(kernels.conv2d, x, weight, groups=groups))


EMPTY = {
    "no images": Convolution((0, 3, 5, 5), (4, 3, 3, 3), (2, 2), ((1, 1), (1, 1))),
    "no channels": Convolution((2, 0, 5, 5), (4, 0, 3, 3), (2, 2), ((1, 1), (1, 1))),
    "no filters": Convolution((2, 3, 5, 5), (0, 3, 3, 3), (2, 2), ((1, 1), (1, 1))),
}


@pytest.mark.parametrize("name", EMPTY)
def test_sums_of_nothing_are_the_bias(name):
    check_all_sides(EMPTY[name], np.random.default_rng(0), np.float32, "turned")


def test_a_map_of_padding_alone():
    y = kernels.conv2d(np.ones((1, 2, 0, 5)), np.ones((3, 2, 2, 3)), np.arange(3.0), padding=1)
    np.testing.assert_array_equal(y, np.broadcast_to(np.arange(3.0)[:, None, None], (1, 3, 1, 5)))


POINTWISE = {
    "a row": Convolution((2, 5, 1, 30), (7, 5, 1, 1)),
    "small maps": Convolution((3, 8, 7, 7), (40, 8, 1, 1)),
    "large maps": Convolution((2, 20, 31, 17), (33, 20, 1, 1)),
    "no channels": Convolution((2, 0, 4, 4), (3, 0, 1, 1)),
}


@pytest.mark.parametrize("name", POINTWISE)
@pytest.mark.parametrize("format", FORMATS)
def test_a_single_tap_takes_all_pixels_as_one_row(name, format):
    with small_blocks() if name == "large maps" else nullcontext():
        check_all_sides(POINTWISE[name], np.random.default_rng(0), np.float32, format)


def test_a_single_tap_of_an_output_larger_than_the_input():
    rng = np.random.default_rng(0)
    x, weight = integers(rng, (2, 3, 6, 4), np.float32), integers(rng, (3, 5, 1, 1), np.float32)
    y = kernels.conv_transpose2d(x, weight, dilation=(2, 3), output_padding=(1, 2))
    np.testing.assert_array_equal(y[:, :, :6, :4], kernels.conv_transpose2d(x, weight))
    assert not y[:, :, 6:].any() and not y[:, :, :, 4:].any()
