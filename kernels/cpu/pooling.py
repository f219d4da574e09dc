"""Max-pooling and unpooling on channels-last maps: plain loops over the channels of a pixel, which LLVM vectorises."""

from functools import cache
from typing import Any

import numpy as np

from ..layout import Array, Shape, empty
from ..window import Pair, Sides
from .jit import VIEWS, claim, integers, kernel
from .parallel import run, strided

CHANNELS = 16  # an unpooled plane is written by one thread, this many channels at a time: a cache line of float32


def max_pool_offsets(
    outputs: list[Array],
    x: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Sides,
    dilation: Pair,
    output_size: Pair,
) -> None:
    """max_pool2d_offsets: the maxima and the taps they came from."""
    y, offsets = outputs
    n, c, h, w = x.shape
    run(
        _max_pool(x.dtype, offsets.dtype),
        n * output_size[0],
        strided(x),
        strided(y),
        strided(offsets),
        (c, h, w, *output_size),
        kernel_size,
        stride,
        (padding[0][0], padding[1][0]),
        dilation,
    )


def max_pool(outputs: list[Array], x: Array, *, return_indices: bool, **window: Any) -> None:
    """max_pool2d: the maxima, and where asked for their positions in the plane."""
    taps = window["kernel_size"][0] * window["kernel_size"][1]
    offsets = empty(outputs[0].shape, np.dtype(np.uint8 if taps <= 256 else np.int32))
    max_pool_offsets([outputs[0], offsets], x, **window)
    if return_indices:
        del window["output_size"]
        max_pool_indices(outputs[1:], x.shape, offsets, **window)


def max_pool_indices(
    outputs: list[Array],
    shape: Shape,
    offsets: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Sides,
    dilation: Pair,
) -> None:
    """max_pool2d_indices."""
    n, c, h, w = offsets.shape
    run(
        _indices(offsets.dtype),
        n * h,
        strided(offsets),
        strided(outputs[0]),
        (c, h, w, shape[3]),
        kernel_size[1],
        stride,
        (padding[0][0], padding[1][0]),
        dilation,
    )


def max_pool_input(
    outputs: list[Array],
    shape: Shape,
    offsets: Array,
    grad: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Sides,
    dilation: Pair,
) -> None:
    """max_pool2d_input: every input pixel gathers from the windows it won."""
    n, c, h, w = shape
    run(
        _max_pool_input(grad.dtype, offsets.dtype),
        n * h,
        strided(outputs[0]),
        strided(offsets),
        strided(grad),
        (c, h, w, *grad.shape[2:]),
        kernel_size,
        stride,
        (padding[0][0], padding[1][0]),
        dilation,
    )


def max_unpool(outputs: list[Array], x: Array, indices: Array, *, output_size: Pair) -> None:
    """max_unpool2d."""
    n, c, h, w = x.shape
    items = n * -(-c // CHANNELS)
    run(_max_unpool(x.dtype), items, strided(outputs[0]), strided(x), strided(indices), (c, h, w, *output_size))


def max_unpool_input(outputs: list[Array], grad: Array, indices: Array) -> None:
    """max_unpool2d_input."""
    n, c, h, w = indices.shape
    items = n * -(-c // CHANNELS)
    height, width = grad.shape[2:]
    run(
        _max_unpool_input(grad.dtype),
        items,
        strided(outputs[0]),
        strided(grad),
        strided(indices),
        (c, h, w, height, width),
        scratch=height * width * CHANNELS,
    )


@cache
def _max_pool(dtype: np.dtype, offset_dtype: np.dtype) -> Any:
    view, offset_view = VIEWS[dtype.name], VIEWS[offset_dtype.name]

    @kernel(f"max_pool-{dtype}-{offset_dtype}")
    def max_pool(work, scratch, count, x, y, offsets, shape, kernel_size, stride, before, dilation):  # type: ignore[no-untyped-def]
        channels, height, width, rows, columns = shape
        row = claim(work)
        while row < count:
            n, i = row // rows, row % rows
            for j in range(columns):
                best = view(y[0] + n * y[1] + i * y[2] + j * y[3], channels)
                winner = offset_view(offsets[0] + n * offsets[1] + i * offsets[2] + j * offsets[3], channels)
                first = True
                for u in range(kernel_size[0]):
                    p = i * stride[0] - before[0] + u * dilation[0]
                    if p < 0 or p >= height:
                        continue
                    for v in range(kernel_size[1]):
                        q = j * stride[1] - before[1] + v * dilation[1]
                        if q < 0 or q >= width:
                            continue
                        value = view(x[0] + n * x[1] + p * x[2] + q * x[3], channels)
                        tap = u * kernel_size[1] + v
                        if first:
                            for c in range(channels):
                                best[c] = value[c]
                                winner[c] = tap
                            first = False
                        else:
                            for c in range(channels):
                                # larger, or the first NaN: "not <=" is true of either, but for a NaN that holds already
                                wins = not (value[c] <= best[c]) and best[c] == best[c]
                                best[c] = value[c] if wins else best[c]
                                winner[c] = tap if wins else winner[c]
            row = claim(work)

    return max_pool


@cache
def _indices(offset_dtype: np.dtype) -> Any:
    view = VIEWS[offset_dtype.name]

    @kernel(f"max_pool_indices-{offset_dtype}")
    def indices(work, scratch, count, offsets, positions, shape, kernel_width, stride, before, dilation):  # type: ignore[no-untyped-def]
        channels, rows, columns, width = shape
        row = claim(work)
        while row < count:
            n, i = row // rows, row % rows
            for j in range(columns):
                offset = view(offsets[0] + n * offsets[1] + i * offsets[2] + j * offsets[3], channels)
                position = integers(positions[0] + n * positions[1] + i * positions[2] + j * positions[3], channels)
                for c in range(channels):
                    u, v = offset[c] // kernel_width, offset[c] % kernel_width
                    p = i * stride[0] - before[0] + u * dilation[0]
                    position[c] = p * width + j * stride[1] - before[1] + v * dilation[1]
            row = claim(work)

    return indices


@cache
def _max_pool_input(dtype: np.dtype, offset_dtype: np.dtype) -> Any:
    view, offset_view = VIEWS[dtype.name], VIEWS[offset_dtype.name]

    @kernel(f"max_pool_input-{dtype}-{offset_dtype}")
    def max_pool_input(work, scratch, count, dx, offsets, grad, shape, kernel_size, stride, before, dilation):  # type: ignore[no-untyped-def]
        channels, height, width, rows, columns = shape
        row = claim(work)
        while row < count:
            n, p = row // height, row % height
            for q in range(width):
                result = view(dx[0] + n * dx[1] + p * dx[2] + q * dx[3], channels)
                first = True
                for u in range(kernel_size[0] - 1, -1, -1):
                    at = p + before[0] - u * dilation[0]
                    i = at // stride[0]
                    if at < 0 or i >= rows or i * stride[0] != at:
                        continue
                    for v in range(kernel_size[1] - 1, -1, -1):
                        at = q + before[1] - v * dilation[1]
                        j = at // stride[1]
                        if at < 0 or j >= columns or j * stride[1] != at:
                            continue
                        tap = u * kernel_size[1] + v
                        winner = offset_view(offsets[0] + n * offsets[1] + i * offsets[2] + j * offsets[3], channels)
                        value = view(grad[0] + n * grad[1] + i * grad[2] + j * grad[3], channels)
                        if first:
                            for c in range(channels):
                                result[c] = value[c] if winner[c] == tap else 0
                            first = False
                        else:
                            for c in range(channels):
                                result[c] += value[c] if winner[c] == tap else 0
                if first:
                    for c in range(channels):
                        result[c] = 0
            row = claim(work)

    return max_pool_input


@cache
def _max_unpool(dtype: np.dtype) -> Any:
    view, size = VIEWS[dtype.name], dtype.itemsize

    @kernel(f"max_unpool-{dtype}")
    def max_unpool(work, scratch, count, y, x, indices, shape):  # type: ignore[no-untyped-def]
        channels, rows, columns, height, width = shape
        parts = (channels + CHANNELS - 1) // CHANNELS
        item = claim(work)
        while item < count:
            n, first = item // parts, item % parts * CHANNELS
            some = min(CHANNELS, channels - first)
            skip = first * size
            for p in range(height):
                for q in range(width):
                    result = view(y[0] + n * y[1] + p * y[2] + q * y[3] + skip, some)
                    for c in range(some):
                        result[c] = 0
            for i in range(rows):
                for j in range(columns):
                    value = view(x[0] + n * x[1] + i * x[2] + j * x[3] + skip, some)
                    index = integers(indices[0] + n * indices[1] + i * indices[2] + j * indices[3] + first * 8, some)
                    for c in range(some):
                        p, q = index[c] // width, index[c] % width
                        view(y[0] + n * y[1] + p * y[2] + q * y[3] + skip, some)[c] = value[c]
            item = claim(work)

    return max_unpool


@cache
def _max_unpool_input(dtype: np.dtype) -> Any:
    view, size = VIEWS[dtype.name], dtype.itemsize
    flags = VIEWS["uint8"]

    @kernel(f"max_unpool_input-{dtype}")
    def max_unpool_input(work, scratch, count, dx, grad, indices, shape):  # type: ignore[no-untyped-def]
        channels, rows, columns, height, width = shape
        parts = (channels + CHANNELS - 1) // CHANNELS
        taken = flags(scratch, height * width * CHANNELS)  # pixels whose last writer, which kept them, has been seen
        item = claim(work)
        while item < count:
            n, first = item // parts, item % parts * CHANNELS
            some = min(CHANNELS, channels - first)
            taken[:] = 0
            for i in range(rows - 1, -1, -1):
                for j in range(columns - 1, -1, -1):
                    result = view(dx[0] + n * dx[1] + i * dx[2] + j * dx[3] + first * size, some)
                    index = integers(indices[0] + n * indices[1] + i * indices[2] + j * indices[3] + first * 8, some)
                    for c in range(some):
                        p, q = index[c] // width, index[c] % width
                        value = view(grad[0] + n * grad[1] + p * grad[2] + q * grad[3] + first * size, some)[c]
                        result[c] = 0 if taken[index[c] * CHANNELS + c] else value
                        taken[index[c] * CHANNELS + c] = 1
            item = claim(work)

    return max_unpool_input
