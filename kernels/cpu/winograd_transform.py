"""The transforms of Winograd's F(4x4, 3x3), a vector of channels or filters at a time, in registers.

Four outputs y of a correlation with three taps g, from six inputs d, take six products in place of twelve:

    y = A' ((G g) * (B' d)),

and nested in two dimensions Y = A' ((G g G') * (B' d B)) A takes 36 in place of 144. d and g are polynomials; the
products are values of theirs at the points 0, p, -p, q, -q and infinity. The derivative with respect to g is
G' ((A e A') * (B' d B)) G, F(3x3, 4x4), of the gradients e of the outputs.

Source: Lavin & Gray, "Fast algorithms for convolutional neural networks" (2015), equations 5 and 8, with other points.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from .transpose import turned
from .vector import Words

TILE, TAPS, INPUT = 4, 3, 6  # outputs of a tile, taps, inputs under it: along one axis
POINTS = INPUT * INPUT  # products for each channel and filter of a tile

# All products of these are floats. Errors are a third of those with Lavin & Gray's 1 and 2, in arithmetic as cheap.
P, Q = 5 / 8, 3 / 2
P2, Q2 = P * P, Q * Q

Lines = list[Any]  # vectors


def transform_data(words: Words, d: Lines) -> Lines:
    """B' d."""
    constant, madd = words.constant, words.multiply_add
    pairs = []
    for point, other in ((P, Q2), (Q, P2)):
        even = madd(constant(-other), d[2], d[4])
        odd = madd(constant(-other), d[1], d[3])
        pairs += [madd(constant(point), odd, even), madd(constant(-point), odd, even)]
    ends = [madd(constant(P2 * Q2), d[at], madd(constant(-P2 - Q2), d[at + 2], d[at + 4])) for at in (0, 1)]
    return [ends[0], *pairs, ends[1]]


def transform_filter(words: Words, g: Lines) -> Lines:
    """G g."""
    constant, madd, multiply = words.constant, words.multiply_add, words.builder.fmul
    pairs = []
    for point, other in ((P, Q2), (Q, P2)):
        square = point * point
        scale = 1 / (2 * square * (square - other))
        even = madd(constant(scale * square), g[2], multiply(constant(scale), g[0]))
        pairs += [madd(constant(scale * point), g[1], even), madd(constant(-scale * point), g[1], even)]
    return [multiply(constant(1 / (P2 * Q2)), g[0]), *pairs, g[2]]


def transform_gradient(words: Words, e: Lines) -> Lines:
    """A e."""
    constant, madd = words.constant, words.multiply_add
    pairs = []
    for point in (P, Q):
        square = point * point
        even, odd = madd(constant(square), e[2], e[0]), madd(constant(square), e[3], e[1])
        pairs += [madd(constant(point), odd, even), madd(constant(-point), odd, even)]
    return [e[0], *pairs, e[3]]


def transform_weight(words: Words, s: Lines) -> Lines:
    """G' s."""
    add, subtract, multiply = words.builder.fadd, words.builder.fsub, words.builder.fmul
    constant, madd = words.constant, words.multiply_add
    sums = [multiply(constant(1 / (P2 * Q2)), s[0]), words.zero(), s[5]]
    for point, other, plus, minus in ((P, Q2, s[1], s[2]), (Q, P2, s[3], s[4])):
        square = point * point
        scale = 1 / (2 * square * (square - other))
        even, odd = add(plus, minus), subtract(plus, minus)
        for tap, values in enumerate((even, odd, even)):
            sums[tap] = madd(constant(scale * point**tap), values, sums[tap])
    return sums


def transform_output(words: Words, m: Lines) -> Lines:
    """A' m."""
    add, subtract, multiply = words.builder.fadd, words.builder.fsub, words.builder.fmul
    constant, madd = words.constant, words.multiply_add
    even, odd = [add(m[1], m[2]), add(m[3], m[4])], [subtract(m[1], m[2]), subtract(m[3], m[4])]
    return [
        add(m[0], add(*even)),
        madd(constant(Q), odd[1], multiply(constant(P), odd[0])),
        madd(constant(Q2), even[1], multiply(constant(P2), even[0])),
        madd(constant(P * P2), odd[0], madd(constant(Q * Q2), odd[1], m[5])),
    ]


def nested(transform: Callable[[Words, Lines], Lines], words: Words, lines: list[Lines]) -> list[Lines]:
    """The transform of each column of the rows of each line: T x T' for rows x."""
    rows = [transform(words, line) for line in lines]
    columns = [transform(words, list(column)) for column in zip(*rows, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def _grid(words: Words, address: Any, down: Any, right: Any, count: int) -> list[Lines]:
    """The addresses of count x count pixels, `down` and `right` bytes apart."""
    builder = words.builder

    def steps(start: Any, step: Any) -> Lines:
        return [builder.add(start, builder.mul(step, words.integer(i))) for i in range(count)]

    return [steps(row, right) for row in steps(address, down)]


def _points(words: Words, address: Any, apart: Any) -> Lines:
    return [words.builder.add(address, words.builder.mul(apart, words.integer(f))) for f in range(POINTS)]


@cache
def _values(dtype: np.dtype, lanes: int, extent: int, transform: Callable[[Words, Lines], Lines]) -> Callable[..., Any]:
    """T x T' for `count` vectors of channels of one tile.

    An intrinsic (x, down, right, count, v, apart, step): x: address of the extent x extent pixels, `down` and `right`
    bytes apart. v: address of the first point; points lie `apart` bytes from each other, vectors `step`.
    """

    @intrinsic
    def evaluate(typing_context, x, down, right, count, v, apart, step):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            x, down, right, count, v, apart, step = arguments
            words = Words(builder, dtype, lanes)
            pixels = _grid(words, x, down, right, extent)

            def body(c: Any) -> list[Any]:
                here = builder.mul(c, words.integer(lanes * words.size))
                lines = [[words.load(builder.add(pixel, here)) for pixel in row] for row in pixels]
                target = builder.add(v, builder.mul(c, step))
                values = [value for row in nested(transform, words, lines) for value in row]
                for value, address in zip(values, _points(words, target, apart), strict=True):
                    words.store(value, address)
                return []

            words.loop(words.integer(0), count, 1, [], body)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 7), emit

    return evaluate


def data(dtype: np.dtype, lanes: int) -> Callable[..., Any]:
    """V = B' d B of the 6 x 6 inputs under a tile: see `_values`."""
    return _values(dtype, lanes, INPUT, transform_data)


def gradients(dtype: np.dtype, lanes: int) -> Callable[..., Any]:
    """E = A e A' of the gradients of a tile's 4 x 4 outputs: see `_values`."""
    return _values(dtype, lanes, TILE, transform_gradient)


@cache
def weights(dtype: np.dtype, lanes: int) -> Callable[..., Any]:
    """dw = G' S G for one vector of channels, in float64 and rounded once.

    An intrinsic (s, apart, dw, down, right, valid): s: address of the first point; points lie `apart` bytes from each
    other. dw: address of the 3 x 3 taps, `down` and `right` bytes apart; the first `valid` channels are written.
    """

    @intrinsic
    def transform(typing_context, s, apart, dw, down, right, valid):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            s, apart, dw, down, right, valid = arguments
            words, wide = Words(builder, dtype, lanes), Words(builder, np.dtype(np.float64), lanes)
            narrow = words.vector == wide.vector
            points = [words.load(address) for address in _points(words, s, apart)]
            points = points if narrow else [builder.fpext(point, wide.vector) for point in points]
            rows = nested(transform_weight, wide, [points[i : i + INPUT] for i in range(0, POINTS, INPUT)])
            which = words.below(valid)
            taps = [tap for row in _grid(words, dw, down, right, TAPS) for tap in row]
            for value, tap in zip((value for row in rows for value in row), taps, strict=True):
                words.store_some(value if narrow else builder.fptrunc(value, words.vector), tap, which)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6), emit

    return transform


def _taps(words: Words, g: Any, step: Any, valid: Any) -> Lines:
    """The nine taps of each filter in a lane: vectors of filters, `step` bytes apart; the last valid one repeats."""
    builder, lanes = words.builder, words.lanes
    last = builder.sub(valid, words.integer(1))
    numbers = [words.integer(lane) for lane in range(lanes)]
    chosen = [builder.select(builder.icmp_signed("<", number, last), number, last) for number in numbers]
    places = [builder.add(g, builder.mul(step, number)) for number in chosen]
    taps: Lines = []
    for first in range(0, TAPS * TAPS, lanes):
        here = words.below(words.integer(TAPS * TAPS - first))  # nothing behind the last tap is touched
        offset = words.integer(first * words.size)
        taps += turned(words, [words.load_some(builder.add(place, offset), here) for place in places])
    return taps[: TAPS * TAPS]


def _store_filters(words: Words, taps: Lines, u: Any, apart: Any) -> None:
    """U = G g G' of vectors of filters. (In float64, rounded once, it took twice as long for errors 2 % smaller.)"""
    lines = nested(transform_filter, words, [taps[i : i + TAPS] for i in range(0, TAPS * TAPS, TAPS)])
    for value, address in zip((value for row in lines for value in row), _points(words, u, apart), strict=True):
        words.store(value, address)


@cache
def filters(dtype: np.dtype, lanes: int) -> Callable[..., Any]:
    """U of one vector of filters, whose numbers lie side by side.

    An intrinsic (g, down, right, u, apart): g: address of the 3 x 3 taps, `down` and `right` bytes apart. u: address of
    the first point; points lie `apart` bytes from each other.
    """

    @intrinsic
    def transform(typing_context, g, down, right, u, apart):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            g, down, right, u, apart = arguments
            words = Words(builder, dtype, lanes)
            taps = [words.load(tap) for row in _grid(words, g, down, right, TAPS) for tap in row]
            _store_filters(words, taps, u, apart)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 5), emit

    return transform


@cache
def filters_of_taps(dtype: np.dtype, lanes: int) -> Callable[..., Any]:
    """U of one vector of filters, whose nine taps lie side by side.

    An intrinsic (g, step, valid, reverse, u, apart): g: address of the first filter's taps, the last one first where
    `reverse` is 1; `valid` filters lie `step` bytes apart. u, apart: as of `filters`.
    """

    @intrinsic
    def transform(typing_context, g, step, valid, reverse, u, apart):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            g, step, valid, reverse, u, apart = arguments
            words = Words(builder, dtype, lanes)
            taps = _taps(words, g, step, valid)
            backwards = builder.icmp_signed("!=", reverse, words.integer(0))
            taps = [builder.select(backwards, *pair) for pair in zip(taps[::-1], taps, strict=True)]
            _store_filters(words, taps, u, apart)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6), emit

    return transform


@cache
def outputs(dtype: np.dtype, lanes: int) -> Callable[..., Any]:
    """Y = f(b + A' M A) for one vector of filters of one tile.

    An intrinsic (m, apart, bias, y, down, right, rectify): m: address of the first point; points lie `apart` bytes
    from each other. bias: address of a vector. y: address of the 4 x 4 pixels, `down` and `right` bytes apart.
    rectify: 1 for f(a) = max(a, 0), 0 for f(a) = a.
    """

    @intrinsic
    def transform(typing_context, m, apart, bias, y, down, right, rectify):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            m, apart, bias, y, down, right, rectify = arguments
            words = Words(builder, dtype, lanes)
            points = [words.load(address) for address in _points(words, m, apart)]
            rows = nested(transform_output, words, [points[i : i + INPUT] for i in range(0, POINTS, INPUT)])
            start = words.load(bias)
            values = [builder.fadd(value, start) for row in rows for value in row]
            values = words.choose(rectify, lambda: [words.rectify(value) for value in values], lambda: values)
            pixels = [pixel for row in _grid(words, y, down, right, TILE) for pixel in row]
            for value, address in zip(values, pixels, strict=True):
                words.store(value, address)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 7), emit

    return transform
