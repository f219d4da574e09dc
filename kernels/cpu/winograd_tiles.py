"""Winograd's tiles: where each lies in its map, and the values of its pixels as polynomials.

With dilation every image is several maps, as many as interleave in it: of the pixels one step apart.
"""

from functools import cache
from typing import Any

import numba

from ..layout import Shape
from ..window import Pair
from .jit import VIEWS, inlined, prefetch_read
from .machine import LINE
from .patches import gather
from .tile import Tile
from .winograd_transform import INPUT, TILE, data, gradients

AHEAD = 3  # tiles: prefetching maps saved 8 % of whole layers

Grid = tuple[int, int, int, int]  # rows and columns of tiles in a map, rows and columns of maps in an image


def tiled(pixels: Shape, dilation: Pair) -> tuple[Grid, int]:
    """The tiles of N x H x W `pixels`, and their number."""
    images, *size = pixels
    rows, columns = (-(-length // (TILE * step)) for length, step in zip(size, dilation, strict=True))
    down, right = (min(length, step) for length, step in zip(size, dilation, strict=True))
    return (rows, columns, down, right), images * rows * columns * down * right


@numba.njit(inline="always")
def place_of(number, grid):  # type: ignore[no-untyped-def]
    """Map, row and column of a tile."""
    maps, place = number // (grid[0] * grid[1]), number % (grid[0] * grid[1])
    return maps, place // grid[1], place % grid[1]


@numba.njit(inline="always")
def following(place, grid):  # type: ignore[no-untyped-def]
    """Map, row and column of the tile behind the one at `place`."""
    number, row, column = place
    if column + 1 < grid[1]:
        return number, row, column + 1
    return (number, row + 1, 0) if row + 1 < grid[0] else (number + 1, 0, 0)


@numba.njit(inline="always")
def part_of(number, grid, x, size, origin, dilation):  # type: ignore[no-untyped-def]
    """One of the maps that x consists of: every image is as many as `dilation` lets interleave.

    grid: see `Grid`; origin: row and column of x under the first output. Returns x, size and origin of the map.
    """
    across, maps = grid[3], grid[2] * grid[3]
    top, left = number % maps // across + origin[0], number % across + origin[1]
    down, right = dilation
    address = x[0] + number // maps * x[1] + top % down * x[2] + left % right * x[3]
    height, width = (size[0] - top % down + down - 1) // down, (size[1] - left % right + right - 1) // right
    return (address, 0, down * x[2], right * x[3]), (height, width), (top // down, left // right)


@cache
def spread(shape: Tile, extent: int) -> Any:
    """A function that transforms the pixels under tiles: INPUT of data along each axis, or TILE of gradients.

    Of block after block of `shape.rows` tiles, the values lie as (vectors of channels, tiles, channels).
    """
    transform = {INPUT: data, TILE: gradients}[extent](shape.dtype, shape.lanes)
    copy_patch, view, SIZE = gather(shape.dtype), VIEWS[shape.dtype.name], shape.dtype.itemsize
    LANES, ROWS, EXTENT = shape.lanes, shape.rows, extent
    VECTOR, MARGIN = LANES * SIZE, (extent - TILE) // 2

    @numba.njit(inline="always")
    def prefetch(x, size, i, j, channels):  # type: ignore[no-untyped-def]
        """Ask for the 4 x 4 pixels from i, j on: all tiles' are the whole map."""
        for row in range(max(i, 0), min(i + TILE, size[0])):
            for column in range(max(j, 0), min(j + TILE, size[1])):
                for line in range(0, channels * SIZE, LINE):
                    prefetch_read(x[0] + row * x[2] + column * x[3] + line)

    @inlined
    def spread(v, apart, tiles, x, size, channels, grid, origin, dilation, patch):  # type: ignore[no-untyped-def]
        """Of `tiles` (from, to), at v, points `apart` bytes from each other. The rest: see `part_of`."""
        chunks = (channels + LANES - 1) // LANES
        pitch = chunks * VECTOR
        whole = channels == chunks * LANES
        if not whole:
            behind = view(patch, EXTENT * EXTENT * chunks * LANES)
            for c in range(behind.size):
                behind[c] = 0
        place = place_of(tiles[0], grid)
        part, inside, start = part_of(place[0], grid, x, size, origin, dilation)
        for at in range(tiles[1] - tiles[0]):
            i, j = TILE * place[1] + start[0], TILE * place[2] + start[1]
            prefetch(part, inside, i + MARGIN, j + MARGIN + AHEAD * TILE, channels)
            target = v + (at // ROWS * chunks * ROWS + at % ROWS) * VECTOR
            source, down, right = part[0] + i * part[2] + j * part[3], part[2], part[3]
            if not whole or i < 0 or j < 0 or i + EXTENT > inside[0] or j + EXTENT > inside[1]:
                copy_patch(patch, pitch, channels, part, inside, (0, 1), (i, EXTENT), (j, EXTENT))
                source, down, right = patch, EXTENT * pitch, pitch
            transform(source, down, right, chunks, target, apart, ROWS * VECTOR)
            before, place = place[0], following(place, grid)
            if place[0] != before:
                part, inside, start = part_of(place[0], grid, x, size, origin, dilation)

    return spread
