"""Blocks of channels-last numbers turned into the order of channels and back, in registers."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from .vector import Words

FEW = (2, 3, 4)  # channels for which a loop of their own is compiled


def kind(channels: int, lanes: int) -> tuple[int, int]:
    """(how many there are if they are few, or 0; numbers in a row of a tile): what a `turn` is compiled for."""
    if channels in FEW:
        return channels, lanes
    return 0, min(lanes, 1 << (channels.bit_length() - 1))


def _transposed(words: Words, rows: list[Any]) -> list[Any]:
    """A square of numbers in registers, transposed: squares of 2, of 4, ... change places across the diagonal."""
    step, lanes = 1, range(words.lanes)
    while step < words.lanes:
        for i in (i for i in lanes if not i & step):
            pair = rows[i], rows[i + step]
            rows[i] = words.picked(pair, [j + (words.lanes - step) * bool(j & step) for j in lanes])
            rows[i + step] = words.picked(pair, [j + (words.lanes if j & step else step) for j in lanes])
        step *= 2
    return rows


@cache
def turn(dtype: np.dtype, few: int, lanes: int, *, back: bool) -> Any:
    """block[k, j] = pixels[j, k], or if `back` the other way round, for j < count and k < channels.

    An intrinsic (block, pixels, count, channels, pitch, step): addresses, and the bytes from channel to channel in the
    block and from pixel to pixel. few: the number of channels, where pixels follow each other without a gap; or 0.
    """

    @intrinsic
    def turn(typing_context, block, pixels, count, channels, pitch, step):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            block, pixels, count, channels, pitch, step = arguments
            words, single = Words(builder, dtype, lanes), Words(builder, dtype, 1)
            size = words.integer(words.size)

            def at(j: Any, k: Any) -> tuple[Any, Any]:
                """Where the number is in the block, and among the pixels."""
                return (
                    builder.add(block, builder.add(builder.mul(k, pitch), builder.mul(j, size))),
                    builder.add(pixels, builder.add(builder.mul(j, step), builder.mul(k, size))),
                )

            def move(words: Words, sources: list[Any], targets: list[Any], change: Callable[..., list[Any]]) -> None:
                for value, target in zip(change([words.load(each) for each in sources]), targets, strict=True):
                    words.store(value, target)

            def among_few(j: Any) -> list[Any]:
                numbers = range(few * lanes)
                rows = [at(j, words.integer(k))[0] for k in range(few)]
                start = at(j, words.integer(0))[1]
                stretch = [builder.add(start, words.integer(k * lanes * words.size)) for k in range(few)]
                if back:
                    order = [lanes * (i % few) + i // few for i in numbers]
                else:
                    order = [few * (i % lanes) + i // lanes for i in numbers]
                sources, targets = (rows, stretch) if back else (stretch, rows)
                cut = [order[i : i + lanes] for i in range(0, few * lanes, lanes)]
                move(words, sources, targets, lambda vectors: [words.picked(vectors, each) for each in cut])
                return []

            def in_tiles(j: Any) -> list[Any]:
                last = builder.sub(channels, words.integer(lanes))

                def tile(k: Any) -> list[Any]:
                    first = builder.select(builder.icmp_signed("<", k, last), k, last)  # it overlaps the one before
                    rows = [at(j, builder.add(first, words.integer(i)))[0] for i in range(lanes)]
                    columns = [at(builder.add(j, words.integer(i)), first)[1] for i in range(lanes)]
                    sources, targets = (rows, columns) if back else (columns, rows)
                    move(words, sources, targets, lambda vectors: _transposed(words, vectors))
                    return []

                words.loop(words.integer(0), channels, lanes, [], tile)
                return []

            def one(j: Any) -> list[Any]:
                def number(k: Any) -> list[Any]:
                    row, pixel = at(j, k)
                    move(single, [row if back else pixel], [pixel if back else row], list)
                    return []

                return single.loop(single.integer(0), channels, 1, [], number)[1]

            whole = builder.sub(count, words.integer(lanes - 1))
            rest, _ = words.loop(words.integer(0), whole, lanes, [], among_few if few else in_tiles)
            single.loop(rest, count, 1, [], one)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6), emit

    return turn
