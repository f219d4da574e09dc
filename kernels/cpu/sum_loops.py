"""The loops of sums over pixels: of a plane, of rows and of columns of vectors, in float64."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic

from .vector import INT, Words

SUMS = 16  # running sums of a plane, for all vectors alike
HELD = 128  # numbers in a group whose sums stay in registers, where there are 32 of 64 bytes
DOUBLE = np.dtype(np.float64)


def _value(words: Words, name: str, addresses: list[Any], offset: Any, stream: bool) -> Any:
    """What is summed, as float64: the number at the offset, or what is written there."""
    builder = words.builder
    if name == "channel_sum":
        value = words.load(builder.add(addresses[0], offset))
    else:
        value = words.where_not_positive(*(words.load(builder.add(each, offset)) for each in addresses[1:]))
        (words.stream if stream else words.store)(value, builder.add(addresses[0], offset))
    return value if words.size == 8 else builder.fpext(value, Words(builder, DOUBLE, words.lanes).vector)


@cache
def plane_loop(name: str, dtype: np.dtype) -> Any:
    """An intrinsic (first, second, third, count, stream) -> the sum of `count` numbers."""

    @intrinsic
    def loop(typing_context, first, second, third, count, stream):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            *addresses, count, stream = arguments
            words, single, sums = (Words(builder, dtype, SUMS), Words(builder, dtype, 1), Words(builder, DOUBLE, SUMS))
            end = builder.mul(count, words.integer(words.size))
            whole = builder.sub(end, words.integer((SUMS - 1) * words.size))

            def body(words: Words, stream: bool = False) -> Callable[..., list[Any]]:
                return lambda at, total: [builder.fadd(total, _value(words, name, addresses, at, stream))]

            def vectors(stream: bool) -> list[Any]:
                at, totals = words.loop(words.integer(0), whole, SUMS * words.size, [sums.zero()], body(words, stream))
                return [at, *totals]

            at, totals = words.choose(stream, lambda: vectors(True), lambda: vectors(False))
            zero = Words(builder, DOUBLE, 1).zero()
            _, (rest,) = single.loop(at, end, words.size, [zero], body(single))
            total = single.element(rest, 0)
            for lane in range(SUMS):
                total = builder.fadd(total, sums.element(totals, lane))
            return total

        return types.float64(*[types.intp] * 5), emit

    return loop


@cache
def row_loop(name: str, dtype: np.dtype, lanes: int) -> Any:
    """total[i] += the number i of each row, of `width` numbers, and of the first `rest` numbers of a further row.

    An intrinsic (total, addresses, steps, rows, width, rest, stream); total is the address of float64, addresses are
    those of the first row in three arrays, steps the bytes from row to row. Sums of HELD numbers stay in registers:
    those in memory hold up reading by a fifth. One row at a time: two were slower to read, four by a third.
    """

    @intrinsic
    def loop(typing_context, total, addresses, steps, rows, width, rest, stream):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            total, addresses, steps, rows, width, rest, stream = arguments
            starts, steps = (cgutils.unpack_tuple(builder, each) for each in (addresses, steps))
            wide, single = Words(builder, dtype, lanes), Words(builder, dtype, 1)

            def add_row(row: list[Any], count: Any, stream: bool) -> None:
                def body(words: Words, stream: bool) -> Callable[[Any], list[Any]]:
                    sums = Words(builder, DOUBLE, words.lanes)

                    def one(at: Any) -> list[Any]:
                        value = _value(words, name, row, at, stream)
                        place = builder.add(total, builder.mul(at, words.integer(8 // words.size)))
                        sums.store(builder.fadd(sums.load(place), value), place)
                        return []

                    return one

                length = builder.mul(count, wide.integer(wide.size))
                whole = builder.sub(length, wide.integer((lanes - 1) * wide.size))
                at, _ = wide.loop(wide.integer(0), whole, lanes * wide.size, [], body(wide, stream))
                single.loop(at, length, wide.size, [], body(single, False))

            def following(row: Sequence[Any]) -> list[Any]:
                return [builder.add(start, step) for start, step in zip(row, steps, strict=True)]

            def in_memory(stream: bool) -> list[Any]:
                def one(_: Any, *row: Any) -> list[Any]:
                    add_row(list(row), width, stream)
                    return following(row)

                return wide.loop(wide.integer(0), rows, 1, starts, one)[1]

            def in_registers(stream: bool) -> list[Any]:
                sums = Words(builder, DOUBLE, lanes)
                places = [builder.add(total, wide.integer(8 * k)) for k in range(0, HELD, lanes)]

                def one(_: Any, *state: Any) -> list[Any]:
                    row, held = list(state[:3]), list(state[3:])
                    for k, so_far in enumerate(held):
                        value = _value(wide, name, row, wide.integer(k * lanes * wide.size), stream)
                        held[k] = builder.fadd(so_far, value)
                    return [*following(row), *held]

                before = [*starts, *(sums.load(place) for place in places)]
                _, after = wide.loop(wide.integer(0), rows, 1, before, one)
                for place, value in zip(places, after[3:], strict=True):
                    sums.store(value, place)
                return after[:3]

            def all_rows(stream: bool) -> list[Any]:
                held = builder.zext(builder.icmp_signed("==", width, wide.integer(HELD)), INT)
                last = wide.choose(held, lambda: in_registers(stream), lambda: in_memory(stream))
                add_row(last, rest, stream)
                return []

            wide.choose(stream, lambda: all_rows(True), lambda: all_rows(False))
            return context.get_dummy_value()

        three = types.UniTuple(types.intp, 3)
        return types.void(types.intp, three, three, *[types.intp] * 4), emit

    return loop


@cache
def column_loop(name: str, dtype: np.dtype, lanes: int) -> Any:
    """total[i] += the number i of each row: a vector of columns at a time, whose sums stay in registers.

    As `row_loop`, without `rest`, and with the same sums. For 16 of 32 channels of each pixel it takes a third of its
    time, for 512 of 1024 between six tenths and twice.
    """

    @intrinsic
    def loop(typing_context, total, addresses, steps, rows, width, stream):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            total, addresses, steps, rows, width, stream = arguments
            starts, steps = (cgutils.unpack_tuple(builder, each) for each in (addresses, steps))
            wide, single = Words(builder, dtype, lanes), Words(builder, dtype, 1)
            length = builder.mul(width, wide.integer(wide.size))
            whole = builder.sub(length, wide.integer((lanes - 1) * wide.size))

            def columns(words: Words, start: Any, stop: Any, stream: bool) -> Any:
                sums = Words(builder, DOUBLE, words.lanes)

                def body(at: Any) -> list[Any]:
                    def one(_: Any, so_far: Any, *row: Any) -> list[Any]:
                        value = _value(words, name, list(row), at, stream)
                        after = [builder.add(start, step) for start, step in zip(row, steps, strict=True)]
                        return [builder.fadd(so_far, value), *after]

                    place = builder.add(total, builder.mul(at, words.integer(8 // words.size)))
                    _, (value, *_) = words.loop(words.integer(0), rows, 1, [sums.load(place), *starts], one)
                    sums.store(value, place)
                    return []

                return words.loop(start, stop, words.lanes * words.size, [], body)[0]

            def all_columns(stream: bool) -> list[Any]:
                at = columns(wide, wide.integer(0), whole, stream)
                return [columns(single, at, length, False)]

            wide.choose(stream, lambda: all_columns(True), lambda: all_columns(False))
            return context.get_dummy_value()

        three = types.UniTuple(types.intp, 3)
        return types.void(types.intp, three, three, *[types.intp] * 3), emit

    return loop
