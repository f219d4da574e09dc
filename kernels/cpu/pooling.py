"""Max-pooling and its gradient on channels-last maps: a window's winners are found in registers, block by block."""

from functools import cache
from math import gcd
from typing import Any

import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic

from ..layout import Array, Shape
from ..window import Pair, Sides
from .channels import (
    PAIR,
    bands,
    block,
    end_tap,
    fetch,
    first_tap,
    over_blocks,
    over_taps,
    placed,
    splat,
    staged,
    window_largest,
)
from .jit import VIEWS, claim, inlined, integers, kernel
from .parallel import SMALL, run, strided
from .stream import write
from .vector import Words

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
    lanes = block(c, grad.dtype)
    straight, stage = placed(lanes, grad, *outputs)
    items, band = bands(n * h, stride[0])
    apart = all(k <= s and d == 1 for k, s, d in zip(kernel_size, stride, dilation, strict=True))
    shared = tuple(gcd(s, d) for s, d in zip(stride, dilation, strict=True))
    run(
        _max_pool_input(grad.dtype, offsets.dtype, lanes, apart, straight),
        items,
        band,
        outputs[0].ctypes.data,
        strided(offsets),
        strided(grad),
        (c, h, w, *grad.shape[2:]),
        kernel_size,
        stride,
        (padding[0][0], padding[1][0]),
        dilation,
        shared,
        stage,
        scratch=stage[0] * c * grad.itemsize + 24 * w,
        small=outputs[0].nbytes < SMALL,
    )


@cache
def _won(dtype: np.dtype, code: np.dtype, lanes: int, apart: bool, straight: bool) -> Any:
    """dx[c] = sum over windows of grad[c] where its code is that of the tap by which the window reaches the pixel.

    apart: no more than one window does. Without loops that took a third less time. straight: write past the caches.

    An intrinsic (dx, grad, codes, channels, counts, grad_steps, code_steps, tap, tap_steps): addresses of the first
    window's numbers; how many rows and columns of windows; the bytes from one to the next; the first one's tap, and
    what is added to it from one to the next.
    """

    @intrinsic
    def emitted(typing_context, dx, grad, codes, channels, counts, grad_steps, code_steps, tap, tap_steps):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            dx, grad, codes, channels, counts, grad_steps, code_steps, tap, tap_steps = arguments
            words, taps = Words(builder, dtype, lanes), Words(builder, code, lanes)
            steps = [cgutils.unpack_tuple(builder, pair) for pair in (grad_steps, code_steps, tap_steps)]

            def body(c: Any) -> None:
                def window(at: list[Any], total: Any) -> list[Any]:
                    wanted = splat(words, builder.trunc(at[2], taps.scalar))
                    won = builder.icmp_unsigned("==", taps.load(at[1]), wanted)
                    return [builder.fadd(total, builder.select(won, words.load(at[0]), words.zero()))]

                starts = [
                    builder.add(grad, builder.mul(c, words.integer(words.size))),
                    builder.add(codes, builder.mul(c, words.integer(taps.size))),
                    tap,
                ]
                rows, columns = cgutils.unpack_tuple(builder, counts)
                if apart:
                    reached = builder.and_(rows, columns)
                    total = words.choose(reached, lambda: window(starts, words.zero()), lambda: [words.zero()])[0]
                else:
                    total = over_taps(words, (rows, columns), starts, steps, [words.zero()], window)[0]
                put = words.stream if straight else words.store
                put(total, builder.add(dx, builder.mul(c, words.integer(words.size))))

            over_blocks(words, channels, body)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 4, PAIR, PAIR, PAIR, types.intp, PAIR), emit

    return emitted


@inlined
def _reaching(at, stride, dilation, taps, windows, tap_step):  # type: ignore[no-untyped-def]
    """(last tap by which a window covers the padded pixel `at`, that window, how many do), one each `tap_step` taps."""
    low = max(0, (at - (windows - 1) * stride + dilation - 1) // dilation)
    tap = min(taps - 1, at // dilation)
    while tap >= low:
        if (at - tap * dilation) % stride == 0:
            return tap, (at - tap * dilation) // stride, (tap - low) // tap_step + 1
        tap -= 1
    return 0, 0, 0


@cache
def _max_pool_input(dtype: np.dtype, code: np.dtype, lanes: int, apart: bool, straight: bool) -> Any:
    size, won, write_dx = dtype.itemsize, _won(dtype, code, lanes, apart, straight), write(dtype)

    @kernel(f"max_pool_input-{dtype}-{code}x{lanes}-{apart}-{straight}")
    def gather(work, scratch, count, band, dx, codes, grad, shape, taps, stride, before, dilation, shared, stage):  # type: ignore[no-untyped-def]
        channels, height, width, rows, columns = shape
        pixels, stream, fetches = stage
        tap_steps = stride[0] // shared[0], stride[1] // shared[1]
        steps = dilation[0] // shared[0], dilation[1] // shared[1]
        reached = integers(scratch, 3 * width)  # by which tap, which window and how many windows reach each column
        for q in range(width):
            v, j, broad = _reaching(q + before[1], stride[1], dilation[1], taps[1], columns, tap_steps[1])
            reached[3 * q], reached[3 * q + 1], reached[3 * q + 2] = v, j, broad
        item = claim(work)
        while item < count:
            for row in range(item * band[1], min(band[0], (item + 1) * band[1])):
                n, p = row // height, row % height
                u, i, high = _reaching(p + before[0], stride[0], dilation[0], taps[0], rows, tap_steps[0])
                for start in range(0, width, pixels):
                    some = min(pixels, width - start)
                    result = dx + (row * width + start) * channels * size
                    target = scratch + 24 * width if stream else result
                    before_j = -1
                    for q in range(start, start + some):
                        v, j, broad = reached[3 * q], reached[3 * q + 1], reached[3 * q + 2]
                        if fetches and j != before_j:
                            before_j, row_of = j, n * grad[1] + i * grad[2]
                            fetch(grad[0] + row_of, steps[0] * grad[2], high, j + fetches, 1, columns, grad[3])
                            row_of = n * codes[1] + i * codes[2]
                            fetch(codes[0] + row_of, steps[0] * codes[2], high, j + fetches, 1, columns, codes[3])
                        won(
                            target + (q - start) * channels * size,
                            grad[0] + n * grad[1] + i * grad[2] + j * grad[3],
                            codes[0] + n * codes[1] + i * codes[2] + j * codes[3],
                            channels,
                            (high, broad),
                            (steps[0] * grad[2], steps[1] * grad[3]),
                            (steps[0] * codes[2], steps[1] * codes[3]),
                            u * taps[1] + v,
                            (-tap_steps[0] * taps[1], -tap_steps[1]),
                        )
                    if stream:
                        write_dx(result, target, some * channels, 1)
            item = claim(work)

    return gather
