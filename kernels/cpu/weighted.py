"""Weighted sums of rows of a map and of columns in a row, whose taps are sparse matrices (`taps`)."""

from functools import cache
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from .jit import inlined, integers, prefetch_read
from .machine import LINE
from .vector import Words


@cache
def _weighted(dtype: np.dtype, lanes: int, exact: bool) -> Any:
    """target[c] = sum over t < taps of weight[t] * source[index[t] * step + c], for c < count.

    An intrinsic (target, source, step, index, weight, taps, count): addresses, and a step in bytes. Not exact: the last
    vector may be read and written beyond `count`.
    """

    @intrinsic
    def weighted(typing_context, target, source, step, index, weight, taps, count):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            target, source, step, index, weight, taps, count = arguments
            size = dtype.itemsize
            wide, single = Words(builder, dtype, lanes), Words(builder, dtype, 1)
            zero, end = wide.integer(0), builder.mul(count, wide.integer(size))
            pairs = builder.and_(taps, wide.integer(-2))
            some = builder.icmp_signed(">", taps, zero)

            def sums(words: Words, vectors: int, start: Any, stop: Any) -> Any:
                """Blocks of so many vectors from `start` on while they end before `stop`; the first not done."""

                def block(offset: Any) -> list[Any]:
                    def tap(t: Any, *total: Any) -> list[Any]:
                        at = words.load_integer(builder.add(index, builder.mul(t, words.integer(8))))
                        at = builder.add(builder.add(source, builder.mul(at, step)), offset)
                        w = words.broadcast(builder.add(weight, builder.mul(t, words.integer(size))))
                        width = words.lanes * size
                        return [words.multiply_add(w, words.load(at, k * width), total[k]) for k in range(vectors)]

                    def two(t: Any, *total: Any) -> list[Any]:
                        return tap(builder.add(t, words.integer(1)), *tap(t, *total))

                    nothing = builder.select(some, words.constant(-0.0), words.zero())  # -0 + x is x, even if x is -0
                    _, total = words.loop(zero, pairs, 2, [nothing] * vectors, two)
                    _, total = words.loop(pairs, taps, 1, total, tap)
                    for k, value in enumerate(total):
                        words.store(value, builder.add(target, offset), k * words.lanes * size)
                    return []

                unit = vectors * words.lanes * size
                return words.loop(start, builder.sub(stop, words.integer(unit - 1)), unit, [], block)[0]

            offset = sums(wide, 4, zero, end)
            if exact:
                offset = sums(wide, 1, offset, end)
                sums(single, 1, offset, end)
            else:
                end = builder.add(end, wide.integer((lanes - 1) * size))
                offset = sums(wide, 2, offset, end)
                sums(wide, 1, offset, end)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 7), emit

    return weighted


@inlined
def fetch(x, row, height, rows, pieces, part):  # type: ignore[no-untyped-def]
    """Ask for what a piece of row `row` needs of x and the row before did not."""
    n, i = row // height, row % height
    a, b = integers(pieces[1] + part * 8, 2)
    if a == b:
        return
    start = integers(pieces[2] + a * 8, 1)[0] * x[3]
    stop = (integers(pieces[2] + b * 8 - 8, 1)[0] + integers(pieces[3] + b * 8 - 8, 1)[0]) * x[3]
    first, end = integers(rows[0] + i * 8, 2)
    seen = integers(rows[1] + first * 8 - 8, 1)[0] if i and first else -1
    for t in range(first, end):
        p = integers(rows[1] + t * 8, 1)[0]
        if p > seen:
            at = x[0] + n * x[1] + p * x[2]
            for line in range(start, stop, LINE):
                prefetch_read(at + line)
            seen = p


@cache
def row_sums(dtype: np.dtype, lanes: int) -> Any:
    """A function (target, x, row, channels, height, dense, rows, pieces, part).

    It sums the rows of x that are taps of a row of the result, at the columns that a piece needs, put side by side.
    """
    size = dtype.itemsize
    weighted = _weighted(dtype, lanes, True)

    @inlined
    def sum_rows(target, x, row, channels, height, dense, rows, pieces, part):  # type: ignore[no-untyped-def]
        n, i = row // height, row % height
        first, end = integers(rows[0] + i * 8, 2)
        a, b = integers(pieces[1] + part * 8, 2)
        for r in range(a, b):
            at = x[0] + n * x[1] + integers(pieces[2] + r * 8, 1)[0] * x[3]
            columns = integers(pieces[3] + r * 8, 1)[0]
            runs, count = (1, columns * channels) if dense else (columns, channels)
            for j in range(runs):
                weighted(target, at + j * x[3], x[2], rows[1] + first * 8, rows[2] + first * size, end - first, count)
                target += count * size

    return sum_rows


@cache
def column_sums(dtype: np.dtype, lanes: int) -> Any:
    """A function (target, source, numbers, columns, a, b).

    It gives the pixels a..b of a piece, so many numbers each, from the columns that `row_sums` gave.
    """
    size = dtype.itemsize
    weighted = _weighted(dtype, lanes, False)

    @inlined
    def sum_columns(target, source, numbers, columns, a, b):  # type: ignore[no-untyped-def]
        step = numbers * size
        for j in range(a, b):
            first, end = integers(columns[0] + j * 8, 2)
            weighted(target, source, step, columns[1] + first * 8, columns[2] + first * size, end - first, numbers)
            target += step

    return sum_columns
