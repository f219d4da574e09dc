"""Average pooling and its gradient on channels-last maps. Sums are float64, tap after tap."""

from functools import cache
from typing import Any

import numpy as np

from ..layout import Array, Shape
from ..window import Pair, Sides
from .channels import DOUBLE, ROWS, bands, block, end_tap, fetch, first_tap, placed, window_sum
from .jit import claim, inlined, kernel
from .machine import LINE
from .parallel import SMALL, run, strided
from .stream import write


def avg_pool(outputs: list[Array], x: Array, **window: Any) -> None:
    """avg_pool2d: the sum of each window's taps, and one division."""
    n, c, h, w = x.shape
    lanes = block(c, DOUBLE)
    straight, stage = placed(lanes, x, *outputs)
    output_size = window.pop("output_size")
    items, band = bands(n * output_size[0])
    run(
        _avg_pool(x.dtype, lanes, straight),
        items,
        band,
        strided(x),
        outputs[0].ctypes.data,
        (c, h, w, *output_size),
        *_geometry(**window),
        stage,
        scratch=stage[0] * c * x.itemsize,
        small=x.nbytes < SMALL,
    )


def avg_pool_input(outputs: list[Array], shape: Shape, grad: Array, **window: Any) -> None:
    """avg_pool2d_input: rows of `grad` divided, then for each pixel their sum over the windows it is in."""
    n, c, h, w = shape
    lanes = block(c, DOUBLE)
    straight, stage = placed(lanes, grad, *outputs)
    taps, stride = window["kernel_size"], window["stride"]
    rows = stride[0] * max(1, ROWS // stride[0])
    slots = (rows + taps[0] - 2) // stride[0] + 1  # rows of windows that reach so many rows of pixels
    slot = -(-grad.shape[3] * c * 8 // LINE) * LINE
    run(
        _avg_pool_input(grad.dtype, lanes, straight),
        n * -(-h // rows),
        outputs[0].ctypes.data,
        strided(grad),
        (c, h, w, *grad.shape[2:]),
        *_geometry(**window),
        stage,
        (rows, slot, slots * slot),
        scratch=slots * slot + stage[0] * c * grad.itemsize,
        small=outputs[0].nbytes < SMALL,
    )


def _geometry(
    *, kernel_size: Pair, stride: Pair, padding: Sides, count_include_pad: bool, divisor_override: int | None
) -> tuple[Any, ...]:
    """The window as the kernels take it; divisor_override 0: none."""
    return kernel_size, stride, padding, (int(count_include_pad), divisor_override or 0)


@inlined
def _divisor(top, left, shape, taps, padding, rule):  # type: ignore[no-untyped-def]
    """What the sum of the window that starts at (top, left) is divided by."""
    include, override = rule
    if override:
        return float(override)
    if include:
        bottom, right = shape[1] + padding[0][1], shape[2] + padding[1][1]
    else:
        bottom, right = shape[1], shape[2]
    high, broad = min(top + taps[0], bottom), min(left + taps[1], right)
    if not include:
        top, left = max(top, 0), max(left, 0)
    return float((high - top) * (broad - left))


@cache
def _avg_pool(dtype: np.dtype, lanes: int, straight: bool) -> Any:
    size, mean, write_y = dtype.itemsize, window_sum(dtype, dtype, True, lanes, straight=straight), write(dtype)

    @kernel(f"avg_pool-{dtype}x{lanes}-{straight}")
    def avg_pool(work, scratch, count, band, x, y, shape, taps, stride, padding, rule, stage):  # type: ignore[no-untyped-def]
        channels, height, width, rows, columns = shape
        pixels, stream, fetches = stage
        item = claim(work)
        while item < count:
            for row in range(item * band[1], min(band[0], (item + 1) * band[1])):
                n, i = row // rows, row % rows
                top = i * stride[0] - padding[0][0]
                u = first_tap(top, 1, taps[0])
                high = end_tap(top, 1, taps[0], height) - u
                for start in range(0, columns, pixels):
                    some = min(pixels, columns - start)
                    result = y + (row * columns + start) * channels * size
                    target = scratch if stream else result
                    for j in range(some):
                        left = (start + j) * stride[1] - padding[1][0]
                        v = first_tap(left, 1, taps[1])
                        broad = end_tap(left, 1, taps[1], width) - v
                        if fetches:
                            later = left + taps[1] + (fetches - 1) * stride[1]
                            fetch(x[0] + n * x[1] + (top + u) * x[2], x[2], high, later, stride[1], width, x[3])
                        mean(
                            target + j * channels * size,
                            x[0] + n * x[1] + (top + u) * x[2] + (left + v) * x[3],
                            channels,
                            (high, broad),
                            (x[2], x[3]),
                            _divisor(top, left, shape, taps, padding, rule),
                        )
                    if stream:
                        write_y(result, target, some * channels, 1)
            item = claim(work)

    return avg_pool


@cache
def _avg_pool_input(dtype: np.dtype, lanes: int, straight: bool) -> Any:
    size, write_dx = dtype.itemsize, write(dtype)
    divided, added = (
        window_sum(dtype, DOUBLE, True, lanes),
        window_sum(DOUBLE, dtype, False, lanes, straight=straight),
    )

    @kernel(f"avg_pool_input-{dtype}x{lanes}-{straight}")
    def avg_pool_input(work, scratch, count, dx, grad, shape, taps, stride, padding, rule, stage, band):  # type: ignore[no-untyped-def]
        channels, height, width, rows, columns = shape
        pixels, stream, _ = stage
        band_rows, slot, slots = band
        bands = (height + band_rows - 1) // band_rows
        item = claim(work)
        while item < count:
            n, first = item // bands, item % bands * band_rows
            base = max(0, (first + padding[0][0] - taps[0]) // stride[0] + 1)  # the first row of windows
            ready = base
            for p in range(first, min(height, first + band_rows)):
                i = max(base, (p + padding[0][0] - taps[0]) // stride[0] + 1)
                end = min(rows, (p + padding[0][0]) // stride[0] + 1)
                while ready < end:
                    top = ready * stride[0] - padding[0][0]
                    for j in range(columns):
                        divided(
                            scratch + (ready - base) * slot + j * channels * 8,
                            grad[0] + n * grad[1] + ready * grad[2] + j * grad[3],
                            channels,
                            (1, 1),
                            (0, 0),
                            _divisor(top, j * stride[1] - padding[1][0], shape, taps, padding, rule),
                        )
                    ready += 1
                j, after = 0, 0  # the windows j..after-1 reach the pixel
                for start in range(0, width, pixels):
                    some = min(pixels, width - start)
                    result = dx + ((n * height + p) * width + start) * channels * size
                    target = scratch + slots if stream else result
                    for q in range(start, start + some):
                        while after < columns and after * stride[1] <= q + padding[1][0]:
                            after += 1
                        while j < after and j * stride[1] + taps[1] <= q + padding[1][0]:
                            j += 1
                        added(
                            target + (q - start) * channels * size,
                            scratch + (i - base) * slot + j * channels * 8,
                            channels,
                            (end - i, after - j),
                            (slot, channels * 8),
                            1.0,
                        )
                    if stream:
                        write_dx(result, target, some * channels, 1)
            item = claim(work)

    return avg_pool_input
