"""Fully connected layers of one input or one output, which only move memory: products of two vectors, weighted sums."""

from functools import cache
from typing import Any

import numpy as np

from ..layout import Array
from .jit import VIEWS, claim, kernel
from .parallel import SMALL, run
from .stream import streams, write

STAGE = 2048  # numbers, about, that are computed before they are written
CHUNK = 64 * 1024  # numbers that a thread claims
ITEMS = 16  # to have, where there are rows enough
SPLITS = 64  # partial sums. It sets the order of the sums, so it must not depend on the threads
ROWS = 128  # summed in the dtype of the rows, before their sums are added up in float64
double = VIEWS["float64"]


def product(y: Array, a: Array, b: Array) -> None:
    """y[i, j] = a[i] b[j]; all dense."""
    rows, columns = y.shape
    together = max(1, STAGE // max(1, columns))
    chunk = max(together, min(CHUNK // max(1, columns), rows // ITEMS) // together * together)
    run(
        _product(y.dtype),
        -(-rows // chunk),
        y.ctypes.data,
        a.ctypes.data,
        b.ctypes.data,
        (rows, columns, together, chunk, int(streams(y.nbytes))),
        scratch=together * columns * y.itemsize,
        small=y.nbytes < SMALL,
    )


@cache
def _product(dtype: np.dtype) -> Any:
    view, size, copy = VIEWS[dtype.name], dtype.itemsize, write(dtype)

    @kernel(f"rank_one-{dtype}")
    def product(work, scratch, count, y, a, b, shape):  # type: ignore[no-untyped-def]
        rows, columns, together, chunk, stream = shape
        factors, right = view(a, rows), view(b, columns)
        item = claim(work)
        while item < count:
            for start in range(item * chunk, min(rows, (item + 1) * chunk), together):
                some = min(together, rows - start)
                for i in range(some):
                    row, factor = view(scratch + i * columns * size, columns), factors[start + i]
                    for j in range(columns):
                        row[j] = factor * right[j]
                copy(y + start * columns * size, scratch, some * columns, stream)
            item = claim(work)

    return product


def weighted_sum(y: Array, a: Array, x: Array) -> None:
    """y[j] = sum over i of a[i] x[i, j]; all dense."""
    rows, columns = x.shape
    splits = max(1, min(SPLITS, rows // ROWS))
    partial = np.empty((splits, columns))
    run(
        _weighted_sum(x.dtype),
        splits,
        partial.ctypes.data,
        a.ctypes.data,
        x.ctypes.data,
        rows,
        columns,
        scratch=columns * x.itemsize,
        small=x.nbytes < SMALL,
    )
    with np.errstate(all="ignore"):  # infinities that cancel or overflow are the caller's, as in the kernel
        y[...] = partial.sum(axis=0)


@cache
def _weighted_sum(dtype: np.dtype) -> Any:
    view, size = VIEWS[dtype.name], dtype.itemsize

    @kernel(f"weighted_sum-{dtype}")
    def weighted_sum(work, scratch, count, partial, a, x, rows, columns):  # type: ignore[no-untyped-def]
        factors, held = view(a, rows), view(scratch, columns)
        split = claim(work)
        while split < count:
            total = double(partial + split * columns * 8, columns)
            total[:] = 0
            start, stop = split * rows // count, (split + 1) * rows // count
            while start < stop:
                end = min(start + ROWS, stop)
                held[:] = 0
                for i in range(start, end):
                    row, factor = view(x + i * columns * size, columns), factors[i]
                    for j in range(columns):
                        held[j] += factor * row[j]
                for j in range(columns):
                    total[j] += held[j]
                start = end
            split = claim(work)

    return weighted_sum
