"""Pooling of whole planes, and its gradients, on channels-last maps."""

from functools import cache
from typing import Any

import numpy as np

from ..layout import Array, Shape
from . import machine
from .channels import block, staged, window_largest
from .jit import VIEWS, claim, integers, kernel
from .parallel import SMALL, run, strided
from .stream import write
from .sum_loops import column_loop, row_loop
from .sums import folded

PARTS = 32  # of all planes together, each summed alone. It sets the order of the sums, so it must not depend on threads
INDEX = np.dtype(np.int64)


def _parts(x: Array) -> tuple[int, tuple[int, ...], tuple[int, ...], int]:
    """How many parts a plane has; x, and its shape, with a dense plane as one row; pixels that fit a stage."""
    n, c, h, w = x.shape
    address, image, row, pixel = strided(x)
    if row == w * pixel:
        h, w = 1, h * w
    parts = min(h * w, max(1, PARTS // max(1, n)))
    return parts, (address, image, row, pixel), (c, h, w), staged(x)[0]


def global_avg_pool(outputs: list[Array], x: Array) -> None:
    """global_avg_pool2d: float64 sums over parts of a plane, added in order."""
    parts, at, shape, _ = _parts(x)
    n, c = x.shape[:2]
    fold = folded(c) if at[3] == c * x.itemsize else 1
    partial = np.zeros((n, parts, fold * c))
    run(
        _sums(x.dtype, machine.vectors().lanes(x.dtype)),
        n * parts,
        partial.ctypes.data,
        at,
        (parts, *shape),
        fold * c,
        small=x.nbytes < SMALL,
    )
    with np.errstate(all="ignore"):  # infinities that cancel or overflow are the caller's, as in the kernel
        total = partial.reshape(n, parts * fold, c).sum(axis=1)
        outputs[0][:, :, 0, 0] = total / (x.shape[2] * x.shape[3])


@cache
def _sums(dtype: np.dtype, lanes: int) -> Any:
    by_rows, by_columns = (make("channel_sum", dtype, lanes) for make in (row_loop, column_loop))
    size = dtype.itemsize

    @kernel(f"global_sums-{dtype}x{lanes}")
    def sums(work, scratch, count, partial, x, shape, width):  # type: ignore[no-untyped-def]
        parts, channels, rows, columns = shape
        dense = x[3] == channels * size
        item = claim(work)
        while item < count:
            n, part = item // parts, item % parts
            at, end = part * rows * columns // parts, (part + 1) * rows * columns // parts
            while at < end:
                p, q = at // columns, at % columns
                some, total = min(columns - q, end - at), partial + item * width * 8
                first = x[0] + n * x[1] + p * x[2] + q * x[3]
                addresses = (first, first, first)
                if dense:
                    numbers, step = some * channels, (width * size, width * size, width * size)
                    by_rows(total, addresses, step, numbers // width, width, numbers % width, 0)
                else:
                    by_columns(total, addresses, (x[3], x[3], x[3]), some, width, 0)
                at += some
            item = claim(work)

    return sums


def global_max_pool(outputs: list[Array], x: Array, *, return_indices: bool) -> None:
    """global_max_pool2d: the largest of each part of a plane, then of those, in order."""
    parts, at, shape, pixels = _parts(x)
    n, c = x.shape[:2]
    best, winner = np.empty((n, parts, c), x.dtype), np.empty((n, parts, c), INDEX)
    run(
        _largest(x.dtype, block(c, x.dtype)),
        n * parts,
        best.ctypes.data,
        winner.ctypes.data,
        at,
        (parts, *shape),
        pixels,
        scratch=8 * (c + 1) + c * x.itemsize,
        small=x.nbytes < SMALL,
    )
    y, indices = best[:, 0], winner[:, 0]
    for part in range(1, parts):
        value = best[:, part]
        wins = ~(value <= y) & (y == y)
        np.copyto(y, value, where=wins)
        np.copyto(indices, winner[:, part], where=wins)
    outputs[0][:, :, 0, 0] = y
    if return_indices:
        outputs[1][:, :, 0, 0] = indices


@cache
def _largest(dtype: np.dtype, lanes: int) -> Any:
    view, largest = VIEWS[dtype.name], window_largest(dtype, INDEX, True, lanes)

    @kernel(f"global_largest-{dtype}x{lanes}")
    def global_largest(work, scratch, count, best, winner, x, shape, pixels):  # type: ignore[no-untyped-def]
        parts, channels, rows, columns = shape
        position, value = integers(scratch, channels), view(scratch + channels * 8, channels)
        item = claim(work)
        while item < count:
            n, part = item // parts, item % parts
            y = view(best + item * channels * value.itemsize, channels)
            index = integers(winner + item * channels * 8, channels)
            at, end = part * rows * columns // parts, (part + 1) * rows * columns // parts
            first = at
            while at < end:
                p, q = at // columns, at % columns
                some = min(pixels, columns - q, end - at)
                largest(
                    scratch + channels * 8,
                    scratch,
                    x[0] + n * x[1] + p * x[2] + q * x[3],
                    channels,
                    (1, some),
                    (0, x[3]),
                    at,
                    (0, 1),
                )
                for c in range(channels):
                    if at == first or (not (value[c] <= y[c]) and y[c] == y[c]):
                        y[c], index[c] = value[c], position[c]
                at += some
            item = claim(work)

    return global_largest


def global_avg_pool_input(outputs: list[Array], shape: Shape, grad: Array) -> None:
    """global_avg_pool2d_input: each plane filled with its share."""
    _fill(outputs[0], (grad[:, :, 0, 0].astype(np.float64) / (shape[2] * shape[3])).astype(grad.dtype))


def global_max_pool_input(outputs: list[Array], shape: Shape, indices: Array, grad: Array) -> None:
    """global_max_pool2d_input: zeros, then the winners."""
    _fill(outputs[0], np.zeros(shape[:2], grad.dtype))
    n, c = np.ix_(*map(np.arange, shape[:2]))
    rows, columns = np.divmod(indices[:, :, 0, 0], shape[3])
    outputs[0][n, c, rows, columns] = grad[:, :, 0, 0]


def _fill(result: Array, values: Array) -> None:
    """result[n,c,p,q] = values[n,c]."""
    n, c, h, w = result.shape
    pixels, stream = staged(result)
    items = min(h * w, 16)
    values = np.ascontiguousarray(values)
    run(
        _filled(result.dtype),
        n * items,
        result.ctypes.data,
        values.ctypes.data,
        (c, h * w, items),
        (pixels, stream),
        scratch=pixels * c * result.itemsize,
        small=result.nbytes < SMALL,
    )


@cache
def _filled(dtype: np.dtype) -> Any:
    size, copy = dtype.itemsize, write(dtype)

    @kernel(f"fill-{dtype}")
    def filled(work, scratch, count, y, values, shape, stage):  # type: ignore[no-untyped-def]
        channels, plane, items = shape
        pixels, stream = stage
        item, before = claim(work), -1
        while item < count:
            n, part = item // items, item % items
            if n != before:
                for q in range(pixels):
                    copy(scratch + q * channels * size, values + n * channels * size, channels, 0)
                before = n
            at, end = part * plane // items, (part + 1) * plane // items
            while at < end:
                some = min(pixels, end - at)
                copy(y + (n * plane + at) * channels * size, scratch, some * channels, stream)
                at += some
            item = claim(work)

    return filled
