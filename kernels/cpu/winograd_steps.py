"""The steps of Winograd's convolution over tiles in panels.

The transformed data V, filters U and products M have an axis of POINTS, `apart` bytes from one to the next, and
behind it the order in which the register tiles read and write them:

    V (blocks of tiles, chunks of channels, tiles, channels), U (chunks, channels, filters), M (tiles, filters),

chunks being vectors of channels, and the filters those of one panel.
"""

from functools import cache
from typing import Any, NamedTuple

from . import tile
from .jit import VIEWS, inlined, prefetch_read, prefetch_write
from .machine import LINE
from .tile import Tile
from .transpose import transpose
from .winograd_tiles import AHEAD, following, part_of, place_of, spread
from .winograd_transform import INPUT, POINTS, TAPS, TILE, filters, filters_of_taps, outputs

CHANNELS_AHEAD = 4  # of filters


class Steps(NamedTuple):
    """Functions for kernels; see each."""

    transform_data: Any
    transform_filters: Any
    multiply: Any
    transform_outputs: Any


def half(shape: Tile) -> Tile:
    """The tile for the last rows, where they are half a tile or less."""
    return Tile(shape.dtype, shape.lanes, -(-shape.rows // 2), shape.vectors)


@cache
def steps(shape: Tile) -> Steps:
    """The steps for one shape of tile."""
    filter_vector, filters_beside = filters(shape.dtype, shape.lanes), filters_of_taps(shape.dtype, shape.lanes)
    output_vector, turn = outputs(shape.dtype, shape.lanes), transpose(shape.dtype, shape.lanes)
    multiply_tile, multiply_half = tile.panels(shape), tile.panels(half(shape))
    view, SIZE = VIEWS[shape.dtype.name], shape.dtype.itemsize
    LANES, ROWS, COLUMNS, HALF = shape.lanes, shape.rows, shape.columns, half(shape).rows
    VECTOR = LANES * SIZE

    @inlined
    def fill(target, source, weight, channels, valid):  # type: ignore[no-untyped-def]
        """Taps of LANES channels and filters as (taps, channels, filters); the last ones repeat behind those there are.

        source: address of the first tap; valid: filters.
        """
        _, _, _, _, per_filter, per_channel, down, right = weight
        for a in range(TAPS):
            for b in range(TAPS):
                rows, origin = target + (a * TAPS + b) * LANES * VECTOR, source + a * down + b * right
                if per_channel == SIZE and valid == LANES and channels >= LANES:
                    turn(rows, VECTOR, origin, per_filter)
                else:
                    for c in range(LANES):
                        line, here = view(rows + c * VECTOR, LANES), origin + min(c, channels - 1) * per_channel
                        for k in range(LANES):
                            line[k] = view(here + min(k, valid - 1) * per_filter, 1)[0]

    @inlined
    def transform_filters(u, apart, weight, panel, begin, end, taps):  # type: ignore[no-untyped-def]
        """U of the channels begin..end of a panel.

        weight: its address, how many filters and channels it has, and the bytes between panels, filters, channels and
        taps. Where the panel has more of them, the last one repeats: the data is 0 there, the outputs unwanted.
        """
        address, filters, channels, per_panel, per_filter, per_channel, down, right = weight
        beside = abs(right) == SIZE and down == TAPS * right
        reverse = beside and right < 0
        for k in range(0, COLUMNS, LANES):
            first = min(k, filters - 1 - panel * COLUMNS)
            valid = min(LANES, filters - panel * COLUMNS - first)
            origin = address + panel * per_panel + first * per_filter
            for c in range(begin, end):
                source, here = origin + min(c, channels - 1) * per_channel, u + ((c - begin) * COLUMNS + k) * SIZE
                if beside:
                    for ahead in range(valid):
                        prefetch_read(source + ahead * per_filter + CHANNELS_AHEAD * per_channel)
                    first_tap = source + (TAPS * TAPS - 1) * right if reverse else source
                    filters_beside(first_tap, per_filter, valid, reverse, here, apart)
                elif per_filter == SIZE and valid == LANES:
                    filter_vector(source, down, right, here, apart)
                else:
                    if (c - begin) % LANES == 0:
                        fill(taps, source, weight, max(channels - c, 1), valid)
                    at = taps + (c - begin) % LANES * VECTOR
                    filter_vector(at, TAPS * LANES * VECTOR, LANES * VECTOR, here, apart)

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
            if j + (AHEAD + 1) * TILE <= inside[1]:
                for a in range(rows):
                    for b in range(AHEAD * TILE, (AHEAD + 1) * TILE):
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

    return Steps(spread(shape, INPUT), transform_filters, multiply, transform_outputs)
