"""Resampling of channels-last maps: y = R x C', R and C matrices with few numbers in a row (`taps`).

One form serves every mode, up and down, and the gradients, whose matrices are the transposed ones. A row of the result
is computed in pieces that stay near: first the weighted sum of rows of x, at the columns that the piece needs, then for
each column of the piece the weighted sum of those. Where pixels have fewer channels than a vector has lanes, that is
done for as many rows as there are lanes at once, turned over so that the lanes are rows.
"""

from functools import cache
from typing import Any

import numpy as np

from ..layout import Array, Shape
from ..window import Pair
from . import machine
from .averaging import avg_pool
from .jit import VIEWS, claim, integers, kernel
from .parallel import SMALL, run, strided
from .regular import SPARE, sum_regular_columns
from .stream import streams, write
from .taps import Regular, Taps, numbers, pieces, regular, taps, transposed_taps
from .transpose import transpose
from .weighted import column_sums, fetch, row_sums

PIECE = 8 * 1024  # bytes of a row that are computed at a time
TURNED_PIECE = 4 * 1024  # the same, where many rows are
ROWS = 16  # that one thread computes one after the other, at most: neighbours need the same rows of x
AHEAD = 4  # rows whose turn comes so much later are asked for, where rows are short
ITEMS = 64  # to have, where there are rows enough

HALVING: dict[str, Any] = {
    "kernel_size": (2, 2),
    "stride": (2, 2),
    "padding": ((0, 0), (0, 0)),
    "count_include_pad": True,
    "divisor_override": None,
}
Scales = tuple[float | None, float | None]


def interpolate(
    outputs: list[Array], x: Array, *, output_size: Pair, scales: Scales, mode: str, align_corners: bool
) -> None:
    """interpolate."""
    axes = list(zip(x.shape[2:], output_size, scales, strict=True))
    few = x.shape[1] < machine.vectors().lanes(x.dtype)
    halved = mode == "bilinear" and not align_corners and all(a == 2 * b and s in (None, 0.5) for a, b, s in axes)
    if halved and not few:  # means of 2 x 2 pixels
        return avg_pool(outputs, x, **HALVING, output_size=output_size)
    matrices = [taps(*axis, mode, align_corners, x.dtype) for axis in axes]
    (_copy if mode == "nearest" and few and _dense(x) else _resample)(outputs[0], x, *matrices)


def interpolate_input(
    outputs: list[Array], shape: Shape, grad: Array, *, scales: Scales, mode: str, align_corners: bool
) -> None:
    """interpolate_input: every pixel of x gathers from the pixels of the result that it is a tap of."""
    axes = zip(shape[2:], grad.shape[2:], scales, strict=True)
    _resample(outputs[0], grad, *(transposed_taps(*axis, mode, align_corners, grad.dtype) for axis in axes))


def _resample(y: Array, x: Array, rows: Taps, columns: Taps) -> None:
    steps = regular(columns) if x.shape[1] == 1 and _dense(x) else None
    if steps is not None:
        return _repeat(y, x, rows, columns, steps)
    n, c, height, _ = y.shape
    pixel, lanes = c * y.itemsize, machine.vectors().lanes(y.dtype)
    turned = c < lanes
    plan = pieces(columns, max(1, (TURNED_PIECE if turned else PIECE) // pixel), pixel)
    most = lanes if turned else max(1, min(ROWS, n * height // ITEMS))
    needed, wanted = (
        (-(-wide * c // lanes) + 1) * lanes * y.itemsize * (lanes if turned else 1) for wide in (plan.most, plan.width)
    )
    run(
        (_turned if turned else _straight)(y.dtype, lanes),
        -(-n * height // most),
        strided(y),
        strided(x),
        (c, height, n * height, most, int(streams(y.nbytes)), int(_dense(x))),
        (needed, wanted),
        rows.addresses,
        (columns.addresses[0], plan.place.ctypes.data, columns.addresses[2]),
        plan.addresses,
        len(plan.columns) - 1,
        scratch=(needed + wanted) * (2 if turned else 1),
        small=x.nbytes + y.nbytes < SMALL,
    )


def _dense(x: Array) -> bool:
    return x.shape[3] == 1 or x.strides[3] == x.shape[1] * x.itemsize


def _copy(y: Array, x: Array, rows: Taps, columns: Taps) -> None:
    """Copy from each row the numbers that are wanted: for one tap a pixel, and pixels of few channels."""
    n, c, height, width = y.shape
    most = max(1, min(ROWS, n * height // ITEMS))
    index = numbers(columns, c)
    run(
        _copied(y.dtype),
        -(-n * height // most),
        strided(y),
        strided(x),
        (x.shape[3] * c, height, n * height, width * c, most, int(streams(y.nbytes))),
        rows.addresses[1],
        index.ctypes.data,
        scratch=width * c * y.itemsize,
        small=y.nbytes < SMALL,
    )


def _repeat(y: Array, x: Array, rows: Taps, columns: Taps, plan: Regular) -> None:
    """One channel, twice or half as many columns: those whose taps repeat need no indices."""
    n, _, height, width = y.shape
    most = max(1, min(max(ROWS, 2**17 // (width * y.itemsize)), n * height // ITEMS))
    whole = pieces(columns, width, y.itemsize)
    offset = plan.offset - whole.starts[0]
    run(
        _repeated(y.dtype, machine.vectors().lanes(y.dtype), plan.phases, plan.step, plan.taps),
        -(-n * height // most),
        strided(y),
        strided(x),
        (whole.most, height, n * height, width, most, int(streams(y.nbytes))),
        rows.addresses,
        (columns.addresses[0], whole.place.ctypes.data, columns.addresses[2]),
        whole.addresses,
        (plan.begin, plan.count, offset.ctypes.data, plan.weight.ctypes.data),
        scratch=(whole.most + width + 2 * SPARE) * y.itemsize,
        small=x.nbytes + y.nbytes < SMALL,
    )


@cache
def _straight(dtype: np.dtype, lanes: int) -> Any:
    sum_rows, sum_columns, copy = row_sums(dtype, lanes), column_sums(dtype, lanes), write(dtype)

    @kernel(f"resample-{dtype}x{lanes}")
    def resample(work, scratch, items, y, x, shape, sizes, rows, columns, pieces, parts):  # type: ignore[no-untyped-def]
        channels, height, count, most, stream, dense = shape
        result = scratch + sizes[0]
        item = claim(work)
        while item < items:
            for row in range(item * most, min(count, (item + 1) * most)):
                for part in range(parts):
                    a, b = integers(pieces[0] + part * 8, 2)
                    if row + 1 < min(count, (item + 1) * most):
                        fetch(x, row + 1, height, rows, pieces, part)
                    sum_rows(scratch, x, row, channels, height, dense, rows, pieces, part)
                    sum_columns(result, scratch, channels, columns, a, b)
                    at = y[0] + row // height * y[1] + row % height * y[2] + a * y[3]
                    copy(at, result, (b - a) * channels, stream)
            item = claim(work)

    return resample


@cache
def _turned(dtype: np.dtype, lanes: int) -> Any:
    size = dtype.itemsize
    sum_rows, sum_columns, copy = row_sums(dtype, lanes), column_sums(dtype, lanes), write(dtype)
    turn = transpose(dtype, lanes)

    @kernel(f"resample_turned-{dtype}x{lanes}")
    def resample(work, scratch, items, y, x, shape, sizes, rows, columns, pieces, parts):  # type: ignore[no-untyped-def]
        channels, height, count, _, stream, dense = shape
        turned = scratch + sizes[0]  # numbers of x, each in all rows, and those of the result
        turned_result = turned + sizes[0]
        result = turned_result + sizes[1]
        vector = lanes * size
        across, result_across = sizes[0] // lanes, sizes[1] // lanes
        item = claim(work)
        while item < items:
            start = item * lanes
            for part in range(parts):
                a, b = integers(pieces[0] + part * 8, 2)
                for row in range(start, min(count, start + lanes)):
                    if row + AHEAD < min(count, start + lanes):
                        fetch(x, row + AHEAD, height, rows, pieces, part)
                    sum_rows(scratch + (row - start) * across, x, row, channels, height, dense, rows, pieces, part)
                for block in range(across // vector - 1):
                    turn(turned + block * lanes * vector, vector, scratch + block * vector, across)
                sum_columns(turned_result, turned, channels * lanes, columns, a, b)
                numbers = (b - a) * channels
                for block in range((numbers + lanes - 1) // lanes):
                    turn(result + block * vector, result_across, turned_result + block * lanes * vector, vector)
                for row in range(start, min(count, start + lanes)):
                    at = y[0] + row // height * y[1] + row % height * y[2] + a * y[3]
                    copy(at, result + (row - start) * result_across, numbers, stream)
            item = claim(work)

    return resample


@cache
def _repeated(dtype: np.dtype, lanes: int, phases: int, step: int, taps: int) -> Any:
    size = dtype.itemsize
    sum_rows, copy = row_sums(dtype, lanes), write(dtype)
    sum_columns = sum_regular_columns(dtype, phases, step, taps)

    @kernel(f"resample_regular-{dtype}x{lanes}-{phases}-{step}-{taps}")
    def resample(work, scratch, items, y, x, shape, rows, columns, pieces, regular):  # type: ignore[no-untyped-def]
        needed, height, count, wanted, most, stream = shape
        result = scratch + (needed + SPARE) * size
        item = claim(work)
        while item < items:
            for row in range(item * most, min(count, (item + 1) * most)):
                if row + AHEAD < min(count, (item + 1) * most):
                    fetch(x, row + AHEAD, height, rows, pieces, 0)
                sum_rows(scratch, x, row, 1, height, 1, rows, pieces, 0)
                sum_columns(result, scratch, columns, wanted, *regular)
                copy(y[0] + row // height * y[1] + row % height * y[2], result, wanted, stream)
            item = claim(work)

    return resample


@cache
def _copied(dtype: np.dtype) -> Any:
    view, copy = VIEWS[dtype.name], write(dtype)

    @kernel(f"resample_copied-{dtype}")
    def resample(work, scratch, items, y, x, shape, rows, columns):  # type: ignore[no-untyped-def]
        numbers, height, count, wanted, most, stream = shape
        index, result = integers(columns, wanted), view(scratch, wanted)
        item = claim(work)
        while item < items:
            held = -1
            for row in range(item * most, min(count, (item + 1) * most)):
                n, i = row // height, row % height
                at = x[0] + n * x[1] + integers(rows + i * 8, 1)[0] * x[2]
                if at != held:
                    source = view(at, numbers)
                    for k in range(wanted):
                        result[k] = source[index[k]]
                    held = at
                copy(y[0] + n * y[1] + i * y[2], scratch, wanted, stream)
            item = claim(work)

    return resample
