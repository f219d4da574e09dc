"""Convolution in groups of few channels planned: the pieces of work, the order of the weights, the memory it needs."""

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from ..layout import Array, Shape
from ..window import Pair, Window
from .correlation import Cut, Filters, Part
from .group_tile import ITEM, PART
from .packing import PACKED
from .parallel import balanced
from .patches import pitch

FAR = 16 * 2**20  # bytes of x and y from which on prefetching them gains: a third at 32 MiB, while it cost a tenth at 8
NEAR = 2 * 2**20  # the same for depthwise ones: a tenth at 3 MiB, while it cost as much at 0.4
SMALL_FLOPS = 2_000_000  # that one thread does before a second one helps: about 20 microseconds
ITEMS = 32  # pieces of work to aim at, so that threads finish together
BAND = 8  # rows of a piece of a depthwise convolution, or a multiple: its tiles have several
SHORT = 16  # rows of a map that is not cut in bands: 14 rows took two thirds longer in two
EDGED = 32  # longest side of a depthwise map that is copied with its padding: a third of 7 x 7 and 28 x 28 saved
LEAST = 8  # pieces to have of one, if need be by cutting its channels


@dataclass(frozen=True)
class Plan:
    """How to compute correlations of one geometry."""

    items: Array
    parts: Array
    packing: Array  # a row for each vector of filters
    order: tuple[Any, ...]  # of packed weights: plans in which it is the same pack alike
    addresses: tuple[int, int]  # of items and parts
    stride: Pair
    dilation: Pair
    packed: int  # bytes of a vector of packed filters
    no_bias: Array
    far: bool
    apart: int  # bytes between the pixels of a patch, 0 where there is none
    patch: int  # its bytes
    small: bool  # not worth a second thread


@lru_cache(maxsize=1024)
def plan(
    cut: Cut,
    lanes: int,
    dtype: np.dtype,
    x_shape: Shape,
    y_shape: Shape,
    y_strides: Shape,
    filters: Filters,
    shape: Shape,
    window: Window,
    groups: int,
) -> Plan:
    """Plan the correlations that `cut` gives; filters: where the weights lie, `shape` being theirs."""
    size, (kh, kw) = dtype.itemsize, window.kernel
    outs = y_shape[1] // groups
    ins = x_shape[1] // groups
    step = ins * lanes * size
    parts, stride, dilation = cut(size, y_shape, y_strides, shape, (0, 0, kw * step, step), window, groups)

    def row(part: Part) -> tuple[int, ...]:
        return (
            *(part.shape[3], part.start, *part.strides, *part.origin, *part.taps),
            *(part.filters.start, *part.filters.strides[2:]),
        )

    rows = y_shape[0] * sum(part.shape[2] for part in parts)
    vectors = -(-groups * outs // lanes)
    most, together = max(1, rows // ITEMS), vectors
    if ins == outs == 1:
        most = max(BAND, most // BAND * BAND)
        most = SHORT if max(part.shape[2] for part in parts) <= SHORT else most
        bands = y_shape[0] * sum(-(-part.shape[2] // most) for part in parts)
        together = max(1, vectors * bands // LEAST)
    items = [
        (number, image, *lines, *channels)
        for number, part in enumerate(parts)
        for image in range(part.shape[0])
        for lines in balanced(part.shape[2], most)
        for channels in balanced(vectors, min(vectors, together))
    ]
    items.sort(key=lambda item: (item[1], item[2], item[0]))  # the parts of some rows read the same
    flops = sum(2 * part.shape[0] * part.shape[1] * part.shape[2] * part.shape[3] * window.taps for part in parts)
    packing = [
        (0, 0, vector, vectors, groups * outs, filters.inner, filters.jump, kh, kw, *filters.strides)
        for vector in range(vectors)
    ]
    item_table = np.array(items, np.int64).reshape(-1, ITEM)
    part_table = np.array([row(part) for part in parts], np.int64).reshape(-1, PART)
    packing_table = np.array(packing, np.int64).reshape(-1, PACKED)
    apart, patch = 0, 0
    if ins == outs == 1 and any(map(any, window.padding)) and max(x_shape[2:]) <= EDGED:
        apart = pitch(max(item[5] - item[4] for item in items) * lanes, size)
        patch = apart * max(_patch_pixels(parts[item[0]], item[3] - item[2], stride, dilation) for item in items)
    return Plan(
        item_table,
        part_table,
        packing_table,
        ("grouped", lanes, ins, packing_table.tobytes()),
        (item_table.ctypes.data, part_table.ctypes.data),
        stride=stride,
        dilation=dilation,
        packed=kh * kw * step,
        no_bias=np.zeros((1, vectors * lanes), dtype),
        far=size * (prod(x_shape) + prod(y_shape)) > (NEAR if ins == outs == 1 else FAR),
        apart=apart,
        patch=patch,
        small=flops * ins < SMALL_FLOPS,
    )


def _patch_pixels(part: Part, rows: int, stride: Pair, dilation: Pair) -> int:
    """How many pixels of x, padding included, some rows of a part see."""
    counts = rows, part.shape[3]
    axes = zip(counts, stride, part.taps, dilation, strict=True)
    return prod(max(0, (count - 1) * s + (taps - 1) * d + 1) for count, s, taps, d in axes)
