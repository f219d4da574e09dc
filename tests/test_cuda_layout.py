"""Copies between memory formats on a GPU: through tiles where one side is in planes and the other in pixels."""

import numpy as np
import pytest
from gpu_cases import fetched, on
from kernel_cases import arranged

from upconv import kernels
from upconv.kernels import layout

DTYPES = (np.float32, np.float64, np.uint8, np.bool_, np.int64)


def numbers(shape, dtype):
    """All different, where the dtype has so many."""
    return (
        (np.arange(np.prod(shape)) % 251 if np.dtype(dtype).itemsize == 1 else np.arange(np.prod(shape)))
        .reshape(shape)
        .astype(dtype)
    )


def there_and_back(gpu, x):
    """Copied to channels-last memory and from there to contiguous; the launches."""
    gpu.device.forget()
    last = layout.channels_last(x)
    assert layout.is_channels_last(last)
    back = layout.contiguous(last)
    assert back.flags.c_contiguous
    for each in (last, back):
        np.testing.assert_array_equal(*fetched((each, x)))
    return gpu.device.launches


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 3, 5, 9), (1, 32, 8, 8), (2, 33, 7, 11)])
def test_every_size_of_number(gpu, shape, dtype):
    launches = there_and_back(gpu, gpu.asarray(numbers(shape, dtype)))
    assert [name for name, *_ in launches] == ["transpose"] * 2


@pytest.mark.parametrize("channels", [2, 4, 7, 16, 31, 64, 65])
@pytest.mark.parametrize("size", [(1, 2), (1, 33), (40, 33)])
def test_tiles_that_are_not_full(gpu, channels, size):
    launches = there_and_back(gpu, gpu.asarray(numbers((3, channels, *size), np.float32)))
    assert [name for name, *_ in launches] == ["transpose"] * 2


@pytest.mark.parametrize("shape", [(2, 1, 5, 4), (2, 5, 1, 1), (0, 3, 4, 4), (2, 3, 0, 4)])
def test_nothing_to_transpose(gpu, shape):
    x = gpu.asarray(numbers(shape, np.float32))
    assert not there_and_back(gpu, x)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("channels", [2, 4, 8, 16, 32])
def test_no_two_threads_want_one_bank(gpu, channels, dtype):
    for *_, counts in there_and_back(gpu, gpu.asarray(numbers((1, channels, 32, 32), dtype))):
        assert counts.bank_conflicts == 0


def test_every_sector_is_moved_once(gpu):
    for *_, counts in there_and_back(gpu, gpu.asarray(numbers((2, 64, 16, 16), np.float32))):
        memory = counts.of("global")
        assert memory.used == memory.ideal == 2 * 2 * 64 * 16 * 16 * 4 // 32


def test_slices_of_channels(gpu):
    x = arranged(numbers((2, 8, 5, 9), np.float32), "slice")
    out = arranged(np.zeros((2, 8, 5, 9), np.float32), "slice")
    planes = gpu.asarray(numbers((2, 11, 5, 9), np.float32))[:, 2:10]
    given = on(gpu, {"x": x, "out": out})
    back = gpu.zeros((2, 8, 5, 9), np.float32)
    gpu.device.forget()
    layout.assign(back, given["x"])
    layout.assign(given["out"], planes)
    assert len(gpu.device.launches) == 2
    np.testing.assert_array_equal(*fetched((back, given["x"])))
    np.testing.assert_array_equal(*fetched((given["out"], planes)))


@pytest.mark.parametrize("format", ["spread", "reversed", "turned", "broadcast", "one channel"])
def test_other_formats_are_copied_all_the_same(gpu, format):
    x = on(gpu, {"x": arranged(numbers((2, 4, 5, 6), np.float32), format)})["x"]
    for out in (gpu.zeros(x.shape, x.dtype), layout.empty(x.shape, x.dtype, x)):
        layout.assign(out, x)
        np.testing.assert_array_equal(*fetched((out, x)))


def test_operators_take_and_give_planes(gpu):
    x = gpu.asarray(numbers((2, 8, 6, 7), np.float32))
    weight = gpu.ones((8, 1, 1, 1), np.float32)
    out = gpu.zeros(x.shape, x.dtype)
    gpu.device.forget()
    y = kernels.conv2d(x, weight, groups=8)
    assert kernels.conv2d(x, weight, groups=8, out=out) is out
    assert [name for name, *_ in gpu.device.launches].count("transpose") == 4
    assert y.flags.c_contiguous
    np.testing.assert_array_equal(*fetched((y, x)))
    np.testing.assert_array_equal(*fetched((out, x)))
