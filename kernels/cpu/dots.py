"""Pointwise convolution with few filters, as at the head of a U-Net: outputs are scalar products along the channels.

A tile of filters x pixels would leave most of its vectors' lanes empty.
"""

from functools import cache
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from ..layout import Array
from ..window import Pair, Sides
from . import machine
from .jit import VIEWS, claim, kernel
from .parallel import SMALL, run, strided
from .transpose import added
from .vector import Words

MOST = 4  # filters: each reads the channels again, out of the level-1 cache
ITEMS = 32  # pieces of work to aim at, so that threads finish together


@cache
def _product(dtype: np.dtype, lanes: int, filters: int) -> Any:
    """y[p, k] = b[k] + sum over c of w[k, c] x[p][c], for as many pixels p as a vector has lanes.

    An intrinsic (x, x_step, last, channels, w, w_step, bias, y, rectify): addresses, and the bytes from pixel to pixel
    and from filter to filter of w, which has zeros up to a whole vector. Pixels after the last repeat it. y is dense.
    """

    @intrinsic
    def multiply(typing_context, x, x_step, last, channels, w, w_step, bias, y, rectify):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            x, x_step, last, channels, w, w_step, bias, y, rectify = arguments
            words = Words(builder, dtype, lanes)
            step = lanes * words.size
            pixels = []
            for p in range(lanes):
                number = words.integer(p)
                number = builder.select(builder.icmp_signed("<", number, last), number, last)
                pixels.append(builder.add(x, builder.mul(x_step, number)))
            rest = builder.and_(channels, words.integer(lanes - 1))
            end = builder.mul(builder.sub(channels, rest), words.integer(words.size))
            some = words.below(rest)
            results = []
            for k in range(filters):
                row = builder.add(w, builder.mul(w_step, words.integer(k)))

                def whole(c: Any, *sums: Any, row: Any = row) -> list[Any]:
                    factor = words.load(builder.add(row, c))
                    return [
                        words.multiply_add(words.load(builder.add(pixel, c)), factor, total)
                        for pixel, total in zip(pixels, sums, strict=True)
                    ]

                def partly(c: Any, *sums: Any, row: Any = row) -> list[Any]:
                    factor = words.load(builder.add(row, c))
                    return [
                        words.multiply_add(words.load_some(builder.add(pixel, c), some), factor, total)
                        for pixel, total in zip(pixels, sums, strict=True)
                    ]

                at, sums = words.loop(words.integer(0), end, step, [words.zero()] * lanes, whole)
                filled = builder.mul(channels, words.integer(words.size))
                _, sums = words.loop(at, filled, step, sums, partly)
                results.append(builder.fadd(added(words, sums), words.broadcast(bias, k * words.size)))
            raw = list(results)
            results = words.choose(rectify, lambda: [words.rectify(each) for each in raw], lambda: raw)
            for j in range(filters):
                flat = range(j * lanes, (j + 1) * lanes)
                mixed = words.picked(results, [each % filters * lanes + each // filters for each in flat])
                words.store(mixed, y, j * step)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 9), emit

    return multiply


@cache
def _dots(dtype: np.dtype, lanes: int, filters: int) -> Any:
    """The kernel: an item is some rows of all images."""
    multiply, view = _product(dtype, lanes, filters), VIEWS[dtype.name]
    SIZE, LANES, FILTERS = dtype.itemsize, lanes, filters

    @kernel(f"dots-{dtype}x{lanes}_{filters}")
    def dots(work, scratch, count, x, y, size, stride, channels, w, w_step, bias, rectify):  # type: ignore[no-untyped-def]
        images, height, width = size
        x_step = stride[1] * x[3]
        dense = y[3] == FILTERS * SIZE
        item = claim(work)
        while item < count:
            for line in range(item * images * height // count, (item + 1) * images * height // count):
                n, i = line // height, line % height
                source, target = x[0] + n * x[1] + i * stride[0] * x[2], y[0] + n * y[1] + i * y[2]
                for j in range(0, width, LANES):
                    at = max(min(j, width - LANES), 0)  # at the end of a row some pixels are computed twice
                    pixels = min(LANES, width - at)
                    direct = dense and pixels == LANES
                    written = target + at * y[3] if direct else scratch
                    here = source + at * x_step
                    multiply(here, x_step, pixels - 1, channels, w, w_step, bias, written, rectify)
                    for p in range(0 if direct else pixels):
                        given = view(scratch + p * FILTERS * SIZE, FILTERS)
                        taken = view(target + (at + p) * y[3], FILTERS)
                        for k in range(FILTERS):
                            taken[k] = given[k]
            item = claim(work)

    return dots


def convolve(
    outputs: list[Array],
    x: Array,
    weight: Array,
    bias: Array | None,
    *,
    stride: Pair,
    activation: str | None,
    **window: Any,
) -> None:
    """conv2d."""
    y = outputs[0]
    filters, channels = weight.shape[:2]
    lanes = machine.vectors().lanes(x.dtype)
    weights = np.zeros((filters, -(-channels // lanes) * lanes), x.dtype)
    weights[:, :channels] = weight[:, :, 0, 0]
    biases = np.zeros(filters, x.dtype) if bias is None else np.ascontiguousarray(bias)
    n, _, height, width = y.shape
    run(
        _dots(x.dtype, lanes, filters),
        min(n * height, ITEMS),
        strided(x),
        strided(y),
        (n, height, width),
        stride,
        channels,
        weights.ctypes.data,
        weights.strides[0],
        biases.ctypes.data,
        int(activation == "relu"),
        scratch=lanes * filters * x.itemsize,
        small=x.nbytes < SMALL,
    )


def refuses(x: Any, weight: Array, *arguments: Any, padding: Sides, groups: int, **parameters: Any) -> str | None:
    """Of `convolve`."""
    if weight.shape[2:] != (1, 1):
        return f"the kernel is {weight.shape[2]} x {weight.shape[3]}, not 1 x 1"
    if padding != ((0, 0), (0, 0)):
        return "there is padding"
    if groups != 1:
        return f"there are {groups} groups"
    if not 0 < weight.shape[0] <= MOST:
        return f"{weight.shape[0]} filters are not 1 to {MOST}"
    lanes = machine.vectors().lanes(weight.dtype)
    if weight.shape[1] < lanes:
        return f"{weight.shape[1]} channels do not fill a vector of {lanes} numbers"
    return None


def describe(*arguments: Any, **parameters: Any) -> str:
    """What `explain` says of it."""
    return f"in scalar products along the channels ({machine.vectors().name})"
