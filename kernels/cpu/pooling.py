"""Max-pooling on channels-last maps: a window's winners are found in registers, block by block."""

from functools import cache
from typing import Any

import numpy as np

from ..layout import Array, Shape
from ..window import Pair, Sides
from .channels import (
    bands,
    block,
    end_tap,
    fetch,
    first_tap,
    placed,
    staged,
    window_largest,
)
from .jit import VIEWS, claim, integers, kernel
from .parallel import SMALL, run, strided
from .stream import write

INDEX = np.dtype(np.int64)


def max_pool_offsets(outputs: list[Array], x: Array, **window: Any) -> None:
    """max_pool2d_offsets: the maxima and the taps they came from."""
    _max_pool(outputs, x, (window["kernel_size"][1], 1), **window)


def max_pool(outputs: list[Array], x: Array, *, return_indices: bool, **window: Any) -> None:
    """max_pool2d: the maxima, and where asked for their positions in the plane."""
    rows, columns = window["dilation"]
    _max_pool(outputs, x, (rows * x.shape[3], columns), **window)


def _max_pool(
    outputs: list[Array],
    x: Array,
    code_steps: Pair,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Sides,
    dilation: Pair,
    output_size: Pair,
) -> None:
    """The maxima, and where there is a second output the codes of their taps: positions where it is int64."""
    y, codes = outputs[0], outputs[1] if len(outputs) > 1 else None
    n, c, h, w = x.shape
    lanes = block(c, x.dtype)
    straight, stage = placed(lanes, x, *outputs)
    code = None if codes is None else codes.dtype
    wide = code == INDEX and h * w >= 2**31
    items, band = bands(n * output_size[0])
    run(
        _max_pool_kernel(x.dtype, code, wide, lanes, straight),
        items,
        band,
        strided(x),
        y.ctypes.data,
        0 if codes is None else codes.ctypes.data,
        (c, h, w, *output_size),
        kernel_size,
        stride,
        (padding[0][0], padding[1][0]),
        dilation,
        code_steps,
        stage,
        scratch=stage[0] * c * (x.itemsize + 8),
        small=x.nbytes < SMALL,
    )


@cache
def _max_pool_kernel(dtype: np.dtype, code: np.dtype | None, wide: bool, lanes: int, straight: bool) -> Any:
    size, code_size = dtype.itemsize, 0 if code is None else code.itemsize
    largest, write_y = window_largest(dtype, code, wide, lanes, straight=straight), write(dtype)
    write_codes = write(code or INDEX)
    positions = code == INDEX

    @kernel(f"max_pool-{dtype}-{code}-{wide}x{lanes}-{straight}")
    def max_pool(work, scratch, count, band, x, y, codes, shape, taps, stride, before, dilation, code_steps, stage):  # type: ignore[no-untyped-def]
        channels, height, width, rows, columns = shape
        pixels, stream, fetches = stage
        item = claim(work)
        while item < count:
            for row in range(item * band[1], min(band[0], (item + 1) * band[1])):
                n, i = row // rows, row % rows
                top = i * stride[0] - before[0]
                u = first_tap(top, dilation[0], taps[0])
                high = end_tap(top, dilation[0], taps[0], height) - u
                p = top + u * dilation[0]
                for start in range(0, columns, pixels):
                    some = min(pixels, columns - start)
                    done = (row * columns + start) * channels
                    target, code_target = y + done * size, codes + done * code_size
                    if stream:
                        target, code_target = scratch, scratch + pixels * channels * size
                    for j in range(some):
                        left = (start + j) * stride[1] - before[1]
                        v = first_tap(left, dilation[1], taps[1])
                        broad = end_tap(left, dilation[1], taps[1], width) - v
                        q = left + v * dilation[1]
                        if fetches:
                            later = left + (taps[1] - 1) * dilation[1] + 1 + (fetches - 1) * stride[1]
                            near = x[0] + n * x[1] + p * x[2]
                            fetch(near, dilation[0] * x[2], high, later, stride[1], width, x[3])
                        largest(
                            target + j * channels * size,
                            code_target + j * channels * code_size,
                            x[0] + n * x[1] + p * x[2] + q * x[3],
                            channels,
                            (high, broad),
                            (dilation[0] * x[2], dilation[1] * x[3]),
                            p * width + q if positions else u * taps[1] + v,
                            code_steps,
                        )
                    if stream:
                        write_y(y + done * size, target, some * channels, 1)
                        if code_size:
                            write_codes(codes + done * code_size, code_target, some * channels, 1)
            item = claim(work)

    return max_pool


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
    pixels, stream = staged(outputs[0])
    items, band = bands(n * h)
    run(
        _indices(offsets.dtype),
        items,
        band,
        strided(offsets),
        outputs[0].ctypes.data,
        (c, h, w, shape[3]),
        kernel_size,
        stride,
        (padding[0][0], padding[1][0]),
        dilation,
        (pixels, stream),
        scratch=8 * (pixels * c + kernel_size[0] * kernel_size[1]),
        small=outputs[0].nbytes < SMALL,
    )


@cache
def _indices(offset_dtype: np.dtype) -> Any:
    view, write_indices = VIEWS[offset_dtype.name], write(INDEX)

    @kernel(f"max_pool_indices-{offset_dtype}")
    def indices(work, scratch, count, band, offsets, positions, shape, taps, stride, before, dilation, stage):  # type: ignore[no-untyped-def]
        channels, rows, columns, width = shape
        pixels, stream = stage
        distance = integers(scratch + pixels * channels * 8, taps[0] * taps[1])  # of each tap from the first
        for u in range(taps[0]):
            for v in range(taps[1]):
                distance[u * taps[1] + v] = u * dilation[0] * width + v * dilation[1]
        item = claim(work)
        while item < count:
            for row in range(item * band[1], min(band[0], (item + 1) * band[1])):
                n, i = row // rows, row % rows
                for start in range(0, columns, pixels):
                    some = min(pixels, columns - start)
                    result = positions + (row * columns + start) * channels * 8
                    target = scratch if stream else result
                    for j in range(some):
                        offset = view(offsets[0] + n * offsets[1] + i * offsets[2] + (start + j) * offsets[3], channels)
                        position = integers(target + j * channels * 8, channels)
                        first = (i * stride[0] - before[0]) * width + (start + j) * stride[1] - before[1]
                        for c in range(channels):
                            position[c] = first + distance[offset[c]]
                    if stream:
                        write_indices(result, target, some * channels, 1)
            item = claim(work)

    return indices
