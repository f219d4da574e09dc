"""What the pooling kernels share: the channels of a pixel in blocks of vectors, and windows that overhang a map."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ..layout import Array
from . import machine
from .jit import inlined, prefetch_read
from .machine import LINE
from .stream import far, streams
from .vector import INT, Words

STAGE = 8192  # bytes of a result that a thread gathers in its first-level cache, to write them past the caches
ROWS = 8  # that an item of work has where there are enough: threads on neighbouring rows read the same lines at once,
# which made the gradient of max-pooling no faster with two threads than with one
AHEAD = 8  # windows between the one that is asked for and the one that is computed
DOUBLE = np.dtype(np.float64)
PAIR = types.UniTuple(types.intp, 2)


def block(channels: int, dtype: np.dtype) -> int:
    """Channels that a kernel takes at once: a power of 2, no more than there are, nor than 4 (2) registers hold."""
    vectors = machine.vectors()
    most = vectors.lanes(dtype) * (4 if vectors.registers > 16 else 2)
    return 1 << (min(most, channels).bit_length() - 1)


def staged(result: Array) -> tuple[int, int]:
    """(pixels of a channels-last `result` that make up a stage, 1 where they are written past the caches or else 0)."""
    return max(1, STAGE // max(1, result.shape[1] * result.itemsize)), int(streams(result.nbytes))


def placed(lanes: int, x: Array, *results: Array) -> tuple[bool, tuple[int, int, int]]:
    """How x is read and results of one shape are written, of which a kernel computes blocks of `lanes` channels.

    (straight, (*`staged`, windows ahead)): straight is True where results go past the caches from registers, as whole
    cache lines; for windows so far ahead `fetch` is called, where x is not near.
    """
    pixels, _ = staged(results[0])
    stream = streams(sum(each.nbytes for each in results))
    straight = stream and results[0].shape[1] % lanes == 0
    straight = straight and all(each.__array_interface__["data"][0] % LINE == 0 for each in results)
    straight = straight and all(lanes * each.itemsize % LINE == 0 for each in results)
    return straight, (pixels, int(stream and not straight), AHEAD if far(x.nbytes) else 0)


def bands(rows: int, ratio: int = 1) -> tuple[int, tuple[int, int]]:
    """(items of work, (rows in all, rows of an item)), a multiple of `ratio` rows where that is not too many."""
    band = min(ROWS, max(1, rows // 32))
    band = max(band // ratio * ratio, 1 if ratio > ROWS else ratio)
    return -(-rows // band), (rows, band)


def over_blocks(words: Words, channels: Any, body: Callable[[Any], None]) -> None:
    """`body(c)` for each block of `words.lanes` channels from c on; the last overlaps the one before, if need be."""
    builder = words.builder
    last = builder.sub(channels, words.integer(words.lanes))

    def one(c: Any) -> list[Any]:
        body(builder.select(builder.icmp_signed("<", c, last), c, last))
        return []

    words.loop(words.integer(0), channels, words.lanes, [], one)


def over_taps(
    words: Words,
    counts: Sequence[Any],
    starts: list[Any],
    steps: list[Sequence[Any]],
    carried: list[Any],
    body: Callable[..., list[Any]],
) -> list[Any]:
    """`carried = body(at, *carried)` for each tap of a window, row by row; returns `carried`.

    counts: rows and columns of taps. starts, steps: integers that say where the first tap is (`at`), and what is added
    to each from row to row and from column to column.
    """
    builder, width = words.builder, len(starts)

    def moved(at: Any, axis: int) -> list[Any]:
        return [builder.add(a, step[axis]) for a, step in zip(at, steps, strict=True)]

    def row(_: Any, *state: Any) -> list[Any]:
        at = list(state[:width])

        def column(_: Any, *state: Any) -> list[Any]:
            at = list(state[:width])
            return [*moved(at, 1), *body(at, *state[width:])]

        inner = words.loop(words.integer(0), counts[1], 1, [*at, *state[width:]], column)[1]
        return [*moved(at, 0), *inner[width:]]

    return words.loop(words.integer(0), counts[0], 1, [*starts, *carried], row)[1][width:]


def splat(words: Words, number: Any) -> Any:
    """A number in every lane."""
    kind, index = ir.VectorType(number.type, words.lanes), ir.IntType(32)
    undefined = ir.Constant(kind, ir.Undefined)
    first = words.builder.insert_element(undefined, number, ir.Constant(index, 0))
    return words.builder.shuffle_vector(
        first, undefined, ir.Constant(ir.VectorType(index, words.lanes), [0] * words.lanes)
    )


@cache
def window_sum(source: np.dtype, result: np.dtype, divide: bool, lanes: int, *, straight: bool = False) -> Any:
    """y[c] = sum over taps of x[c], divided by `divisor` where `divide`; the sum is float64, tap after tap.

    An intrinsic (y, x, channels, counts, steps, divisor): y and x are addresses of `channels` numbers of `result` and
    `source`, x those of the first tap; how many rows and columns of taps there are, and the bytes between them.
    straight: write past the caches.
    """

    @intrinsic
    def emitted(typing_context, y, x, channels, counts, steps, divisor):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            y, x, channels, *pairs, divisor = arguments
            counts, steps = (cgutils.unpack_tuple(builder, pair) for pair in pairs)
            read, sums, write = (Words(builder, dtype, lanes) for dtype in (source, DOUBLE, result))

            inverse = splat(sums, builder.fdiv(ir.Constant(ir.DoubleType(), 1.0), divisor))

            def body(c: Any) -> None:
                def tap(at: list[Any], total: Any) -> list[Any]:
                    value = read.load(at[0])
                    value = value if source == DOUBLE else builder.fpext(value, sums.vector)
                    return [builder.fadd(total, value)]

                start = builder.add(x, builder.mul(c, read.integer(read.size)))
                total = over_taps(sums, counts, [start], [steps], [sums.zero()], tap)[0]
                if divide and source == DOUBLE:
                    total = builder.fdiv(total, splat(sums, divisor))
                elif divide:  # in float64 as good for float32, and 2x2 took a quarter longer with a division
                    total = builder.fmul(total, inverse)
                total = total if result == DOUBLE else builder.fptrunc(total, write.vector)
                put = write.stream if straight else write.store
                put(total, builder.add(y, builder.mul(c, write.integer(write.size))))

            over_blocks(read, channels, body)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 3, PAIR, PAIR, types.float64), emit

    return emitted


@cache
def window_largest(dtype: np.dtype, code: np.dtype | None, wide: bool, lanes: int, *, straight: bool = False) -> Any:
    """y[c] = the largest of x[c] among the taps, and the code of the tap it came from; NaN wins, else the first.

    An intrinsic (y, codes, x, channels, counts, steps, first, code_steps): addresses, counts and steps as in
    `window_sum`; the code of the first tap, and what is added to it from tap to tap. code: the dtype of `codes`, None
    where they are not wanted. wide: codes need 64 bits. straight: write past the caches.
    """

    @intrinsic
    def emitted(typing_context, y, codes, x, channels, counts, steps, first, code_steps):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            y, codes, x, channels, counts, steps, first, code_steps = arguments
            counts, steps, code_steps = (cgutils.unpack_tuple(builder, pair) for pair in (counts, steps, code_steps))
            words = Words(builder, dtype, lanes)
            counter = INT if wide or dtype == DOUBLE else ir.IntType(32)  # as wide as the numbers it is chosen with

            def counted(code: Any) -> Any:
                return splat(words, code if counter == INT else builder.trunc(code, counter))

            def body(c: Any) -> None:
                def tap(at: list[Any], best: Any, *winner: Any) -> list[Any]:
                    value = words.load(at[0])
                    larger = builder.fcmp_unordered(">", value, best)  # or either is NaN
                    wins = builder.and_(larger, builder.fcmp_ordered("ord", best, best))
                    return [builder.select(wins, value, best)] + [
                        builder.select(wins, counted(at[1]), before) for before in winner
                    ]

                start = builder.add(x, builder.mul(c, words.integer(words.size)))
                lowest = ir.Constant(words.vector, [float("-inf")] * lanes)
                starts, carried = [start], [lowest]
                if code is not None:
                    starts.append(first)
                    carried.append(counted(first))
                best, *winner = over_taps(words, counts, starts, [steps, code_steps][: len(starts)], carried, tap)
                put = words.stream if straight else words.store
                put(best, builder.add(y, builder.mul(c, words.integer(words.size))))
                if code is not None:
                    written = Words(builder, code, lanes)
                    kind = ir.IntType(8 * code.itemsize)
                    if kind.width != counter.width:
                        convert = builder.trunc if kind.width < counter.width else builder.sext
                        winner[0] = convert(winner[0], written.vector)
                    put = written.stream if straight else written.store
                    put(winner[0], builder.add(codes, builder.mul(c, words.integer(code.itemsize))))

            over_blocks(words, channels, body)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 4, PAIR, PAIR, types.intp, PAIR), emit

    return emitted


@inlined
def first_tap(start, step, taps):  # type: ignore[no-untyped-def]
    """The first of `taps` taps, `step` pixels apart from `start` on, that is not before the map."""
    return 0 if start >= 0 else min(taps, (step - 1 - start) // step)


@inlined
def end_tap(start, step, taps, length):  # type: ignore[no-untyped-def]
    """The end of the taps that are not behind a map of `length` pixels."""
    if start + (taps - 1) * step < length:
        return taps
    return max(0, (length - start + step - 1) // step)


@inlined
def fetch(start, row, rows, column, columns, width, pixel):  # type: ignore[no-untyped-def]
    """Ask for so many columns of so many rows that lie `row` bytes apart, if a map of `width` columns has them.

    So near ahead it nearly halved the time of overlapping windows, and of any in a network, which wait for memory;
    stages ahead it cost time.
    """
    if column + columns <= width:
        for t in range(rows):
            ahead(start + t * row + column * pixel, columns * pixel)


@inlined
def ahead(address, count):  # type: ignore[no-untyped-def]
    """Ask for `count` bytes that are read next, before a stage is written, which would keep the reads waiting."""
    for offset in range(0, count, 64):
        prefetch_read(address + offset)
