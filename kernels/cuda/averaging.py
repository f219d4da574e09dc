"""Average pooling on a GPU: as max-pooling, by windows, or in the gradient of overlapping windows by pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layout import Array, Shape
from ..window import Pair, Sides
from .maps import blocks, lanes, start, strides
from .pooling import apart, geometry, inside
from .strides import NUMBERS

SOURCE = "averaging.cu"


def avg_pool(outputs: list[Array], x: Array, *, output_size: Pair, **window: Any) -> None:
    """avg_pool2d: the sum of each window's taps, and one division."""
    n, c, h, w = x.shape
    wide = lanes(x, outputs[0])
    start(
        SOURCE,
        "avg_pool",
        n * output_size[0] * output_size[1] * c // wide,
        outputs[0],
        x,
        strides(x),
        *(h, w, *output_size, c // wide),
        *_divisor((h, w), **window),
        **_defines(x, wide, (h, w), output_size, **window),
    )


def avg_pool_input(outputs: list[Array], shape: Shape, grad: Array, **window: Any) -> None:
    """avg_pool2d_input: by windows where they share no pixel, else by pixels."""
    n, c, h, w = shape
    wide = lanes(grad, outputs[0])
    stride, ((top, _), (left, _)) = window["stride"], window["padding"]
    by_window = apart(window["kernel_size"], stride)
    rows, columns = (blocks(h + top, stride[0]), blocks(w + left, stride[1])) if by_window else (h, w)
    output_size = (grad.shape[2], grad.shape[3])
    start(
        SOURCE,
        "avg_pool_input_apart" if by_window else "avg_pool_input",
        n * rows * columns * c // wide,
        outputs[0],
        grad,
        strides(grad),
        *(h, w, *output_size, c // wide),
        *_divisor((h, w), **window),
        *((rows, columns) if by_window else ()),
        **_defines(grad, wide, (h, w), output_size, **window),
    )


def _divisor(
    size: Pair,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Sides,
    count_include_pad: bool,
    divisor_override: int | None,
) -> tuple[Any, ...]:
    """Where windows begin, and what their sums are divided by."""
    ends = (length + sides[1] * count_include_pad for length, sides in zip(size, padding, strict=True))
    return padding[0][0], padding[1][0], np.float64(divisor_override or 0), int(count_include_pad), *ends


def _defines(
    x: Array, wide: int, size: Pair, output_size: Pair, *, kernel_size: Pair, stride: Pair, padding: Sides, **rule: Any
) -> dict[str, Any]:
    return {
        "NUMBER": NUMBERS[x.dtype],
        "LANES": wide,
        "INSIDE": int(inside(size, output_size, kernel_size, stride, padding, (1, 1))),
        **geometry(kernel_size, stride),
    }
