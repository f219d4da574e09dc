"""The kernels of Winograd's convolution: `winograd` plans when which one runs.

Their `geometry`: the weight's filters and channels, the grid of tiles, row and column of x under the first output, the
dilation, and the number of tiles.
"""

from functools import cache
from typing import Any

from .jit import claim, kernel
from .tile import Tile
from .winograd_steps import steps
from .winograd_transform import POINTS


@cache
def data_kernel(shape: Tile) -> Any:
    """V of all tiles, in the groups that `by_filters` takes: an item is a block."""
    transform_data, ROWS, LANES = steps(shape).transform_data, shape.rows, shape.lanes
    VECTOR = LANES * shape.dtype.itemsize

    @kernel(f"winograd_data-{shape.name}")
    def winograd_data(work, scratch, count, v, apart, groups, x, size, geometry):  # type: ignore[no-untyped-def]
        (_, channels), grid, origin, dilation, tiles = geometry
        block = (channels + LANES - 1) // LANES * ROWS * VECTOR
        number = claim(work)
        while number < count:
            group = ((number + 1) * groups - 1) // count
            target = v + group * POINTS * apart + (number - count * group // groups) * block
            some = number * ROWS, min((number + 1) * ROWS, tiles)
            transform_data(target, apart, some, x, size, channels, grid, origin, dilation, scratch)
            number = claim(work)

    return winograd_data


@cache
def filter_kernel(shape: Tile) -> Any:
    """U of all filters: an item is a panel."""
    transform_filters, LANES = steps(shape).transform_filters, shape.lanes

    @kernel(f"winograd_filters-{shape.name}")
    def winograd_filters(work, scratch, count, u, apart, weight):  # type: ignore[no-untyped-def]
        channels = (weight[2] + LANES - 1) // LANES * LANES
        panel = claim(work)
        while panel < count:
            transform_filters(u + panel * POINTS * apart, apart, weight, panel, 0, channels, scratch)
            panel = claim(work)

    return winograd_filters


@cache
def by_tiles(shape: Tile) -> Any:
    """Y, from U of all filters: an item is a few blocks of tiles, whose V and M stay in the level-2 cache."""
    transform_data, _, multiply, transform_outputs = steps(shape)
    LANES, ROWS, COLUMNS = shape.lanes, shape.rows, shape.columns
    VECTOR = LANES * shape.dtype.itemsize

    @kernel(f"winograd_tiles-{shape.name}")
    def winograd_tiles(  # type: ignore[no-untyped-def]
        work, scratch, count, x, x_size, y, y_size, u, bias, geometry, apart, room, rectify
    ):
        (number, channels), grid, origin, dilation, tiles = geometry
        chunks = (channels + LANES - 1) // LANES
        v, m, patch = scratch, scratch + room[0], scratch + room[0] + room[1]
        spare = patch + room[2]
        blocks = (tiles + ROWS - 1) // ROWS
        item = claim(work)
        while item < count:
            first = blocks * item // count * ROWS
            last = min(blocks * (item + 1) // count * ROWS, tiles)
            some = first, last
            transform_data(v, apart[0], some, x, x_size, channels, grid, origin, dilation, patch)
            for panel in range((number + COLUMNS - 1) // COLUMNS):
                here = u + panel * POINTS * apart[1]
                block = chunks * ROWS * VECTOR
                multiply(m, apart[2], v, apart[0], here, apart[1], last - first, chunks, block, False)
                transform_outputs(m, apart[2], some, y, y_size, grid, dilation, panel, number, bias, rectify, spare)
            item = claim(work)

    return winograd_tiles


@cache
def by_filters(shape: Tile) -> Any:
    """Y, from V of all tiles: an item is a panel of filters and a group of tiles.

    The panel is transformed `chunk` channels at a time: their U, and M, stay in the level-2 cache.
    """
    _, transform_filters, multiply, transform_outputs = steps(shape)
    LANES, ROWS, COLUMNS = shape.lanes, shape.rows, shape.columns
    VECTOR = LANES * shape.dtype.itemsize

    @kernel(f"winograd_panels-{shape.name}")
    def winograd_panels(  # type: ignore[no-untyped-def]
        work, scratch, count, v, groups, y, size, weight, chunk, bias, geometry, apart, room, rectify
    ):
        (number, channels), grid, _, dilation, tiles = geometry
        chunks = (channels + LANES - 1) // LANES
        u, m, taps = scratch, scratch + room[0], scratch + room[0] + room[1]
        spare = taps + room[2]
        blocks, panels = (tiles + ROWS - 1) // ROWS, (number + COLUMNS - 1) // COLUMNS
        block = chunks * ROWS * VECTOR
        item = claim(work)
        while item < count:
            group, panel = item // panels, item % panels
            first, last = blocks * group // groups * ROWS, min(blocks * (group + 1) // groups * ROWS, tiles)
            for done in range(0, chunks, chunk):
                now = min(chunk, chunks - done)
                begin, end = done * LANES, (done + now) * LANES
                transform_filters(u, apart[1], weight, panel, begin, end, taps)
                here = v + group * POINTS * apart[0] + done * ROWS * VECTOR
                multiply(m, apart[2], here, apart[0], u, apart[1], last - first, now, block, done > 0)
            some = first, last
            transform_outputs(m, apart[2], some, y, size, grid, dilation, panel, number, bias, rectify, spare)
            item = claim(work)

    return winograd_panels
