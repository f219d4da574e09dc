"""The CUDA kernels of unpooling against the reference, to the last bit: indices near and far, twice, outside."""

import numpy as np
import pytest
from gpu_cases import moved, placed, same_as_reference
from kernel_cases import arranged, integers

from upconv import kernels
from upconv.kernels.cuda import maps, unpooling
from upconv.kernels.namespace import trusted

CHANNELS = (1, 3, 4, 5, 8, 33)
NEAR, FAR = {"max_unpool_near", "max_unpool_input_near"}, {"max_unpool", "max_unpool_input", "own", "disown"}


def unpooled(gpu, x, indices, size, format="channels_last", kernel_size=2):
    """Unpooling, and its gradient; which kernels ran."""
    gpu.device.forget()
    given = {"x": x, "indices": indices, "kernel_size": kernel_size, "output_size": size}
    same_as_reference(gpu, "max_unpool2d", given, format)
    grad = integers(np.random.default_rng(1), (*x.shape[:2], *size), x.dtype)
    same_as_reference(gpu, "max_unpool2d_input", {"grad": grad, "indices": indices}, format)
    return {*gpu.device.names} & (NEAR | FAR)


def in_blocks(rng, shape, size, block):
    """Indices, each in a block of its own."""
    rows, columns = (
        np.arange(count)[place] * step + rng.integers(0, step, shape)
        for count, step, place in zip(shape[2:], block, ((slice(None), None), (None, slice(None))), strict=True)
    )
    return np.minimum(rows, size[0] - 1) * size[1] + np.minimum(columns, size[1] - 1)


@pytest.mark.parametrize("block", [(1, 1), (2, 2), (3, 2), (4, 4), (5, 4)])
def test_indices_in_blocks_of_their_own(gpu, block):
    """They are written at once where a thread can take a block; the last rows and columns may belong to none."""
    rng = np.random.default_rng(0)
    for number, channels in enumerate(CHANNELS):
        shape = 2, channels, 4, 5
        size = 4 * block[0] + min(1, block[0] - 1), 5 * block[1] + min(1, block[1] - 1)
        indices = in_blocks(rng, shape, size, block)
        x = integers(rng, shape, np.float64 if channels == 5 else np.float32)
        format = ("channels_last", "reversed", "contiguous")[number % 3]
        kernels_of = NEAR if block[0] * block[1] <= unpooling.BLOCK else FAR
        assert unpooled(gpu, x, indices, size, format, block) == kernels_of


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_of_several_the_last_stays(gpu, dtype):
    rng = np.random.default_rng(0)
    for channels in CHANNELS:
        x = integers(rng, (2, channels, 4, 3), dtype)
        for spread in (48, 3, 1):  # how many pixels are named at all
            indices = rng.integers(0, spread, x.shape)
            assert unpooled(gpu, x, indices, (8, 6)) == FAR


def test_overlapping_windows_name_pixels_twice(gpu):
    x = integers(np.random.default_rng(0), (1, 8, 9, 9), np.float32)
    y, indices = kernels.max_pool2d(x, 3, stride=2, padding=1, return_indices=True)
    assert unpooled(gpu, y, indices, (9, 9)) == FAR


@pytest.mark.parametrize("bad", [-1, 24, 2**40, -(2**63)])
def test_an_index_outside_is_refused_and_where_nobody_looks_left_out(gpu, bad):
    x = np.ones((1, 4, 2, 3), np.float32)
    indices = np.zeros(x.shape, np.int64)
    indices[0, 2, 1, 1] = bad
    x, indices = (gpu.asarray(arranged(each, "channels_last")) for each in (x, indices))
    grad = gpu.asarray(arranged(np.ones((1, 4, 4, 6), np.float32), "channels_last"))
    with pytest.raises(IndexError, match=r"indices must be in 0\.\.23, got -?\d+$"):
        kernels.max_unpool2d(x, indices, 2)
    with pytest.raises(IndexError, match=r"indices must be in 0\.\.23, got -?\d+$"):
        kernels.max_unpool2d_input(grad, indices)
    with trusted():
        y, dx = kernels.max_unpool2d(x, indices, 2).get(), kernels.max_unpool2d_input(grad, indices).get()
    assert y.sum() == dx.sum() == 4  # of each channel the last that names pixel 0, which is not the bad one
    assert (dx[0, :, 1, 2] == 1).all()


def test_where_nobody_looks_blocks_are_tried(gpu):
    """One index elsewhere, in one image, and all is done the other way."""
    rng = np.random.default_rng(0)
    for channels in (3, 8):
        x = integers(rng, (2, channels, 6, 5), np.float32)
        near = in_blocks(rng, x.shape, (13, 10), (2, 2))
        far = near.copy()
        far[1, 2, 3, 3] = far[1, 2, 0, 0]
        for indices in (near, far):
            with trusted():
                unpooled(gpu, x, indices, (13, 10))
                unpooled(gpu, x, indices, (101, 100), kernel_size=(17, 20))  # blocks too large for a thread


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_indices_of_any_integers(gpu, dtype):
    x = integers(np.random.default_rng(0), (1, 4, 2, 3), np.float32)
    unpooled(gpu, x, np.arange(24, dtype=dtype).reshape(1, 4, 2, 3), (4, 6))
    large = np.full(x.shape, 200, dtype)
    with pytest.raises(IndexError, match=r"indices must be in 0\.\.23, got 200$"):
        kernels.max_unpool2d(gpu.asarray(x), gpu.asarray(large), 2)


def test_what_a_survey_finds(gpu):
    rng = np.random.default_rng(0)
    for shape in ((2, 5, 3, 4), (1, 8, 40, 41), (3, 4, 1, 1)):
        size = 2 * shape[2], 2 * shape[3] + 1
        near = in_blocks(rng, shape, size, (2, 2))
        far = near.copy()
        far[-1, -1, -1, -1] = 0
        for indices in (near, far):
            found = unpooling.survey(placed(gpu, arranged(indices, "channels_last")), size)
            assert found[0, 0, 1] == indices.max()
            assert found[0, 0, 0] <= 0
            assert found[0, 0, 2] == (indices is near or shape[2:] == (1, 1))


def test_no_step_of_a_survey_carries_32_bits_around(monkeypatch):
    """A thread that goes on would else begin anew: there are nearly 2**32 indices, which one array stands for."""
    started = []

    def kernel(source, name, **defines):
        return lambda grid, block, items, *arguments: started.append((defines["INDEX"], int(items), grid * block))

    monkeypatch.setattr(maps, "kernel", kernel)
    unpooling.survey(np.broadcast_to(np.zeros((1, 15, 1, 1), np.int64), (1, 15, 2**14, 2**14)), (2**15, 2**15))
    [(index, items, step)] = started
    assert index == "u32" and items == 15 * 2**28 and items + step < 2**32


@pytest.mark.parametrize("kernel", [(1, 1), (2, 2), (3, 1), (7, 9)])
def test_unpooling_at_the_corner_and_its_gradient(gpu, kernel):
    rng = np.random.default_rng(0)
    for number, channels in enumerate(CHANNELS):
        x = integers(rng, (2, channels, 3, 2), np.float64 if channels == 5 else np.float32)
        grad = integers(rng, (2, channels, 3 * kernel[0], 2 * kernel[1]), x.dtype)
        format = ("channels_last", "slice", "reversed")[number % 3]
        same_as_reference(gpu, "unpool2d", {"x": x, "kernel_size": kernel}, format)
        same_as_reference(gpu, "unpool2d_input", {"grad": grad, "kernel_size": kernel}, format)


def test_every_byte_is_moved_once(gpu):
    """Where indices are near, after they have been looked at. A thread loads four in two steps, each of which touches
    their sector: the second finds it in the nearest cache.
    """
    x = arranged(np.ones((2, 8, 4, 4), np.float32), "channels_last")
    indices = arranged(in_blocks(np.random.default_rng(0), x.shape, (8, 8), (2, 2)), "channels_last")
    y = arranged(np.ones((2, 8, 8, 8), np.float32), "channels_last")
    looked, unpooled = moved(gpu, "max_unpool2d", {"x": x, "indices": indices, "kernel_size": 2})
    assert looked[0] == indices.nbytes
    assert unpooled == (x.nbytes + 2 * indices.nbytes, y.nbytes)
    _, taken = moved(gpu, "max_unpool2d_input", {"grad": y, "indices": indices})
    assert taken == (y.nbytes + 2 * indices.nbytes, x.nbytes)
    with trusted():
        flag, tried, *others = moved(gpu, "max_unpool2d", {"x": x, "indices": indices, "kernel_size": 2})
    assert tried == unpooled
    assert len(others) == 3
    assert max(read + written for read, written in (flag, *others)) <= 32 * 8 * 8  # a word for each warp
    assert moved(gpu, "unpool2d", {"x": x, "kernel_size": 2}) == [(x.nbytes, y.nbytes)]
    assert moved(gpu, "unpool2d_input", {"grad": y, "kernel_size": 2}) == [(x.nbytes, x.nbytes)]
