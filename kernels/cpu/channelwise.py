"""One set of constants for each channel: sums over a channel's pixels, and maps combined with them.

Each loop runs over numbers that lie side by side, beside constants for as many pixels as make it long enough (a
period), so that it is fast however few channels there are.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from ..layout import Array
from . import machine
from .channel_rows import HELD, TERMS, add_rows, combine_rows
from .elementwise import runs
from .jit import claim, inlined, kernel
from .machine import LINE
from .parallel import SMALL, run
from .stream import streams, write

SPLITS = 64  # partial sums. It sets the order of the sums, so it must not depend on the threads
PERIOD = 256  # numbers, at least, that a loop runs over
ROOM = 1024  # numbers, at least, that are computed before they are written; 4096 took a tenth longer
CHUNK = 64 * 1024  # numbers that a thread claims
LEAST = 4 * 1024  # and of smaller maps, to have many chunks
CHUNKS = 16


class _Plan:
    """How maps are cut for a kernel: into items of `chunk` numbers of a run, or of several short runs."""

    def __init__(self, maps: Sequence[Array], constants: Sequence[Array], dtype: Any, held: int = 0) -> None:
        """maps: channels-last, of one shape, not empty. constants: (C,) each; they are repeated over the period.

        held: the period, where it can be.
        """
        size, channels = maps[0].size, maps[0].shape[1]
        repeats = held // channels if held and held % channels == 0 else -(-PERIOD // channels)
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


def sums(name: str, maps: Sequence[Array], constants: Sequence[Array]) -> Array:
    """The sums of `add_rows` over the pixels of each channel, (., C) in float64: partial sums, added in order."""
    dtype, count = maps[0].dtype, TERMS[name]
    plan = _Plan(maps, constants, np.float64, HELD)
    splits = min(SPLITS, plan.items)
    partial = np.zeros((splits, count, plan.period))
    run(
        _summing(name, dtype, machine.vectors().lanes(dtype)),
        splits,
        partial.ctypes.data,
        plan.items,
        *plan.arguments,
        int(streams(maps[0].nbytes)),
        scratch=(ROOM + plan.period) * dtype.itemsize,
        small=maps[0].nbytes < SMALL,
    )
    return partial.sum(axis=0).reshape(count, -1, maps[0].shape[1]).sum(axis=1)


def combine(name: str, maps: Sequence[Array], constants: Sequence[Array], *, rectified: bool = False) -> None:
    """Write the first of the maps from the others and the constants, as `combine_rows` does."""
    dtype = maps[0].dtype
    if not maps[0].size:
        return
    plan = _Plan(maps, constants, dtype)
    run(
        _combining(name, dtype, machine.vectors().lanes(dtype)),
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


@inlined
def straight(address, period, stream):  # type: ignore[no-untyped-def]
    """Whether rows of `period` bytes can be written where they belong: past the caches they must begin on lines."""
    return stream == 0 or (address % LINE == 0 and period % LINE == 0)


@cache
def _summing(name: str, dtype: np.dtype, lanes: int) -> Any:
    """A kernel: the sums that `add_rows` adds up, and the map that it writes."""
    add, size, put = add_rows(name, dtype, lanes), dtype.itemsize, write(dtype)
    terms, writes = TERMS[name], name == "scaled_products"

    @kernel(f"channel_{name}-{dtype}x{lanes}")
    def summing(work, scratch, count, partial, items, maps, steps, counts, cut, constants, stream):  # type: ignore[no-untyped-def]
        length, chunk, pieces, together, period = cut
        room = (ROOM + period - 1) // period * period
        split = claim(work)
        while split < count:
            total = partial + 8 * terms * split * period
            for item in range(split * items // count, (split + 1) * items // count):
                start, first = item % pieces * chunk, item // pieces * together
                end = min(start + chunk, length)
                for number in range(first, min(first + together, counts[0] * counts[1] * counts[2])):
                    at = maps[0] + place(number, counts, steps[0])
                    by = maps[1] + place(number, counts, steps[1]) if terms > 2 else at
                    to = maps[2] + place(number, counts, steps[2]) if writes else at
                    if not writes or straight(to, period * size, stream):
                        there = (at + start * size, by + start * size, to + start * size)
                        add(total, there, constants, end - start, period, stream)
                        continue
                    for begin in range(start, end, room):
                        some = min(room, end - begin)
                        there = (at + begin * size, by + begin * size, scratch)
                        add(total, there, constants, some, period, 0)
                        put(to + begin * size, scratch, some, stream)
            split = claim(work)

    return summing


@cache
def _combining(name: str, dtype: np.dtype, lanes: int) -> Any:
    """A kernel: the map that `combine_rows` writes."""
    combine, size, put = combine_rows(name, dtype, lanes), dtype.itemsize, write(dtype)
    last = 1 if name == "affine" else 2

    @kernel(f"channel_{name}-{dtype}x{lanes}")
    def combining(work, scratch, count, maps, steps, counts, cut, constants, options):  # type: ignore[no-untyped-def]
        length, chunk, pieces, together, period = cut
        rectified, stream = options
        room = (ROOM + period - 1) // period * period
        item = claim(work)
        while item < count:
            here = count - 1 - item  # backwards: the sums before this left the last of x in the cache
            start, first = here % pieces * chunk, here // pieces * together
            end = min(start + chunk, length)
            for number in range(first, min(first + together, counts[0] * counts[1] * counts[2])):
                to = maps[0] + place(number, counts, steps[0])
                at = maps[1] + place(number, counts, steps[1])
                by = maps[last] + place(number, counts, steps[last])
                if straight(to, period * size, stream):
                    offset = start * size
                    combine(to + offset, at + offset, by + offset, constants, end - start, period, rectified, stream)
                    continue
                for begin in range(start, end, room):
                    offset, some = begin * size, min(room, end - begin)
                    combine(scratch, at + offset, by + offset, constants, some, period, rectified, 0)
                    put(to + offset, scratch, some, stream)
            item = claim(work)

    return combining
