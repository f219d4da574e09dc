"""Max-pooling on a GPU. A thread takes a window, or in the gradient of overlapping windows a pixel, of some channels.

Nothing is scattered: a pixel finds the windows that reach it, so that sums have an order and no index is trusted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layout import Array, Shape
from ..window import Pair, Sides
from .maps import blocks, lanes, start, strides
from .strides import NUMBERS

SOURCE = "pooling.cu"
CODES = {np.dtype(np.uint8): "u8", np.dtype(np.int32): "int", np.dtype(np.int64): "i64"}
FURTHEST = 2**30  # rows and columns, those of the padding too: coordinates are ints
BLOCK = 16  # pixels that a thread writes, at most


def too_far(*arguments: Any, padding: Sides, **window: Any) -> str | None:
    """The refusal of maps whose coordinates an int could not hold."""
    shape = arguments[0] if isinstance(arguments[0], tuple) else arguments[0].shape
    lengths = [length + sum(sides) for length, sides in zip(shape[2:], padding, strict=True)]
    return f"the padded map has 2**30 rows or columns or more: {lengths}" if max(lengths) >= FURTHEST else None


def geometry(kernel_size: Pair, stride: Pair, dilation: Pair = (1, 1)) -> dict[str, Any]:
    """A window, as window.cuh wants it."""
    names = ("KH", "KW", "SH", "SW", "DH", "DW")
    return dict(zip(names, (*kernel_size, *stride, *dilation), strict=True))


def inside(size: Pair, output_size: Pair, kernel_size: Pair, stride: Pair, padding: Sides, dilation: Pair) -> bool:
    """True where no window leaves the map."""
    ends = ((o - 1) * s + d * (k - 1) for o, s, d, k in zip(output_size, stride, dilation, kernel_size, strict=True))
    return not (padding[0][0] or padding[1][0]) and all(e < length for e, length in zip(ends, size, strict=True))


def apart(kernel_size: Pair, stride: Pair, dilation: Pair = (1, 1)) -> bool:
    """True where windows share no pixel, and a thread can write what belongs to one."""
    near = all(k <= s and d == 1 for k, s, d in zip(kernel_size, stride, dilation, strict=True))
    return near and stride[0] * stride[1] <= BLOCK


def max_pool(outputs: list[Array], x: Array, *, return_indices: bool, **window: Any) -> None:
    """max_pool2d; the winners' places in the plane are stored where they are asked for."""
    _max_pool(outputs, x, 2 * return_indices, **window)


def max_pool_offsets(outputs: list[Array], x: Array, **window: Any) -> None:
    """max_pool2d_offsets."""
    _max_pool(outputs, x, 1, **window)


def _max_pool(
    outputs: list[Array],
    x: Array,
    codes: int,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Sides,
    dilation: Pair,
    output_size: Pair,
) -> None:
    """codes: 0 for none, 1 for the winning taps, 2 for their places."""
    n, c, h, w = x.shape
    wide = lanes(x, *outputs)
    start(
        SOURCE,
        "max_pool",
        n * output_size[0] * output_size[1] * c // wide,
        outputs[0],
        outputs[-1],
        x,
        strides(x),
        *(h, w, *output_size, c // wide, padding[0][0], padding[1][0]),
        NUMBER=NUMBERS[x.dtype],
        LANES=wide,
        CODE=CODES[outputs[1].dtype] if codes else "u8",
        CODES=codes,
        INSIDE=int(inside((h, w), output_size, kernel_size, stride, padding, dilation)),
        **geometry(kernel_size, stride, dilation),
    )


def max_pool_indices(
    outputs: list[Array],
    shape: Shape,
    offsets: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Sides,
    dilation: Pair,
) -> None:
    """max_pool2d_indices."""
    n, c, h, w = offsets.shape
    wide = lanes(outputs[0], offsets)
    start(
        SOURCE,
        "max_pool_indices",
        n * h * w * c // wide,
        outputs[0],
        offsets,
        strides(offsets),
        *(shape[3], h, w, c // wide, padding[0][0], padding[1][0]),
        NUMBER="float",
        LANES=wide,
        CODE=CODES[offsets.dtype],
        CODES=0,
        INSIDE=0,
        **geometry(kernel_size, stride, dilation),
    )


def max_pool_input(
    outputs: list[Array],
    shape: Shape,
    offsets: Array,
    grad: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Sides,
    dilation: Pair,
) -> None:
    """max_pool2d_input: by windows where they share no pixel, else by pixels."""
    n, c, h, w = shape
    wide = lanes(grad, outputs[0], offsets)
    (top, _), (left, _) = padding
    by_window = apart(kernel_size, stride, dilation)
    rows, columns = (blocks(h + top, stride[0]), blocks(w + left, stride[1])) if by_window else (h, w)
    start(
        SOURCE,
        "max_pool_input_apart" if by_window else "max_pool_input",
        n * rows * columns * c // wide,
        outputs[0],
        offsets,
        strides(offsets),
        grad,
        strides(grad),
        *(h, w, *grad.shape[2:], c // wide, top, left),
        *((rows, columns) if by_window else ()),
        NUMBER=NUMBERS[grad.dtype],
        LANES=wide,
        CODE=CODES[offsets.dtype],
        CODES=0,
        INSIDE=0,
        **geometry(kernel_size, stride, dilation),
    )
