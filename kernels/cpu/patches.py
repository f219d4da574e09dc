"""Blocks of output pixels, and the patch of input that a block reads, copied with its padding.

A patch makes padding, and any distance between pixels, rows and images, cost nothing in the tiles: each output pixel
has one address in it, and each tap one distance from that address. It also keeps pixels a power of two apart from
falling into the same cache sets.
"""

from functools import cache
from typing import Any

import numba
import numpy as np

from ..window import Pair
from .jit import VIEWS, inlined
from .machine import LINE
from .parallel import balanced

Block = tuple[int, int, int, int, int, int]  # images, rows and columns: from, to

COLUMNS = 96  # widest block, in output pixels


def blocks(images: int, rows: Pair, columns: Pair, pixels: int, unit: int = 1) -> list[Block]:
    """Cut rows and columns (from, to) of all images into blocks of about `pixels`, joining the images of small maps.

    A single row is cut into multiples of `unit`.
    """
    h, w = rows[1] - rows[0], columns[1] - columns[0]
    if not images * h * w:
        return []
    if images == h == 1:
        ends = [(unit * a, min(unit * b, w)) for a, b in evenly(-(-w // unit), -(-w // pixels))]
        return [(0, 1, *rows, columns[0] + a, columns[0] + b) for a, b in ends]
    if 2 * h * w <= pixels:
        return [(*part, *rows, *columns) for part in balanced(images, pixels // (h * w))]
    across = balanced(w, COLUMNS)
    down = evenly(h, -(-h // max(1, pixels // across[0][1])))
    return [
        (image, image + 1, rows[0] + i0, rows[0] + i1, columns[0] + j0, columns[0] + j1)
        for image in range(images)
        for i0, i1 in down
        for j0, j1 in across
    ]


def evenly(total: int, parts: int) -> list[Pair]:
    """Cut range(total) into about `parts` ranges: 2 n or 4 n of them, so that threads finish together."""
    if parts > 1:
        whole = 4 if parts > 4 else 2
        parts = -(-parts // whole) * whole
    parts = min(parts, total)
    return [(total * part // parts, total * (part + 1) // parts) for part in range(parts)]


def inside(origin: int, taps: int, dilation: int, stride: int, length: int, outputs: int) -> Pair:
    """The outputs (from, to) whose taps origin + i * stride + u * dilation all lie in a map of `length`."""
    begin = -(-max(-origin, 0) // stride)
    end = (length - 1 - (taps - 1) * dilation - origin) // stride + 1
    begin = min(begin, outputs)
    return begin, min(max(begin, end), outputs)


def framed(images: int, size: Pair, inner: tuple[Pair, Pair], pixels: int, unit: int = 1) -> list[tuple[Block, bool]]:
    """Blocks of an output map, and whether each needs a patch: those around the `inner` rows and columns do."""
    (h, w), (rows, columns) = size, inner
    if 2 * h * w <= pixels or (rows[1] - rows[0]) * (columns[1] - columns[0]) * 2 < h * w:
        whole = inner == ((0, h), (0, w))
        return [(block, not whole) for block in blocks(images, (0, h), (0, w), pixels, unit)]
    frame = [
        ((0, rows[0]), (0, w)),
        ((rows[1], h), (0, w)),
        (rows, (0, columns[0])),
        (rows, (columns[1], w)),
    ]
    middle = [(block, False) for block in blocks(images, rows, columns, pixels, unit)]
    # The small blocks last: threads finish together.
    return middle + [(block, True) for part in frame for block in blocks(images, *part, pixels, unit)]


def pitch(channels: int, size: int) -> int:
    """Bytes from one pixel of a patch to the next: a cache line more where all pixels would share a few cache sets."""
    return channels * size + (LINE if channels * size % 512 == 0 else 0)


@cache
def gather(dtype: np.dtype) -> Any:
    """gather(patch, pitch, channels, x, size, images, rows, columns, step): copy a patch, 0 outside the map.

    x: (address, and bytes between images, rows, pixels); size: (H, W) of the map; images, rows, columns: (from, count)
    in the map, which may lie outside it; channels: how many to copy.
    """
    view = VIEWS[dtype.name]
    size = dtype.itemsize

    @numba.njit(inline="always")
    def zeros(address, count):  # type: ignore[no-untyped-def]
        target = view(address, count)
        for c in range(count):
            target[c] = 0

    @numba.njit(inline="always")
    def copy(address, source, count):  # type: ignore[no-untyped-def]
        target, origin = view(address, count), view(source, count)
        for c in range(count):
            target[c] = origin[c]

    @inlined
    def gather(patch, pitch, channels, x, map_size, images, rows, columns):  # type: ignore[no-untyped-def]
        address, per_image, per_row, per_pixel = x
        first, wide = columns
        begin, end = min(max(first, 0), map_size[1]), max(min(first + wide, map_size[1]), 0)  # the columns in the map
        end = max(begin, end)
        left = min(max(begin - first, 0), wide)
        inside = end - begin
        dense = pitch == channels * size
        together = dense and per_pixel == pitch
        for image in range(images[0], images[0] + images[1]):
            for row in range(rows[0], rows[0] + rows[1]):
                if row < 0 or row >= map_size[0] or inside == 0:
                    if dense:
                        zeros(patch, wide * channels)
                    else:
                        for j in range(wide):
                            zeros(patch + j * pitch, channels)
                    patch += wide * pitch
                    continue
                source = address + image * per_image + row * per_row + begin * per_pixel
                for j in range(left):
                    zeros(patch + j * pitch, channels)
                if together:
                    copy(patch + left * pitch, source, inside * channels)
                else:
                    for j in range(inside):
                        copy(patch + (left + j) * pitch, source + j * per_pixel, channels)
                for j in range(left + inside, wide):
                    zeros(patch + j * pitch, channels)
                patch += wide * pitch

    return gather
