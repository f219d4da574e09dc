"""Copies between memory formats on a GPU, in tiles through shared memory: both sides move stretches of neighbours.

CuPy's own copy follows the format of one side, so that on the other every number is an access of its own.
"""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np

from .module import kernel

BYTES = 4096  # of a tile
CHANNELS = 32  # of a tile, at most
LINE = 128  # bytes that shared memory moves at once, 4 from each of its banks
NUMBERS = {1: "u8", 4: "u32", 8: "i64"}
LARGEST = 2**31


def assign(out: Any, x: Any) -> None:
    """out[...] = x, for CuPy arrays of four axes, of one shape and dtype, that share no memory."""
    planes, pixels = (x, out) if _in_planes(x) and not _in_pixels(x) else (out, x)
    served = x.itemsize in NUMBERS and x.size and _in_planes(planes) and _in_pixels(pixels) and not _in_pixels(planes)
    if not served or not _transpose(out, x, planes, pixels):
        out[...] = x


def _in_planes(x: Any) -> bool:
    """True where the pixels of a channel are neighbours."""
    _, _, h, w = x.shape
    return (w == 1 or x.strides[3] == x.itemsize) and (h == 1 or x.strides[2] == w * x.itemsize)


def _in_pixels(x: Any) -> bool:
    """True where the channels of a pixel are neighbours, and all pixels of an image equally far apart."""
    _, c, h, w = x.shape
    return (c == 1 or x.strides[1] == x.itemsize) and (h == 1 or w == 1 or x.strides[2] == w * x.strides[3])


def _transpose(out: Any, x: Any, planes: Any, pixels: Any) -> bool:
    """False where there are more tiles than a grid has blocks."""
    n, c, h, w = x.shape
    channels, line = min(c, CHANNELS), max(LINE // x.itemsize, 32)
    beside = min(max(1, BYTES // channels // x.itemsize // line), ceil(h * w / line)) * line
    tiles = n * ceil(c / channels) * ceil(h * w / beside)
    if tiles >= LARGEST:
        return False
    bank = max(4, x.itemsize)  # bytes of it that a thread moves; the channels of a pixel begin in different ones
    run = kernel(
        "layout.cu",
        "transpose",
        NUMBER=NUMBERS[x.itemsize],
        CHANNELS=channels,
        PIXELS=beside,
        PITCH=beside + ceil(LINE // bank / channels) * bank // x.itemsize,
        TO_PIXELS=int(pixels is out),
    )
    apart = out.strides[0], x.strides[0], planes.strides[1], pixels.strides[3 if w > 1 else 2]
    run(tiles, 256, out, x, *(np.int64(each // x.itemsize) for each in apart), np.int32(c), np.int64(h * w))
    return True
