"""Winograd's convolution planned: its blocks of tiles, and the memory of its three steps."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..layout import Shape
from ..window import Pair
from . import machine, tile
from .machine import LINE
from .parallel import SMALL_FLOPS
from .winograd_tiles import Grid, tiled
from .winograd_transform import INPUT, POINTS, TAPS, TILE

TOGETHER = 36  # tiles at a time under all filters: 24 to 96 are as fast, 12 cost a tenth with 256 channels
ITEMS = 8  # pieces of work to aim at, so that threads finish together
GROUP = 96  # tiles at a time under one panel of filters, which is transformed for them: 60 to 200 are as fast
CHUNK = 288 * 1024  # bytes of that panel's U at a time: it shares the level-2 cache with M, which is larger
FEW = 128  # tiles that are few: twice as many are a fifth faster under all filters, half as many no faster
SHARED = 4  # panels of filters that are enough for the threads to share
RESIDENT = 12 * 2**20  # bytes of U that stay in the level-3 cache


@dataclass(frozen=True)
class Plan:
    """How to compute one geometry."""

    shape: tile.Tile
    grid: Grid
    tiles: int
    groups: int  # of tiles, for each of which panels of filters are transformed; 0 where they are once
    items: int
    panels: int
    chunk: int  # vectors of channels at a time
    apart: tuple[int, int, int]  # bytes between the points of V, U, M
    room: tuple[int, int, int]
    shared: int  # bytes of all U, or all V
    scratch: int
    small: bool  # not worth a second thread


def spaced(size: int) -> int:
    """Bytes between points: a line more, so that they do not fall into the same cache sets."""
    return -(-size // LINE) * LINE + LINE


@lru_cache(maxsize=1024)
def plan(vectors: machine.Vectors, dtype: np.dtype, x_shape: Shape, y_shape: Shape, dilation: Pair) -> Plan:
    """Plan the convolution that gives a map of `y_shape` from one of `x_shape`."""
    size, (images, filters, height, width), channels = dtype.itemsize, y_shape, x_shape[1]
    shape = tile.product_tile(vectors, dtype, filters)
    rows, columns, lanes = shape.rows, shape.columns, shape.lanes
    grid, tiles = tiled((images, height, width), dilation)
    blocks, panels, chunks = -(-tiles // rows), -(-filters // columns), -(-channels // lanes)
    all_filters = POINTS * panels * columns * chunks * lanes * size
    patch, spare = INPUT * INPUT * chunks * lanes * size, TILE * TILE * lanes * size
    groups, chunk = 0, chunks
    if (tiles <= FEW and panels >= SHARED) or all_filters > RESIDENT:
        groups = items = -(-blocks // max(1, GROUP // rows))
        chunk = min(chunks, max(1, CHUNK // (POINTS * columns * lanes * size)))
    else:
        items = min(blocks, max(ITEMS, -(-blocks // max(1, TOGETHER // rows))))
    together = -(-blocks // items) * rows  # tiles
    apart = (
        spaced(together * chunks * lanes * size),
        spaced(chunk * lanes * columns * size),
        spaced(together * columns * size),
    )
    products = POINTS * apart[2]
    if groups:
        room = POINTS * apart[1], products, TAPS * TAPS * lanes * lanes * size
        shared = groups * POINTS * apart[0]
        items = groups * panels
    else:
        room = POINTS * apart[0], products, patch
        shared = panels * POINTS * apart[1]
    return Plan(
        shape,
        grid,
        tiles,
        groups,
        items,
        panels,
        chunk,
        apart,
        room,
        shared,
        sum(room) + spare + 2 * LINE,
        2 * tiles * POINTS * channels * filters < SMALL_FLOPS,
    )
