"""Kernels for groups of few channels: the filters of several groups lie side by side in a vector.

Filter k of a vector sees channel (k // outs) * ins + c of the same stretch of channels, so each of the `ins` products
takes its channels out of vectors that are loaded once, by a fixed permutation: none for a depthwise convolution.
"""

from functools import cache
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from .jit import VIEWS, claim, integers, kernel
from .vector import Words

PIXELS = 8  # of a row computed together: weights are loaded once for all of them
PART = 12  # columns; bytes to the outputs, and between images, rows, pixels; input row and column of the first tap of
# output (0, 0); taps; bytes to the weights of the first tap, down to the next, and right to the next
ITEM = 4  # part, image, rows (from, to)


def spread(lanes: int, ins: int, outs: int) -> list[list[int]]:
    """For each of the `ins` products: the channel of a stretch that each lane sees."""
    return [[lane // outs * ins + c for lane in range(lanes)] for c in range(ins)]


@cache
def _product(dtype: np.dtype, lanes: int, ins: int, outs: int, pixels: int) -> Any:
    """y[p, k] = b[k] + sum over taps t and c of w[t, c, k] x[p][offset of t + channel of k and c], for `pixels` p.

    An intrinsic (x, x_step, taps, count, w, w_step, bias, y, y_step, filters, channels, rectify): x and y are addresses
    of the first pixel, the steps bytes to the next, and from one c to the next; taps: address of `count` pairs, bytes
    from x and from w. filters and channels: how many there are from here on.
    """
    patterns = spread(lanes, ins, outs)
    loads = max(map(max, patterns)) // lanes + 1

    @intrinsic
    def multiply(typing_context, x, x_step, taps, count, w, w_step, bias, y, y_step, filters, channels, rectify):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            x, x_step, taps, count, w, w_step, bias, y, y_step, filters, channels, rectify = arguments
            words = Words(builder, dtype, lanes)
            step = lanes * words.size
            xs = [builder.add(x, builder.mul(x_step, words.integer(p))) for p in range(pixels)]
            wanted = [words.below(builder.sub(channels, words.integer(i * lanes))) for i in range(loads)]

            def body(t: Any, *sums: Any) -> list[Any]:
                current = list(sums)
                pair = builder.add(taps, builder.mul(t, words.integer(16)))
                offset, weights = words.load_integer(pair), builder.add(w, words.load_integer(pair, 8))
                factors = [words.load(builder.add(weights, builder.mul(w_step, words.integer(c)))) for c in range(ins)]
                for p in range(pixels):
                    here = builder.add(xs[p], offset)
                    read = [
                        words.load_some(builder.add(here, words.integer(i * step)), wanted[i]) for i in range(loads)
                    ]
                    for c in range(ins):
                        current[p] = words.multiply_add(words.picked(read, patterns[c]), factors[c], current[p])
                return current

            _, sums = words.loop(words.integer(0), count, 1, [words.load(bias)] * pixels, body)
            sums = words.choose(rectify, lambda: [words.rectify(each) for each in sums], lambda: sums)
            written = words.below(filters)
            for p in range(pixels):
                words.store_some(sums[p], builder.add(y, builder.mul(y_step, words.integer(p))), written)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 12), emit

    return multiply


@cache
def product(dtype: np.dtype, lanes: int, ins: int, outs: int) -> Any:
    """The kernel of a correlation: an item is some rows of one image of one part, taken in segments of columns.

    Taps outside the map are left out, not multiplied by 0.
    """
    many, single = (_product(dtype, lanes, ins, outs, pixels) for pixels in (PIXELS, 1))
    SIZE, LANES, CHANNELS = dtype.itemsize, lanes, lanes // outs * ins

    @kernel(f"grouped-{dtype}x{lanes}_{ins}_{outs}")
    def grouped(  # type: ignore[no-untyped-def]
        work,
        scratch,
        count,
        items,
        parts,
        x,
        y,
        weight,
        w_step,
        bias,
        map_size,
        numbers,
        segment,
        stride,
        dilation,
        rectify,
    ):
        filters, channels = numbers
        xw = stride[1] * x[3]
        number = claim(work)
        while number < count:
            item = integers(items + number * 8 * ITEM, ITEM)
            part = integers(parts + item[0] * 8 * PART, PART)
            width, start, yn, yh, yw = part[0], part[1], part[2], part[3], part[4]
            top, left, kh, kw, first, down, right = part[5], part[6], part[7], part[8], part[9], part[10], part[11]
            # The columns whose taps all lie in the map.
            begin = min(max((stride[1] - 1 - left) // stride[1], 0), width)
            reach = map_size[1] - 1 - (kw - 1) * dilation[1] - left
            end = min(max(reach // stride[1] + 1 if reach >= 0 else 0, begin), width)
            for line in range((width + segment - 1) // segment * (item[3] - item[2])):
                i, j = item[2] + line % (item[3] - item[2]), line // (item[3] - item[2]) * segment
                stop = min(j + segment, width)
                while j < stop:
                    taps = 0
                    for a in range(kh):
                        row = top + i * stride[0] + a * dilation[0]
                        for b in range(kw if 0 <= row < map_size[0] else 0):
                            column = left + j * stride[1] + b * dilation[1]
                            if 0 <= column < map_size[1]:
                                pair = integers(scratch + 16 * taps, 2)
                                pair[0] = row * x[2] + column * x[3]
                                pair[1] = first + a * down + b * right
                                taps += 1
                    ready = min(end, stop) - j if begin <= j < end else 1
                    for block in range((filters + LANES - 1) // LANES):
                        source = x[0] + item[1] * x[1] + block * CHANNELS * SIZE
                        target = y + start + item[1] * yn + i * yh + j * yw + block * LANES * SIZE
                        more, rest = filters - block * LANES, channels - block * CHANNELS
                        w, b0 = weight + block * LANES * SIZE, bias + block * LANES * SIZE
                        p = 0
                        while p < ready:
                            if ready < PIXELS:
                                single(
                                    source + p * xw,
                                    xw,
                                    scratch,
                                    taps,
                                    w,
                                    w_step,
                                    b0,
                                    target + p * yw,
                                    yw,
                                    more,
                                    rest,
                                    rectify,
                                )
                                p += 1
                            else:  # at the end of a row some pixels are computed twice
                                p = min(p, ready - PIXELS)
                                many(
                                    source + p * xw,
                                    xw,
                                    scratch,
                                    taps,
                                    w,
                                    w_step,
                                    b0,
                                    target + p * yw,
                                    yw,
                                    more,
                                    rest,
                                    rectify,
                                )
                                p += PIXELS
                    j += ready
            number = claim(work)

    return grouped


@cache
def _outer(dtype: np.dtype, lanes: int, ins: int, outs: int) -> Any:
    """z[c, k] += sum over `count` pixels p of g[p][k] x[p][channel of k and c].

    An intrinsic (x, x_step, g, g_step, count, z, z_step, filters, channels), as in `_product`.
    """
    patterns = spread(lanes, ins, outs)
    loads = max(map(max, patterns)) // lanes + 1
    unroll = max(1, 4 // ins)  # sums that do not wait for each other

    @intrinsic
    def add(typing_context, x, x_step, g, g_step, count, z, z_step, filters, channels):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            x, x_step, g, g_step, count, z, z_step, filters, channels = arguments
            words = Words(builder, dtype, lanes)
            step = lanes * words.size
            wanted = [words.below(builder.sub(channels, words.integer(i * lanes))) for i in range(loads)]
            valid = words.below(filters)

            def pixels(many: int) -> Any:
                def body(p: Any, *sums: Any) -> list[Any]:
                    current = list(sums)
                    for q in range(many):
                        at = builder.add(p, words.integer(q))
                        here = builder.add(x, builder.mul(x_step, at))
                        grad = words.load_some(builder.add(g, builder.mul(g_step, at)), valid)
                        read = [
                            words.load_some(builder.add(here, words.integer(i * step)), wanted[i]) for i in range(loads)
                        ]
                        for c in range(ins):
                            i = q * ins + c
                            current[i] = words.multiply_add(words.picked(read, patterns[c]), grad, current[i])
                    return current

                return body

            whole = builder.sub(count, words.integer(unroll - 1))
            p, sums = words.loop(words.integer(0), whole, unroll, [words.zero()] * (unroll * ins), pixels(unroll))
            _, sums = words.loop(p, count, 1, sums, pixels(1))
            for c in range(ins):
                total = builder.add(z, builder.mul(z_step, words.integer(c)))
                value = words.load(total)
                for q in range(unroll):
                    value = builder.fadd(value, sums[q * ins + c])
                words.store(value, total)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 9), emit

    return add


@cache
def outer(dtype: np.dtype, lanes: int, ins: int, outs: int) -> Any:
    """The kernel of a weight gradient: an item is a split of the rows of all images, with sums of its own."""
    add = _outer(dtype, lanes, ins, outs)
    view = VIEWS[dtype.name]
    SIZE, LANES, CHANNELS = dtype.itemsize, lanes, lanes // outs * ins

    @kernel(f"grouped_outer-{dtype}x{lanes}_{ins}_{outs}")
    def grouped_outer(  # type: ignore[no-untyped-def]
        work, scratch, count, x, map_size, g, size, sums, z_step, numbers, before, stride, dilation, taps
    ):
        filters, channels = numbers
        images, height, width = size
        split = claim(work)
        while split < count:
            total = sums + split * taps[0] * taps[1] * ins * z_step
            cells = view(total, taps[0] * taps[1] * ins * z_step // SIZE)
            for cell in range(cells.size):
                cells[cell] = 0
            for line in range(split * images * height // count, (split + 1) * images * height // count):
                n, i = line // height, line % height
                for a in range(taps[0]):
                    row = i * stride[0] + a * dilation[0] - before[0]
                    for b in range(taps[1] if 0 <= row < map_size[0] else 0):
                        shift = b * dilation[1] - before[1]
                        begin = min(max((stride[1] - 1 - shift) // stride[1], 0), width)
                        reach = map_size[1] - 1 - shift
                        end = min(max(reach // stride[1] + 1 if reach >= 0 else 0, begin), width)
                        source = x[0] + n * x[1] + row * x[2] + (begin * stride[1] + shift) * x[3]
                        grad = g[0] + n * g[1] + i * g[2] + begin * g[3]
                        z = total + (a * taps[1] + b) * ins * z_step
                        for block in range((filters + LANES - 1) // LANES):
                            add(
                                source + block * CHANNELS * SIZE,
                                stride[1] * x[3],
                                grad + block * LANES * SIZE,
                                g[3],
                                end - begin,
                                z + block * LANES * SIZE,
                                z_step,
                                filters - block * LANES,
                                channels - block * CHANNELS,
                            )
            split = claim(work)

    return grouped_outer
