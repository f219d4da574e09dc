"""The matrix product at the heart of a correlation: output pixels x filters, summed over taps and channels."""

from functools import cache
from typing import Any

from . import tile
from .jit import VIEWS, claim, integers, kernel, prefetch_read, prefetch_write
from .machine import LINE
from .patches import gather

# Steps per output up to which a tile waits for the memory that it writes, and gains from asking for the next one's: a
# third in networks, whose maps are in no cache. What it reads is asked for only where that is far: it costs a fifth
# where it is not.
LIGHT = 160

# An item: images, rows, columns and panels (from, to); group; bytes to its weights and outputs; bytes between output
# images, rows, pixels; input row and column of the first tap of output (0, 0); taps; size of the patch; whether it
# needs one; filters, how many of them lie side by side in the output, and bytes from there to the next as many.
FIELDS = 24


@cache
def compiled(shape: tile.Tile) -> Any:
    """The kernel for one shape of tile: (work, scratch, items, maps and weights, geometry).

    An item is a block of output pixels and a range of panels: see `FIELDS`.
    """
    multiply, copy_patch = tile.product(shape), gather(shape.dtype)
    view = VIEWS[shape.dtype.name]
    ROWS, COLUMNS, SIZE = shape.rows, shape.columns, shape.dtype.itemsize

    @kernel(f"product-{shape.name}")
    def product(  # type: ignore[no-untyped-def]
        work, scratch, count, items, x, y, weight, bias, map_size, stride, dilation, sizes, room, spare_row_bytes, flags
    ):
        channels, most_panels, chunk, step = sizes
        merged, rectify, distant = flags
        # scratch: where each pixel is read and written, the runs' distances, rows for what no pixel wants, the patch
        reads, writes = scratch, scratch + 8 * room[0]
        offsets = writes + 8 * room[0]
        spare = offsets + 8 * room[1]
        spare_rows = spare + spare_row_bytes
        spares = spare_rows + COLUMNS * SIZE * ROWS
        patch = (spares + 8 * ROWS + 63) // 64 * 64
        read, write = integers(reads, room[0]), integers(writes, room[0])
        offset, spare_row = integers(offsets, room[1]), integers(spares, ROWS)
        for r in range(ROWS):
            spare_row[r] = spare_rows + r * COLUMNS * SIZE

        number = claim(work)
        while number < count:
            item = integers(items + number * 8 * FIELDS, FIELDS)
            n0, n1, i0, i1, j0, j1, first, last = item[0], item[1], item[2], item[3], item[4], item[5], item[6], item[7]
            group, weights, result, yn, yh, yw = item[8], weight + item[9], y + item[10], item[11], item[12], item[13]
            top, left, kh, kw = item[14], item[15], item[16], item[17]
            rows, columns, patched = item[18], item[19], item[20]
            filters, inner, jump = item[21], item[22], item[23]
            panels = (filters + COLUMNS - 1) // COLUMNS
            source = x[0] + group * channels * SIZE

            pixels = 0
            for n in range(n0, n1):
                for i in range(i0, i1):
                    if patched:
                        row = patch + ((n - n0) * rows + (i - i0) * stride[0]) * columns * step - j0 * stride[1] * step
                        apart = stride[1] * step
                    else:
                        row = source + n * x[1] + (top + i * stride[0]) * x[2] + left * x[3]
                        apart = stride[1] * x[3]
                    for j in range(j0, j1):
                        read[pixels] = row + j * apart
                        write[pixels] = result + n * yn + i * yh + j * yw
                        pixels += 1
            tiles = (pixels + ROWS - 1) // ROWS
            for p in range(pixels, tiles * ROWS):
                read[p] = read[pixels - 1]
                write[p] = spare

            done = 0  # channels
            while True:
                now = min(chunk, channels - done)
                if patched:
                    shifted = (source + done * SIZE, x[1], x[2], x[3])
                    box = ((n0, n1 - n0), (top + i0 * stride[0], rows), (left + j0 * stride[1], columns))
                    copy_patch(patch, step, now, shifted, map_size, box[0], box[1], box[2])
                together = merged and (patched or x[3] == step)
                runs, length = (kh, kw * now) if together else (kh * kw, now)
                for t in range(runs):
                    a, b = (t, 0) if together else (t // kw, t % kw)
                    if patched:
                        offset[t] = (a * dilation[0] * columns + b * dilation[1]) * step
                    else:
                        offset[t] = a * dilation[0] * x[2] + b * dilation[1] * x[3] + done * SIZE
                rectified = rectify and done + now >= channels
                light = 0 < kh * kw * now <= LIGHT
                few = distant and not patched and LINE <= now * SIZE <= 2 * LINE
                for step_number in range(tiles * (last - first)):  # a tile's pixels, read once, meet all filters
                    t, panel = step_number // (last - first), first + step_number % (last - first)
                    w = weights + (done * panels + panel * now) * kh * kw * COLUMNS * SIZE
                    valid = min(COLUMNS, filters - panel * COLUMNS)
                    start = bias + (group * most_panels + panel) * COLUMNS * SIZE
                    column = panel * COLUMNS // inner * jump + panel * COLUMNS % inner * SIZE
                    at = 8 * t * ROWS
                    if light and t + 1 < tiles:
                        for r in range((t + 1) * ROWS, (t + 2) * ROWS):
                            if few and panel == first:
                                prefetch_read(read[r] + offset[runs - 1])
                                prefetch_read(read[r] + offset[runs - 1] + now * SIZE - 1)
                            for line in range(0, COLUMNS * SIZE, LINE):
                                prefetch_write(write[r] + column + line)
                    if valid == COLUMNS:
                        multiply(reads + at, runs, offsets, length, w, start, writes + at, column, done > 0, rectified)
                        continue
                    # The last filters: compute a full tile in spare rows, and copy what belongs to the output.
                    here = min(ROWS, pixels - t * ROWS)
                    for r in range(here if done > 0 else 0):
                        kept, written = view(spare_row[r], valid), view(write[t * ROWS + r] + column, valid)
                        for k in range(valid):
                            kept[k] = written[k]
                    multiply(reads + at, runs, offsets, length, w, start, spares, 0, done > 0, rectified)
                    for r in range(here):
                        kept, written = view(spare_row[r], valid), view(write[t * ROWS + r] + column, valid)
                        for k in range(valid):
                            written[k] = kept[k]
                done += now
                if done >= channels:
                    break
            number = claim(work)

    return product
