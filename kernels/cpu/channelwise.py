"""One set of constants for each channel: sums over a channel's pixels, and maps combined with them.

Each loop runs over numbers that lie side by side, beside constants for as many pixels as make it long enough (a
period), so that it is fast however few channels there are.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numba
import numpy as np

from ..layout import Array
from .elementwise import runs
from .jit import VIEWS, claim, inlined, kernel
from .parallel import SMALL, run
from .stream import streams, write

SPLITS = 64  # partial sums. It sets the order of the sums, so it must not depend on the threads
PERIOD = 256  # numbers, at least, that a loop runs over
ROOM = 1024  # numbers, at least, that are computed before they are written; 4096 took a tenth longer
CHUNK = 64 * 1024  # numbers that a thread claims
LEAST = 4 * 1024  # and of smaller maps, to have many chunks
CHUNKS = 16

Make = Callable[[np.dtype], Any]
double = VIEWS["float64"]


class _Plan:
    """How maps are cut for a kernel: into items of `chunk` numbers of a run, or of several short runs."""

    def __init__(self, maps: Sequence[Array], constants: Sequence[Array], dtype: Any) -> None:
        """maps: channels-last, of one shape, not empty. constants: (C,) each; they are repeated over the period."""
        size, channels = maps[0].size, maps[0].shape[1]
        repeats = -(-PERIOD // channels)
        period = repeats * channels
        self.constants = np.tile(np.array(constants).astype(dtype), repeats)
        self.period = period
        each = runs(maps)
        chunk = max(1, min(CHUNK, max(LEAST, size // CHUNKS)) // period) * period
        pieces, together = -(-each.length // chunk), max(1, chunk // each.length)
        self.items = -(-each.count // together) * pieces
        self.arguments = (
            tuple(a.__array_interface__["data"][0] for a in maps),
            each.steps,
            each.counts,
            (each.length, chunk, pieces, together, period),
            self.constants.ctypes.data,
        )


def sums(make: Make, maps: Sequence[Array], constants: Sequence[Array], *, count: int) -> Array:
    """`count` sums over the pixels of each channel, (count, C) in float64: partial sums, added in order."""
    dtype = maps[0].dtype
    plan = _Plan(maps, constants, np.float64)
    splits = min(SPLITS, plan.items)
    partial = np.zeros((splits, count, plan.period))
    run(
        make(dtype),
        splits,
        partial.ctypes.data,
        plan.items,
        *plan.arguments,
        int(streams(maps[0].nbytes)),
        scratch=(ROOM + plan.period) * dtype.itemsize,
        small=maps[0].nbytes < SMALL,
    )
    return partial.sum(axis=0).reshape(count, -1, maps[0].shape[1]).sum(axis=1)


def combine(make: Make, maps: Sequence[Array], constants: Sequence[Array], *, rectified: bool = False) -> None:
    """Write the first of the maps from the others and the constants."""
    dtype = maps[0].dtype
    if not maps[0].size:
        return
    plan = _Plan(maps, constants, dtype)
    run(
        make(dtype),
        plan.items,
        *plan.arguments,
        (int(rectified), int(streams(maps[0].nbytes))),
        scratch=(ROOM + plan.period) * dtype.itemsize,
        small=maps[0].nbytes < SMALL,
    )


@inlined
def place(number, counts, steps):  # type: ignore[no-untyped-def]
    """The bytes before a run."""
    rows, columns = counts[1], counts[2]
    return number // (rows * columns) * steps[0] + number // columns % rows * steps[1] + number % columns * steps[2]


@cache
def moments(dtype: np.dtype) -> Any:
    """A kernel: the sums of x - near and of its square."""
    view, size = VIEWS[dtype.name], dtype.itemsize

    @kernel(f"channel_moments-{dtype}")
    def moments(work, scratch, count, partial, items, maps, steps, counts, cut, near, stream):  # type: ignore[no-untyped-def]
        length, chunk, pieces, together, period = cut
        middle = double(near, period)
        split = claim(work)
        while split < count:
            total = double(partial + 16 * split * period, period)
            squares = double(partial + 16 * split * period + 8 * period, period)
            for item in range(split * items // count, (split + 1) * items // count):
                start, first = item % pieces * chunk, item // pieces * together
                for number in range(first, min(first + together, counts[0] * counts[1] * counts[2])):
                    at = maps[0] + place(number, counts, steps[0])
                    for k in range(start, min(start + chunk, length), period):
                        some = min(period, length - k)
                        x = view(at + k * size, some)
                        for c in range(some):
                            distance = x[c] - middle[c]
                            total[c] += distance
                            squares[c] += distance * distance
            split = claim(work)

    return moments


@cache
def products(dtype: np.dtype) -> Any:
    """A kernel: the sums of grad, of grad (x - near), and of x - near."""
    return _products(dtype, False)


@cache
def scaled_products(dtype: np.dtype) -> Any:
    """A kernel: the same sums, and dx = scale grad in the same pass."""
    return _products(dtype, True)


def _products(dtype: np.dtype, writes: bool) -> Any:
    view, size, put = VIEWS[dtype.name], dtype.itemsize, write(dtype)

    @kernel(f"channel_products-{dtype}-{writes}")
    def products(work, scratch, count, partial, items, maps, steps, counts, cut, constants, stream):  # type: ignore[no-untyped-def]
        length, chunk, pieces, together, period = cut
        near, scale = double(constants, period), double(constants + 8 * writes * period, period)
        room = (ROOM + period - 1) // period * period
        split = claim(work)
        while split < count:
            total = double(partial + 24 * split * period, period)
            product = double(partial + 24 * split * period + 8 * period, period)
            distances = double(partial + 24 * split * period + 16 * period, period)
            for item in range(split * items // count, (split + 1) * items // count):
                start, first = item % pieces * chunk, item // pieces * together
                end = min(start + chunk, length)
                for number in range(first, min(first + together, counts[0] * counts[1] * counts[2])):
                    at = maps[0] + place(number, counts, steps[0])
                    by = maps[1] + place(number, counts, steps[1])
                    for begin in range(start, end, room):
                        last = min(begin + room, end)
                        for k in range(begin, last, period):
                            some = min(period, last - k)
                            x, grad = view(at + k * size, some), view(by + k * size, some)
                            for c in range(some):
                                distance, g = x[c] - near[c], numba.float64(grad[c])
                                total[c] += g
                                product[c] += g * distance
                                distances[c] += distance
                            if writes:
                                dx = view(scratch + (k - begin) * size, some)
                                for c in range(some):
                                    dx[c] = scale[c] * grad[c]
                        if writes:
                            to = maps[2] + place(number, counts, steps[2])
                            put(to + begin * size, scratch, last - begin, stream)
            split = claim(work)

    return products


@cache
def affine(dtype: np.dtype) -> Any:
    """A kernel: y = f((x - a) b + c), f being ReLU or nothing."""
    view, size, put = VIEWS[dtype.name], dtype.itemsize, write(dtype)

    @kernel(f"channel_affine-{dtype}")
    def affine(work, scratch, count, maps, steps, counts, cut, constants, options):  # type: ignore[no-untyped-def]
        length, chunk, pieces, together, period = cut
        rectified, stream = options
        a, b = view(constants, period), view(constants + size * period, period)
        c = view(constants + 2 * size * period, period)
        room = (ROOM + period - 1) // period * period
        item = claim(work)
        while item < count:
            here = count - 1 - item  # backwards: the sums before this left the last of x in the cache
            start, first = here % pieces * chunk, here // pieces * together
            end = min(start + chunk, length)
            for number in range(first, min(first + together, counts[0] * counts[1] * counts[2])):
                to = maps[0] + place(number, counts, steps[0])
                at = maps[1] + place(number, counts, steps[1])
                for begin in range(start, end, room):
                    last = min(begin + room, end)
                    for k in range(begin, last, period):
                        some = min(period, last - k)
                        x, y = view(at + k * size, some), view(scratch + (k - begin) * size, some)
                        if rectified:
                            for i in range(some):
                                value = (x[i] - a[i]) * b[i] + c[i]
                                y[i] = 0 if value < 0 else value
                        else:
                            for i in range(some):
                                y[i] = (x[i] - a[i]) * b[i] + c[i]
                    put(to + begin * size, scratch, last - begin, stream)
            item = claim(work)

    return affine


@cache
def gradient(dtype: np.dtype) -> Any:
    """A kernel: dx = a grad + b (x - c) + d."""
    view, size, put = VIEWS[dtype.name], dtype.itemsize, write(dtype)

    @kernel(f"channel_gradient-{dtype}")
    def gradient(work, scratch, count, maps, steps, counts, cut, constants, options):  # type: ignore[no-untyped-def]
        length, chunk, pieces, together, period = cut
        a, b = view(constants, period), view(constants + size * period, period)
        c, d = view(constants + 2 * size * period, period), view(constants + 3 * size * period, period)
        room = (ROOM + period - 1) // period * period
        item = claim(work)
        while item < count:
            here = count - 1 - item  # backwards, as above
            start, first = here % pieces * chunk, here // pieces * together
            end = min(start + chunk, length)
            for number in range(first, min(first + together, counts[0] * counts[1] * counts[2])):
                to = maps[0] + place(number, counts, steps[0])
                by = maps[1] + place(number, counts, steps[1])
                at = maps[2] + place(number, counts, steps[2])
                for begin in range(start, end, room):
                    last = min(begin + room, end)
                    for k in range(begin, last, period):
                        some = min(period, last - k)
                        x, grad = view(at + k * size, some), view(by + k * size, some)
                        dx = view(scratch + (k - begin) * size, some)
                        for i in range(some):
                            dx[i] = a[i] * grad[i] + (b[i] * (x[i] - c[i]) + d[i])
                    put(to + begin * size, scratch, last - begin, options[1])
            item = claim(work)

    return gradient
