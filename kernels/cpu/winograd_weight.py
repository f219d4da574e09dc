"""Winograd's weight gradient F(3x3, 4x4): a quarter of the direct multiplications, for 3x3 kernels of stride 1.

    dw[k, c] = G' (sum over tiles of (A e[k, tile] A') * (B' d[c, tile] B)) G

for the same tiles, inputs d and points as `winograd`; e are the gradients of a tile's 4 x 4 outputs. The tiles are cut
into splits, each summed by itself, and the splits are added in order, all decided by shapes alone.

Error: that of `winograd`, with the sum over tiles in the place of that over channels: with n = tiles + 28 at most
n u / (1 - n u) AMPLIFICATION^2 max|x| sum |grad[k]|.

Source: Lavin & Gray, "Fast algorithms for convolutional neural networks" (2015), section 4.1 (F(3x3, 2x2)).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..layout import Array, Shape
from ..window import Pair, Sides
from . import machine, tile
from .machine import LINE
from .outer_tile import outer_tile
from .packing import aligned
from .parallel import SMALL_FLOPS, run, strided
from .winograd import error_bound, refuses_shape
from .winograd_plan import spaced
from .winograd_sums import add_kernel, sum_kernel
from .winograd_tiles import Grid, tiled
from .winograd_transform import INPUT, POINTS

CHANNELS, FILTERS = 64, 64  # of an item, about: S of all points takes 36 x 64 x 64 numbers (590 kB)
VALUES = 320 * 1024  # bytes of V and E at a time, which share the level-2 cache with S
TILES = 16, 48  # at a time, at least and at most
FEWEST = 12  # channels: with 8 the direct sum takes 0.4 to 0.9 of the time, see benchmarks/choice.csv
ITEMS = 8  # pieces of work to aim at; not the number of threads, on which no sum may depend


@dataclass(frozen=True)
class Plan:
    """How to compute one geometry."""

    shape: tile.Tile
    grid: Grid
    tiles: int
    parts: tuple[int, int, int]  # filters, channels and tiles at a time
    splits: int
    items: int
    rows: int  # pieces in which the splits are added
    apart: tuple[int, int, int]  # bytes between the points of V, E, S
    room: tuple[int, int, int]
    scratch: int
    small: bool  # not worth a second thread


def _equal(total: int, most: int, unit: int) -> int:
    """The size of the fewest equal parts of about `most` at most, a multiple of `unit`."""
    parts = -(-total // max(most, unit))
    return -(-total // (parts * unit)) * unit


@lru_cache(maxsize=1024)
def plan(vectors: machine.Vectors, dtype: np.dtype, channels: int, pixels: Shape, filters: int, dilation: Pair) -> Plan:
    """Plan the gradient from N x H x W `pixels` of `filters`."""
    size = dtype.itemsize
    shape = outer_tile(vectors, dtype, min(filters, FILTERS), min(channels, CHANNELS))
    rows, columns, lanes = shape.rows, shape.columns, shape.lanes
    grid, tiles = tiled(pixels, dilation)
    some_filters, some_channels = _equal(filters, FILTERS, rows), _equal(channels, CHANNELS, columns)
    across, along = -(-filters // some_filters), -(-channels // some_channels)
    together = VALUES // (POINTS * (some_filters + some_channels) * size)
    together = min(max(TILES[0], min(together, TILES[1])), tiles)
    splits = max(1, min(-(-ITEMS // (across * along)), tiles // together))

    def numbers(count: int) -> int:
        return -(-count // lanes) * lanes

    v, e = (together * numbers(some) * size for some in (some_channels, some_filters))
    apart = spaced(v), spaced(e), spaced(some_filters * some_channels * size)
    patch = INPUT * INPUT * max(numbers(some_channels), numbers(some_filters)) * size
    room = POINTS * apart[0], POINTS * apart[1] + 2 * LINE, patch
    own = POINTS * apart[2] if splits == 1 else 0
    return Plan(
        shape,
        grid,
        tiles,
        (some_filters, some_channels, together),
        splits,
        splits * across * along,
        across * (some_filters // rows) * along,
        apart,
        room,
        sum(room) + own + 2 * LINE,
        2 * tiles * POINTS * channels * filters < SMALL_FLOPS,
    )


def convolve_weight(
    outputs: list[Array], x: Array, shape: Shape, grad: Array, *, padding: Sides, dilation: Pair, **parameters: Any
) -> None:
    """conv2d_weight."""
    dw, (images, filters, *size) = outputs[0], grad.shape
    if not grad.size:
        dw[...] = 0
        return
    made = plan(machine.vectors(), x.dtype, x.shape[1], (images, *size), filters, dilation)
    _sums, sums = aligned(made.items * POINTS * made.apart[2] if made.splits > 1 else 0)
    sizes, origin = (filters, x.shape[1]), (-padding[0][0], -padding[1][0])
    run(
        sum_kernel(made.shape),
        made.items,
        strided(x),
        x.shape[2:],
        strided(grad),
        grad.shape[2:],
        (*sizes, made.tiles),
        made.parts,
        made.grid,
        origin,
        dilation,
        made.splits,
        made.apart,
        made.room,
        sums,
        dw.ctypes.data,
        dw.strides,
        scratch=made.scratch,
        small=made.small,
    )
    if made.splits > 1:
        run(
            add_kernel(made.shape),
            made.rows,
            sums,
            sizes,
            made.parts[:2],
            made.splits,
            made.apart[2],
            dw.ctypes.data,
            dw.strides,
            small=made.small,
        )


def refuses(x: Array, shape: Shape, *arguments: Any, stride: Pair, groups: int, **parameters: Any) -> str | None:
    """Of `convolve_weight`."""
    return refuses_shape(shape, stride, groups)


def declines(x: Array, *arguments: Any, **parameters: Any) -> str | None:
    """Of `convolve_weight`."""
    if x.dtype != np.float32:
        return "float64 is for the direct sum's smaller error"
    if x.shape[1] < FEWEST:
        return f"the direct sum is faster with fewer than {FEWEST} channels"
    return None


def describe(x: Array, shape: Shape, grad: Array, *, dilation: Pair, **parameters: Any) -> str:
    """What `explain` says."""
    tiles = tiled((len(grad), *grad.shape[2:]), dilation)[1]
    bound = error_bound(x.dtype, tiles)
    return f"F(3x3, 4x4) ({machine.vectors().name}), error at most {bound:.1g} max|x| sum|grad|, usually far less"
