"""Convolution of any kind on a GPU's plain units: an implicit matrix product in tiles of shared memory.

It is what float64 runs on, and float32 where tensor cores cannot serve; its products are those of the arrays' dtype.
"""

from __future__ import annotations

from math import ceil, prod
from typing import Any

import numpy as np

from ..layout import Array
from ..namespace import namespace
from ..window import Window
from .module import kernel
from .reach import too_far
from .sides import Sides
from .splits import add_splits, shares
from .strides import NUMBERS, dense, strides

SIDE = 16  # threads along the rows of a tile, and along its columns
SUMS = {np.dtype(np.float32): (8, 4), np.dtype(np.float64): (4, 4)}  # of a thread: rows and columns
BLOCKS = 264  # that fill a GPU: two on each multiprocessor of an H100. It sets the order of sums, so it asks no device
SPLITS, LEAST = 64, 256  # of a sum over pixels, at most; pixels of one


def refuses(*arguments: Any, groups: int, **window: Any) -> str | None:
    """Why these kernels cannot serve a call."""
    return too_far(*arguments, **window)


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
    n, filters, rows, columns = output.shape[0], output.shape[1] // groups, *output.shape[2:]
    high, wide = (SIDE * sums for sums in SUMS[x.dtype])
    step = window.stride if turned else (1, 1)
    tiles = ceil(n * ceil(rows / step[0]) * ceil(columns / step[1]) / high)
    x_apart, y_apart, apart = strides(x), strides(output), strides(weight)
    filter_apart, channel_apart = (apart[1], apart[0]) if turned else apart[:2]
    run = kernel(
        "simt.cu",
        "correlate_plainly",
        **_tile(x),
        TURNED=int(turned),
        ACROSS=int(abs(filter_apart) < abs(channel_apart)),
        BIAS=int(bias is not None),
        RELU=int(activation == "relu"),
    )
    run(
        ceil(filters / wide) * tiles * groups * prod(step),
        SIDE * SIDE,
        *(output, x, weight, dense(bias)),
        *map(np.int64, (y_apart[0], *y_apart[2:], x_apart[0], *x_apart[2:])),
        *map(np.int64, (weight.shape[0] // groups * apart[0], filter_apart, channel_apart, *apart[2:])),
        *map(np.int32, (n, *x.shape[2:], rows, columns, x.shape[1] // groups, filters, groups, *_geometry(window))),
        np.int32(tiles),
    )


def correlate_weight(output: Array, x: Array, grad: Array, window: Window, groups: int) -> None:
    """dw[k,c,u,v] = sum over n,i,j of grad[n,k,i,j] x[n, c, i s - pad + u d, j s - pad + v d]."""
    n, _, rows, columns = grad.shape
    filters, channels = output.shape[0] // groups, output.shape[1]
    high, wide = (SIDE * sums for sums in SUMS[x.dtype])
    blocks, pixels = ceil(filters / high) * ceil(window.taps * channels / wide) * groups, n * rows * columns
    share, splits = shares(pixels, min(BLOCKS // blocks, SPLITS, pixels // LEAST))
    whole = splits == 1 and output.transpose(0, 2, 3, 1).flags.c_contiguous
    shape = splits * output.shape[0], *window.kernel, channels
    parts = output if whole else namespace(x).empty(shape, x.dtype).transpose(0, 3, 1, 2)
    g_apart, x_apart = strides(grad), strides(x)
    kernel("simt_weight.cu", "correlate_weight_plainly", **_tile(x))(
        blocks * splits,
        SIDE * SIDE,
        *(parts, grad, x),
        *map(np.int64, (prod(output.shape), g_apart[0], *g_apart[2:], x_apart[0], *x_apart[2:])),
        *map(np.int32, (n, *x.shape[2:], rows, columns, channels, filters, groups, *_geometry(window), share)),
    )
    if not whole:
        add_splits(output, parts, None, None, splits)


def _tile(x: Array) -> dict[str, Any]:
    rows, columns = SUMS[x.dtype]
    return {"NUMBER": NUMBERS[x.dtype], "ROWS": rows, "COLUMNS": columns}


def _geometry(window: Window) -> tuple[int, ...]:
    (top, _), (left, _) = window.padding
    return *window.kernel, *window.stride, *window.dilation, top, left


def describe(*arguments: Any, **parameters: Any) -> str:
    """What `explain` says."""
    return "on plain units"


sides = Sides(correlate, correlate_weight, describe, describe)
