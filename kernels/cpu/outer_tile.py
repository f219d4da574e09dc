"""Register tiles for sums of outer products: the loops in which weight gradients spend their time."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from .machine import Vectors
from .tile import Tile
from .vector import Words


def outer_tile(vectors: Vectors, dtype: np.dtype, rows: int, columns: int) -> Tile:
    """The tile for sums of outer products of `rows` numbers with `columns` numbers."""
    lanes = vectors.lanes(dtype)
    wide = columns / lanes
    if wide <= 1:
        most = 16 if vectors.registers == 32 else 12
        return Tile(dtype, lanes, next((count for count in (4, 8) if rows <= count), most), 1)
    if vectors.registers == 16:
        return Tile(dtype, lanes, 6, 2)
    count = 3 if wide % 3 == 0 else 4 if wide >= 4 else 2
    return Tile(dtype, lanes, {2: 8, 3: 8, 4: 4}[count], count)


def _emit_sums(
    words: Words,
    shape: Tile,
    count: Any,
    moving: list[Any],
    operands: Callable[..., tuple[Any, Any, list[Any]]],
    z: Any,
    accumulate: Any,
) -> None:
    """z[r, :] = start[r, :] + sum over t < count of x[r] * g[:], where (x, g, moving) = operands(t, *moving)."""
    step = words.lanes * words.size
    cells = range(shape.rows * shape.vectors)

    def body(t: Any, *state: Any) -> list[Any]:
        x, g, moved = operands(t, *state[: len(moving)])
        current = list(state[len(moving) :])
        factors = [words.load(g, v * step) for v in range(shape.vectors)]
        for r in range(shape.rows):
            value = words.broadcast(x, r * words.size)
            for v in range(shape.vectors):
                i = r * shape.vectors + v
                current[i] = words.multiply_add(value, factors[v], current[i])
        return [*moved, *current]

    sums = words.choose(
        accumulate, lambda: [words.load(z, i * step) for i in cells], lambda: [words.zero() for _ in cells]
    )
    _, state = words.loop(words.integer(0), count, 1, [*moving, *sums], body)
    for i in cells:
        words.store(state[len(moving) + i], z, i * step)


@cache
def of_pixels(shape: Tile) -> Callable[..., Any]:
    """z[r, :] = start[r, :] + sum over pixels p of x[p][offset + r] * g[p][column + :], in this order.

    An intrinsic (x, offset, g, column, pixels, z, accumulate):
    x, g: addresses of `pixels` addresses each; offset, column: bytes added to each. z: address of the packed
    (rows, columns) sums; start is z itself where accumulate is set, else 0.
    """

    @intrinsic
    def add(typing_context, x, offset, g, column, pixels, z, accumulate):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            x, offset, g, column, pixels, z, accumulate = arguments
            words = Words(builder, shape.dtype, shape.lanes)

            def operands(p: Any) -> tuple[Any, Any, list[Any]]:
                entry = builder.mul(p, words.integer(8))
                left, right = (words.load_integer(builder.add(table, entry)) for table in (x, g))
                return builder.add(left, offset), builder.add(right, column), []

            _emit_sums(words, shape, pixels, [], operands, z, accumulate)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 7), emit

    return add


@cache
def evenly_spaced(shape: Tile) -> Callable[..., Any]:
    """z[r, :] = start[r, :] + sum over t of x[t, r] * g[t, :], in this order.

    An intrinsic (x, x_step, g, g_step, count, z, accumulate): addresses, and bytes from one t to the next of `count`.
    z: packed (rows, columns). start is z itself where accumulate is set, else 0.
    """

    @intrinsic
    def add(typing_context, x, x_step, g, g_step, count, z, accumulate):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            x, x_step, g, g_step, count, z, accumulate = arguments
            words = Words(builder, shape.dtype, shape.lanes)

            def operands(_: Any, x: Any, g: Any) -> tuple[Any, Any, list[Any]]:
                return x, g, [builder.add(x, x_step), builder.add(g, g_step)]

            _emit_sums(words, shape, count, [x, g], operands, z, accumulate)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 7), emit

    return add
