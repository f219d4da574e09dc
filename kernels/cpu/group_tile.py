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

PIXELS = 8  # of a row computed together: as many sums as two multiply-adds a cycle keep busy
TAPS = 3  # written out
PART = 12  # columns; bytes to the outputs, and between images, rows, pixels; input row and column of the first tap of
# output (0, 0); taps; bytes to the weights of the first tap, down to the next, and right to the next
ITEM = 6  # part, image, rows (from, to), vectors of channels (from, to)


def spread(lanes: int, ins: int, outs: int) -> list[list[int]]:
    """For each of the `ins` products: the channel of a stretch that each lane sees."""
    return [[lane // outs * ins + c for lane in range(lanes)] for c in range(ins)]


@cache
def _product(shape: tuple[np.dtype, int, int, int], pixels: int, dense: bool, inner: bool) -> Any:
    """y[p, k] = b[k] + sum over rows, taps t and c of w[row, t, c, k] x[row][p x_step + t tap][channel of k and c].

    An intrinsic (places, weights, results, ahead) for `count` p, `pixels` at a time: at the end some are computed
    again. Its arguments are tuples of addresses and of bytes:
    places: of the first pixel's first tap in x, to the next pixel, and to the next tap; its column, to the next pixel's
    and the next tap's, and how many there are; address of the rows, each a pair of bytes from x and from w; how many
    there are; address of zeros.
    weights: how many taps, address of the first, bytes to the next, and to the next vector of filters.
    results: biases, y, bytes to its next pixel, count, vectors of filters, filters and channels, 1 to rectify.
    ahead: bytes from x and y to rows that are needed next, how many rows of x and the bytes between them (0: none).

    shape: dtype, lanes, ins, outs. dense: taps are as far apart as pixels, so that an input is loaded once in a row and
    moves from pixel to pixel. inner: there are filters and channels for every lane, and all taps lie in the map.
    """
    dtype, lanes, ins, outs = shape
    patterns = spread(lanes, ins, outs)

    @intrinsic
    def multiply(typing_context, places, weights, results, ahead):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            words = Words(builder, dtype, lanes)
            tile = _Tile(words, patterns, outs, pixels, dense, inner, *map(words.unpacked, arguments))
            words.loop(words.integer(0), tile.count, pixels, [], tile.some)
            return context.get_dummy_value()

        return types.void(places, weights, results, ahead), emit

    return multiply


class _Tile:
    """The code of `_product`, spoken into `words`."""

    def __init__(
        self,
        words: Words,
        patterns: list[list[int]],
        outs: int,
        pixels: int,
        dense: bool,
        inner: bool,
        places: list[Any],
        weights: list[Any],
        results: list[Any],
        ahead: list[Any],
    ) -> None:
        self.words, self.patterns, self.pixels, self.dense, self.inner = words, patterns, pixels, dense, inner
        self.x, self.x_step, self.tap, self.column, self.stride, self.dilation, self.width = places[:7]
        self.table, self.rows, self.zeros = places[7:]
        self.outs = outs
        self.loads = max(map(max, patterns)) // words.lanes + 1
        self.taps, self.w, self.right, self.w_step = weights
        self.bias, self.y, self.y_step, self.count, self.blocks, self.filters, self.channels, self.rectify = results
        self.ahead = ahead
        times = words.builder.mul
        self.inputs = [[times(step, words.integer(p)) for step in (self.x_step, self.stride)] for p in range(pixels)]
        self.outputs = [times(self.y_step, words.integer(p)) for p in range(pixels)]
        self.last = words.builder.sub(self.count, words.integer(pixels))

    def some(self, at: Any) -> list[Any]:
        """`pixels` of them, from number `at` on, or from the last from where there are as many; all their channels."""
        words, builder = self.words, self.words.builder
        at = builder.select(builder.icmp_signed("<", at, self.last), at, self.last)
        starts = (self.x, self.x_step), (self.y, self.y_step), (self.column, self.stride)
        x, y, column = (builder.add(start, builder.mul(step, at)) for start, step in starts)
        stretch = len(self.patterns) * words.lanes // self.outs
        body = lambda block, *places: self.block(block, column, stretch, *places)  # noqa: E731
        words.loop(words.integer(0), self.blocks, 1, [x, y, self.w, self.bias], body)
        return []

    def block(self, number: Any, column: Any, stretch: int, x: Any, y: Any, w: Any, bias: Any) -> list[Any]:
        """A vector of filters, and the stretch of channels that they see."""
        words, builder = self.words, self.words.builder
        words.choose(self.ahead[2], lambda: self.fetch(x, y), list)
        if not self.inner:
            channels = builder.sub(self.channels, builder.mul(number, words.integer(stretch)))
            self.read = [words.below(builder.add(channels, words.integer(-i * words.lanes))) for i in range(self.loads)]
        sums = [words.load(bias)] * self.pixels
        _, sums = words.loop(words.integer(0), self.rows, 1, sums, lambda t, *sums: self.row(t, x, column, w, *sums))
        sums = words.choose(self.rectify, lambda: [words.rectify(each) for each in sums], lambda: sums)
        for value, output in zip(sums, self.outputs, strict=True):
            if self.inner:
                words.store(value, builder.add(y, output))
            else:
                filters = builder.sub(self.filters, builder.mul(number, words.integer(words.lanes)))
                words.store_some(value, builder.add(y, output), words.below(filters))
        step = words.lanes * words.size
        further = words.integer(stretch * words.size), words.integer(step), self.w_step, words.integer(step)
        return [builder.add(*each) for each in zip((x, y, w, bias), further, strict=True)]

    def fetch(self, x: Any, y: Any) -> list[Any]:
        """Ask for what the next row needs."""
        words, add = self.words, self.words.builder.add
        from_x, from_y, rows, between = self.ahead
        half = words.builder.lshr(self.x_step, words.integer(1))  # with a stride, between the pixels
        for output in self.outputs:
            words.prefetch(add(add(y, from_y), output), write=True)

        def row(t: Any, first: Any) -> list[Any]:
            for place, _ in self.inputs:
                words.prefetch(add(first, place))
                if not self.dense:
                    words.prefetch(add(add(first, place), half))
            return [add(first, between)]

        words.loop(words.integer(0), rows, 1, [add(x, from_x)], row)
        return []

    def row(self, t: Any, x: Any, column: Any, w: Any, *sums: Any) -> list[Any]:
        """Add the products of a row of taps."""
        words, add, pixels = self.words, self.words.builder.add, self.pixels
        current = list(sums)
        pair = add(self.table, self.words.builder.mul(t, words.integer(16)))
        x, weights = add(x, words.load_integer(pair)), add(w, words.load_integer(pair, 8))

        def several(count: int, c: int) -> Any:
            def body(t: Any, x: Any, column: Any, w: Any, *carried: Any) -> list[Any]:
                sums, seen = list(carried[:pixels]), list(carried[pixels:])
                for _ in range(count):
                    factors = [words.load(self.where_inside(column, p, w)) for p in range(pixels)]
                    fresh = [self.input(x, column, p, c) for p in (range(pixels)[-1:] if self.dense else range(pixels))]
                    seen = [*seen, *fresh][-pixels:]
                    sums = [words.multiply_add(*each) for each in zip(seen, factors, sums, strict=True)]
                    x, column, w = add(x, self.tap), add(column, self.dilation), add(w, self.right)
                return [x, column, w, *sums, *(seen[1:] if self.dense else [])]

            return body

        for c in range(len(self.patterns)):
            held = [self.input(x, column, p, c) for p in range(pixels - 1)] if self.dense else []
            first = add(weights, words.integer(c * words.lanes * words.size))
            most = words.builder.sub(self.taps, words.integer(TAPS - 1))
            carried = [x, column, first, *current, *held]
            at, carried = words.loop(words.integer(0), most, TAPS, carried, several(TAPS, c))
            current = words.loop(at, self.taps, 1, carried, several(1, c))[1][3 : 3 + pixels]
        return current

    def where_inside(self, column: Any, p: int, address: Any) -> Any:
        """An address for pixel p, that of zeros where it is outside the map: 0 times a weight could be NaN."""
        if self.inner:
            return address
        column = self.words.builder.add(column, self.inputs[p][1])
        inside = self.words.builder.icmp_unsigned("<", column, self.width)
        return self.words.builder.select(inside, address, self.zeros)

    def input(self, x: Any, column: Any, p: int, c: int) -> Any:
        """What the lanes see of pixel p, 0 outside the map."""
        words, builder = self.words, self.words.builder
        x = self.where_inside(column, p, builder.add(x, self.inputs[p][0]))
        first, last = (self.patterns[c][lane] // words.lanes for lane in (0, -1))
        places = [builder.add(x, words.integer(i * words.lanes * words.size)) for i in range(first, last + 1)]
        if self.inner:
            vectors = [words.load(place) for place in places]
        else:
            vectors = [words.load_some(place, self.read[i]) for i, place in enumerate(places, first)]
        return words.picked(vectors, [channel - first * words.lanes for channel in self.patterns[c]])


@cache
def product(dtype: np.dtype, lanes: int, ins: int, outs: int) -> Any:
    """The kernel of a correlation: an item is some rows of one image of one part, row by row."""
    shape = dtype, lanes, ins, outs
    dense, apart = _product(shape, PIXELS, True, True), _product(shape, PIXELS, False, True)
    dense_edge, apart_edge = _product(shape, PIXELS, True, False), _product(shape, PIXELS, False, False)
    single = _product(shape, 1, False, False)
    view = VIEWS[dtype.name]
    SIZE, LANES, CHANNELS = dtype.itemsize, lanes, lanes // outs * ins
    READ = -(-CHANNELS // LANES) * LANES

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
        stride,
        dilation,
        flags,
    ):
        filters, channels = numbers
        rectify, prefetch, _ = flags
        xw, tap = stride[1] * x[3], dilation[1] * x[3]
        zeros, rows = scratch, scratch + READ * SIZE
        nothing = view(zeros, READ)
        for k in range(READ):
            nothing[k] = 0
        number = claim(work)
        while number < count:
            item = integers(items + number * 8 * ITEM, ITEM)
            part = integers(parts + item[0] * 8 * PART, PART)
            width, start, yn, yh, yw = part[0], part[1], part[2], part[3], part[4]
            top, left, kh, kw, first, down, right = part[5], part[6], part[7], part[8], part[9], part[10], part[11]
            # The columns whose taps all lie in the map, and those around them one by one.
            begin = min(max((stride[1] - 1 - left) // stride[1], 0), width)
            reach = map_size[1] - 1 - (kw - 1) * dilation[1] - left
            end = min(max(reach // stride[1] + 1 if reach >= 0 else 0, begin), width)
            if end - begin < PIXELS:
                begin = end = width
            for i in range(item[2], item[3]):
                used = 0
                for a in range(kh if kw > 0 else 0):
                    row = top + i * stride[0] + a * dilation[0]
                    if 0 <= row < map_size[0]:
                        pair = integers(rows + 16 * used, 2)
                        pair[0], pair[1] = row * x[2], first + a * down
                        used += 1
                newest = top + i * stride[0] + (kh - 1) * dilation[0]
                fresh = min(stride[0], max(map_size[0] - 1 - newest, 0)) if prefetch else 0
                ahead = ((newest + 1) * x[2], yh, fresh, x[2])
                j = 0
                while j < width:
                    inside = begin <= j < end
                    pixels = (end if inside else begin if j < begin else width) - j
                    column = left + j * stride[1]
                    target = y + start + item[1] * yn + i * yh + j * yw
                    origin = x[0] + item[1] * x[1] + column * x[3]
                    blocks = min(filters // LANES, max(channels - READ, -1) // CHANNELS + 1) if inside else 0
                    places = (origin, xw, tap, column, stride[1], dilation[1], map_size[1], rows, used, zeros)
                    weights = (kw, weight, right, w_step)
                    if blocks > 0:
                        results = (bias, target, yw, pixels, blocks, filters, channels, rectify)
                        if stride[1] == dilation[1]:
                            dense(places, weights, results, ahead)
                        else:
                            apart(places, weights, results, ahead)
                    rest = (filters + LANES - 1) // LANES - blocks
                    if rest > 0:
                        done = blocks * LANES
                        origin += blocks * CHANNELS * SIZE
                        places = (origin, xw, tap, column, stride[1], dilation[1], map_size[1], rows, used, zeros)
                        weights = (kw, weight + blocks * w_step, right, w_step)
                        more, seen = filters - done, channels - blocks * CHANNELS
                        results = (bias + done * SIZE, target + done * SIZE, yw, pixels, rest, more, seen, rectify)
                        if pixels < PIXELS:
                            single(places, weights, results, ahead)
                        elif stride[1] == dilation[1]:
                            dense_edge(places, weights, results, ahead)
                        else:
                            apart_edge(places, weights, results, ahead)
                    j += pixels
            number = claim(work)

    return grouped
