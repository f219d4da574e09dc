"""The weight gradient for groups of few channels, the filters of several groups side by side in a vector."""

from functools import cache
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from .group_tile import TAPS, spread
from .jit import VIEWS, claim, kernel
from .vector import Words


@cache
def _outer(shape: tuple[np.dtype, int, int, int], taps: int, inner: bool) -> Any:
    """z[t, c, k] += sum over pixels p, of which there are `count`, of g[p][k] x[p + tap t][channel of k and c].

    An intrinsic (x, xs, g, gs, sums): tuples of addresses and of bytes.
    x: of the first pixel's first tap, to the next pixel, to the next tap; its column, to the next pixel's and the next
    tap's, and how many there are; address of zeros.
    g: of the first pixel, to the next, how many pixels; vectors of filters, filters and channels.
    sums: z of the first tap, to the next c, and to the next tap.
    """
    dtype, lanes, ins, outs = shape
    patterns = spread(lanes, ins, outs)
    vectors = range(max(map(max, patterns)) // lanes + 1)
    together = max(1, 4 // ins)  # pixels whose sums do not wait for each other

    @intrinsic
    def add(typing_context, x, g, z):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            words = Words(builder, dtype, lanes)
            step = lanes * words.size
            x, x_step, tap, column, stride, dilation, width, zeros = words.unpacked(arguments[0])
            g, g_step, count, blocks, filters, channels = words.unpacked(arguments[1])
            z, z_step, right = words.unpacked(arguments[2])
            plus, times = builder.add, builder.mul

            def block(number: Any, x: Any, g: Any, z: Any) -> list[Any]:
                done = times(number, words.integer(lanes // outs * ins)), times(number, words.integer(lanes))
                wanted = [words.below(builder.sub(channels, plus(done[0], words.integer(i * lanes)))) for i in vectors]
                valid = words.below(builder.sub(filters, done[1]))

                def pixels(many: int) -> Any:
                    def body(p: Any, *sums: Any) -> list[Any]:
                        current = list(sums)
                        for q in range(many):
                            at = plus(p, words.integer(q))
                            for t in range(taps):
                                here = plus(x, plus(times(x_step, at), times(tap, words.integer(t))))
                                there = plus(g, times(g_step, at))
                                if not inner:  # zeros outside the map, and for g as well: 0 times NaN is NaN
                                    place = plus(plus(column, times(stride, at)), times(dilation, words.integer(t)))
                                    inside = builder.icmp_unsigned("<", place, width)
                                    here, there = (builder.select(inside, a, zeros) for a in (here, there))
                                grad = words.load(there) if inner else words.load_some(there, valid)
                                places = [plus(here, words.integer(i * step)) for i in vectors]
                                read = [
                                    words.load(place) if inner else words.load_some(place, wanted[i])
                                    for i, place in enumerate(places)
                                ]
                                for c in range(ins):
                                    i = (q * taps + t) * ins + c
                                    current[i] = words.multiply_add(words.picked(read, patterns[c]), grad, current[i])
                        return current

                    return body

                none = [words.zero()] * (together * taps * ins)
                whole = builder.sub(count, words.integer(together - 1))
                p, sums = words.loop(words.integer(0), whole, together, none, pixels(together))
                _, sums = words.loop(p, count, 1, sums, pixels(1))
                for t in range(taps):
                    for c in range(ins):
                        total = plus(plus(z, times(right, words.integer(t))), times(z_step, words.integer(c)))
                        value = words.load(total)
                        for q in range(together):
                            value = builder.fadd(value, sums[(q * taps + t) * ins + c])
                        words.store(value, total)
                return [
                    plus(x, words.integer(lanes // outs * ins * words.size)),
                    plus(g, words.integer(step)),
                    plus(z, words.integer(step)),
                ]

            words.loop(words.integer(0), blocks, 1, [x, g, z], block)
            return context.get_dummy_value()

        return types.void(x, g, z), emit

    return add


@cache
def outer(dtype: np.dtype, lanes: int, ins: int, outs: int) -> Any:
    """The kernel of a weight gradient: an item is a split of the rows of all images, with sums of its own."""
    shape = dtype, lanes, ins, outs
    T = TAPS if ins <= 4 else 1  # sums of more would not fit the registers
    several, several_edge, one_edge = _outer(shape, T, True), _outer(shape, T, False), _outer(shape, 1, False)
    view = VIEWS[dtype.name]
    SIZE, LANES, INS, CHANNELS = dtype.itemsize, lanes, ins, lanes // outs * ins
    READ = -(-CHANNELS // LANES) * LANES

    @kernel(f"grouped_outer-{dtype}x{lanes}_{ins}_{outs}")
    def grouped_outer(  # type: ignore[no-untyped-def]
        work, scratch, count, x, map_size, g, size, sums, z_step, numbers, before, stride, dilation, taps, stretch
    ):
        filters, channels = numbers
        images, height, width = size
        zeros = scratch
        nothing = view(zeros, READ)
        for k in range(READ):
            nothing[k] = 0
        xw, tap, right = stride[1] * x[3], dilation[1] * x[3], INS * z_step
        vectors = (filters + LANES - 1) // LANES
        # The columns whose taps all lie in the map.
        begin = min((before[1] + stride[1] - 1) // stride[1], width)
        reach = map_size[1] - 1 - (taps[1] - 1) * dilation[1] + before[1]
        end = min(max(reach // stride[1] + 1 if reach >= 0 else 0, begin), width)
        split = claim(work)
        while split < count:
            total = sums + split * taps[0] * taps[1] * right
            cells = view(total, taps[0] * taps[1] * right // SIZE)
            for cell in range(cells.size):
                cells[cell] = 0
            for line in range(split * images * height // count, (split + 1) * images * height // count):
                n, i = line // height, line % height
                j = 0
                while j < width:
                    inside = begin <= j < end
                    pixels = min((end if inside else begin if j < begin else width) - j, stretch)
                    column = j * stride[1] - before[1]
                    grad = g[0] + n * g[1] + i * g[2] + j * g[3]
                    blocks = min(filters // LANES, max(channels - READ, -1) // CHANNELS + 1) if inside else 0
                    for a in range(taps[0]):
                        row = i * stride[0] + a * dilation[0] - before[0]
                        b = 0
                        while b < taps[1] and 0 <= row < map_size[0]:
                            source = x[0] + n * x[1] + row * x[2] + column * x[3] + b * tap
                            z = total + (a * taps[1] + b) * right
                            here = column + b * dilation[1]
                            rest = vectors
                            if b + T <= taps[1] and blocks > 0:
                                several(
                                    (source, xw, tap, here, stride[1], dilation[1], map_size[1], zeros),
                                    (grad, g[3], pixels, blocks, filters, channels),
                                    (z, z_step, right),
                                )
                                rest = vectors - blocks
                            done = vectors - rest
                            if rest > 0:
                                from_x, from_g = source + done * CHANNELS * SIZE, grad + done * LANES * SIZE
                                more, seen = filters - done * LANES, channels - done * CHANNELS
                                xs = (from_x, xw, tap, here, stride[1], dilation[1], map_size[1], zeros)
                                gs = (from_g, g[3], pixels, rest, more, seen)
                                zs = (z + done * LANES * SIZE, z_step, right)
                                if b + T <= taps[1]:
                                    several_edge(xs, gs, zs)
                                else:
                                    one_edge(xs, gs, zs)
                            b += T if b + T <= taps[1] else 1
                    j += pixels
            split = claim(work)

    return grouped_outer
