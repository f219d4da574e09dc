"""Softmax, its logarithm, and their gradients: a block of pixels at a time, as planes of channels in the first cache.

There every step runs over neighbouring pixels, whatever the number of channels; so channels-last pixels are taken apart
into planes and put together again.
"""

from collections.abc import Sequence
from functools import cache
from math import inf
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from ..layout import Array
from . import machine, mathematics
from .elementwise import CHUNK, CHUNKS, LEAST, runs
from .interleave import few, pixels, planes
from .jit import claim, inlined, kernel, prefetch_read
from .machine import LINE
from .parallel import SMALL, run
from .softmax_few import pixels_of_few
from .stream import streams, write
from .vector import Words

BLOCK = 32 * 1024  # bytes of all planes of a block: two thirds of the first cache
WIDEST = 1024  # pixels of a block
NARROWEST = 1024  # bytes of each plane of a block of dense planes: shorter stretches are slow to fetch
TOGETHER = 2  # vectors of pixels in a step
DOUBLE = np.dtype(np.float64)


def softmax(outputs: list[Array], x: Array) -> None:
    """softmax."""
    _per_pixel("softmax", outputs[0], [x])


def softmax_input(outputs: list[Array], y: Array, grad: Array) -> None:
    """softmax_input."""
    _per_pixel("softmax_input", outputs[0], [y, grad])


def log_softmax(outputs: list[Array], x: Array) -> None:
    """log_softmax."""
    _per_pixel("log_softmax", outputs[0], [x])


def log_softmax_input(outputs: list[Array], y: Array, grad: Array) -> None:
    """log_softmax_input."""
    _per_pixel("log_softmax_input", outputs[0], [y, grad])


def _per_pixel(name: str, y: Array, xs: Sequence[Array]) -> None:
    """Run a kernel of one or two inputs: channels-last maps, or maps (N, C, P) whose planes are dense."""
    maps = [y, xs[0], xs[-1]]
    planar = y.ndim == 3
    channels, size, lanes = y.shape[1], y.itemsize, machine.vectors().lanes(y.dtype)
    if planar:
        counts = (1, y.shape[0], 1)
        steps = tuple((0, each.strides[0], 0) for each in maps)
        across, length = tuple(each.strides[1] for each in maps), y.shape[2]
    else:
        each = runs(maps)
        counts, steps = each.counts, each.steps
        across, length = (channels * size,) * 3, each.length // channels
        if length == 1 and counts[2] > 1:  # pixels with room between them
            across, length = tuple(step[2] for step in steps), counts[2]
            counts, steps = (1, *counts[:2]), tuple((0, *step[:2]) for step in steps)
    rows = max(channels, 0 if planar else lanes)
    unit = TOGETHER * LINE // size
    width = BLOCK // (rows * size * (len(xs) + (not planar)))
    width = max(1, min(WIDEST, max(width, NARROWEST // size if planar else 0)) // unit) * unit
    aim = min(CHUNK, max(LEAST, y.nbytes // CHUNKS)) // (channels * size)
    chunk = max(1, aim // width) * width
    pieces = -(-length // chunk)
    run(
        _kernel(name, y.dtype, lanes, None if planar else few(lanes, channels)),
        counts[0] * counts[1] * counts[2] * pieces,
        tuple(a.__array_interface__["data"][0] for a in maps),
        (steps, counts, across),
        (channels, rows, length, chunk, pieces, width),
        int(streams(y.nbytes)),
        scratch=width * rows * size * (len(xs) + (not planar)) + LINE * size,
        small=y.nbytes < SMALL,
    )


@cache
def _block(name: str, dtype: np.dtype, lanes: int) -> Any:
    """The operator on planes z, and w where it has two inputs, of which z becomes the result.

    An intrinsic (z, w, channels, row, width): addresses; the bytes from plane to plane and of the pixels, a multiple of
    TOGETHER vectors.
    """

    @intrinsic
    def block(typing_context, z, w, channels, row, width):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            z, w, channels, row, width = arguments
            words, sums = Words(builder, dtype, lanes), Words(builder, DOUBLE, lanes)
            end = builder.mul(channels, row)

            def over_channels(first: Any, carried: list[Any], body: Any) -> list[Any]:
                """carried[v] = body(v, address in z, address in w, carried[v]) for some vectors v of each plane."""

                def plane(start: Any, *carried: Any) -> list[Any]:
                    at = [builder.add(builder.add(start, first), words.integer(v * step)) for v in range(TOGETHER)]
                    return [body(v, builder.add(z, at[v]), builder.add(w, at[v]), c) for v, c in enumerate(carried)]

                return words.loop(words.integer(0), end, row, carried, plane)[1]

            def exact(value: Any) -> Any:
                return value if words.size == 8 else builder.fpext(value, sums.vector)

            def rounded(value: Any) -> Any:
                return value if words.size == 8 else builder.fptrunc(value, words.vector)

            def pixels(first: Any) -> list[Any]:
                def larger(v: int, z: Any, w: Any, largest: Any) -> Any:
                    return words.greater(words.load(z), largest)

                def below(v: int, z: Any) -> Any:
                    return builder.fsub(words.load(z), largest[v])

                def added(v: int, z: Any, w: Any, total: Any) -> Any:
                    """The sum over the channels."""
                    if name == "log_softmax_input":
                        return builder.fadd(total, exact(words.load(w)))
                    if name == "softmax_input":
                        return builder.fadd(total, builder.fmul(exact(words.load(z)), exact(words.load(w))))
                    power = mathematics.exp_of_negative(words, below(v, z))
                    if name == "softmax":
                        words.store(power, z)
                    return builder.fadd(total, exact(power))

                def factor(total: Any) -> Any:
                    if name == "softmax":
                        return rounded(builder.fdiv(sums.constant(1.0), total))
                    return mathematics.log(words, rounded(total)) if name == "log_softmax" else rounded(total)

                def finished(v: int, z: Any, w: Any, factor: Any) -> Any:
                    if name == "softmax":
                        value = builder.fmul(words.load(z), factor)
                    elif name == "log_softmax":
                        value = builder.fsub(below(v, z), factor)
                    elif name == "softmax_input":
                        value = builder.fmul(words.load(z), builder.fsub(words.load(w), factor))
                    else:
                        power = mathematics.exp_of_negative(words, words.load(z))
                        value = builder.fsub(words.load(w), builder.fmul(power, factor))
                    words.store(value, z)
                    return factor

                largest = [words.constant(-inf)] * TOGETHER
                if not name.endswith("_input"):
                    largest = over_channels(first, largest, larger)
                totals = over_channels(first, [sums.zero()] * TOGETHER, added)
                over_channels(first, [factor(total) for total in totals], finished)
                return []

            step = lanes * words.size
            words.loop(words.integer(0), width, TOGETHER * step, [], pixels)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 5), emit

    return block


@cache
def _kernel(name: str, dtype: np.dtype, lanes: int, few: int | None) -> Any:
    """few: as `interleave.few` gives it; None for maps whose planes are dense."""
    size, copy, block = dtype.itemsize, write(dtype), _block(name, dtype, lanes)
    planar, two = few is None, name.endswith("_input")
    take_apart, put_together = planes(dtype, lanes, few or 0), pixels(dtype, lanes, few or 0)

    @inlined
    def get(target, source, across, stage, row, channels, now, left):  # type: ignore[no-untyped-def]
        if planar:
            for c in range(channels):
                copy(target + c * row, source + c * across, now, 0)
                for line in range(now * size, min(2 * now, left) * size, LINE):  # the next block
                    prefetch_read(source + c * across + line)
            return
        if across == channels * size:
            copy(stage, source, now * channels, 0)
            for line in range(now * across, min(2 * now, left) * across, LINE):
                prefetch_read(source + line)
        else:
            for p in range(now):
                copy(stage + p * channels * size, source + p * across, channels, 0)
        take_apart(target, stage, row, channels, now)

    @inlined
    def put(target, source, across, stage, row, channels, now, stream):  # type: ignore[no-untyped-def]
        if planar:
            for c in range(channels):
                copy(target + c * across, source + c * row, now, stream)
            return
        put_together(stage, source, row, channels, now)
        if across == channels * size:
            copy(target, stage, now * channels, stream)
        else:
            for p in range(now):
                copy(target + p * across, stage + p * channels * size, channels, stream)

    together, FEW, LANES = pixels_of_few(name, dtype, lanes, few or 1), few or 0, lanes

    @kernel(f"{name}-{dtype}x{lanes}-{'planes' if planar else few}")
    def per_pixel(work, scratch, count, maps, place, cut, stream):  # type: ignore[no-untyped-def]
        steps, counts, across = place
        channels, rows, length, chunk, pieces, width = cut
        row = width * size
        step = TOGETHER * lanes
        apart = (size, size, size) if planar else across  # neighbouring pixels
        z, w = scratch, scratch + rows * row
        stage = w + rows * row if two else w
        direct = FEW > 0 and stream == 0 and across[0] == across[1] == across[2] == channels * size
        item = claim(work)
        while item < count:
            run, start = item // pieces, item % pieces * chunk
            n, i, j = run // (counts[1] * counts[2]), run // counts[2] % counts[1], run % counts[2]
            y = maps[0] + n * steps[0][0] + i * steps[0][1] + j * steps[0][2]
            first = maps[1] + n * steps[1][0] + i * steps[1][1] + j * steps[1][2]
            second = maps[2] + n * steps[2][0] + i * steps[2][1] + j * steps[2][2]
            if direct:  # whole vectors, and then the rest
                some = min(chunk, length - start) // LANES * LANES
                offset = start * channels * size
                together(y + offset, first + offset, second + offset, some)
                start += some
            for p in range(start, min(item % pieces * chunk + chunk, length), width):
                now, left = min(width, length - p), length - p
                get(z, first + p * apart[1], across[1], stage, row, channels, now, left)
                if two:
                    get(w, second + p * apart[2], across[2], stage, row, channels, now, left)
                block(z, w, channels, row, (now + step - 1) // step * step * size)
                put(y + p * apart[0], z, across[0], stage, row, channels, now, stream)
            item = claim(work)

    return per_pixel
