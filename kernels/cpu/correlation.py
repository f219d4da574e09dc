"""Correlations planned as matrix products: the blocks, the order of the weights, the memory each thread needs.

A plan depends on shapes and strides alone, so that the same layer is planned once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..layout import Array, Shape
from ..window import Pair, Window
from . import machine, tile
from .machine import LINE
from .packing import PACKED, packed_panels
from .parallel import SMALL_FLOPS, balanced, run, strided
from .patches import framed, inside, pitch
from .product import FIELDS, compiled
from .stream import far

CHANNELS = 256  # summed at a time: a panel of 9 x 256 x 32 weights (295 kB) stays in the level-2 cache
STEPS = 9 * CHANNELS  # of a panel: more channels where there are fewer taps
PATCH = 384 * 1024  # bytes of input to aim at in a block, for the same reason
PIXELS = 2048  # most output pixels in a block
ITEMS = 16  # pieces of work to aim at, so that threads finish together
LEAST = 8 * 1152  # steps of a tile below which a piece of work costs more than it saves
MERGED = 256  # bytes of channels up to which a row of taps is one run
WHOLE = 128  # output pixels of a map that is not cut: threads share its filters
CONFLICT = 2048  # pixels this many bytes apart (or a multiple) share too few sets of the level-1 cache


@dataclass(frozen=True)
class Filters:
    """Where the weights w[k,c,a,b] of some correlations lie: bytes from the first, and between the four axes.

    Filter k is number k % inner of block k // inner; blocks are `jump` bytes apart, groups `group`, and in the output
    blocks are `output_jump` apart.
    """

    start: int
    strides: Shape
    group: int
    inner: int
    jump: int = 0
    output_jump: int = 0

    def beside(self, count: int, size: int) -> int:
        """How many of `count` filters lie side by side in an output of numbers of `size` bytes."""
        return self.inner if self.output_jump > self.inner * size else count


@dataclass(frozen=True)
class Part:
    """y[n,k,i,j] = sum over c,a,b of w[k,c,a,b] x[n, c, i s + top + a d, j s + left + b d], x being 0 outside its map.

    y is a part of the whole output, of `shape`, that begins `start` bytes into it.
    """

    start: int
    shape: Shape
    strides: Shape  # between images, rows and pixels
    taps: Pair
    origin: Pair
    filters: Filters


# What makes the parts: (bytes of a number, shape and strides of y, shape and strides of the weight, window, groups) ->
# parts, and the stride and dilation that they have in common.
Cut = Callable[[int, Shape, Shape, Shape, Shape, Window, int], tuple[Sequence[Part], Pair, Pair]]


@dataclass(frozen=True)
class Plan:
    """How to compute correlations of one geometry."""

    shape: tile.Tile
    items: Array
    address: int  # of the items
    packed: int  # bytes of packed weights
    packing: Array  # a row for each of their panels
    order: tuple[Any, ...]  # of packed weights: plans in which it is the same pack alike
    sizes: tuple[int, int, int, int]  # channels of a group, panels of a group at most, channels in a chunk, patch pitch
    room: tuple[int, int, int]  # pixels, taps and bytes of patch that a thread must hold
    spare: int  # bytes of a row that no pixel wants
    merged: bool
    stride: Pair
    dilation: Pair
    scratch: int
    small: bool  # not worth a second thread
    no_bias: Array  # zeros


@lru_cache(maxsize=1024)
def plan(
    cut: Cut,
    vectors: machine.Vectors,
    dtype: np.dtype,
    x_shape: Shape,
    x_pixel: int,
    y_shape: Shape,
    y_strides: Shape,
    weight_shape: Shape,
    weight_strides: Shape,
    window: Window,
    groups: int,
) -> Plan:
    """Plan the correlations that `cut` gives, of a map of `x_shape` whose pixels are `x_pixel` bytes apart."""
    size = dtype.itemsize
    parts, stride, dilation = cut(size, y_shape, y_strides, weight_shape, weight_strides, window, groups)
    channels, most = x_shape[1] // groups, max(part.shape[1] // groups for part in parts)
    outputs = sum(part.shape[0] * part.shape[2] * part.shape[3] for part in parts)
    whole = len(parts) == 1 and outputs <= WHOLE
    shape = tile.product_tile(vectors, dtype, min(part.filters.beside(most, size) for part in parts))
    shape = tile.fitting(shape, outputs) if whole else shape
    most_taps = max(part.taps[0] * part.taps[1] for part in parts)
    chunk = min(channels, max(CHANNELS, STEPS // max(most_taps, 1)))
    # A run is what lies side by side in a patch: the channels of a pixel, or of a row of taps where they are few.
    merged = dilation[1] == 1 and channels * size <= MERGED
    step = channels * size if merged else pitch(chunk, size)
    pixels = min(PATCH // (max(step, 1) * stride[0] * stride[1]), PIXELS)
    # Small maps: blocks of few tiles, so that fewer threads copy the same patch for different filters.
    least = max(3, min(8, LEAST // max(most_taps * chunk, 1)))
    pixels = max(min(pixels, 2 * outputs // ITEMS), 2 * WHOLE if whole else least * shape.rows)

    items: list[tuple[int, ...]] = []
    packing: list[tuple[int, ...]] = []
    packed, patch_bytes, most_pixels, spare, flops = 0, 0, 0, 0, 0
    for part in parts:
        n, _, *size_of_y = part.shape
        filters = part.shape[1] // groups
        panels = -(-filters // shape.columns)
        inner = [
            inside(part.origin[axis], part.taps[axis], dilation[axis], stride[axis], x_shape[2 + axis], size_of_y[axis])
            for axis in (0, 1)
        ]
        kh, kw = part.taps
        if kh * kw > 1 and x_pixel * stride[1] % CONFLICT == 0:
            inner[0] = (0, 0)
        blocks = framed(n, (size_of_y[0], size_of_y[1]), (inner[0], inner[1]), pixels, shape.rows)
        shares = -(-ITEMS // max(1, len(blocks) * len(parts) * groups))
        of_group = panels * shape.columns * channels * kh * kw * size
        order = filters, part.filters.inner, part.filters.output_jump
        for (n0, n1, i0, i1, j0, j1), outside in blocks:
            rows = (i1 - i0 - 1) * stride[0] + (kh - 1) * dilation[0] + 1
            columns = (j1 - j0 - 1) * stride[1] + (kw - 1) * dilation[1] + 1
            patched = outside and kh * kw > 0
            if patched:
                patch_bytes = max(patch_bytes, (n1 - n0) * rows * columns * step)
            most_pixels = max(most_pixels, (n1 - n0) * (i1 - i0) * (j1 - j0))
            for group in range(groups):
                start = part.start + group * filters * size
                geometry = (*part.strides, *part.origin, kh, kw, rows, columns, patched)
                for panel in balanced(panels, -(-panels // shares)):
                    items.append(
                        (n0, n1, i0, i1, j0, j1, *panel, group, packed + group * of_group, start, *geometry, *order)
                    )
        for group in range(groups):
            source = part.filters.start + group * part.filters.group
            packing += [
                (source, packed, panel, panels, *order[:2], part.filters.jump, kh, kw, *part.filters.strides)
                for panel in range(panels)
            ]
            packed += of_group
        spare = max(spare, (filters // part.filters.inner) * part.filters.output_jump + panels * shape.columns * size)
        flops += 2 * n * part.shape[1] * size_of_y[0] * size_of_y[1] * channels * kh * kw
    most_panels = -(-most // shape.columns)
    room = (most_pixels + shape.rows, most_taps, patch_bytes)
    scratch = 8 * (2 * room[0] + room[1]) + spare + (shape.columns * size + 8) * shape.rows + patch_bytes + 8 * LINE
    table = np.array(items, np.int64).reshape(-1, FIELDS)
    packing_table = np.array(packing, np.int64).reshape(-1, PACKED)
    zeros = np.zeros((groups, most_panels * shape.columns), dtype)
    return Plan(
        shape=shape,
        items=table,
        address=table.ctypes.data,
        packed=packed,
        packing=packing_table,
        order=("direct", shape.columns, channels, chunk, packing_table.tobytes()),
        sizes=(channels, most_panels, chunk, step),
        room=room,
        spare=spare,
        merged=merged,
        stride=stride,
        dilation=dilation,
        scratch=scratch,
        small=flops < SMALL_FLOPS,
        no_bias=zeros,
    )


def evenly_spaced(x: Array) -> bool:
    """True where the pixels of all rows and images are the same distance apart."""
    n, _, h, w = x.shape
    return (h == 1 or x.strides[2] == w * x.strides[3]) and (n == 1 or x.strides[0] == h * w * x.strides[3])


# Computes again, planning nothing, in other arrays of the same shapes and strides: (y, x, weight, bias) here, what a
# variant is called with (`op.Variant`) in the modules of those.
Again = Callable[..., None]


def correlate(
    cut: Cut,
    y: Array,
    x: Array,
    weight: Array,
    window: Window,
    groups: int,
    bias: Array | None,
    activation: str | None,
) -> Again:
    """Compute the correlations that `cut` gives for these shapes: all parts of y, of the channels-last map x."""
    x_shape, y_shape = x.shape, y.shape
    even = evenly_spaced(x) and evenly_spaced(y)
    if window.pointwise and even and x_shape[2:] == y_shape[2:]:  # one row, whatever its length, fills its tiles
        n, c, h, w = x_shape
        x_shape, y_shape = (1, c, 1, n * h * w), (1, y_shape[1], 1, n * h * w)
    shapes = x_shape, x.strides[3], y_shape, y.strides, weight.shape, weight.strides
    made = plan(cut, machine.vectors(), x.dtype, *shapes, window, groups)
    kernel, items = compiled(made.shape), len(made.items)
    packing = made.order, made.packed, made.packing, made.sizes[0], made.sizes[2], made.shape.columns
    between = strided(x)[1:]
    geometry = x_shape[2:], made.stride, made.dilation, made.sizes, made.room, made.spare
    flags = made.merged, activation == "relu", far(x.nbytes)

    def again(y: Array, x: Array, weight: Array, bias: Array | None) -> None:
        _weights, weights = packed_panels(weight, *packing)
        biases = made.no_bias if bias is None else filled_up(bias, made.no_bias)
        source = x.ctypes.data, *between
        arguments = made.address, source, y.ctypes.data, weights, biases.ctypes.data, *geometry, flags
        run(kernel, items, *arguments, scratch=made.scratch, small=made.small)

    again(y, x, weight, bias)
    return again


def filled_up(bias: Array, zeros: Array) -> Array:
    """The biases of groups of filters, a row each, as many as in `zeros`.

    Those of a single group are repeated: phases of a row are filters of one correlation.
    """
    if bias.size == zeros.size and bias.flags.c_contiguous:
        return bias
    if len(zeros) == 1:
        return np.resize(bias, zeros.shape)
    rows, biases = bias.reshape(len(zeros), -1), zeros.copy()
    biases[:, : rows.shape[1]] = rows
    return biases
