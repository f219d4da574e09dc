"""Convolution on a GPU's plain units: tiles that are not full, windows, groups, splits and memory of every kind."""

import numpy as np
import pytest
from gpu_cases import fetched
from gpu_sides import Formats, check_sides
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_cases import DTYPES, Convolution, convolutions, integers, same_bits

from upconv import kernels

ONE = ((1, 1), (1, 1))


def check(gpu, case, dtype=np.float64, **more):
    check_sides(gpu, case, dtype, algorithm="direct", **more)


@pytest.mark.parametrize(
    ("channels", "filters", "dtype"),
    [(1, 1, np.float64), (3, 5, np.float64), (9, 66, np.float64), (33, 4, np.float32)],
)
def test_channels_around_steps_and_tiles(gpu, channels, filters, dtype):
    case = Convolution((2, channels, 6, 7), (filters, channels, 3, 3), padding=ONE)
    check(gpu, case, dtype, activation="relu")


WINDOWS = {
    "one tap": {"kernel": (1, 1)},
    "one tap in steps": {"kernel": (1, 1), "stride": (2, 3)},
    "steps": {"kernel": (3, 2), "stride": (2, 3), "padding": ((1, 0), (2, 1))},
    "far taps in steps": {"kernel": (3, 3), "stride": (4, 2), "dilation": (2, 3), "padding": ((1, 2), (2, 1))},
    "steps past taps": {"kernel": (1, 2), "stride": (3, 3), "dilation": (1, 3)},
    "seven": {"kernel": (7, 7), "padding": ((5, 5), (3, 3)), "stride": (3, 3)},
}


@pytest.mark.parametrize("name", WINDOWS)
def test_windows(gpu, name):
    window = dict(WINDOWS[name])
    check(gpu, Convolution((2, 5, 9, 11), (6, 5, *window.pop("kernel")), **window))


@pytest.mark.parametrize("groups", [2, 5])
def test_groups(gpu, groups):
    check(gpu, Convolution((2, 3 * groups, 5, 6), (2 * groups, 3, 3, 3), padding=ONE, groups=groups))


@pytest.mark.parametrize("size", [(1, 1), (1, 70)])
def test_maps_of_few_pixels(gpu, size):
    check(gpu, Convolution((1, 4, *size), (3, 4, 3, 3), padding=ONE))


@pytest.mark.parametrize("format", ["slice", "reversed", "broadcast", "contiguous"])
def test_memory(gpu, format):
    out = "channels_last" if format in ("reversed", "broadcast") else format
    check(gpu, Convolution((2, 8, 5, 6), (4, 8, 3, 3), padding=ONE), formats=Formats(format, format, out))


def test_sums_of_many_splits(gpu):
    rng = np.random.default_rng(0)
    case = Convolution((2, 3, 20, 33), (4, 3, 3, 1))
    x, grad = integers(rng, case.x_shape), integers(rng, case.y_shape)
    dw = kernels.conv2d_weight(gpu.asarray(x), case.weight_shape, gpu.asarray(grad), algorithm="direct")
    assert gpu.device.names["add_splits"] == 1
    same_bits(*fetched(dw), kernels.reference.conv2d_weight(x, case.weight_shape, grad, **case.geometry), np.float64)


def test_real_numbers_twice(gpu):
    """Within a few roundings of the products' sum, and the same bits each time."""
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(2, 9, 12, 13)), rng.normal(size=(7, 9, 3, 3))
    given = gpu.asarray(x), gpu.asarray(weight)
    y, again = fetched(tuple(kernels.conv2d(*given, algorithm="direct") for _ in range(2)))
    np.testing.assert_array_equal(y, again)
    exact = kernels.reference.conv2d(
        x, weight, None, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1, activation=None
    )
    np.testing.assert_allclose(y, exact, rtol=1e-12, atol=1e-12)


def test_an_empty_batch_gives_zeros(gpu):
    x, grad = gpu.zeros((0, 4, 5, 5)), gpu.zeros((0, 6, 3, 3))
    weight = gpu.zeros((6, 4, 3, 3))
    assert kernels.conv2d(x, weight, algorithm="direct").shape == grad.shape
    dw = kernels.conv2d_weight(x, weight.shape, grad, algorithm="direct")
    np.testing.assert_array_equal(dw.get(), np.zeros(weight.shape))


def test_no_filters_give_no_gradient(gpu):
    weight, grad = gpu.zeros((0, 4, 3, 3)), gpu.zeros((2, 0, 3, 3))
    dx = kernels.conv2d_input((2, 4, 5, 5), weight, grad, algorithm="direct")
    np.testing.assert_array_equal(dx.get(), np.zeros((2, 4, 5, 5)))


def test_infinite_and_nan_stay_with_their_windows(gpu):
    x = np.ones((1, 1, 7, 40))
    x[0, 0, 3, 20] = np.nan
    weight = gpu.ones((2, 1, 3, 3))
    y = kernels.conv2d(gpu.asarray(x), weight, padding=1, activation="relu", algorithm="direct").get()
    assert np.isnan(y[0, :, 2:5, 19:22]).all() and np.isnan(y).sum() == 2 * 9


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_two_threads_want_one_bank(gpu, dtype):
    x, weight = gpu.ones((1, 4, 12, 12), dtype), gpu.ones((64, 4, 3, 3), dtype)
    gpu.device.forget()
    kernels.conv2d(x, weight, algorithm="direct")
    counts = next(counts for name, *_, counts in gpu.device.launches if name == "correlate_plainly")
    assert counts.bank_conflicts == 0


def test_pixels_that_are_windows_are_left_to_the_library(gpu):
    x, weight = gpu.zeros((1, 9, 5, 5)), gpu.zeros((6, 9, 1, 1))
    assert kernels.explain(kernels.conv2d, x, weight).variant == "base"
    assert kernels.explain(kernels.conv2d, x, weight, stride=2).variant == "direct"


def test_more_pixels_than_an_int_counts_are_refused(gpu):
    x = gpu.lib.stride_tricks.as_strided(gpu.zeros((1, 2, 1, 1)), (1, 2, 2**15, 2**15), (0, 8, 0, 0))
    with pytest.raises(
        ValueError, match=r"cannot serve this call: its maps or its window cover 2\*\*30 pixels or more"
    ):
        kernels.conv2d(x, gpu.zeros((3, 2, 3, 3)), algorithm="direct")


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    convolutions(),
    st.sampled_from(DTYPES),
    st.sampled_from(["channels_last", "slice"]),
    st.sampled_from([None, "relu"]),
)
def test_any_window(gpu, case, dtype, format, activation):
    check(gpu, case, dtype, formats=Formats(format, "contiguous", format), activation=activation)
