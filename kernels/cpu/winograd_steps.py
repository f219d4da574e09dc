"""The steps of Winograd's convolution over tiles in panels, and the kernels made of them.

The transformed data V, filters U and products M have an axis of POINTS, `apart` bytes from one to the next, and
behind it the order in which the register tiles read and write them:

    V (blocks of tiles, chunks of channels, tiles, channels), U (chunks, channels, filters), M (tiles, filters),

chunks being vectors of channels, and the filters those of one panel.
"""

from functools import cache
from typing import Any, NamedTuple

import numba

from . import tile
from .jit import VIEWS, claim, inlined, kernel, prefetch_read, prefetch_write
from .machine import LINE
from .patches import gather
from .tile import Tile
from .winograd_transform import INPUT, POINTS, TAPS, TILE, data, filters, outputs

# Prefetching maps saved 8 % of whole layers.
TILES_AHEAD = 2
AHEAD = 4  # channels of filters


class Steps(NamedTuple):
    """Functions for kernels; see each."""

    transform_data: Any
    transform_filters: Any
    multiply: Any
    transform_outputs: Any


def half(shape: Tile) -> Tile:
    """The tile for the last rows, where they are half a tile or less."""
    return Tile(shape.dtype, shape.lanes, -(-shape.rows // 2), shape.vectors)


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

    grid: see `tiled`; origin: row and column of x under the first output. Returns x, size and origin of the map.
    """
    across, maps = grid[3], grid[2] * grid[3]
    top, left = number % maps // across + origin[0], number % across + origin[1]
    down, right = dilation
    address = x[0] + number // maps * x[1] + top % down * x[2] + left % right * x[3]
    height, width = (size[0] - top % down + down - 1) // down, (size[1] - left % right + right - 1) // right
    return (address, 0, down * x[2], right * x[3]), (height, width), (top // down, left // right)


@cache
def steps(shape: Tile) -> Steps:
    """The steps for one shape of tile."""
    data_vectors, filter_vector = data(shape.dtype, shape.lanes), filters(shape.dtype, shape.lanes)
    output_vector, copy_patch = outputs(shape.dtype, shape.lanes), gather(shape.dtype)
    multiply_tile, multiply_half = tile.panels(shape), tile.panels(half(shape))
    view, SIZE = VIEWS[shape.dtype.name], shape.dtype.itemsize
    LANES, ROWS, COLUMNS, HALF = shape.lanes, shape.rows, shape.columns, half(shape).rows
    VECTOR = LANES * SIZE

    @numba.njit(inline="always")
    def prefetch_data(x, size, i, j, channels):  # type: ignore[no-untyped-def]
        """Ask for the 4 x 4 pixels from i, j on: all tiles' are the whole map."""
        for row in range(max(i, 0), min(i + TILE, size[0])):
            for column in range(max(j, 0), min(j + TILE, size[1])):
                for line in range(0, channels * SIZE, LINE):
                    prefetch_read(x[0] + row * x[2] + column * x[3] + line)

    @inlined
    def transform_data(v, apart, tiles, x, size, channels, grid, origin, dilation, patch):  # type: ignore[no-untyped-def]
        """V of `tiles` (from, to). The rest: see `part_of`."""
        chunks = (channels + LANES - 1) // LANES
        pitch = chunks * VECTOR
        whole = channels == chunks * LANES
        if not whole:
            behind = view(patch, INPUT * INPUT * chunks * LANES)
            for c in range(behind.size):
                behind[c] = 0
        place = place_of(tiles[0], grid)
        part, inside, start = part_of(place[0], grid, x, size, origin, dilation)
        for at in range(tiles[1] - tiles[0]):
            i, j = TILE * place[1] + start[0], TILE * place[2] + start[1]
            prefetch_data(part, inside, i + 1, j + 1 + TILES_AHEAD * TILE, channels)
            target = v + (at // ROWS * chunks * ROWS + at % ROWS) * VECTOR
            source, down, right = part[0] + i * part[2] + j * part[3], part[2], part[3]
            if not whole or i < 0 or j < 0 or i + INPUT > inside[0] or j + INPUT > inside[1]:
                copy_patch(patch, pitch, channels, part, inside, (0, 1), (i, INPUT), (j, INPUT))
                source, down, right = patch, INPUT * pitch, pitch
            data_vectors(source, down, right, chunks, target, apart, ROWS * VECTOR)
            before, place = place[0], following(place, grid)
            if place[0] != before:
                part, inside, start = part_of(place[0], grid, x, size, origin, dilation)

    @inlined
    def transform_filters(u, apart, weight, sizes, panel, begin, end, taps):  # type: ignore[no-untyped-def]
        """U of the channels begin..end of a panel. sizes: filters and channels of the weight.

        Where the panel has more of them, the last one repeats: the data is 0 there, the outputs unwanted.
        """
        origin, per_filter, per_channel, down, right = weight
        first, valid = panel * COLUMNS, min(COLUMNS, sizes[0] - panel * COLUMNS)
        beside = abs(right) == SIZE and down == TAPS * right
        reverse = beside and right < 0
        for c in range(begin, end):
            source = origin + first * per_filter + min(c, sizes[1] - 1) * per_channel
            step = per_filter
            if reverse:
                source += (TAPS * TAPS - 1) * right
            if not beside:
                for k in range(valid):
                    line = view(taps + k * TAPS * TAPS * SIZE, TAPS * TAPS)
                    for a in range(TAPS):
                        for b in range(TAPS):
                            line[a * TAPS + b] = view(source + k * per_filter + a * down + b * right, 1)[0]
                source, step = taps, TAPS * TAPS * SIZE
            else:
                for k in range(valid):
                    prefetch_read(source + k * per_filter + AHEAD * per_channel)
            for k in range(0, COLUMNS, LANES):
                here = u + ((c - begin) * COLUMNS + k) * SIZE
                some = min(max(valid - k, 1), LANES)
                filter_vector(source + min(k, valid - 1) * step, step, some, reverse, here, apart)

    @inlined
    def multiply(m, m_apart, v, v_apart, u, u_apart, tiles, chunks, block, accumulate):  # type: ignore[no-untyped-def]
        """M = U V, or more of it, for `tiles`, whose blocks in V are `block` bytes apart."""
        for f in range(POINTS):
            for b in range((tiles + ROWS - 1) // ROWS):
                x, y = v + f * v_apart + b * block, m + f * m_apart + b * ROWS * COLUMNS * SIZE
                if tiles - b * ROWS > HALF:
                    multiply_tile(x, ROWS * VECTOR, chunks, u + f * u_apart, y, accumulate)
                else:
                    multiply_half(x, ROWS * VECTOR, chunks, u + f * u_apart, y, accumulate)

    @inlined
    def transform_outputs(m, apart, tiles, y, size, grid, dilation, panel, number, bias, rectify, spare):  # type: ignore[no-untyped-def]
        """Y of `tiles` (from, to), of the filters of a panel. size: of the map y; number: of all filters."""
        begin, end = panel * COLUMNS, min((panel + 1) * COLUMNS, number)
        place = place_of(tiles[0], grid)
        part, inside, _ = part_of(place[0], grid, y, size, (0, 0), dilation)
        for at in range(tiles[1] - tiles[0]):
            i, j = TILE * place[1], TILE * place[2]
            rows, columns = min(TILE, inside[0] - i), min(TILE, inside[1] - j)
            pixel = part[0] + i * part[2] + j * part[3]
            source = m + at * COLUMNS * SIZE
            if j + (TILES_AHEAD + 1) * TILE <= inside[1]:
                for a in range(rows):
                    for b in range(TILES_AHEAD * TILE, (TILES_AHEAD + 1) * TILE):
                        for line in range(begin * SIZE, end * SIZE, LINE):
                            prefetch_write(pixel + a * part[2] + b * part[3] + line)
            for k in range(begin, end, LANES):
                valid = min(LANES, end - k)
                whole = rows == TILE and columns == TILE and valid == LANES
                target, down, right = pixel + k * SIZE, part[2], part[3]
                if not whole:
                    target, down, right = spare, TILE * VECTOR, VECTOR
                output_vector(source + (k - begin) * SIZE, apart, bias + k * SIZE, target, down, right, rectify)
                if not whole:
                    for a in range(rows):
                        for b in range(columns):
                            kept = view(spare + (a * TILE + b) * VECTOR, valid)
                            written = view(pixel + a * part[2] + b * part[3] + k * SIZE, valid)
                            for c in range(valid):
                                written[c] = kept[c]
            before, place = place[0], following(place, grid)
            if place[0] != before:
                part, inside, _ = part_of(place[0], grid, y, size, (0, 0), dilation)

    return Steps(transform_data, transform_filters, multiply, transform_outputs)


@cache
def data_kernel(shape: Tile) -> Any:
    """V of all tiles, in the groups that `by_filters` takes: an item is a block."""
    transform_data, ROWS, LANES = steps(shape).transform_data, shape.rows, shape.lanes
    VECTOR = LANES * shape.dtype.itemsize

    @kernel(f"winograd_data-{shape.name}")
    def winograd_data(work, scratch, count, v, apart, groups, x, size, sizes, grid, origin, dilation, tiles):  # type: ignore[no-untyped-def]
        channels = sizes[1]
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
    def winograd_filters(work, scratch, count, u, apart, weight, sizes):  # type: ignore[no-untyped-def]
        channels = (sizes[1] + LANES - 1) // LANES * LANES
        panel = claim(work)
        while panel < count:
            transform_filters(u + panel * POINTS * apart, apart, weight, sizes, panel, 0, channels, scratch)
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
        work, scratch, count, x, x_size, y, y_size, u, bias, sizes, grid, origin, dilation, tiles, apart, room, rectify
    ):
        number, channels = sizes
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
        work,
        scratch,
        count,
        v,
        groups,
        y,
        size,
        weight,
        bias,
        sizes,
        grid,
        dilation,
        tiles,
        chunk,
        apart,
        room,
        rectify,
    ):
        number, channels = sizes
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
                transform_filters(u, apart[1], weight, sizes, panel, begin, end, taps)
                here = v + group * POINTS * apart[0] + done * ROWS * VECTOR
                multiply(m, apart[2], here, apart[0], u, apart[1], last - first, now, block, done > 0)
            some = first, last
            transform_outputs(m, apart[2], some, y, size, grid, dilation, panel, number, bias, rectify, spare)
            item = claim(work)

    return winograd_panels
