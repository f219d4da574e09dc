"""The CUDA kernels of pooling against the reference, to the last bit: windows, ties, NaN, codes, and what they move."""

import numpy as np
import pytest
from gpu_cases import fetched, moved, on, run, same_as_reference
from kernel_cases import arranged, integers, plane

from upconv import kernels
from upconv.kernels.namespace import trusted

CHANNELS = (1, 3, 4, 5, 8, 33)
WINDOWS = {
    "apart": {"kernel_size": 2},
    "overlapping": {"kernel_size": 3, "stride": 2, "padding": 1},
    "dilated": {"kernel_size": (3, 2), "stride": 1, "padding": 1, "dilation": 2},
    "far apart": {"kernel_size": (2, 1), "stride": 3, "padding": ((1, 0), (0, 0))},
    "partly filled": {"kernel_size": (2, 3), "stride": (3, 2), "ceil_mode": True},
    "large": {"kernel_size": 5, "stride": (1, 7), "padding": 2},
}
each_window = pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)


def pooled_everywhere(gpu, x, window, format):
    """Every operator of max-pooling, for a map and for gradients of small integers."""
    same_as_reference(gpu, "max_pool2d", {"x": x, **window}, format)
    same_as_reference(gpu, "max_pool2d", {"x": x, "return_indices": True, **window}, format)
    same_as_reference(gpu, "max_pool2d_offsets", {"x": x, **window}, format)
    y, offsets = kernels.max_pool2d_offsets(x, algorithm="reference", **window)
    codes = {"input_shape": x.shape, "offsets": offsets, **window}
    grad = integers(np.random.default_rng(1), y.shape, x.dtype)
    if format not in ("slice", "spread"):  # in gaps there are offsets that no window has
        same_as_reference(gpu, "max_pool2d_indices", codes, format)
        same_as_reference(gpu, "max_pool2d_input", codes | {"grad": grad}, format)


@each_window
@pytest.mark.parametrize("format", ["channels_last", "slice", "reversed"])
def test_max_pooling_and_its_gradient(gpu, window, format):
    rng = np.random.default_rng(0)
    for channels in CHANNELS:
        x = integers(rng, (2, channels, 7, 9), np.float32)  # with many ties
        x[rng.random(x.shape) < 0.05] = np.nan
        pooled_everywhere(gpu, x, window, format)
    pooled_everywhere(gpu, integers(rng, (1, 6, 8, 6), np.float64), window, format)


def test_one_pixel_and_windows_that_padding_fills(gpu):
    for x in (plane([[-np.inf]], np.float32), plane([[np.nan]], np.float32), np.zeros((2, 4, 1, 1), np.float32)):
        pooled_everywhere(gpu, x, {"kernel_size": 1}, "channels_last")
        pooled_everywhere(gpu, x, {"kernel_size": 3, "stride": 1, "padding": 1}, "channels_last")


def test_the_first_of_equals_and_of_nan_wins_and_zeros_keep_their_signs(gpu):
    x = plane([[-0.0, 0.0, 1, 1], [0.0, -0.0, 1, 1], [np.nan, 5, -np.inf, -np.inf], [np.nan, 6, -np.inf, -np.inf]])
    y, indices = run("max_pool2d", on(gpu, {"x": x, "kernel_size": 2, "return_indices": True, "algorithm": "cuda"}))
    y, indices = fetched((y, indices))
    np.testing.assert_array_equal(indices[0, 0], [[0, 2], [8, 10]])
    np.testing.assert_array_equal(y[0, 0], [[0, 1], [np.nan, -np.inf]])
    assert np.signbit(y[0, 0, 0, 0])


def test_codes_of_windows_with_many_taps(gpu):
    """A byte does not count them."""
    x = integers(np.random.default_rng(0), (1, 4, 17, 18), np.float32)
    assert kernels.max_pool2d_offsets(x, 17)[1].dtype == np.int32
    pooled_everywhere(gpu, x, {"kernel_size": 17, "stride": 1}, "channels_last")


@pytest.mark.parametrize("window", [{"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "padding": 1}])
def test_codes_that_no_window_has_add_nothing(gpu, window):
    """In a graph, say, nobody looks at them first."""
    grad = gpu.asarray(arranged(np.ones((1, 4, 3, 3), np.float32), "channels_last"))
    offsets = gpu.asarray(arranged(np.full((1, 4, 3, 3), 255, np.uint8), "channels_last"))
    with trusted():
        dx = kernels.max_pool2d_input((1, 4, 6, 6), offsets, grad, algorithm="cuda", **window)
    assert not dx.get().any()


@pytest.mark.parametrize("window", [each for each in WINDOWS.values() if "dilation" not in each])
@pytest.mark.parametrize("options", [{}, {"count_include_pad": False}, {"divisor_override": 3}])
def test_average_pooling_and_its_gradient(gpu, window, options):
    rng = np.random.default_rng(0)
    for number, channels in enumerate(CHANNELS):
        x = rng.standard_normal((2, channels, 7, 9)).astype(np.float64 if channels == 5 else np.float32)
        format = ("channels_last", "slice", "reversed")[number % 3]
        same_as_reference(gpu, "avg_pool2d", {"x": x, **window, **options}, format)
        grad = rng.standard_normal(kernels.avg_pool2d(x, **window, **options).shape).astype(x.dtype)
        given = {"input_shape": x.shape, "grad": grad, **window, **options}
        same_as_reference(gpu, "avg_pool2d_input", given, format, tolerance=1)  # the reference adds in another order


def test_every_byte_is_moved_once(gpu):
    """By windows that share no pixel; eight channels fill a sector."""
    x = arranged(np.ones((2, 8, 8, 8), np.float32), "channels_last")
    y, offsets = kernels.max_pool2d_offsets(x, 2)
    codes = {"input_shape": x.shape, "offsets": offsets, "kernel_size": 2}
    assert moved(gpu, "max_pool2d", {"x": x, "kernel_size": 2}) == [(x.nbytes, y.nbytes)]
    assert moved(gpu, "max_pool2d_offsets", {"x": x, "kernel_size": 2}) == [(x.nbytes, y.nbytes + offsets.nbytes)]
    with trusted():
        assert moved(gpu, "max_pool2d_input", codes | {"grad": y}) == [(y.nbytes + offsets.nbytes, x.nbytes)]
    assert moved(gpu, "avg_pool2d", {"x": x, "kernel_size": 2}) == [(x.nbytes, y.nbytes)]
    given = {"input_shape": x.shape, "grad": y, "kernel_size": 2}
    assert moved(gpu, "avg_pool2d_input", given) == [(y.nbytes, x.nbytes)]
