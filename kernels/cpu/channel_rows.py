"""Numbers side by side, in rows as long as the constants they meet: what is summed and combined for each channel."""

from collections.abc import Callable
from functools import cache
from math import inf
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .vector import INT, Words

HELD = 64  # numbers in a row whose sums stay in registers, where there are 32 of 64 bytes
DOUBLE = np.dtype(np.float64)
TERMS = {"moments": 2, "products": 3, "scaled_products": 3}  # sums of each


@cache
def add_rows(name: str, dtype: np.dtype, lanes: int) -> Any:
    """totals[s, i] += term s of the number i of each row, in float64.

    The terms are, with d = x - near, of `moments`: d, d^2; of `products`: grad, grad d, d. `scaled_products` has the
    same and writes dx = scale grad.

    An intrinsic (totals, addresses, constants, count, period, stream): addresses of x, grad and dx; `count` numbers of
    each, in rows of `period`; constants: near and scale, a row of float64 each. stream: 1 to write past the caches.
    """

    @intrinsic
    def rows(typing_context, totals, addresses, constants, count, period, stream):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            totals, addresses, constants, count, period, stream = arguments
            x, grad, dx = cgutils.unpack_tuple(builder, addresses)
            wide, single = Words(builder, dtype, lanes), Words(builder, dtype, 1)
            plus, times, size = builder.add, builder.mul, wide.size

            def place(start: Any, row: int, column: Any) -> Any:
                """The address of a number in a row of float64; column: in bytes of the maps."""
                offset = plus(times(period, wide.integer(8 * row)), times(column, wide.integer(8 // size)))
                return plus(start, offset)

            def added(words: Words, at: Any, column: Any, so_far: list[Any], stream: bool) -> list[Any]:
                sums = Words(builder, DOUBLE, words.lanes)

                def exact(address: Any) -> Any:
                    value = words.load(plus(address, at))
                    return value if size == 8 else builder.fpext(value, sums.vector)

                d = builder.fsub(exact(x), sums.load(place(constants, 0, column)))
                if name == "moments":
                    return [builder.fadd(so_far[0], d), sums.multiply_add(d, d, so_far[1])]
                g = exact(grad)
                if name == "scaled_products":
                    value = builder.fmul(g, sums.load(place(constants, 1, column)))
                    value = value if size == 8 else builder.fptrunc(value, words.vector)
                    (words.stream if stream else words.store)(value, plus(dx, at))
                return [builder.fadd(so_far[0], g), sums.multiply_add(g, d, so_far[1]), builder.fadd(so_far[2], d)]

            def in_memory(words: Words, row: Any, start: Any, stop: Any, stream: bool) -> Any:
                sums = Words(builder, DOUBLE, words.lanes)

                def body(column: Any) -> list[Any]:
                    places = [place(totals, s, column) for s in range(TERMS[name])]
                    before = [sums.load(each) for each in places]
                    after = added(words, plus(row, column), column, before, stream)
                    for value, each in zip(after, places, strict=True):
                        sums.store(value, each)
                    return []

                return words.loop(start, stop, words.lanes * size, [], body)[0]

            def in_registers(stop: Any, stream: bool) -> Any:
                sums = Words(builder, DOUBLE, lanes)
                columns = [wide.integer(k * size) for k in range(0, HELD, lanes)]
                places = [place(totals, s, column) for column in columns for s in range(TERMS[name])]

                def body(row: Any, *held: Any) -> list[Any]:
                    after = []
                    for k, column in enumerate(columns):
                        so_far = list(held[k * TERMS[name] : (k + 1) * TERMS[name]])
                        after += added(wide, plus(row, column), column, so_far, stream)
                    return after

                at, held = wide.loop(wide.integer(0), stop, HELD * size, [sums.load(each) for each in places], body)
                for value, each in zip(held, places, strict=True):
                    sums.store(value, each)
                return at

            def all_rows(stream: bool) -> list[Any]:
                end, length = times(count, wide.integer(size)), times(period, wide.integer(size))
                whole = builder.sub(end, wide.integer(HELD * size - 1))
                held = builder.zext(builder.icmp_signed("==", period, wide.integer(HELD)), INT)
                start = wide.choose(held, lambda: [in_registers(whole, stream)], lambda: [wide.integer(0)])[0]

                def row(at: Any) -> list[Any]:
                    left = builder.sub(end, at)
                    left = builder.select(builder.icmp_signed("<", left, length), left, length)
                    some = builder.sub(left, wide.integer((lanes - 1) * size))
                    column = in_memory(wide, at, wide.integer(0), some, stream)
                    in_memory(single, at, column, left, False)
                    return []

                wide.loop(start, end, length, [], row)
                return []

            if name == "scaled_products":
                wide.choose(stream, lambda: all_rows(True), lambda: all_rows(False))
            else:
                all_rows(False)
            return context.get_dummy_value()

        return types.void(types.intp, types.UniTuple(types.intp, 3), *[types.intp] * 4), emit

    return rows


@cache
def combine_rows(name: str, dtype: np.dtype, lanes: int) -> Any:
    """`affine`: y = f((x - a) b + c), f being ReLU or nothing; `gradient`: y = a grad + (b (x - c) + d).

    An intrinsic (y, x, grad, constants, count, period, rectified, stream): addresses of `count` numbers each, in rows
    of `period`; constants: rows of a, b, ...; stream: 1 to write past the caches.
    """

    @intrinsic
    def rows(typing_context, y, x, grad, constants, count, period, rectified, stream):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            y, x, grad, constants, count, period, rectified, stream = arguments
            wide, single = Words(builder, dtype, lanes), Words(builder, dtype, 1)
            plus, size = builder.add, wide.size
            end, length = (builder.mul(each, wide.integer(size)) for each in (count, period))
            asked = builder.icmp_signed("!=", rectified, wide.integer(0))
            low = builder.select(asked, *(ir.Constant(wide.scalar, each) for each in (0.0, -inf)))

            def body(words: Words, store: Callable[[Any, Any], None], row: Any) -> Callable[[Any], list[Any]]:
                least = words.repeated(low)

                def one(column: Any) -> list[Any]:
                    at = plus(row, column)
                    number = words.load(plus(x, at))
                    places = [plus(constants, builder.mul(length, words.integer(k))) for k in range(4)]
                    a, b, c, *d = (words.load(plus(each, column)) for each in places[: 3 if name == "affine" else 4])
                    if name == "affine":
                        value = words.multiply_add(builder.fsub(number, a), b, c)
                        value = builder.select(builder.fcmp_ordered("<", value, least), least, value)
                    else:
                        value = words.multiply_add(b, builder.fsub(number, c), d[0])
                        value = words.multiply_add(a, words.load(plus(grad, at)), value)
                    store(value, plus(y, at))
                    return []

                return one

            def all_rows(store: Callable[[Any, Any], None]) -> list[Any]:
                def row(at: Any) -> list[Any]:
                    left = builder.sub(end, at)
                    left = builder.select(builder.icmp_signed("<", left, length), left, length)
                    some = builder.sub(left, wide.integer((lanes - 1) * size))
                    column, _ = wide.loop(wide.integer(0), some, lanes * size, [], body(wide, store, at))
                    single.loop(column, left, size, [], body(single, single.store, at))
                    return []

                wide.loop(wide.integer(0), end, length, [], row)
                return []

            wide.choose(stream, lambda: all_rows(wide.stream), lambda: all_rows(wide.store))
            return context.get_dummy_value()

        return types.void(*[types.intp] * 8), emit

    return rows
