"""Depthwise convolution: one channel and one filter in a group, so that every vector of channels stands by itself.

A tile is some rows and pixels of the result, of one vector of channels; what it loads meets several rows of taps. At
the edges of the map taps outside are left out, by tiles of one row or one pixel; small maps, which have many, are
copied with their padding instead.
"""

from functools import cache
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from . import machine
from .channels import end_tap, first_tap
from .group_tile import ITEM, PART
from .jit import claim, inlined, integers, kernel
from .patches import gather
from .vector import Words

ROWS = 4  # of a tile
TAPS = 3  # rows of taps that meet what is loaded
AHEAD = 1024  # bytes along a row between what is computed and what is asked for


def pixels() -> int:
    """Of a row of a tile."""
    return 4 if machine.vectors().registers > 16 else 2


@cache
def _tile(dtype: np.dtype, lanes: int, rows: int, pixels: int, masked: bool) -> Any:
    """y[r, p, k] = f(b[k] + sum over u, v of w[u, v, k] x[r + u, p s + v d, k]), f being ReLU or nothing.

    An intrinsic (places, weights, results): tuples of addresses and of bytes.
    places: x of the first pixel's first tap, to the next row, pixel, and tap; 1 to prefetch.
    weights: rows and columns of taps; w of the first, to the next row, column, and vector of channels.
    results: biases, y, to its next row and pixel, how many pixels (at the end some are computed again), vectors of
    channels, how many channels if `masked`, 1 to rectify. The sum's order does not depend on the tile.
    """

    @intrinsic
    def multiply(typing_context, places, weights, results):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            words = Words(builder, dtype, lanes)
            x, x_row, x_step, tap, ahead = words.unpacked(arguments[0])
            high, broad, w, down, right, w_step = words.unpacked(arguments[1])
            bias, y, y_row, y_step, count, blocks, channels, rectify = words.unpacked(arguments[2])
            which = words.below(channels) if masked else None
            last = builder.sub(count, words.integer(pixels))
            beside = [builder.mul(x_step, words.integer(p)) for p in range(pixels)]

            def steps(start: Any, step: Any, count: int) -> list[Any]:
                places = [start]
                for _ in range(count - 1):
                    places.append(builder.add(places[-1], step))
                return places

            def load(address: Any) -> Any:
                return words.load_some(address, which) if masked else words.load(address)

            def taps_of(count: int, x: Any, w: Any) -> Any:
                """Some rows of taps together."""

                def body(u: Any, *sums: Any) -> list[Any]:
                    inputs = steps(builder.add(x, builder.mul(u, x_row)), x_row, rows + count - 1)
                    factors = steps(builder.add(w, builder.mul(u, down)), down, count)

                    def column(_: Any, at: Any, by: Any, *sums: Any) -> list[Any]:
                        total = list(sums)
                        factor = [words.load(builder.add(each, by)) for each in factors]
                        for r, row in enumerate(inputs):
                            here = builder.add(row, at)
                            for p in range(pixels):
                                value = load(builder.add(here, beside[p]) if p else here)
                                for k in range(count):
                                    if 0 <= r - k < rows:
                                        mine = (r - k) * pixels + p
                                        total[mine] = words.multiply_add(value, factor[k], total[mine])
                        return [builder.add(at, tap), builder.add(by, right), *total]

                    carried = [words.integer(0), words.integer(0), *sums]
                    return words.loop(words.integer(0), broad, 1, carried, column)[1][2:]

                return body

            def fetch(x: Any, y: Any) -> list[Any]:
                """Ask for what a later tile reads first, and for where it writes."""
                half = builder.lshr(x_step, words.integer(1))
                newest = builder.mul(builder.sub(high, words.integer(1 if rows > 1 else 2)), x_row)
                x, y = (builder.add(each, words.integer(AHEAD)) for each in (x, y))
                for each in steps(builder.add(x, newest), x_row, max(rows, 2)):
                    for place in steps(each, *((x_step, pixels) if rows > 1 else (half, 2 * pixels))):
                        words.prefetch(place)
                for each in steps(y, y_row, rows):
                    for place in steps(each, y_step, pixels):
                        words.prefetch(place, write=True)
                return []

            def block(_: Any, x: Any, y: Any, w: Any, bias: Any) -> list[Any]:
                if pixels > 1 and not masked:
                    words.choose(ahead, lambda: fetch(x, y), list)
                sums = [words.load(bias)] * (rows * pixels)
                most = builder.sub(high, words.integer(TAPS - 1))
                u, sums = words.loop(words.integer(0), most, TAPS, sums, taps_of(TAPS, x, w))
                _, raw = words.loop(u, high, 1, sums, taps_of(1, x, w))
                sums = words.choose(rectify, lambda: [words.rectify(each) for each in raw], lambda: list(raw))
                for r, row in enumerate(steps(y, y_row, rows)):
                    for p, place in enumerate(steps(row, y_step, pixels)):
                        if masked:
                            words.store_some(sums[r * pixels + p], place, which)
                        else:
                            words.store(sums[r * pixels + p], place)
                step = words.integer(lanes * words.size)
                return [builder.add(*each) for each in zip((x, y, w, bias), (step, step, w_step, step), strict=True)]

            def some(at: Any) -> list[Any]:
                at = builder.select(builder.icmp_signed("<", at, last), at, last)
                from_x, to_y = (builder.add(a, builder.mul(b, at)) for a, b in ((x, x_step), (y, y_step)))
                words.loop(words.integer(0), blocks, 1, [from_x, to_y, w, bias], block)
                return []

            words.loop(words.integer(0), count, pixels, [], some)
            return context.get_dummy_value()

        return types.void(places, weights, results), emit

    return multiply


@inlined
def whole(origin, stride, reach, length, start, stop):  # type: ignore[no-untyped-def]
    """The outputs in start..stop whose first tap, at origin + i stride, and last, `reach` behind it, lie in the map."""
    begin = min(max(start, (stride - 1 - origin) // stride), stop)
    room = length - 1 - reach - origin
    return begin, max(begin, min(stop, room // stride + 1))


@cache
def product(dtype: np.dtype, lanes: int, pixels: int) -> Any:
    """The kernel of a correlation, called as `group_tile.product`'s: an item is some rows and vectors of channels."""
    shapes = (ROWS, pixels), (ROWS, 1), (1, 2 * pixels), (1, 1)
    main, column, flat, single = (_tile(dtype, lanes, *shape, False) for shape in shapes)
    flat_rest, single_rest = (_tile(dtype, lanes, 1, many, True) for many in (pixels, 1))
    copy_patch = gather(dtype)
    SIZE, LANES, PIXELS = dtype.itemsize, lanes, pixels

    @kernel(f"depthwise-{dtype}x{lanes}")
    def depthwise(  # type: ignore[no-untyped-def]
        work, scratch, count, items, parts, x, y, weight, w_step, bias, map_size, numbers, stride, dilation, flags
    ):
        channels, (rectify, prefetch, pitch) = numbers[0], flags
        number = claim(work)
        while number < count:
            item = integers(items + number * 8 * ITEM, ITEM)
            part = integers(parts + item[0] * 8 * PART, PART)
            width, start, yn, yh, yw = part[0], part[1], part[2], part[3], part[4]
            top, left, kh, kw, first, down, right = part[5], part[6], part[7], part[8], part[9], part[10], part[11]
            c = item[4] * LANES * SIZE
            blocks = min(item[5], channels // LANES) - item[4]
            rest = min(item[5] * LANES, channels) % LANES
            done = blocks * LANES * SIZE
            # The columns and rows whose taps all lie in the map.
            begin, end = whole(left, stride[1], (kw - 1) * dilation[1], map_size[1], 0, width)
            low, high = whole(top, stride[0], (kh - 1) * dilation[0], map_size[0], item[2], item[3])
            source, line, pixel = x[0] + item[1] * x[1] + c, x[2], x[3]
            if pitch > 0:
                lines = top + item[2] * stride[0], (item[3] - item[2] - 1) * stride[0] + (kh - 1) * dilation[0] + 1
                columns = left, (width - 1) * stride[1] + (kw - 1) * dilation[1] + 1
                copied = blocks * LANES + rest, (source, 0, line, pixel), map_size, (0, 1)
                copy_patch(scratch, pitch, copied[0], copied[1], copied[2], copied[3], lines, columns)
                low, high, begin, end = item[2], item[3], 0, width
                line, pixel = columns[1] * pitch, pitch
                source = scratch - lines[0] * line - left * pixel
            x_row, x_step, tap = dilation[0] * line, stride[1] * pixel, dilation[1] * pixel
            shared = stride[0] == dilation[0] and high - low >= ROWS
            i = item[2]
            while i < item[3]:
                rows = ROWS if shared and low <= i < high - 1 else 1
                i = min(i, high - ROWS) if rows > 1 else i
                row = top + i * stride[0]
                u, tall = 0, kh
                if i < low or i >= high:
                    u = first_tap(row, dilation[0], kh)
                    tall = end_tap(row, dilation[0], kh, map_size[0]) - u
                first_row = source + (row + u * dilation[0]) * line
                target = y + start + item[1] * yn + i * yh + c
                taps = weight + item[4] * w_step + first + u * down
                j = 0
                while j < width:
                    inside = begin <= j < end
                    wide = inside and end - begin >= PIXELS
                    wide = wide and (rows > 1 or end - begin >= 2 * PIXELS)
                    some = end - begin if wide else 1
                    at = left + j * stride[1]
                    v, broad = 0, kw
                    if not inside:
                        v = first_tap(at, dilation[1], kw)
                        broad = end_tap(at, dilation[1], kw, map_size[1]) - v
                    here, there, by = first_row + (at + v * dilation[1]) * pixel, target + j * yw, taps + v * right
                    places, weights = (here, x_row, x_step, tap, prefetch), (tall, broad, by, down, right, w_step)
                    if blocks > 0:
                        results = (bias + c, there, yh, yw, some, blocks, 0, rectify)
                        if rows > 1 and wide:
                            main(places, weights, results)
                        elif rows > 1:
                            column(places, weights, results)
                        elif wide:
                            flat(places, weights, results)
                        else:
                            single(places, weights, results)
                    for r in range(rows if rest > 0 else 0):
                        places = (here + r * x_row + done, x_row, x_step, tap, prefetch)
                        weights = (tall, broad, by + blocks * w_step, down, right, w_step)
                        results = (bias + c + done, there + r * yh + done, yh, yw, some, 1, rest, rectify)
                        if wide:
                            flat_rest(places, weights, results)
                        else:
                            single_rest(places, weights, results)
                    j += some
                i += rows
            number = claim(work)

    return depthwise
