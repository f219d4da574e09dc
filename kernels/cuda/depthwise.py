"""Depthwise convolution on a GPU: groups of which the input, the result or both have one channel.

A thread computes a strip of neighbouring pixels of one row, of as many channels as 16 bytes hold; each input that it
loads meets every tap that wants it while it is in registers. The kernel waits in shared memory, channels side by side.
The weight's gradient is summed in splits of the pixels, which are then added: the shapes alone say in what order.
"""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np

from ..layout import Array, Shape
from ..namespace import namespace
from ..window import Window
from .module import kernel
from .reach import too_far
from .sides import Sides
from .splits import shares
from .strides import NUMBERS, dense, strides, vector_of

THREADS = 256
AXIS = 64  # threads along the third axis of a block, at most
SHARED = 48 * 1024  # bytes that a block has without asking
VECTORS, STRIPS, GROUPS = 8, 4, 8  # of channels, of pixels and of taps that a block takes at most
WIDEST, SEEN = 16, 40  # taps of a row, and the inputs they see, that are written out
STEP = 8  # the largest stride of a transposed convolution whose phases are
TERMS = 8  # channels that a result may sum before a matrix product is the better way
BLOCKS, PARTS, EACH = 1024, 512, 4  # blocks that fill a GPU; parts of a sum; strips of a thread, at least


def refuses(first: Any, second: Any, *others: Any, groups: int, **window: Any) -> str | None:
    """Why depthwise kernels cannot serve a convolution."""
    shape = _shape(second)
    return _refuses(first, second, *others, terms=shape[1], groups=groups, **window)


def refuses_turned(first: Any, second: Any, *others: Any, groups: int, **window: Any) -> str | None:
    """Why they cannot serve a transposed one."""
    shape = _shape(second)
    return _refuses(first, second, *others, terms=shape[0] // groups, groups=groups, **window)


def refuses_weight(first: Any, second: Any, *others: Any, **window: Any) -> str | None:
    """Why they cannot serve the gradient of a weight."""
    return _refuses(first, second, *others, terms=0, **window)


def _refuses(first: Any, second: Any, *others: Any, terms: int, groups: int, **window: Any) -> str | None:
    shape = _shape(second)
    if min(shape[0] // groups, shape[1]) > 1:
        return f"groups have {shape[0] // groups} and {shape[1]} channels in weight, and on one side it needs one"
    itemsize = next(each.itemsize for each in (first, second) if hasattr(each, "itemsize"))
    if 2 * terms * shape[2] * shape[3] * itemsize > SHARED:
        return f"the weights of one channel, {terms} of {shape[2:]}, do not fit shared memory"
    return too_far(first, second, *others, **window)


def declines(first: Any, second: Any, *others: Any, **parameters: Any) -> str | None:
    """Why a matrix product is better for a convolution."""
    return _declines(_shape(second)[1])


def declines_turned(first: Any, second: Any, *others: Any, groups: int, **window: Any) -> str | None:
    """Why it is better for a transposed one."""
    return _declines(_shape(second)[0] // groups)


def _declines(terms: int) -> str | None:
    return f"each result sums {terms} channels, which is a matrix product" if terms > TERMS else None


def _shape(weight: Any) -> Shape:
    return weight if isinstance(weight, tuple) else weight.shape


def _pixels(window: Window, turned: bool, columns: int) -> int:
    """Neighbours in a row that a thread computes: 1 where their meetings with the input are too many to write out."""
    step, gap, taps = window.stride[1], window.dilation[1], window.kernel[1]
    most = min(4 if taps <= 3 or (step > 1 and not turned) else 8, columns)
    if taps > WIDEST or (turned and step > STEP):
        return 1
    if turned:
        return ceil(most / step) * step if (taps - 1) * gap // step < SEEN - 8 else 1
    return most if (most - 1) * step + (taps - 1) * gap < SEEN else 1


def _even(count: int, most: int) -> int:
    """The size of as few equal parts as possible, each of at most `most`."""
    return ceil(count / max(1, ceil(count / most)))


def _geometry(window: Window) -> dict[str, int]:
    """The window, as the sources want it."""
    numbers = *window.kernel, *window.stride, *window.dilation
    return dict(zip(("KH", "KW", "SH", "SW", "DH", "DW"), numbers, strict=True))


def _vector(fan: int, *maps: Array) -> int:
    """Channels that a thread takes at once: one, unless each map allows more and all of them see one channel."""
    count = min(vector_of(each, each.shape[1], *np.delete(strides(each), 1)) for each in maps)
    return count if fan == 1 or fan % count == 0 else 1


def correlate(
    output: Array,
    x: Array,
    weight: Array,
    bias: Array | None,
    window: Window,
    groups: int,
    activation: str | None,
    *,
    turned: bool,
) -> None:
    """y = act(b + A x) or, `turned`, act(b + A' x), A being the convolution with `weight`."""
    n, channels, rows, columns = output.shape
    outer, inner = weight.shape[0] // groups, weight.shape[1]
    fan, terms = (inner, outer) if turned else (outer, inner)
    vector = _vector(fan, output) if fan > 1 else 1 if terms > 1 else _vector(1, x, output)
    pixels = _pixels(window, turned, columns)
    (top, _), (left, _) = window.padding
    strips = ceil((columns + (left % window.stride[1] if turned else 0)) / pixels)
    room = SHARED // (max(1, terms) * window.taps * vector * x.itemsize) - 1
    if room < 1:  # for so many channels
        vector, room = 1, SHARED // (terms * window.taps * x.itemsize) - 1
    wide, across = _even(channels // vector, min(VECTORS, room)), _even(strips, STRIPS)
    down = min(AXIS, max(1, n * rows), THREADS // (wide * across))
    x_apart, y_apart = strides(x), strides(output)
    run = kernel(
        "depthwise.cu",
        "depthwise",
        NUMBER=NUMBERS[x.dtype],
        VECTOR=vector,
        PIXELS=pixels,
        **_geometry(window),
        TURNED=int(turned),
        FAN=fan,
        TERMS=terms,
        BIAS=int(bias is not None),
        RELU=int(activation == "relu"),
    )
    run(
        ceil(channels // vector / wide) * ceil(strips / across) * ceil(n * rows / down),
        (wide, across, down),
        *(output, x, weight, dense(bias)),
        *map(np.int64, (y_apart[0], *y_apart[2:], x_apart[0], *x_apart[2:], *strides(weight))),
        *map(np.int32, (inner, n, *x.shape[2:], rows, columns, channels, top, left)),
        shared=(wide + 1) * vector * terms * window.taps * x.itemsize,
    )


def correlate_weight(output: Array, x: Array, grad: Array, window: Window, groups: int) -> None:
    """dw[k,c,u,v] = sum over n,i,j of grad[n,k,i,j] x[n, c, i s - pad + u d, j s - pad + v d]."""
    n, _, rows, columns = grad.shape
    outer, inner = output.shape[0] // groups, output.shape[1]
    filters = groups * outer * inner
    whole = [each for each, fan in ((x, outer), (grad, inner)) if fan == 1]
    vector, pixels = _vector(max(outer, inner), *whole), min(4, max(1, columns))
    taps = window.kernel[1]
    if taps > 7 or (pixels - 1) * window.stride[1] + (taps - 1) * window.dilation[1] >= SEEN:
        taps, pixels = 1, min(pixels, max(1, SEEN // window.stride[1]))
    sums = window.taps // taps
    wide, high = _even(filters // vector, VECTORS), _even(sums, GROUPS)
    deep = min(AXIS, THREADS // (wide * high))
    blocks, strips = ceil(filters // vector / wide) * ceil(sums / high), n * rows * ceil(columns / pixels)
    share, splits = shares(strips, min(BLOCKS // blocks, PARTS, strips // (EACH * deep)))
    parts = namespace(x).empty((splits, window.taps * filters), x.dtype)
    defines = {
        "NUMBER": NUMBERS[x.dtype],
        "VECTOR": vector,
        "PIXELS": pixels,
        **_geometry(window),
        "TAPS": taps,
        "FAN_X": outer,
        "FAN_G": inner,
    }
    (top, _), (left, _) = window.padding
    g_apart, x_apart = strides(grad), strides(x)
    kernel("depthwise_weight.cu", "depthwise_weight", **defines)(
        blocks * splits,
        (wide, high, deep),
        *(parts, grad, x),
        *map(np.int64, (g_apart[0], *g_apart[2:], x_apart[0], *x_apart[2:])),
        *map(np.int32, (n, *x.shape[2:], rows, columns, filters, top, left, share)),
        shared=wide * high * deep * taps * vector * x.itemsize,
    )
    kernel("depthwise_weight.cu", "add_parts", **defines)(
        ceil(window.taps * filters / 32),
        (32, 32),
        *(output, parts),
        *map(np.int64, strides(output)),
        *map(np.int32, (inner, filters, splits)),
    )


def describe(*arguments: Any, **parameters: Any) -> str:
    """What `explain` says."""
    return "on plain units"


sides = Sides(correlate, correlate_weight, describe, describe)
