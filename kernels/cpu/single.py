"""Convolution of one channel with few filters: vectors of pixels, which lie side by side along the rows.

A tile is some rows of the result, so that what is loaded meets several rows of taps. A band of rows is first copied
into scratch memory amid the zeros of the padding, and no tile knows of edges.
"""

from functools import cache
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from ..layout import Array, Shape
from ..window import Pair, Sides
from . import machine
from .interleave import few, pixels
from .jit import VIEWS, claim, kernel
from .machine import LINE
from .parallel import run, strided
from .stream import write
from .vector import Words

MOST = 8  # filters: with 16, tiles of filters are as fast on large maps and a third faster on small ones
ROWS = 4  # of a tile
TAPS = 3  # rows of taps that meet what is loaded
BAND = 16  # rows that an item of work has
ITEMS = 16  # to have, where there are rows enough
SMALL_FLOPS = 2_000_000  # that one thread does before a second one helps: about 20 microseconds


def _columns(dtype: np.dtype) -> int:
    """Of a tile."""
    vectors = machine.vectors()
    return vectors.lanes(dtype) * (4 if vectors.registers > 16 else 2)


@cache
def _tile(dtype: np.dtype, lanes: int, columns: int, rows: int) -> Any:
    """y[r, j] = f(b + sum over u, v of w[u, v] x[r + u, j + v]), f being ReLU or nothing.

    An intrinsic (x, x_step, y, y_step, w, taps, bias, rectify): addresses of dense rows, the bytes between them, and
    the rows and columns of taps. The sum's order does not depend on the tile.
    """

    @intrinsic
    def multiply(typing_context, x, x_step, y, y_step, w, taps, bias, rectify):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            x, x_step, y, y_step, w, taps, bias, rectify = arguments
            words = Words(builder, dtype, lanes)
            high, broad = words.unpacked(taps)
            width, vectors = builder.mul(broad, words.integer(words.size)), range(columns // lanes)

            def steps(start: Any, step: Any, count: int) -> list[Any]:
                places = [start]
                for _ in range(count - 1):
                    places.append(builder.add(places[-1], step))
                return places

            def taps_of(count: int) -> Any:
                """Some rows of taps together."""

                def body(u: Any, *sums: Any) -> list[Any]:
                    inputs = steps(builder.add(x, builder.mul(u, x_step)), x_step, rows + count - 1)
                    weights = steps(builder.add(w, builder.mul(u, width)), width, count)

                    def column(v: Any, *sums: Any) -> list[Any]:
                        total = list(sums)
                        factors = [words.broadcast(builder.add(weight, v)) for weight in weights]
                        for r, row in enumerate(inputs):
                            at = builder.add(row, v)
                            values = [words.load(at, i * lanes * words.size) for i in vectors]
                            for k, factor in enumerate(factors):
                                for i in vectors if 0 <= r - k < rows else ():
                                    place = (r - k) * len(vectors) + i
                                    total[place] = words.multiply_add(values[i], factor, total[place])
                        return total

                    return words.loop(words.integer(0), width, words.size, sums, column)[1]

                return body

            sums = [words.broadcast(bias)] * (rows * len(vectors))
            most = builder.sub(high, words.integer(TAPS - 1))
            u, sums = words.loop(words.integer(0), most, TAPS, sums, taps_of(TAPS))
            _, raw = words.loop(u, high, 1, sums, taps_of(1))
            sums = words.choose(rectify, lambda: [words.rectify(each) for each in raw], lambda: list(raw))
            for r, row in enumerate(steps(y, y_step, rows)):
                for i in vectors:
                    words.store(sums[r * len(vectors) + i], row, i * lanes * words.size)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 5, taps, *[types.intp] * 2), emit

    return multiply


@cache
def _single(dtype: np.dtype, lanes: int, columns: int, few: int) -> Any:
    """The kernel: an item is a band of rows. few: as `interleave.few` gives it for the filters."""
    tile, line = (_tile(dtype, lanes, columns, rows) for rows in (ROWS, 1))
    view, put_together, copy = VIEWS[dtype.name], pixels(dtype, lanes, few), write(dtype)
    SIZE, COLUMNS = dtype.itemsize, columns

    @kernel(f"single-{dtype}x{lanes}-{few}")
    def single(work, scratch, count, x, map_size, y, size, before, taps, filters, w, bias, cut, rectify):  # type: ignore[no-untyped-def]
        height, width = size
        band, row, pitch, planes = cut
        made = scratch + (band + taps[0] - 1) * row * SIZE
        stage = made + planes * pitch
        bands = (height + band - 1) // band
        direct = filters == 1 and y[3] == SIZE and width >= COLUMNS
        skip = max(0, -before[1])
        first = min(max(0, before[1]), row)
        some = max(0, min(row - first, map_size[1] - skip))
        item = claim(work)
        while item < count:
            n, top = item // bands, item % bands * band
            lines = min(band, height - top)
            for p in range(lines + taps[0] - 1):
                at = p + top - before[0]
                target = view(scratch + p * row * SIZE, row)
                if at < 0 or at >= map_size[0] or some == 0:
                    target[:] = 0
                    continue
                source = x[0] + n * x[1] + at * x[2] + skip * x[3]
                target[:first] = 0
                if x[3] == SIZE:
                    copy(scratch + (p * row + first) * SIZE, source, some, 0)
                else:
                    for q in range(some):
                        target[first + q] = view(source + q * x[3], 1)[0]
                target[first + some :] = 0
            for start in range(0, width, COLUMNS):
                j = max(0, min(start, width - COLUMNS))
                i = 0
                while i < lines:
                    rows = ROWS if i + ROWS <= lines else 1
                    here = scratch + (i * row + j) * SIZE
                    result = y[0] + n * y[1] + (top + i) * y[2] + j * y[3]
                    for k in range(filters):
                        to, step = made + k * pitch, COLUMNS * SIZE
                        if direct:
                            to, step = result, y[2]
                        taps_at, bias_at = w + k * taps[0] * taps[1] * SIZE, bias + k * SIZE
                        if rows == ROWS:
                            tile(here, row * SIZE, to, step, taps_at, taps, bias_at, rectify)
                        else:
                            line(here, row * SIZE, to, step, taps_at, taps, bias_at, rectify)
                    now = min(COLUMNS, width)
                    for r in range(0 if direct else rows):
                        put_together(stage, made + r * COLUMNS * SIZE, pitch, filters, COLUMNS)
                        if y[3] == filters * SIZE:
                            copy(result + r * y[2], stage, now * filters, 0)
                        else:
                            for p in range(now):
                                copy(result + r * y[2] + p * y[3], stage + p * filters * SIZE, filters, 0)
                    i += rows
            item = claim(work)

    return single


def _correlate(
    y: Array, x: Array, weight: Array, before: Pair, bias: Array | None = None, activation: str | None = None
) -> None:
    """y[n,k,i,j] = f(b[k] + sum over u,v of w[k,u,v] x[n, 0, i - before[0] + u, j - before[1] + v]); weight: dense."""
    filters, *taps = weight.shape
    n, _, height, width = y.shape
    lanes, columns, size = machine.vectors().lanes(x.dtype), _columns(x.dtype), x.itemsize
    biases = np.zeros(filters, x.dtype) if bias is None else np.ascontiguousarray(bias)
    band = max(ROWS, min(BAND, n * height // ITEMS // ROWS * ROWS))
    unit = LINE // size
    row = -(-(max(width, columns) + taps[1] - 1) // unit) * unit
    pitch = ROWS * columns * size + LINE  # no power of 2, else the planes would share a few sets of the cache
    planes = max(filters, lanes)
    run(
        _single(x.dtype, lanes, columns, few(lanes, filters)),
        n * -(-height // band),
        strided(x),
        x.shape[2:],
        strided(y),
        (height, width),
        before,
        tuple(taps),
        filters,
        weight.ctypes.data,
        biases.ctypes.data,
        (band, row, pitch, planes),
        int(activation == "relu"),
        scratch=(band + taps[0] - 1) * row * size + planes * pitch + (columns * filters + lanes) * size,
        small=2 * y.size * taps[0] * taps[1] < SMALL_FLOPS,
    )


def convolve(
    outputs: list[Array],
    x: Array,
    weight: Array,
    bias: Array | None,
    *,
    padding: Sides,
    activation: str | None,
    **window: Any,
) -> None:
    """conv2d."""
    before = padding[0][0], padding[1][0]
    _correlate(outputs[0], x, np.ascontiguousarray(weight[:, 0]), before, bias, activation)


def convolve_input(
    outputs: list[Array], shape: Shape, weight: Array, grad: Array, *, padding: Sides, **window: Any
) -> None:
    """conv2d_input: the convolution of the gradient with the kernel turned."""
    kh, kw = weight.shape[2:]
    before = kh - 1 - padding[0][0], kw - 1 - padding[1][0]
    _correlate(outputs[0], grad, np.ascontiguousarray(weight[0, :, ::-1, ::-1]), before)


def _refuses(channels: int, filters: int, stride: Pair, dilation: Pair) -> str | None:
    if channels != 1:
        return f"{channels} channels are not 1"
    if not 0 < filters <= MOST:
        return f"{filters} filters are not 1 to {MOST}"
    if stride != (1, 1) or dilation != (1, 1):
        return "stride or dilation is not 1"
    return None


def refuses(
    x: Any, weight: Array, *arguments: Any, stride: Pair, dilation: Pair, groups: int, **parameters: Any
) -> str | None:
    """Of `convolve`."""
    return _refuses(weight.shape[1] * groups, weight.shape[0], stride, dilation)


def refuses_turned(
    shape: Any, weight: Array, *arguments: Any, stride: Pair, dilation: Pair, **parameters: Any
) -> str | None:
    """Of `convolve_input`."""
    return _refuses(weight.shape[0], weight.shape[1], stride, dilation)


def describe(*arguments: Any, **parameters: Any) -> str:
    """What `explain` says of them."""
    return f"vectors along the rows of the one channel ({machine.vectors().name})"
