"""Operators that look at one pixel at a time, on channels-last maps."""

from collections.abc import Callable
from functools import cache
from math import exp
from typing import Any

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic

from ..layout import Array
from . import machine
from .jit import VIEWS, claim, kernel
from .parallel import SMALL, run, strided
from .vector import Words

SPLITS = 16  # partial sums of channel_sum. It sets the order of the sums, so it must not depend on the threads


def relu(outputs: list[Array], x: Array) -> None:
    """relu."""
    _rows("relu", outputs[0], [x])


def relu_input(outputs: list[Array], y: Array, grad: Array) -> None:
    """relu_input."""
    _rows("relu_input", outputs[0], [y, grad])


def add(outputs: list[Array], x: Array, y: Array) -> None:
    """add."""
    _rows("add", outputs[0], [x, y])


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


def softmax_input(outputs: list[Array], y: Array, grad: Array) -> None:
    """softmax_input."""
    n, c, h, w = y.shape
    run(_softmax_input(y.dtype), n * h, strided(outputs[0]), strided(y), strided(grad), (c, h, w))


def channel_sum(outputs: list[Array], x: Array) -> None:
    """channel_sum."""
    _summed("channel_sum", outputs[0], [x])


def bias_relu_input(outputs: list[Array], y: Array, grad: Array) -> None:
    """bias_relu_input: relu_input, and the channel sums of what it writes, in one pass."""
    _summed("bias_relu_input", outputs[1], [outputs[0], y, grad])


def _summed(name: str, sums: Array, maps: list[Array]) -> None:
    """Run a kernel that sums over pixels: SPLITS float64 partial sums, added in order."""
    n, c, h, w = maps[0].shape
    partial = np.zeros((SPLITS, c))
    size = maps[0].nbytes
    run(
        KERNELS[name](sums.dtype, machine.vectors().lanes(sums.dtype)),
        SPLITS if size else 0,
        partial.ctypes.data,
        tuple(strided(each) for each in maps),
        (n, c, h, w),
        small=size < SMALL,
    )
    with np.errstate(all="ignore"):  # infinities that cancel or overflow are the caller's, as in the kernel
        for row in partial[1:]:
            partial[0] += row
        sums[...] = partial[0]


def _rows(name: str, y: Array, xs: list[Array]) -> None:
    """Run an elementwise kernel of one or two inputs over rows of pixels; a dense row is one long pixel."""
    n, c, h, w = y.shape
    dense = all(w == 1 or a.strides[3] == c * a.itemsize for a in (y, *xs))
    run(
        _elementwise(name, y.dtype, machine.vectors().lanes(y.dtype)),
        n * h if c * w else 0,
        strided(y),
        strided(xs[0]),
        strided(xs[-1]),
        (c * w, h, 1) if dense else (c, h, w),
        small=y.nbytes < SMALL,
    )


# What is done to each number; the second input is the first again where there is only one.
WORDS: dict[str, Callable[[Words, Any, Any], Any]] = {
    "relu": lambda words, x, _: words.rectify(x),
    "relu_input": lambda words, y, grad: words.where_not_positive(y, grad),
    "add": lambda words, x, y: words.builder.fadd(x, y),
    "copy": lambda words, x, _: x,
}


@cache
def _loop(name: str, dtype: np.dtype, lanes: int) -> Any:
    """An intrinsic (y, first, second, count): addresses of `count` numbers each. y may be first or second.

    Vectors are spoken out, because LLVM takes a loop whose result may be its input one number at a time.
    """

    @intrinsic
    def loop(typing_context, y, first, second, count):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            y, first, second, count = arguments
            size = dtype.itemsize

            def body(words: Words) -> Callable[[Any], list[Any]]:
                def one(offset: Any) -> list[Any]:
                    read = [words.load(builder.add(each, offset)) for each in (first, second)]
                    words.store(WORDS[name](words, *read), builder.add(y, offset))
                    return []

                return one

            wide, single = Words(builder, dtype, lanes), Words(builder, dtype, 1)
            end = builder.mul(count, wide.integer(size))
            whole = builder.sub(end, wide.integer((lanes - 1) * size))
            rest, _ = wide.loop(wide.integer(0), whole, lanes * size, [], body(wide))
            single.loop(rest, end, size, [], body(single))
            return context.get_dummy_value()

        return types.void(*[types.intp] * 4), emit

    return loop


@cache
def _elementwise(name: str, dtype: np.dtype, lanes: int) -> Any:
    loop = _loop(name, dtype, lanes)

    @kernel(f"{name}-{dtype}x{lanes}")
    def elementwise(work, scratch, count, y, first, second, shape):  # type: ignore[no-untyped-def]
        channels, rows, columns = shape
        row = claim(work)
        while row < count:
            n, i = row // rows, row % rows
            for j in range(columns):
                loop(
                    y[0] + n * y[1] + i * y[2] + j * y[3],
                    first[0] + n * first[1] + i * first[2] + j * first[3],
                    second[0] + n * second[1] + i * second[2] + j * second[3],
                    channels,
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
def _softmax_input(dtype: np.dtype) -> Any:
    view = VIEWS[dtype.name]

    @kernel(f"softmax_input-{dtype}")
    def softmax_input(work, scratch, count, dx, y, grad, shape):  # type: ignore[no-untyped-def]
        channels, rows, columns = shape
        row = claim(work)
        while row < count:
            n, i = row // rows, row % rows
            for j in range(columns):
                p = view(y[0] + n * y[1] + i * y[2] + j * y[3], channels)
                g = view(grad[0] + n * grad[1] + i * grad[2] + j * grad[3], channels)
                result = view(dx[0] + n * dx[1] + i * dx[2] + j * dx[3], channels)
                total = 0.0
                for c in range(channels):
                    total += p[c] * g[c]
                for c in range(channels):
                    result[c] = p[c] * (g[c] - total)
            row = claim(work)

    return softmax_input


@cache
def _channel_sum(dtype: np.dtype, lanes: int) -> Any:
    view, sums = VIEWS[dtype.name], VIEWS["float64"]

    @kernel(f"channel_sum-{dtype}")
    def channel_sum(work, scratch, count, partial, maps, shape):  # type: ignore[no-untyped-def]
        images, channels, rows, columns = shape
        x = maps[0]
        split = claim(work)
        while split < count:
            total = sums(partial + split * channels * 8, channels)
            for row in range(split * images * rows // count, (split + 1) * images * rows // count):
                n, i = row // rows, row % rows
                at = x[0] + n * x[1] + i * x[2]
                for j in range(0, columns - columns % 4, 4):  # four pixels for each time the sums are read and written
                    first, second = view(at + j * x[3], channels), view(at + (j + 1) * x[3], channels)
                    third, fourth = view(at + (j + 2) * x[3], channels), view(at + (j + 3) * x[3], channels)
                    for c in range(channels):
                        pair = numba.float64(first[c]) + numba.float64(second[c])
                        total[c] += pair + (numba.float64(third[c]) + numba.float64(fourth[c]))
                for j in range(columns - columns % 4, columns):
                    value = view(at + j * x[3], channels)
                    for c in range(channels):
                        total[c] += value[c]
            split = claim(work)

    return channel_sum


@cache
def _bias_relu_loop(dtype: np.dtype, lanes: int) -> Any:
    """An intrinsic (dx, y, grad, total, count): addresses of `count` numbers each, total being float64."""

    @intrinsic
    def loop(typing_context, dx, y, grad, total, count):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            dx, y, grad, total, count = arguments
            size = dtype.itemsize

            def body(words: Words, sums: Words) -> Callable[[Any], list[Any]]:
                def one(c: Any) -> list[Any]:
                    offset, place = (
                        builder.mul(c, words.integer(size)),
                        builder.add(total, builder.mul(c, words.integer(8))),
                    )
                    read = [words.load(builder.add(each, offset)) for each in (y, grad)]
                    value = words.where_not_positive(*read)
                    words.store(value, builder.add(dx, offset))
                    exact = value if size == 8 else builder.fpext(value, sums.vector)
                    sums.store(builder.fadd(sums.load(place), exact), place)
                    return []

                return one

            double = np.dtype(np.float64)
            wide, single = Words(builder, dtype, lanes), Words(builder, dtype, 1)
            whole = builder.sub(count, wide.integer(lanes - 1))
            rest, _ = wide.loop(wide.integer(0), whole, lanes, [], body(wide, Words(builder, double, lanes)))
            single.loop(rest, count, 1, [], body(single, Words(builder, double, 1)))
            return context.get_dummy_value()

        return types.void(*[types.intp] * 5), emit

    return loop


@cache
def _bias_relu_input(dtype: np.dtype, lanes: int) -> Any:
    loop = _bias_relu_loop(dtype, lanes)

    @kernel(f"bias_relu_input-{dtype}x{lanes}")
    def bias_relu_input(work, scratch, count, partial, maps, shape):  # type: ignore[no-untyped-def]
        images, channels, rows, columns = shape
        dx, y, grad = maps
        split = claim(work)
        while split < count:
            for row in range(split * images * rows // count, (split + 1) * images * rows // count):
                n, i = row // rows, row % rows
                for j in range(columns):
                    loop(
                        dx[0] + n * dx[1] + i * dx[2] + j * dx[3],
                        y[0] + n * y[1] + i * y[2] + j * y[3],
                        grad[0] + n * grad[1] + i * grad[2] + j * grad[3],
                        partial + split * channels * 8,
                        channels,
                    )
            split = claim(work)

    return bias_relu_input


KERNELS = {"channel_sum": _channel_sum, "bias_relu_input": _bias_relu_input}
