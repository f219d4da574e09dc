"""The weight gradient of a depthwise convolution with 3 x 3 taps: all nine sums of a vector of channels in registers.

At the edges of the map some taps lie outside. They read a tap that does not, and what they sum goes to a place that
nobody reads, so that no product with a number that is not there is ever part of a sum, and one tile serves all.
"""

from functools import cache
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from ..layout import Array
from ..window import Pair, Sides
from . import machine
from .depthwise import whole
from .jit import VIEWS, claim, inlined, kernel
from .parallel import run, strided
from .vector import Words

TAPS = 3
PLACES = TAPS + 1  # of sums, in rows and columns: the last is for taps outside the map
PIXELS = 4  # that share what they load
SPLITS = 16  # partial sums. It sets the order of the sums, so it must not depend on the threads
MANY, SHORT = 8, 16  # images of fewer rows than this that are not divided among splits
SMALL_FLOPS = 2_000_000  # that one thread does before a second one helps: about 20 microseconds
CHUNK = 256 * 1024  # bytes of a gradient that the vectors of channels take one after the other: it stays in the cache


@cache
def _tile(dtype: np.dtype, lanes: int, dense: bool, masked: bool) -> Any:
    """z[u, v, k] += sum over rows i and pixels j of g[i, j, k] x[i, j, u, v, k].

    An intrinsic (x, g, z): tuples of addresses and of bytes.
    x: of the first pixel under each row of taps, to the next line, to the next pixel, and to each column of taps.
    g: of the first pixel, to the next line and pixel, lines, pixels, vectors of channels, and channels if `masked`.
    z: of each row of taps, and to each column.
    dense: columns of taps are as far apart as pixels, so that an input is loaded once for all of them.
    """
    size, pixels = dtype.itemsize, PIXELS if dense else 1

    @intrinsic
    def add(typing_context, x, g, z):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            words = Words(builder, dtype, lanes)
            x = words.unpacked(arguments[0])
            g, g_line, g_step, lines, count, blocks, channels = words.unpacked(arguments[1])
            z = words.unpacked(arguments[2])
            rows, x_line, x_step, columns = x[:TAPS], x[TAPS], x[TAPS + 1], x[TAPS + 2 :]
            plus, times = builder.add, builder.mul
            which = words.below(channels) if masked else None

            def load(address: Any) -> Any:
                return words.load_some(address, which) if masked else words.load(address)

            def block(number: Any, offset: Any) -> list[Any]:
                def line(_: Any, g: Any, *state: Any) -> list[Any]:
                    rows, sums = state[:TAPS], state[TAPS:]

                    def some(many: int) -> Any:
                        def body(p: Any, at: Any, by: Any, *sums: Any) -> list[Any]:
                            current, grads = list(sums), []
                            for _ in range(many):
                                grads.append(load(plus(g, by)))
                                by = plus(by, g_step)
                            for u, row in enumerate(rows):
                                first = plus(row, at)
                                if many == 1:
                                    seen = {(0, v): load(plus(first, column)) for v, column in enumerate(columns)}
                                else:
                                    seen, place = {}, plus(first, columns[0])
                                    for i in range(many + TAPS - 1):
                                        value = load(place)
                                        seen |= {(i - v, v): value for v in range(TAPS)}
                                        place = plus(place, x_step)
                                for q, grad in enumerate(grads):
                                    for v in range(TAPS):
                                        i = u * TAPS + v
                                        current[i] = words.multiply_add(seen[q, v], grad, current[i])
                            return [plus(at, times(x_step, words.integer(many))), by, *current]

                        return body

                    whole = builder.sub(count, words.integer(pixels - 1))
                    zero = words.integer(0)
                    p, carried = words.loop(zero, whole, pixels, [zero, zero, *sums], some(pixels))
                    if pixels > 1:
                        _, carried = words.loop(p, count, 1, carried, some(1))
                    return [plus(g, g_line), *(plus(row, x_line) for row in rows), *carried[2:]]

                starts = [plus(g, offset), *(plus(row, offset) for row in rows)]
                nothing = [words.zero()] * TAPS**2
                _, carried = words.loop(words.integer(0), lines, 1, [*starts, *nothing], line)
                for i, value in enumerate(carried[1 + TAPS :]):
                    place = plus(plus(z[i // TAPS], z[TAPS + i % TAPS]), offset)
                    words.store(builder.fadd(words.load(place), value), place)
                return [plus(offset, words.integer(lanes * size))]

            words.loop(words.integer(0), blocks, 1, [words.integer(0)], block)
            return context.get_dummy_value()

        return types.void(x, g, z), emit

    return add


@inlined
def inside(at, step, length):  # type: ignore[no-untyped-def]
    """For each of the taps at, at + step, ...: a place in the map, its own where it is there; which sum it is part of.

    (places, sums); the places are negative where no tap is in the map.
    """
    a, b, c = at, at + step, at + 2 * step
    first, second, third = 0 <= a < length, 0 <= b < length, 0 <= c < length
    any_of_them = a if first else b if second else c if third else -1
    places = (a if first else any_of_them, b if second else any_of_them, c if third else any_of_them)
    return places, (0 if first else TAPS, 1 if second else TAPS, 2 if third else TAPS)


@cache
def outer(dtype: np.dtype, lanes: int) -> Any:
    """The kernel: an item is a split of the rows of all images, with sums of its own, (PLACES, PLACES, channels)."""
    dense, apart = _tile(dtype, lanes, True, False), _tile(dtype, lanes, False, False)
    rest_of = _tile(dtype, lanes, False, True)
    view, SIZE, LANES = VIEWS[dtype.name], dtype.itemsize, lanes

    @kernel(f"depthwise_outer-{dtype}x{lanes}")
    def depthwise_outer(  # type: ignore[no-untyped-def]
        work, scratch, count, x, map_size, g, size, sums, z_step, channels, before, stride, dilation
    ):
        images, height, width = size
        blocks, rest = channels // LANES, channels % LANES
        done = blocks * LANES * SIZE
        shared = stride[1] == dilation[1]
        x_line, x_step = stride[0] * x[2], stride[1] * x[3]
        most = max(1, CHUNK // (width * channels * SIZE))
        left, right = whole(-before[1], stride[1], 2 * dilation[1], map_size[1], 0, width)
        split = claim(work)
        while split < count:
            total = sums + split * PLACES * PLACES * z_step
            view(total, PLACES * PLACES * z_step // SIZE)[:] = 0
            line, stop = split * images * height // count, (split + 1) * images * height // count
            while line < stop:
                n, i = line // height, line % height
                low, high = whole(-before[0], stride[0], 2 * dilation[0], map_size[0], i, min(height, i + stop - line))
                lines = min(most, high - low) if low == i and high > low else 1
                rows, kept = inside(i * stride[0] - before[0], dilation[0], map_size[0])
                j = 0
                while j < width and rows[0] >= 0:
                    some = right - left if left <= j < right else 1
                    columns, held = inside(j * stride[1] - before[1], dilation[1], map_size[1])
                    if columns[0] >= 0:
                        base, down = x[0] + n * x[1], PLACES * z_step
                        first, second, third = base + rows[0] * x[2], base + rows[1] * x[2], base + rows[2] * x[2]
                        a, b, c = columns[0] * x[3], columns[1] * x[3], columns[2] * x[3]
                        xs = (first, second, third, x_line, x_step, a, b, c)
                        grad = g[0] + n * g[1] + i * g[2] + j * g[3]
                        first, second, third = total + kept[0] * down, total + kept[1] * down, total + kept[2] * down
                        zs = (first, second, third, held[0] * z_step, held[1] * z_step, held[2] * z_step)
                        gs = (grad, g[2], g[3], lines, some, blocks, channels)
                        if shared and some > 1:
                            dense(xs, gs, zs)
                        else:
                            apart(xs, gs, zs)
                        if rest > 0:
                            xs = (xs[0] + done, xs[1] + done, xs[2] + done, x_line, x_step, xs[5], xs[6], xs[7])
                            zs = (zs[0] + done, zs[1] + done, zs[2] + done, zs[3], zs[4], zs[5])
                            rest_of(xs, (grad + done, g[2], g[3], lines, some, 1, rest), zs)
                    j += some
                line += lines
            split = claim(work)

    return depthwise_outer


def correlate_weight(dw: Array, x: Array, grad: Array, padding: Sides, stride: Pair, dilation: Pair) -> None:
    """dw[k,0,a,b] = sum over n,i,j of grad[n,k,i,j] x[n, k, i s - pad + a d, j s - pad + b d], all channels-last."""
    n, channels, height, width = grad.shape
    lanes = machine.vectors().lanes(x.dtype)
    splits = n if n >= MANY and height < SHORT else n * height
    sums = np.empty((min(SPLITS, splits), PLACES, PLACES, -(-channels // lanes) * lanes), x.dtype)
    run(
        outer(x.dtype, lanes),
        len(sums),
        strided(x),
        x.shape[2:],
        strided(grad),
        (n, height, width),
        sums.ctypes.data,
        sums.strides[2],
        channels,
        (padding[0][0], padding[1][0]),
        stride,
        dilation,
        small=2 * grad.size * TAPS**2 < SMALL_FLOPS,
    )
    with np.errstate(all="ignore"):  # infinities that cancel or overflow are the caller's, as in the kernel
        total = np.add.reduce(sums, axis=0)
    dw[:, 0] = total[:-1, :-1, :channels].transpose(2, 0, 1)
