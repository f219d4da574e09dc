"""Depthwise convolution on a GPU: vectors, strips and blocks of every size, and what it leaves to others."""

import numpy as np
import pytest
from gpu_sides import Formats, check_sides
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_cases import DTYPES, Convolution

from upconv import kernels

ONE = ((1, 1), (1, 1))


def depthwise(n, groups, filters, size, kernel, channels=1, **window):
    """A convolution with so many filters and channels in each group."""
    return Convolution((n, groups * channels, *size), (groups * filters, channels, *kernel), groups=groups, **window)


def check(gpu, case, dtype, **more):
    check_sides(gpu, case, dtype, algorithm="depthwise", **more)


@pytest.mark.parametrize(("channels", "dtype"), [*((n, np.float32) for n in (1, 3, 4, 5, 33)), (6, np.float64)])
def test_channels_around_vectors_and_blocks(gpu, channels, dtype):
    check(gpu, depthwise(2, channels, 1, (6, 9), (3, 3), padding=ONE), dtype, activation="relu")


WINDOWS = {
    "one tap": {"kernel": (1, 1)},
    "one tap in steps": {"kernel": (1, 1), "stride": (2, 3)},
    "two by four": {"kernel": (2, 4), "padding": ((0, 1), (2, 1))},
    "five": {"kernel": (5, 5), "padding": ((2, 2), (2, 2))},
    "seven": {"kernel": (7, 7), "padding": ((3, 3), (3, 3))},
    "steps": {"kernel": (3, 3), "stride": (2, 2), "padding": ((1, 0), (0, 1))},
    "unequal steps": {"kernel": (3, 5), "stride": (3, 2), "padding": ((2, 1), (1, 3))},
    "far taps": {"kernel": (3, 3), "dilation": (2, 3), "padding": ((2, 2), (3, 3))},
    "far taps in steps": {"kernel": (3, 3), "stride": (2, 4), "dilation": (3, 2), "padding": ((3, 2), (2, 1))},
    "very far taps": {"kernel": (2, 2), "dilation": (1, 50), "padding": ((0, 0), (25, 26))},
    "long steps": {"kernel": (2, 16), "stride": (1, 8), "padding": ((0, 0), (4, 5))},
    "longer steps": {"kernel": (2, 18), "stride": (1, 9), "padding": ((0, 0), (4, 5))},
    "more padding than map": {"kernel": (3, 3), "padding": ((9, 9), (9, 9))},
}


FEW = ("one tap in steps", "unequal steps", "far taps in steps", "longer steps")  # each takes seconds


@pytest.mark.parametrize(
    "name", [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in WINDOWS]
)
def test_windows(gpu, name):
    window = dict(WINDOWS[name])
    check(gpu, depthwise(1, 8, 1, (8, 21), window.pop("kernel"), **window), np.float32)


@pytest.mark.parametrize(("filters", "channels"), [(2, 1), (3, 1), (4, 1), (1, 3)])
def test_groups_with_one_channel_on_one_side(gpu, filters, channels):
    check(gpu, depthwise(2, 5, filters, (5, 7), (3, 3), channels, padding=ONE, stride=(1, 2)), np.float32)


@pytest.mark.parametrize("size", [(1, 1), (3, 1), (1, 40)])
def test_small_maps(gpu, size):
    check(gpu, depthwise(2, 4, 1, size, (3, 3), padding=ONE), np.float32)


def test_one_channel_meets_many_filters(gpu):
    check(gpu, depthwise(1, 1, 36, (4, 5), (3, 3), padding=ONE), np.float32)


@pytest.mark.parametrize("format", ["slice", "reversed", "broadcast", "contiguous"])
def test_memory(gpu, format):
    out = "channels_last" if format in ("reversed", "broadcast") else format
    check(gpu, depthwise(2, 8, 1, (5, 6), (3, 3), padding=ONE), np.float32, formats=Formats(format, format, out))


def test_sums_of_many_parts(gpu):
    case = depthwise(3, 4, 1, (30, 33), (3, 3), padding=ONE)
    check(gpu, case, np.float32)
    blocks = {name: grid for name, grid, *_ in gpu.device.launches}
    assert blocks["depthwise_weight"][0] > 1


def test_an_empty_batch_gives_zeros(gpu):
    x, grad = gpu.zeros((0, 4, 5, 5), np.float32), gpu.zeros((0, 4, 3, 3), np.float32)
    weight = gpu.zeros((4, 1, 3, 3), np.float32)
    assert kernels.conv2d(x, weight, groups=4, algorithm="depthwise").shape == grad.shape
    dw = kernels.conv2d_weight(x, weight.shape, grad, groups=4, algorithm="depthwise")
    np.testing.assert_array_equal(dw.get(), np.zeros(weight.shape))


def test_no_number_beside_the_map_counts(gpu):
    """Infinite and NaN numbers stay with the pixels whose windows see them."""
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(1, 1, 6, 11)).astype(np.float32), np.ones((1, 1, 3, 3), np.float32)
    x[0, 0, 2, 8:] = np.nan, np.inf, -np.inf
    y = kernels.conv2d(gpu.asarray(x), gpu.asarray(weight), padding=1, algorithm="depthwise").get()[0, 0]
    assert np.isnan(y[1:4, 7:]).all()
    assert np.isfinite(y[:, :7]).all() and np.isfinite(y[4:]).all() and np.isfinite(y[0]).all()
    grad = np.ones((1, 1, 4, 9), np.float32)[..., :5]  # of windows on every other column of 11
    dw = kernels.conv2d_weight(
        gpu.asarray(x[..., :10]), (1, 1, 3, 1), gpu.asarray(grad), stride=(1, 2), algorithm="depthwise"
    ).get()
    assert np.isnan(dw[0, 0]).all()


def test_relu_keeps_nan(gpu):
    x = gpu.asarray(np.array([np.nan, -1, 2], np.float32).reshape(1, 1, 1, 3))
    y = kernels.conv2d(x, gpu.ones((1, 1, 1, 1), np.float32), activation="relu", algorithm="depthwise")
    np.testing.assert_array_equal(y.get().ravel(), [np.nan, 0, 2])


def test_other_groups_are_refused(gpu):
    x, weight = gpu.zeros((1, 4, 5, 5), np.float32), gpu.zeros((4, 2, 3, 3), np.float32)
    with pytest.raises(
        ValueError, match=r"^conv2d: algorithm 'depthwise' cannot serve this call: groups have 2 and 2 "
    ):
        kernels.conv2d(x, weight, groups=2, algorithm="depthwise")
    with pytest.raises(ValueError, match="do not fit shared memory"):
        kernels.conv2d(
            gpu.zeros((1, 1, 90, 90), np.float32), gpu.zeros((1, 1, 90, 90), np.float32), algorithm="depthwise"
        )


def test_products_of_matrices_are_left_to_others(gpu):
    x, weight = gpu.zeros((1, 9, 5, 5), np.float32), gpu.zeros((1, 9, 3, 3), np.float32)
    assert kernels.explain(kernels.conv2d, x, weight).variant != "depthwise"
    assert kernels.explain(kernels.conv2d, x[:, :8], weight[:, :8]).variant == "depthwise"
    assert kernels.explain(kernels.conv_transpose2d, x[:, :1], weight).variant == "depthwise"


sizes, few = st.integers(1, 12), st.integers(1, 4)
pairs = st.tuples(few, few)


@st.composite
def cases(draw):
    kernel = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    stride, dilation, padding = draw(pairs), draw(pairs), draw(st.tuples(pairs, pairs))
    size = [
        max(1, d * (k - 1) + 1 - sum(sides)) + draw(sizes)
        for k, d, sides in zip(kernel, dilation, padding, strict=True)
    ]
    filters, channels = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (4, 1), (1, 3)]))
    return depthwise(
        draw(few), draw(sizes), filters, size, kernel, channels, stride=stride, dilation=dilation, padding=padding
    )


@pytest.mark.slow
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cases(), st.sampled_from(DTYPES), st.sampled_from(["channels_last", "slice"]), st.sampled_from([None, "relu"]))
def test_any_window(gpu, case, dtype, format, activation):
    check(gpu, case, dtype, formats=Formats(format, "contiguous", format), activation=activation)
