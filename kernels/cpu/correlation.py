"""Correlations planned as matrix products: the blocks, the order of the weights, the memory each thread needs.

A plan depends on shapes and strides alone, so that the same layer is planned once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..layout import Array, Shape
from ..window import Pair
from . import machine, tile
from .packing import aligned, pack
from .parallel import LINE, SMALL_FLOPS, balanced, run, strided
from .patches import framed, inside, pitch
from .product import FIELDS, compiled

CHANNELS = 256  # summed at a time: a panel of 9 x 256 x 32 weights (295 kB) stays in the level-2 cache
PATCH = 384 * 1024  # bytes of input to aim at in a block, for the same reason
PIXELS = 2048  # most output pixels in a block
ITEMS = 16  # pieces of work to aim at, so that threads finish together
MERGED = 256  # bytes of channels up to which a row of taps is one run
CONFLICT = 2048  # pixels this many bytes apart (or a multiple) share too few sets of the level-1 cache


@dataclass(frozen=True)
class Correlation:
    """y[n,k,i,j] = sum over c,a,b of w[k,c,a,b] x[n, c, i s + top + a d, j s + left + b d], x being 0 outside its map.

    y and weight are views: a phase of the output, some of the taps, in any order of memory.
    """

    y: Array
    weight: Array
    origin: Pair
    start: int = 0  # bytes from the first output of the whole to y's


@dataclass(frozen=True)
class Part:
    """What a plan needs to know of a `Correlation`: where its outputs begin in the whole, and its geometry."""

    start: int
    shape: Shape
    strides: Shape
    taps: Pair
    origin: Pair


@dataclass(frozen=True)
class Plan:
    """How to compute correlations of one geometry."""

    shape: tile.Tile
    items: Array
    address: int  # of the items
    packed: tuple[int, ...]  # numbers in the packed weights of each part
    sizes: tuple[int, int, int, int]  # channels and filters of a group, channels in a chunk, bytes between patch pixels
    room: tuple[int, int, int]  # pixels, taps and bytes of patch that a thread must hold
    merged: bool
    scratch: int
    small: bool  # not worth a second thread
    no_bias: Array  # zeros, and their address
    no_bias_address: int


@lru_cache(maxsize=1024)
def plan(
    vectors: machine.Vectors,
    dtype: np.dtype,
    x_shape: Shape,
    x_pixel: int,
    parts: tuple[Part, ...],
    stride: Pair,
    dilation: Pair,
    groups: int,
) -> Plan:
    """Plan the correlations `parts` of a map of `x_shape` whose pixels are `x_pixel` bytes apart."""
    size = dtype.itemsize
    channels, filters = x_shape[1] // groups, parts[0].shape[1] // groups
    shape = tile.product_tile(vectors, dtype, filters)
    panels = -(-filters // shape.columns)
    chunk = min(channels, CHANNELS)
    # A run is what lies side by side in a patch: the channels of a pixel, or of a row of taps where they are few.
    merged = dilation[1] == 1 and channels * size <= MERGED
    step = channels * size if merged else pitch(chunk, size)
    pixels = min(PATCH // (max(step, 1) * stride[0] * stride[1]), PIXELS)
    # Small maps: blocks of few tiles, so that fewer threads copy the same patch for different filters.
    outputs = sum(part.shape[0] * part.shape[2] * part.shape[3] for part in parts)
    pixels = max(min(pixels, 2 * outputs // ITEMS), 8 * shape.rows)

    items: list[tuple[int, ...]] = []
    packed: list[int] = []
    patch_bytes, most_pixels = 0, 0
    for part in parts:
        n, _, *size_of_y = part.shape
        inner = [
            inside(part.origin[axis], part.taps[axis], dilation[axis], stride[axis], x_shape[2 + axis], size_of_y[axis])
            for axis in (0, 1)
        ]
        kh, kw = part.taps
        if kh * kw > 1 and x_pixel * stride[1] % CONFLICT == 0:
            inner[0] = (0, 0)
        cut = framed(n, (size_of_y[0], size_of_y[1]), (inner[0], inner[1]), pixels)
        shares = max(1, ITEMS // max(1, len(cut) * len(parts) * groups))
        for (n0, n1, i0, i1, j0, j1), outside in cut:
            rows = (i1 - i0 - 1) * stride[0] + (kh - 1) * dilation[0] + 1
            columns = (j1 - j0 - 1) * stride[1] + (kw - 1) * dilation[1] + 1
            patched = outside and kh * kw > 0
            if patched:
                patch_bytes = max(patch_bytes, (n1 - n0) * rows * columns * step)
            most_pixels = max(most_pixels, (n1 - n0) * (i1 - i0) * (j1 - j0))
            for group in range(groups):
                weights = (sum(packed) + group * panels * shape.columns * channels * kh * kw) * size
                start = part.start + group * filters * size
                geometry = (*part.strides, *part.origin, kh, kw, rows, columns, patched)
                for panel in balanced(panels, -(-panels // shares)):
                    items.append((n0, n1, i0, i1, j0, j1, *panel, group, weights, start, *geometry))
        packed.append(groups * panels * shape.columns * channels * kh * kw)
    most_taps = max(part.taps[0] * part.taps[1] for part in parts)
    room = (most_pixels + shape.rows, most_taps, patch_bytes)
    spare = (panels * shape.columns * size + 8) * shape.rows
    scratch = 8 * (2 * room[0] + room[1]) + spare + patch_bytes + 8 * LINE
    table = np.array(items, np.int64).reshape(-1, FIELDS)
    zeros = np.zeros((groups, panels * shape.columns), dtype)
    sizes = channels, filters, chunk, step
    steps = sum(part.shape[0] * part.shape[2] * part.shape[3] * part.taps[0] * part.taps[1] for part in parts)
    small = 2 * steps * channels * parts[0].shape[1] < SMALL_FLOPS
    return Plan(
        shape, table, table.ctypes.data, tuple(packed), sizes, room, merged, scratch, small, zeros, zeros.ctypes.data
    )  # fmt: skip


def correlate(
    correlations: Sequence[Correlation],
    y: Array,
    x: Array,
    stride: Pair,
    dilation: Pair,
    groups: int,
    bias: Array | None,
    activation: str | None,
) -> None:
    """Compute all `correlations`, parts of y, of the channels-last map x; they share all but their taps and origin."""
    if not y.size:
        return
    parts = []
    for each in correlations:
        between, _, *rest = each.y.strides
        taps = each.weight.shape[2], each.weight.shape[3]
        parts.append(Part(each.start, each.y.shape, (between, *rest), taps, each.origin))
    pixel = x.strides[3]
    made = plan(machine.vectors(), x.dtype, x.shape, pixel, tuple(parts), stride, dilation, groups)
    _, filters, chunk, _ = made.sizes
    columns = made.shape.columns
    _weights, weights = aligned(sum(made.packed) * x.itemsize)
    start = weights
    for each, count in zip(correlations, made.packed, strict=True):
        pack(start, each.weight, groups, chunk, columns)
        start += count * x.itemsize
    biases = made.no_bias_address
    if bias is not None:
        _biases = made.no_bias.copy()
        _biases[:, :filters] = bias.reshape(groups, filters)
        biases = _biases.ctypes.data
    run(
        compiled(made.shape),
        len(made.items),
        made.address,
        strided(x),
        y.ctypes.data,
        weights,
        biases,
        x.shape[2:],
        stride,
        dilation,
        made.sizes,
        made.room,
        (made.merged, activation == "relu"),
        scratch=made.scratch,
        small=made.small,
    )
