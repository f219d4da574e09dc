"""The CUDA kernels of interpolation against the reference: every mode, up and down, strips of rows, planes, bytes."""

import numpy as np
import pytest
from gpu_cases import fetched, moved, on, run, same_as_reference
from kernel_cases import arranged, integers

from upconv import kernels
from upconv.kernels.cuda import resampling

MODES = [("nearest", False), *((mode, corners) for mode in ("bilinear", "bicubic") for corners in (False, True))]
SIZES = [(8, 10), (7, 3), (2, 15), (1, 1), (4, 5), (13, 2)]  # of maps of 4 x 5
CLOSE = 8  # epsilons of the largest: sums of up to 16 products, and the gradient's of more
each_mode = pytest.mark.parametrize(("mode", "align_corners"), MODES)


def resampled(gpu, x, size, mode, align_corners, format="channels_last"):
    """Interpolation, and its gradient."""
    how = {"mode": mode, "align_corners": align_corners}
    exact = 0 if mode == "nearest" else CLOSE
    same_as_reference(gpu, "interpolate", {"x": x, "size": size, **how}, format, exact)
    grad = integers(np.random.default_rng(1), (*x.shape[:2], *size), x.dtype)
    given = {"input_shape": x.shape, "grad": grad, **how}
    same_as_reference(gpu, "interpolate_input", given, format, exact)


@each_mode
@pytest.mark.parametrize("full", [0, 2**40])
def test_up_and_down(gpu, mode, align_corners, full, monkeypatch):
    """full: whether a thread takes strips of rows; the last may be shorter."""
    monkeypatch.setattr(resampling, "FULL", full)
    rng = np.random.default_rng(0)
    for number, size in enumerate(SIZES):
        x = integers(rng, (2, (4, 3, 8)[number % 3], 4, 5), np.float64 if number == 4 else np.float32)
        resampled(gpu, x, size, mode, align_corners, ("channels_last", "slice", "contiguous")[number // 2])


@pytest.mark.parametrize("channels", [1, 5, 33])
def test_any_channels(gpu, channels):
    x = integers(np.random.default_rng(0), (1, channels, 3, 4), np.float32)
    for format in ("channels_last", "contiguous", "reversed"):
        resampled(gpu, x, (6, 8), "bilinear", False, format)
        resampled(gpu, x, (5, 7), "nearest", False, format)


@pytest.mark.parametrize("scale", [2, 0.5, 1.7, (3, 0.4)])
def test_scale_factors(gpu, scale):
    x = integers(np.random.default_rng(0), (2, 4, 6, 8), np.float32)
    for mode in ("nearest", "bilinear", "bicubic"):
        given = {"x": x, "scale_factor": scale, "mode": mode}
        same_as_reference(gpu, "interpolate", given, tolerance=0 if mode == "nearest" else CLOSE)


def test_one_pixel_and_more_taps_than_are_loaded_at_once(gpu):
    """Each pixel of the gradient is a tap of very many."""
    for mode, align_corners in MODES:
        for shape in ((1, 4, 1, 1), (1, 2, 2, 2)):
            resampled(gpu, integers(np.random.default_rng(0), shape, np.float32), (19, 37), mode, align_corners)


def test_infinity_and_nan_stay_where_they_are(gpu):
    """No pixel is multiplied by a weight of 0 that is no tap."""
    x = np.zeros((1, 4, 6, 6), np.float32)
    x[0, 0, 2, 3], x[0, 1, 5, 5] = np.inf, np.nan
    for mode in ("nearest", "bilinear"):
        given = {"x": x, "size": 12, "mode": mode}
        ours = fetched(run("interpolate", on(gpu, given) | {"algorithm": "cuda"}))[0]
        np.testing.assert_array_equal(ours, kernels.interpolate(**given))
        given = {"input_shape": (1, 4, 3, 3), "grad": x, "mode": mode}
        ours = fetched(run("interpolate_input", on(gpu, given) | {"algorithm": "cuda"}))[0]
        np.testing.assert_array_equal(ours, kernels.interpolate_input(**given))


def test_tables_are_uploaded_once(gpu):
    x = gpu.zeros((1, 4, 9, 11), np.float32)
    for _ in range(2):
        gpu.device.forget()
        kernels.interpolate(x, size=(21, 23), mode="bilinear")
    assert not gpu.device.uploads
    assert not gpu.device.transfers


def test_how_often_bytes_are_moved(gpu, monkeypatch):
    """Written once. Read once where pixels of the result share nothing, and nearest neighbours in strips of rows."""
    x = arranged(np.ones((2, 8, 8, 8), np.float32), "channels_last")
    y = arranged(np.ones((2, 8, 16, 16), np.float32), "channels_last")

    def vectors(name, **arguments):
        ((read, written),) = moved(gpu, name, arguments, "v4")
        return read / x.nbytes, written / x.nbytes

    assert vectors("interpolate", x=x, size=4, mode="bilinear") == (1, 1 / 4)
    assert vectors("interpolate_input", input_shape=x.shape, grad=y) == (4, 1)
    alone = {mode: vectors("interpolate", x=x, size=16, mode=mode) for mode in ("nearest", "bilinear", "bicubic")}
    assert alone == {"nearest": (2, 4), "bilinear": (7.5, 4), "bicubic": (30, 4)}  # a warp shares what it reads at once
    gradient = vectors("interpolate_input", input_shape=x.shape, grad=y, mode="bicubic")
    monkeypatch.setattr(resampling, "FULL", 0)
    assert vectors("interpolate", x=x, size=16) == (1, 4)
    assert vectors("interpolate", x=x, size=16, mode="bilinear")[0] < 7.5 / 2
    assert vectors("interpolate", x=x, size=16, mode="bicubic")[0] < 30 / 2
    assert vectors("interpolate_input", input_shape=x.shape, grad=y, mode="bicubic")[0] < gradient[0] / 2
