"""Operators that look at one pixel at a time, on channels-last maps: plain loops over its channels."""

from collections.abc import Callable
from functools import cache
from math import exp
from typing import Any

import numba
import numpy as np

from ..layout import Array
from .jit import VIEWS, claim, kernel
from .parallel import run, strided

SPLITS = 16  # partial sums of channel_sum. It sets the order of the sums, so it must not depend on the threads


def relu(outputs: list[Array], x: Array) -> None:
    """relu."""
    _rows("relu", outputs[0], [x])


def relu_input(outputs: list[Array], y: Array, grad: Array) -> None:
    """relu_input."""
    _rows("relu_input", outputs[0], [y, grad])


def concatenate(outputs: list[Array], *xs: Array) -> None:
    """concatenate: copy each input into its channels."""
    start = 0
    for x in xs:
        _rows("copy", outputs[0][:, start : start + x.shape[1]], [x])
        start += x.shape[1]


def softmax(outputs: list[Array], x: Array) -> None:
    """softmax over the channels."""
    n, c, h, w = x.shape
    run(_softmax(x.dtype), n * h if c else 0, strided(outputs[0]), strided(x), (c, h, w))


def channel_sum(outputs: list[Array], x: Array) -> None:
    """channel_sum: SPLITS float64 partial sums, added in order."""
    n, c, h, w = x.shape
    partial = np.zeros((SPLITS, c))
    run(_channel_sum(x.dtype), SPLITS if x.size else 0, partial.ctypes.data, strided(x), (n, c, h, w))
    for row in partial[1:]:
        partial[0] += row
    outputs[0][...] = partial[0]


def _rows(name: str, y: Array, xs: list[Array]) -> None:
    """Run an elementwise kernel of one or two inputs over rows of pixels, a row being one long pixel where it is dense."""
    n, c, h, w = y.shape
    dense = all(w == 1 or a.strides[3] == c * a.itemsize for a in (y, *xs))
    run(
        _elementwise(name, y.dtype),
        n * h if c * w else 0,
        strided(y),
        strided(xs[0]),
        strided(xs[-1]),
        (c * w, h, 1) if dense else (c, h, w),
    )


@numba.njit(inline="always")
def _relu(y: Any, x: Any, again: Any) -> None:
    for c in range(y.size):
        y[c] = 0 if x[c] < 0 else x[c]


@numba.njit(inline="always")
def _relu_input(dx: Any, y: Any, grad: Any) -> None:
    for c in range(dx.size):
        dx[c] = 0 if y[c] <= 0 else grad[c]


@numba.njit(inline="always")
def _copy(y: Any, x: Any, again: Any) -> None:
    for c in range(y.size):
        y[c] = x[c]


LOOPS: dict[str, Callable[..., None]] = {"relu": _relu, "relu_input": _relu_input, "copy": _copy}


@cache
def _elementwise(name: str, dtype: np.dtype) -> Any:
    view, loop = VIEWS[dtype.name], LOOPS[name]

    @kernel(f"{name}-{dtype}")
    def elementwise(work, scratch, count, y, first, second, shape):  # type: ignore[no-untyped-def]
        channels, rows, columns = shape
        row = claim(work)
        while row < count:
            n, i = row // rows, row % rows
            for j in range(columns):
                loop(
                    view(y[0] + n * y[1] + i * y[2] + j * y[3], channels),
                    view(first[0] + n * first[1] + i * first[2] + j * first[3], channels),
                    view(second[0] + n * second[1] + i * second[2] + j * second[3], channels),
                )
            row = claim(work)

    return elementwise


@cache
def _softmax(dtype: np.dtype) -> Any:
    view = VIEWS[dtype.name]

    @kernel(f"softmax-{dtype}")
    def softmax(work, scratch, count, y, x, shape):  # type: ignore[no-untyped-def]
        channels, rows, columns = shape
        row = claim(work)
        while row < count:
            n, i = row // rows, row % rows
            for j in range(columns):
                z = view(x[0] + n * x[1] + i * x[2] + j * x[3], channels)
                result = view(y[0] + n * y[1] + i * y[2] + j * y[3], channels)
                largest = z[0]
                for c in range(channels):
                    largest = max(largest, z[c])
                total = 0.0
                for c in range(channels):
                    result[c] = exp(z[c] - largest)
                    total += result[c]
                for c in range(channels):
                    result[c] = result[c] / total
            row = claim(work)

    return softmax


@cache
def _channel_sum(dtype: np.dtype) -> Any:
    view, sums = VIEWS[dtype.name], VIEWS["float64"]

    @kernel(f"channel_sum-{dtype}")
    def channel_sum(work, scratch, count, partial, x, shape):  # type: ignore[no-untyped-def]
        images, channels, rows, columns = shape
        split = claim(work)
        while split < count:
            total = sums(partial + split * channels * 8, channels)
            for row in range(split * images * rows // count, (split + 1) * images * rows // count):
                n, i = row // rows, row % rows
                for j in range(columns):
                    value = view(x[0] + n * x[1] + i * x[2] + j * x[3], channels)
                    for c in range(channels):
                        total[c] += value[c]
            split = claim(work)

    return channel_sum
