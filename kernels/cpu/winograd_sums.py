"""The kernels of Winograd's weight gradient: sums over tiles of the products of data and gradients.

An item is a part of the filters under a part of the channels, for a split of the tiles. A few tiles at a time are
transformed, V (points, tiles, channels) and E (points, tiles, filters), and S (points, rows of register tiles, tiles)
grows by E' V; all three share the level-2 cache.
"""

from functools import cache
from typing import Any

from .jit import VIEWS, claim, inlined, kernel
from .outer_tile import evenly_spaced
from .tile import Tile
from .winograd_tiles import spread
from .winograd_transform import INPUT, POINTS, TILE, weights


@cache
def finish(shape: Tile) -> Any:
    """dw = G' S G, of one row of register tiles."""
    transform, SIZE = weights(shape.dtype, shape.lanes), shape.dtype.itemsize
    ROWS, COLUMNS, LANES = shape.rows, shape.columns, shape.lanes

    @inlined
    def finish(s, apart, dw, strides, filters, channels):  # type: ignore[no-untyped-def]
        """s: of the row; filters: in it; dw: address of the first filter and channel; strides: between bytes of dw."""
        for k in range(filters):
            for c in range(0, channels, LANES):
                source = s + ((c // COLUMNS * ROWS + k) * COLUMNS + c % COLUMNS) * SIZE
                target = dw + k * strides[0] + c * SIZE
                transform(source, apart, target, strides[2], strides[3], min(LANES, channels - c))

    return finish


@cache
def sum_kernel(shape: Tile) -> Any:
    """S of every item; and dw, where there is one split."""
    LANES, ROWS, COLUMNS, SIZE = shape.lanes, shape.rows, shape.columns, shape.dtype.itemsize
    rows = Tile(shape.dtype, shape.lanes, 1, 1)  # tiles one behind the other
    transform_data, transform_gradients = spread(rows, INPUT), spread(rows, TILE)
    add, finish_row = evenly_spaced(shape), finish(shape)

    @kernel(f"winograd_sums-{shape.name}")
    def winograd_sums(  # type: ignore[no-untyped-def]
        work, scratch, count, x, x_size, g, g_size, sizes, parts, grid, origin, dilation, splits, apart, room, sums, dw,
        strides,
    ):  # fmt: skip
        filters, channels, tiles = sizes
        some_filters, some_channels, together = parts
        across, along = (filters + some_filters - 1) // some_filters, (channels + some_channels - 1) // some_channels
        v, e = scratch, scratch + room[0]
        patch, own = e + room[1], e + room[1] + room[2]
        item = claim(work)
        while item < count:
            split, k, c = item // (across * along), item // along % across * some_filters, item % along * some_channels
            now_filters, now_channels = min(some_filters, filters - k), min(some_channels, channels - c)
            v_step = (now_channels + LANES - 1) // LANES * LANES * SIZE
            e_step = (now_filters + LANES - 1) // LANES * LANES * SIZE
            s = sums + item * POINTS * apart[2] if splits > 1 else own
            first, last = tiles * split // splits, tiles * (split + 1) // splits
            mine = (x[0] + c * SIZE, x[1], x[2], x[3])
            grad = (g[0] + k * SIZE, g[1], g[2], g[3])
            for begin in range(first, last, together):
                some = begin, min(begin + together, last)
                number = some[1] - some[0]
                transform_data(v, apart[0], some, mine, x_size, now_channels, grid, origin, dilation, patch)
                transform_gradients(e, apart[1], some, grad, g_size, now_filters, grid, (0, 0), dilation, patch)
                for f in range(POINTS):
                    z = s + f * apart[2]
                    for row in range(0, now_filters, ROWS):
                        for column in range(0, now_channels, COLUMNS):
                            left, right = e + f * apart[1] + row * SIZE, v + f * apart[0] + column * SIZE
                            add(left, e_step, right, v_step, number, z, begin > first)
                            z += ROWS * COLUMNS * SIZE
            if splits == 1:
                row_bytes = (now_channels + COLUMNS - 1) // COLUMNS * ROWS * COLUMNS * SIZE
                for row in range(0, now_filters, ROWS):
                    target = dw + (k + row) * strides[0] + c * SIZE
                    now = min(ROWS, now_filters - row)
                    finish_row(s + row // ROWS * row_bytes, apart[2], target, strides, now, now_channels)
            item = claim(work)

    return winograd_sums


@cache
def add_kernel(shape: Tile) -> Any:
    """dw from S of several splits, added in order: an item is a row of register tiles of one part of the channels."""
    ROWS, COLUMNS, SIZE = shape.rows, shape.columns, shape.dtype.itemsize
    finish_row, view = finish(shape), VIEWS[shape.dtype.name]

    @kernel(f"winograd_add-{shape.name}")
    def winograd_add(work, scratch, count, sums, sizes, parts, splits, apart, dw, strides):  # type: ignore[no-untyped-def]
        filters, channels = sizes
        some_filters, some_channels = parts
        across, along = (filters + some_filters - 1) // some_filters, (channels + some_channels - 1) // some_channels
        rows = some_filters // ROWS  # of register tiles in a part
        item = claim(work)
        while item < count:
            part, row, c = item // along // rows, item // along % rows, item % along * some_channels
            k = part * some_filters + row * ROWS
            now = min(ROWS, filters - k)
            if now > 0:
                now_channels = min(some_channels, channels - c)
                cells = (now_channels + COLUMNS - 1) // COLUMNS * ROWS * COLUMNS
                s = sums + (part * along + item % along) * POINTS * apart + row * cells * SIZE
                for f in range(POINTS):
                    total = view(s + f * apart, cells)
                    for split in range(1, splits):
                        more = view(s + f * apart + split * across * along * POINTS * apart, cells)
                        for i in range(cells):
                            total[i] += more[i]
                target = dw + k * strides[0] + c * SIZE
                finish_row(s, apart, target, strides, now, now_channels)
            item = claim(work)

    return winograd_add
