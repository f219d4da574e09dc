"""What is done to every number alike: one loop over memory, whatever shape and format the arrays have.

Axes that follow each other in the memory of every array are merged, so that dense arrays of one format are a single run
of numbers. Runs are cut into chunks, which threads claim.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic

from ..layout import Array
from . import machine
from .jit import claim, kernel
from .machine import LINE
from .parallel import SMALL, run
from .stream import streams
from .vector import Words

CHUNK = 256 * 1024  # bytes that a thread claims: with 16 KiB, prefetching across their ends cost a third
LEAST = 16 * 1024  # and of smaller arrays, to have many chunks
CHUNKS = 16
UNROLL = 2  # vectors in a step of the loop

Word = Callable[..., Any]  # (words, parameters, a number of each array) -> the result


@dataclass(frozen=True)
class Runs:
    """Arrays of one shape as runs of neighbours in memory: how many of them on each of three axes, and how long."""

    counts: tuple[int, int, int]
    length: int
    steps: tuple[tuple[int, int, int], ...]  # of each array, in bytes

    @property
    def count(self) -> int:
        """All of them."""
        return prod(self.counts)


def runs(arrays: Sequence[Array], *, pixels: bool = False) -> Runs:
    """The fewest runs that channels-last arrays consist of, in the order of N, H, W; each holds whole pixels.

    pixels: make each pixel a run of its own.
    """
    n, length, h, w = arrays[0].shape
    axes: list[tuple[int, list[int]]] = []  # outside the run, the innermost first
    for axis, count in ((3, w), (2, h), (0, n)):
        steps = [each.strides[axis] for each in arrays]
        if count == 1:
            continue
        if not axes and not pixels and all(s == length * a.itemsize for s, a in zip(steps, arrays, strict=True)):
            length *= count
        elif axes and steps == [s * axes[-1][0] for s in axes[-1][1]]:
            axes[-1] = (axes[-1][0] * count, axes[-1][1])
        else:
            axes.append((count, steps))
    axes += [(1, [0] * len(arrays))] * (3 - len(axes))
    (c, inner), (b, middle), (a, outer) = axes
    return Runs((a, b, c), length, tuple(zip(outer, middle, inner, strict=True)))


@cache
def apply(word: Word, dtype: np.dtype, lanes: int, *, indexed: bool = False) -> Any:
    """y[i] = word(parameters, first[i], second[i]) for i < count; indexed: word(parameters, first[i], index + i step).

    An intrinsic (y, first, second, parameters, index, step, count, stream): addresses of `count` numbers each, of which
    y may be first or second; a tuple of float64 or int64; stream: 1 to write past the caches, else 0.

    Vectors are spoken out, because LLVM takes a loop whose result may be its input one number at a time.
    """

    @intrinsic
    def loop(typing_context, y, first, second, parameters, index, step, count, stream):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            y, first, second, parameters, index, step, count, stream = arguments
            wide, single = Words(builder, dtype, lanes), Words(builder, dtype, 1)
            size, width = wide.size, lanes * wide.size
            given = cgutils.unpack_tuple(builder, parameters)

            def body(words: Words, store: Callable[[Any, Any], None], times: int = 1) -> Callable[[Any], list[Any]]:
                repeated = [words.repeated(words.rounded(each)) for each in given]

                def one(offset: Any) -> list[Any]:
                    for at in (builder.add(offset, words.integer(t * width)) for t in range(times)):
                        number = words.load(builder.add(first, at))
                        if indexed:
                            place = builder.add(index, builder.mul(builder.sdiv(at, words.integer(size)), step))
                            other = words.places(place, step)
                        else:
                            other = words.load(builder.add(second, at))
                        store(word(words, repeated, number, other), builder.add(y, at))
                    return []

                return one

            end = builder.mul(count, wide.integer(size))
            unrolled, whole = (builder.sub(end, wide.integer(bytes - size)) for bytes in (UNROLL * width, width))

            def past_the_caches() -> list[Any]:
                head = wide.until_aligned(y, end, width)
                at, _ = single.loop(wide.integer(0), head, size, [], body(single, single.store))
                at, _ = wide.loop(at, unrolled, UNROLL * width, [], body(wide, wide.stream, UNROLL))
                return [wide.loop(at, whole, width, [], body(wide, wide.stream))[0]]

            def plainly() -> list[Any]:
                at, _ = wide.loop(wide.integer(0), unrolled, UNROLL * width, [], body(wide, wide.store, UNROLL))
                return [wide.loop(at, whole, width, [], body(wide, wide.store))[0]]

            rest = wide.choose(stream, past_the_caches, plainly)[0]
            single.loop(rest, end, size, [], body(single, single.store))
            return context.get_dummy_value()

        return types.void(*[types.intp] * 3, parameters, *[types.intp] * 4), emit

    return loop


def elementwise(
    name: str, word: Word, y: Array, xs: Sequence[Array], parameters: tuple[float, ...] = (), *, indexed: bool = False
) -> None:
    """y = word(parameters, *xs), for one or two channels-last arrays xs; y may be one of them.

    name: of the kernel. word: given the last array twice where there is but one, so it takes two; if indexed, not the
    second array but each number's index in the logical array, row by row.
    """
    channels, pixels = y.shape[1], y.shape[2] * y.shape[3]
    scattered = indexed and channels > 1 and pixels > 1  # neighbours in memory are `pixels` apart in the logical array
    arrays = [y, xs[0], xs[-1]]
    each = runs(arrays, pixels=scattered)
    size = y.itemsize
    aim = min(CHUNK, max(LEAST, y.nbytes // CHUNKS))
    chunk = -(-aim // LINE) * LINE // size
    pieces = -(-each.length // chunk)
    together = max(1, chunk // max(each.length, 1))
    run(
        _elementwise(name, word, y.dtype, machine.vectors().lanes(y.dtype), indexed),
        -(-each.count // together) * pieces,
        tuple(a.__array_interface__["data"][0] for a in arrays),
        each.steps,
        each.counts,
        (each.length, chunk, pieces, together),
        parameters,
        pixels if scattered else 1,
        int(streams(y.nbytes) and each.length * size >= 2 * LINE),
        small=y.nbytes < SMALL,
    )


@cache
def _elementwise(name: str, word: Word, dtype: np.dtype, lanes: int, indexed: bool) -> Any:
    loop, size = apply(word, dtype, lanes, indexed=indexed), dtype.itemsize

    @kernel(f"{name}-{dtype}x{lanes}")
    def elementwise(work, scratch, count, addresses, steps, counts, cut, parameters, apart, stream):  # type: ignore[no-untyped-def]
        rows, columns = counts[1], counts[2]
        length, chunk, pieces, together = cut
        item = claim(work)
        while item < count:
            start = item % pieces * chunk
            now = min(chunk, length - start)
            number = item // pieces * together
            last = min(number + together, counts[0] * rows * columns)
            while number < last:
                n, i, j = number // (rows * columns), number // columns % rows, number % columns
                y = addresses[0] + n * steps[0][0] + i * steps[0][1] + j * steps[0][2] + start * size
                first = addresses[1] + n * steps[1][0] + i * steps[1][1] + j * steps[1][2] + start * size
                second = addresses[2] + n * steps[2][0] + i * steps[2][1] + j * steps[2][2] + start * size
                for _ in range(min(columns - j, last - number)):
                    index = 0
                    if indexed:
                        index = number // apart * length * apart + number % apart + start * apart
                    loop(y, first, second, parameters, index, apart, now, stream)
                    y += steps[0][2]
                    first += steps[1][2]
                    second += steps[2][2]
                    number += 1
            item = claim(work)

    return elementwise
