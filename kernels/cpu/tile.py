"""Register tiles: the loops in which convolutions spend their time.

A tile is `rows` x `vectors` accumulators that stay in registers. It knows addresses and lengths, nothing of windows.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from .machine import Vectors
from .vector import Words

FACTORS = 4  # vectors of w held in registers at a time
UNROLL = 4  # steps of the inner loop written out: halves the share of loop and address arithmetic


@dataclass(frozen=True)
class Tile:
    """The shape of a tile: rows of `vectors` x `lanes` numbers of `dtype`."""

    dtype: np.dtype
    lanes: int
    rows: int
    vectors: int

    @property
    def columns(self) -> int:
        """Numbers in a row."""
        return self.vectors * self.lanes

    @property
    def name(self) -> str:
        """Such as float32x16_14x2."""
        return f"{self.dtype}x{self.lanes}_{self.rows}x{self.vectors}"


def product_tile(vectors: Vectors, dtype: np.dtype, columns: int) -> Tile:
    """The tile for products with `columns` results in a row.

    Accumulators, FACTORS operands and a broadcast fit the registers. Two vectors in a row need half as many broadcasts
    for the same arithmetic.
    """
    lanes = vectors.lanes(dtype)
    rows = {32: {2: 12, 1: 24, 3: 8}, 16: {2: 5, 1: 10}}[vectors.registers]
    costs = {1: 1.13, 2: 1, 3: 1.02}  # measured, of a column that is wanted or not

    def cost(count: int) -> float:
        return -(-columns // (count * lanes)) * count * costs[count]

    best = min(rows, key=cost)
    return Tile(dtype, lanes, rows[best], best)


def fitting(tile: Tile, rows: int) -> Tile:
    """A tile for `rows` rows in all, of the same width: a little lower where less of the last is empty then."""
    lower = tile.rows * 5 // 6  # 50 rows instead of 60 for the 49 pixels of a 7 x 7 map
    return replace(tile, rows=lower) if -(-rows // lower) * lower < -(-rows // tile.rows) * tile.rows else tile


@cache
def product(tile: Tile) -> Callable[..., Any]:
    """y[r, :] = start[r, :] + sum over runs t and steps c of x[r][offsets[t] + c] * w[t, c, :], in this order.

    An intrinsic (x, runs, offsets, length, w, bias, y, column, accumulate, rectify):
    x, y: addresses of `rows` addresses each, of the rows' first inputs and outputs; column: bytes added to each of y.
    offsets: address of `runs` byte offsets; length: numbers in a run. w: packed (runs, length, columns).
    start is y itself where accumulate is set, else bias. rectify: 1 for max(., 0) at the end.
    """

    @intrinsic
    def multiply(typing_context, x, runs, offsets, length, w, bias, y, column, accumulate, rectify):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            words = Words(builder, tile.dtype, tile.lanes)
            _emit_product(words, tile, *arguments)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 10), emit

    return multiply


def _emit_product(
    words: Words,
    tile: Tile,
    x: Any,
    runs: Any,
    offsets: Any,
    length: Any,
    w: Any,
    bias: Any,
    y: Any,
    column: Any,
    accumulate: Any,
    rectify: Any,
) -> None:
    builder, size = words.builder, words.size
    rows, columns = range(tile.rows), range(tile.vectors)
    step = words.lanes * size  # bytes in a vector
    xs = [words.load_integer(x, 8 * r) for r in rows]

    def outputs() -> list[Any]:
        return [builder.add(words.load_integer(y, 8 * r), column) for r in rows]

    def previous() -> list[Any]:
        return [words.load(address, v * step) for address in outputs() for v in columns]

    def biases() -> list[Any]:
        return [words.load(bias, v * step) for v in columns] * tile.rows

    sums = words.choose(accumulate, previous, biases)
    end = builder.mul(length, words.integer(size))
    unrolled = builder.sub(end, words.integer((UNROLL - 1) * size))

    def run(t: Any, w: Any, *sums: Any) -> list[Any]:
        offset = words.load_integer(builder.add(offsets, builder.mul(t, words.integer(8))))
        starts = [builder.add(each, offset) for each in xs]

        def steps(count: int) -> Callable[..., list[Any]]:
            def body(c: Any, w: Any, *sums: Any) -> list[Any]:
                current = list(sums)
                here = [builder.add(each, c) for each in starts]
                # One address serves several steps in a row: reloading 24 of them each step took a fifth of the time.
                together = min(count, FACTORS // tile.vectors)
                for first in range(0, count, together):
                    factors = {
                        (u, v): words.load(w, (u * tile.vectors + v) * step)
                        for u in range(first, first + together)
                        for v in columns
                    }
                    for r, u in ((r, u) for r in rows for u in range(first, first + together)):
                        value = words.broadcast(here[r], u * size)
                        for v in columns:
                            i = r * tile.vectors + v
                            current[i] = words.multiply_add(value, factors[u, v], current[i])
                return [builder.add(w, words.integer(count * tile.vectors * step)), *current]

            return body

        c, carried = words.loop(words.integer(0), unrolled, UNROLL * size, [w, *sums], steps(UNROLL))
        return words.loop(c, end, size, carried, steps(1))[1]

    _, (_, *sums) = words.loop(words.integer(0), runs, 1, [w, *sums], run)
    sums = words.choose(rectify, lambda: [words.rectify(each) for each in sums], lambda: sums)
    for r, address in enumerate(outputs()):
        for v in columns:
            words.store(sums[r * tile.vectors + v], address, v * step)


@cache
def panels(tile: Tile) -> Callable[..., Any]:
    """y[r, :] = start[r, :] + sum over chunks q, numbers c < lanes of x[q, r, c] * w[q, c, :], in this order.

    An intrinsic (x, step, chunks, w, y, accumulate): addresses; step: bytes from a chunk of x to the next, of which
    this tile may be a part. w: packed (chunks, lanes, columns). y: packed (rows, columns). start is y itself where
    accumulate is set, else 0.
    """

    @intrinsic
    def multiply(typing_context, x, step, chunks, w, y, accumulate):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            words = Words(builder, tile.dtype, tile.lanes)
            _emit_panels(words, tile, *arguments)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6), emit

    return multiply


def _emit_panels(words: Words, tile: Tile, x: Any, step: Any, chunks: Any, w: Any, y: Any, accumulate: Any) -> None:
    builder = words.builder
    vector = words.lanes * words.size
    columns = range(tile.vectors)
    cells = range(tile.rows * tile.vectors)

    unroll = min(UNROLL, words.lanes)

    def some(c: Any, x: Any, w: Any, *sums: Any) -> list[Any]:
        current = list(sums)
        here = builder.add(x, c)
        for u in range(unroll):
            factors = [words.load(w, (u * tile.vectors + v) * vector) for v in columns]
            for r in range(tile.rows):
                value = words.broadcast(here, r * vector + u * words.size)
                for v in columns:
                    i = r * tile.vectors + v
                    current[i] = words.multiply_add(value, factors[v], current[i])
        return [x, builder.add(w, words.integer(unroll * tile.vectors * vector)), *current]

    def chunk(q: Any, x: Any, w: Any, *sums: Any) -> list[Any]:
        end = words.integer(vector)
        _, (_, *carried) = words.loop(words.integer(0), end, unroll * words.size, [x, w, *sums], some)
        return [builder.add(x, step), *carried]

    sums = words.choose(
        accumulate, lambda: [words.load(y, i * vector) for i in cells], lambda: [words.zero() for _ in cells]
    )
    _, (_, _, *sums) = words.loop(words.integer(0), chunks, 1, [x, w, *sums], chunk)
    for i in cells:
        words.store(sums[i], y, i * vector)
