"""Sums of outer products, input pixel x output gradient: the heart of a correlation's weight gradient."""

from functools import cache
from typing import Any

from .jit import VIEWS, claim, integers, kernel, prefetch_read
from .outer_tile import of_pixels
from .patches import gather
from .tile import Tile

PIXELS = 64  # summed before a tile of sums is written back; their gradients stay in the level-1 cache
ITEM = 7  # blocks (from, to), split, group, chunk of channels, panels (from, to)
BLOCK = 8  # images, rows, columns (from, to), and the rows and columns of its patch


@cache
def compiled(shape: Tile, turned: bool) -> Any:
    """The kernel for one shape of tile; turned: its rows are filters and its columns channels, not the reverse."""
    add, copy_patch = of_pixels(shape), gather(shape.dtype)
    view = VIEWS[shape.dtype.name]
    ALONG, ACROSS = (shape.columns, shape.rows) if turned else (shape.rows, shape.columns)
    SIZE = shape.dtype.itemsize
    CELL = ALONG * ACROSS * SIZE

    @kernel(f"outer{'_turned' * turned}-{shape.name}")
    def outer(  # type: ignore[no-untyped-def]
        work,
        scratch,
        count,
        items,
        blocks,
        x,
        map_size,
        g,
        before,
        stride,
        dilation,
        kernel,
        sizes,
        room,
        flags,
        sums,
        split_bytes,
    ):
        kh, kw = kernel
        channels, filters, chunk, step, cells = sizes
        merged, copied = flags
        panels = (filters + ACROSS - 1) // ACROSS
        chunks = (channels + chunk - 1) // chunk
        runs = kh if merged else kh * kw
        # scratch: where each pixel of x and g is read, the gradients where they are copied, the patch
        reads, grads = scratch, scratch + 8 * room[0]
        filled = (grads + 8 * room[0] + 63) // 64 * 64
        patch = (filled + room[1] + 63) // 64 * 64
        read, grad = integers(reads, room[0]), integers(grads, room[0])

        number = claim(work)
        while number < count:
            item = integers(items + number * 8 * ITEM, ITEM)
            begin, end, split, group, at_chunk, first, last = (
                item[0],
                item[1],
                item[2],
                item[3],
                item[4],
                item[5],
                item[6],
            )
            done = at_chunk * chunk
            now = min(chunk, channels - done)
            length = kw * now if merged else now
            shifted = (x[0] + (group * channels + done) * SIZE, x[1], x[2], x[3])
            mine = sums + split * split_bytes + (group * chunks + at_chunk) * runs * cells * panels * CELL
            for b in range(begin, end):
                block = integers(blocks + b * 8 * BLOCK, BLOCK)
                n0, n1, i0, i1, j0, j1, rows, columns = (
                    block[0], block[1], block[2], block[3], block[4], block[5], block[6], block[7]
                )  # fmt: skip
                box_rows = (i0 * stride[0] - before[0], rows)
                box_columns = (j0 * stride[1] - before[1], columns)
                copy_patch(patch, step, now, shifted, map_size, (n0, n1 - n0), box_rows, box_columns)
                pixels = 0
                for n in range(n0, n1):
                    for i in range(i0, i1):
                        row = patch + ((n - n0) * rows + (i - i0) * stride[0]) * columns * step
                        source = g[0] + group * filters * SIZE + n * g[1] + i * g[2]
                        for j in range(j0, j1):
                            read[pixels] = row + (j - j0) * stride[1] * step
                            grad[pixels] = source + j * g[3]
                            if copied:
                                some = min(last * ACROSS, filters) - first * ACROSS
                                origin = view(grad[pixels] + first * ACROSS * SIZE, some)
                                grad[pixels] = filled + pixels * (last - first) * ACROSS * SIZE
                                row_of_g = view(grad[pixels], some)
                                for k in range(some):
                                    row_of_g[k] = origin[k]
                            pixels += 1
                for p in range(0, pixels, PIXELS):
                    some = min(PIXELS, pixels - p)
                    again = b > begin or p > 0
                    for q in range(p + PIXELS, min(p + 2 * PIXELS, pixels)):
                        for line in range(first * ACROSS * SIZE, min(last * ACROSS, filters) * SIZE, 64):
                            prefetch_read(grad[q] + line)
                    for panel in range(first, last):
                        for t in range(runs):
                            a, c = (t, 0) if merged else (t // kw, t % kw)
                            offset = (a * dilation[0] * columns + c * dilation[1]) * step
                            for m in range((length + ALONG - 1) // ALONG):
                                total = mine + ((t * cells + m) * panels + panel) * CELL
                                xs, at = reads + 8 * p, offset + m * ALONG * SIZE
                                gs, column = grads + 8 * p, (panel - first if copied else panel) * ACROSS * SIZE
                                if turned:
                                    add(gs, column, xs, at, some, total, again)
                                else:
                                    add(xs, at, gs, column, some, total, again)
            number = claim(work)

    return outer


@cache
def unpack(shape: Tile, turned: bool) -> Any:
    """Add the splits in order, and put the sums where the weight has them."""
    view = VIEWS[shape.dtype.name]
    ALONG, ACROSS = (shape.columns, shape.rows) if turned else (shape.rows, shape.columns)
    SIZE = shape.dtype.itemsize
    CELL = ALONG * ACROSS

    @kernel(f"outer_unpack{'_turned' * turned}-{shape.name}")
    def outer_unpack(work, scratch, count, sums, splits, sizes, kernel, merged, dw, strides):  # type: ignore[no-untyped-def]
        kh, kw = kernel
        channels, filters, chunk, cells = sizes
        panels = (filters + ACROSS - 1) // ACROSS
        chunks = (channels + chunk - 1) // chunk
        runs = kh if merged else kh * kw
        item = claim(work)
        while item < count:
            group, at_chunk, t = item // (chunks * runs), item // runs % chunks, item % runs
            now = min(chunk, channels - at_chunk * chunk)
            length = kw * now if merged else now
            first = sums + item * cells * panels * CELL * SIZE
            total = view(first, cells * panels * CELL)
            for split in range(1, splits[0]):
                part = view(first + split * splits[1], cells * panels * CELL)
                for i in range(total.size):
                    total[i] += part[i]
            for k in range(filters):
                for m in range(length):
                    a, b, c = (t, m // now, m % now) if merged else (t // kw, t % kw, m)
                    inner = k % ACROSS * ALONG + m % ALONG if turned else m % ALONG * ACROSS + k % ACROSS
                    to = dw + (group * filters + k) * strides[0] + (at_chunk * chunk + c) * strides[1]
                    view(to + a * strides[2] + b * strides[3], 1)[0] = total[
                        (m // ALONG * panels + k // ACROSS) * CELL + inner
                    ]
            item = claim(work)

    return outer_unpack
