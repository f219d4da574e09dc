"""Pixels of few channels taken apart into planes, and put together again, in registers."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .jit import inlined
from .transpose import transpose
from .vector import Words

FEW = 4  # channels; from 8 on, turning squares over takes no more shuffles


def picked(words: Words, vectors: list[Any], places: list[int]) -> Any:
    """The numbers at `places` of the vectors, taken as one long one."""
    lanes, builder = words.lanes, words.builder
    result = vectors[0]
    for number, vector in enumerate(vectors):
        mask = [lanes + at % lanes if at // lanes == number else lane for lane, at in enumerate(places)]
        if any(at >= lanes for at in mask):
            result = builder.shuffle_vector(result, vector, ir.Constant(ir.VectorType(ir.IntType(32), lanes), mask))
    return result


@cache
def _few(dtype: np.dtype, lanes: int, channels: int, *, apart: bool) -> Any:
    """As `planes` (apart) or `pixels` makes, for `lanes` pixels.

    An intrinsic (target, source, row): addresses, and the bytes from plane to plane.
    """

    @intrinsic
    def turn(typing_context, target, source, row):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            target, source, row = arguments
            words, width = Words(builder, dtype, lanes), lanes * dtype.itemsize
            rows = [builder.mul(row, words.integer(c)) for c in range(channels)]
            side_by_side = [words.integer(c * width) for c in range(channels)]
            read, written = (side_by_side, rows) if apart else (rows, side_by_side)
            vectors = [words.load(builder.add(source, offset)) for offset in read]
            for c, offset in enumerate(written):
                flat = range(c * lanes, (c + 1) * lanes)
                if apart:
                    places = [lane * channels + c for lane in range(lanes)]
                else:
                    places = [at % channels * lanes + at // channels for at in flat]
                words.store(picked(words, vectors, places), builder.add(target, offset))
            return context.get_dummy_value()

        return types.void(*[types.intp] * 3), emit

    return turn


def few(lanes: int, channels: int) -> int:
    """`channels` where there are so few that kernels are made for their number, else 0."""
    return channels if channels <= min(FEW, lanes // 2) else 0


@cache
def planes(dtype: np.dtype, lanes: int, few: int) -> Callable[..., None]:
    """target[c * row + p] = source[p * channels + c], for p < count rounded up to a multiple of `lanes`.

    A function (target, source, row, channels, count): addresses, row in bytes. There is room for `lanes` channels.
    """
    size = dtype.itemsize
    if few:
        turn = _few(dtype, lanes, few, apart=True)

        @inlined
        def take_apart(target, source, row, channels, count):  # type: ignore[no-untyped-def]
            for p in range(0, count, lanes):
                turn(target + p * size, source + p * few * size, row)
    else:
        square = transpose(dtype, lanes)

        @inlined
        def take_apart(target, source, row, channels, count):  # type: ignore[no-untyped-def]
            for p in range(0, count, lanes):
                for start in range(0, channels, lanes):
                    c = max(0, min(start, channels - lanes))
                    at = (p * channels + c) * size
                    square(target + c * row + p * size, row, source + at, channels * size)

    return take_apart


@cache
def pixels(dtype: np.dtype, lanes: int, few: int) -> Callable[..., None]:
    """target[p * channels + c] = source[c * row + p]: the reverse, which may write `lanes` numbers beyond its end."""
    size = dtype.itemsize
    if few:
        turn = _few(dtype, lanes, few, apart=False)

        @inlined
        def put_together(target, source, row, channels, count):  # type: ignore[no-untyped-def]
            for p in range(0, count, lanes):
                turn(target + p * few * size, source + p * size, row)
    else:
        square = transpose(dtype, lanes)

        @inlined
        def put_together(target, source, row, channels, count):  # type: ignore[no-untyped-def]
            for p in range(0, count, lanes):
                for start in range(0, channels, lanes):
                    c = max(0, min(start, channels - lanes))
                    at = (p * channels + c) * size
                    square(target + at, channels * size, source + c * row + p * size, row)

    return put_together
