"""Sums over all pixels of each channel, in float64 and in an order that depends on shape and strides alone."""

from collections.abc import Callable, Sequence
from functools import cache
from math import gcd
from typing import Any

import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic

from ..layout import Array
from . import machine
from .elementwise import CHUNK, runs
from .jit import VIEWS, claim, kernel
from .machine import LINE
from .parallel import SMALL, run
from .stream import streams
from .vector import INT, Words

SPLITS = 16, 512  # partial sums of channels-last maps, at least and at most
BLOCK = 4096, 32768  # numbers that one of them takes at a time, about, at least and at most
PLANE = 65536  # numbers of a plane in one sum
PARTIAL = 65536  # numbers of all partial sums, about
SUMS = 16  # running sums of a plane, for all vectors alike
WIDTH = 1024  # numbers, about, in a group
HELD = 128  # numbers in a group whose sums stay in registers, where there are 32 of 64 bytes
DOUBLE = np.dtype(np.float64)


def channel_sum(outputs: list[Array], x: Array) -> None:
    """channel_sum."""
    _summed("channel_sum", outputs[0], [x, x, x])


def bias_relu_input(outputs: list[Array], y: Array, grad: Array) -> None:
    """bias_relu_input: relu_input, and the channel sums of what it writes, in one pass."""
    _summed("bias_relu_input", outputs[1], [outputs[0], y, grad])


def _summed(name: str, sums: Array, maps: list[Array]) -> None:
    """Sum the maps' numbers over all but the channels; in bias_relu_input, those written to the first map."""
    if not maps[0].size:
        sums[...] = 0
        return
    partial = (_planes if maps[0].ndim == 3 else _pixels)(name, maps)
    with np.errstate(all="ignore"):  # infinities that cancel or overflow are the caller's, as in the kernel
        sums[...] = partial.sum(axis=0)


def _streams(result: Array, *steps: int) -> int:
    """1 where a result is written past the caches, for which its rows must begin on cache lines."""
    first = result.__array_interface__["data"][0]
    return int(streams(result.nbytes) and not any(step % LINE for step in (first, *steps)))


def folded(channels: int) -> int:
    """How many neighbouring pixels are summed as if they were one; together they end with a vector."""
    if HELD % channels == 0:
        return HELD // channels
    whole = SUMS // gcd(channels, SUMS)
    return whole * (WIDTH // (whole * channels)) if whole * channels <= WIDTH else 1


def _pixels(name: str, maps: list[Array]) -> Array:
    """Partial sums (., channels) of channels-last maps. Few channels are summed as if several pixels were one."""
    channels, size = maps[0].shape[1], maps[0].itemsize
    each = runs(maps)
    fold = folded(channels) if channels < each.length else 1
    width = fold * channels
    splits = max(SPLITS[0], min(SPLITS[1], maps[0].nbytes // CHUNK, PARTIAL // width))
    block = width * max(1, max(BLOCK[0], min(BLOCK[1], maps[0].size // splits)) // width)
    partial = np.zeros((splits, width))
    run(
        _pixel_sums(name, maps[0].dtype, machine.vectors().lanes(maps[0].dtype)),
        splits,
        partial.ctypes.data,
        tuple(a.__array_interface__["data"][0] for a in maps),
        each.steps,
        each.counts,
        (each.length, block, width),
        _streams(maps[0], *each.steps[0], width * size),
        small=maps[0].nbytes < SMALL,
    )
    return partial.reshape(splits * fold, channels)


def _planes(name: str, maps: list[Array]) -> Array:
    """Partial sums (., channels) of maps (N, C, P) whose planes are dense."""
    n, c, pixels = maps[0].shape
    pieces = -(-pixels // PLANE)
    together = max(1, BLOCK[0] // pixels)
    partial = np.empty((n * pieces, c))
    run(
        _plane_sums(name, maps[0].dtype),
        -(-n * c * pieces // together),
        partial.ctypes.data,
        tuple((a.__array_interface__["data"][0], *a.strides[:2]) for a in maps),
        (n, c, pixels, pieces, together),
        _streams(maps[0], *maps[0].strides[:2]),
        small=maps[0].nbytes < SMALL,
    )
    return partial


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
def _plane_loop(name: str, dtype: np.dtype) -> Any:
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
def _plane_sums(name: str, dtype: np.dtype) -> Any:
    loop, size, sums = _plane_loop(name, dtype), dtype.itemsize, VIEWS["float64"]

    @kernel(f"{name}-planes-{dtype}")
    def plane_sums(work, scratch, count, partial, maps, shape, stream):  # type: ignore[no-untyped-def]
        images, channels, pixels, pieces, together = shape
        first, second, third = maps
        total = sums(partial, images * channels * pieces)
        item = claim(work)
        while item < count:
            for part in range(item * together, min((item + 1) * together, images * channels * pieces)):
                n, piece, c = part // (pieces * channels), part // channels % pieces, part % channels
                start = piece * PLANE
                total[part] = loop(
                    first[0] + n * first[1] + c * first[2] + start * size,
                    second[0] + n * second[1] + c * second[2] + start * size,
                    third[0] + n * third[1] + c * third[2] + start * size,
                    min(PLANE, pixels - start),
                    stream,
                )
            item = claim(work)

    return plane_sums


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


@cache
def _pixel_sums(name: str, dtype: np.dtype, lanes: int) -> Any:
    by_rows, by_columns, size = row_loop(name, dtype, lanes), column_loop(name, dtype, lanes), dtype.itemsize

    @kernel(f"{name}-{dtype}x{lanes}")
    def pixel_sums(work, scratch, count, partial, addresses, steps, counts, cut, stream):  # type: ignore[no-untyped-def]
        rows, columns = counts[1], counts[2]
        length, block, width = cut
        pieces = (length + block - 1) // block
        blocks = counts[0] * rows * columns * pieces
        split = claim(work)
        while split < count:
            total = partial + split * width * 8
            part, end = split * blocks // count, (split + 1) * blocks // count
            while part < end:
                number, start = part // pieces, part % pieces * block
                n, i, j = number // (rows * columns), number // columns % rows, number % columns
                first = addresses[0] + n * steps[0][0] + i * steps[0][1] + j * steps[0][2] + start * size
                second = addresses[1] + n * steps[1][0] + i * steps[1][1] + j * steps[1][2] + start * size
                third = addresses[2] + n * steps[2][0] + i * steps[2][1] + j * steps[2][2] + start * size
                if length == width:  # pixels that are not side by side
                    some, apart = min(columns - j, end - part), (steps[0][2], steps[1][2], steps[2][2])
                    by_columns(total, (first, second, third), apart, some, width, stream)
                    part += some
                else:
                    now, apart = min(block, length - start), (width * size, width * size, width * size)
                    by_rows(total, (first, second, third), apart, now // width, width, now % width, stream)
                    part += 1
            split = claim(work)

    return pixel_sums
