"""Square blocks of numbers turned over in registers."""

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .vector import Words


def turned(words: Words, rows: list[Any]) -> list[Any]:
    """As many vectors as they have lanes, turned over: lane i of result j is lane j of row i."""
    lanes = words.lanes
    index = ir.VectorType(ir.IntType(32), lanes)
    half = range(lanes // 2)
    low, high = (
        ir.Constant(index, [at for i in half for at in (start + i, start + i + lanes)]) for start in (0, lanes // 2)
    )
    for _ in range(lanes.bit_length() - 1):  # each turns the bits of (row, lane), read as one number, by one
        pairs = list(zip(rows[: lanes // 2], rows[lanes // 2 :], strict=True))
        rows = [words.builder.shuffle_vector(*pair, mask) for pair in pairs for mask in (low, high)]
    return rows


def added(words: Words, rows: list[Any]) -> Any:
    """The sums of as many vectors as they have lanes: lane i of the result is that of row i."""
    builder, lanes = words.builder, words.lanes
    low = [at for i in range(lanes // 2) for at in (i, i + lanes)]
    low, high = (
        ir.Constant(ir.VectorType(ir.IntType(32), lanes), [at + start for at in low]) for start in (0, lanes // 2)
    )
    while len(rows) > 1:  # as in `turned`, adding what lies in the two halves
        pairs = zip(rows[: len(rows) // 2], rows[len(rows) // 2 :], strict=True)
        rows = [builder.fadd(builder.shuffle_vector(*pair, low), builder.shuffle_vector(*pair, high)) for pair in pairs]
    return rows[0]


@cache
def transpose(dtype: np.dtype, lanes: int) -> Any:
    """target[j * down + i] = source[i * across + j] for i, j < lanes.

    An intrinsic (target, down, source, across): addresses, and the bytes from row to row.
    """

    @intrinsic
    def turn(typing_context, target, down, source, across):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            target, down, source, across = arguments
            words = Words(builder, dtype, lanes)

            def rows(address: Any, step: Any) -> list[Any]:
                return [builder.add(address, builder.mul(step, words.integer(i))) for i in range(lanes)]

            values = [words.load(address) for address in rows(source, across)]
            for value, address in zip(turned(words, values), rows(target, down), strict=True):
                words.store(value, address)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 4), emit

    return turn
