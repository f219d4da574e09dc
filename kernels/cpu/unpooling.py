"""Unpooling at a fixed position, and its gradient, on channels-last maps."""

from functools import cache
from typing import Any

import numpy as np

from ..layout import Array
from ..window import Pair
from .channels import staged
from .jit import VIEWS, claim, kernel
from .parallel import SMALL, run, strided
from .stream import streams, write


def unpool(outputs: list[Array], x: Array, *, kernel_size: Pair) -> None:
    """unpool2d: each row of values between zeros, and the rows of zeros under it."""
    n, c, h, w = x.shape
    numbers = kernel_size[1] * c  # that a pixel becomes
    pixels = max(1, min(w, staged(outputs[0])[0] // kernel_size[1]))
    run(
        _unpool(x.dtype),
        n * h,
        outputs[0].ctypes.data,
        strided(x),
        (c, h, w),
        kernel_size,
        (pixels, int(streams(outputs[0].nbytes))),
        scratch=2 * pixels * numbers * x.itemsize,
        small=outputs[0].nbytes < SMALL,
    )


@cache
def _unpool(dtype: np.dtype) -> Any:
    view, size, copy = VIEWS[dtype.name], dtype.itemsize, write(dtype)

    @kernel(f"unpool-{dtype}")
    def unpool(work, scratch, count, y, x, shape, kernel_size, stage):  # type: ignore[no-untyped-def]
        channels, rows, columns = shape
        pixels, stream = stage
        apart = kernel_size[1] * channels
        view(scratch, 2 * pixels * apart)[:] = 0
        zeros = scratch + pixels * apart * size
        item = claim(work)
        while item < count:
            n, i = item // rows, item % rows
            for start in range(0, columns, pixels):
                some = min(pixels, columns - start)
                for j in range(some):
                    source = x[0] + n * x[1] + i * x[2] + (start + j) * x[3]
                    copy(scratch + j * apart * size, source, channels, 0)
                result = y + (item * kernel_size[0] * columns + start) * apart * size
                copy(result, scratch, some * apart, stream)
            for row in range(1, kernel_size[0]):
                for start in range(0, columns, pixels):
                    result = y + ((item * kernel_size[0] + row) * columns + start) * apart * size
                    copy(result, zeros, min(pixels, columns - start) * apart, stream)
            item = claim(work)

    return unpool


def unpool_input(outputs: list[Array], grad: Array, *, kernel_size: Pair) -> None:
    """unpool2d_input: one pixel of each block."""
    n, c, h, w = outputs[0].shape
    pixels, stream = staged(outputs[0])
    run(
        _picked(grad.dtype),
        n * h,
        outputs[0].ctypes.data,
        strided(grad),
        (c, h, w),
        kernel_size,
        (pixels, stream),
        scratch=pixels * c * grad.itemsize,
        small=outputs[0].nbytes < SMALL,
    )


@cache
def _picked(dtype: np.dtype) -> Any:
    size, copy = dtype.itemsize, write(dtype)

    @kernel(f"unpool_input-{dtype}")
    def picked(work, scratch, count, dx, grad, shape, kernel_size, stage):  # type: ignore[no-untyped-def]
        channels, rows, columns = shape
        pixels, stream = stage
        row = claim(work)
        while row < count:
            n, p = row // rows, row % rows * kernel_size[0]
            for start in range(0, columns, pixels):
                some = min(pixels, columns - start)
                result = dx + (row * columns + start) * channels * size
                target = scratch if stream else result
                for j in range(some):
                    q = (start + j) * kernel_size[1]
                    copy(target + j * channels * size, grad[0] + n * grad[1] + p * grad[2] + q * grad[3], channels, 0)
                if stream:
                    copy(result, target, some * channels, 1)
            row = claim(work)

    return picked
