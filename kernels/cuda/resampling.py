"""Interpolation on a GPU: the same sparse matrices as on a CPU, in the GPU's memory for as long as they are in use."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ..cpu.taps import Taps, taps, transposed_taps
from ..layout import Array, Shape
from ..namespace import cupy
from ..window import Pair
from .maps import blocks, lanes, start, strides
from .strides import NUMBERS

SOURCE = "resampling.cu"
FULL = 2**17  # threads from which one takes several rows: fewer would leave some of a GPU's processors without any
STRIP = 4  # rows of the result that a thread takes, where they share rows of x
GRADIENT_STRIPS = {"nearest": 1, "bilinear": 2, "bicubic": 4}  # the same of the gradient, whose rows share the more
MOST = 8  # taps of a column that are loaded at once

Scales = tuple[float | None, float | None]
Tables = tuple[Array, Array, Array]


def too_many(*arguments: Any, **parameters: Any) -> str | None:
    """The refusal of sizes whose taps an int does not count."""
    sizes = [*arguments[0][2:], *arguments[-1].shape[2:]] if isinstance(arguments[0], tuple) else arguments[0].shape[2:]
    longest = max(*sizes, *parameters.get("output_size", ()))
    return "an axis has 2**29 pixels or more" if longest >= 2**29 else None


def interpolate(
    outputs: list[Array], x: Array, *, output_size: Pair, scales: Scales, mode: str, align_corners: bool
) -> None:
    """interpolate."""
    n, c, h, w = x.shape
    height, width = output_size
    axes = zip((h, w), output_size, scales, strict=True)
    (_, *rows), (_, *columns) = (_tables(*_device(), taps, *axis, mode, align_corners, x.dtype) for axis in axes)
    wide = lanes(x, outputs[0])
    strip = _strip(STRIP, height > h, n, height, width * (c // wide))
    start(
        SOURCE,
        "resample",
        n * blocks(height, strip) * width * (c // wide),
        outputs[0],
        x,
        strides(x),
        *(blocks(height, strip), height, width, c // wide),
        *rows,
        *columns,
        NUMBER=NUMBERS[x.dtype],
        LANES=wide,
        STRIP=strip,
        TAPS=rows[0].size // height,
        MOST=1,
    )


def interpolate_input(
    outputs: list[Array], shape: Shape, grad: Array, *, scales: Scales, mode: str, align_corners: bool
) -> None:
    """interpolate_input: every pixel of x gathers from the pixels of the result that it is a tap of."""
    n, c, h, w = shape
    axes = zip((h, w), grad.shape[2:], scales, strict=True)
    tables = [_tables(*_device(), transposed_taps, *axis, mode, align_corners, grad.dtype) for axis in axes]
    wide = lanes(grad, outputs[0])
    strip = _strip(GRADIENT_STRIPS[mode], grad.shape[2] > h, n, h, w * (c // wide))
    most = min(MOST, max(1, -(-tables[1][1].size // w)))
    start(
        SOURCE,
        "resample_input",
        n * blocks(h, strip) * w * (c // wide),
        outputs[0],
        grad,
        strides(grad),
        *(blocks(h, strip), h, w, c // wide),
        *tables[0],
        *tables[1],
        NUMBER=NUMBERS[grad.dtype],
        LANES=wide,
        STRIP=strip,
        TAPS=0,
        MOST=most,
    )


def _strip(most: int, shared: bool, images: int, rows: int, threads: int) -> int:
    """Rows of a thread. shared: they need the same rows of what is read; threads: to a row."""
    return most if shared and images * blocks(rows, most) * threads >= FULL else 1


def _device() -> tuple[Any, int]:
    """CuPy, and the number of the device that is current."""
    xp: Any = cupy()
    return xp, xp.cuda.runtime.getDevice()


@cache
def _tables(xp: Any, device: int, matrix: Any, *axis: Any) -> Tables:
    """(first, index, weight) of an axis' taps, there before any stream uses them.

    They stay, a few thousand bytes: a CUDA graph that was captured reads them again.
    """
    plan: Taps = matrix(*axis)
    tables = (xp.asarray(each) for each in (plan.first.astype(np.int32), plan.index.astype(np.int32), plan.weight))
    first, index, weight = tables
    xp.cuda.get_current_stream().synchronize()
    return first, index, weight
