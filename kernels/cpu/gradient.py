"""The weight gradient of a correlation planned as sums of outer products.

The pixels are cut into splits, each summed by itself, and the splits are added in order. A plan depends on shapes and
strides alone: so does the order of every sum.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..layout import Array, Shape
from ..window import Pair, Sides
from . import machine, tile
from .machine import LINE
from .outer import BLOCK, ITEM, PIXELS, compiled, unpack
from .outer_tile import outer_tile
from .packing import aligned
from .parallel import SMALL, SMALL_FLOPS, balanced, run, strided
from .patches import blocks, pitch

CHANNELS = 64  # of x at a time: 9 x 64 x 64 sums (147 kB) stay in the level-2 cache beside the patch
FILTERS = 64  # of the gradient at a time
FEW, MORE = 4, 2  # taps with which so many times as many fit, and a pixel is copied less often: a tenth faster
PATCH = 128 * 1024  # bytes of x to aim at in a block
ITEMS = 16  # pieces of work to aim at; not the number of threads, on which no sum may depend
MERGED = 256  # bytes of channels up to which a row of taps is one run


@dataclass(frozen=True)
class Plan:
    """How to compute the weight gradient of one geometry."""

    shape: tile.Tile
    turned: bool  # rows of the tile are filters and columns channels, not the reverse
    items: Array
    blocks: Array
    addresses: tuple[int, int]  # of the items and the blocks
    sums: Shape  # (splits, numbers in each)
    runs: int  # pieces in which the sums are put into the weight
    sizes: tuple[
        int, ...
    ]  # channels and filters of a group, channels in a chunk, bytes between patch pixels, tiles a run
    room: tuple[int, int]  # pixels of a block, bytes of gradients copied
    flags: tuple[bool, bool]  # runs are rows of taps; gradients are copied
    scratch: int
    small: bool  # not worth a second thread


@lru_cache(maxsize=1024)
def plan(
    vectors: machine.Vectors,
    dtype: np.dtype,
    x_shape: Shape,
    grad_shape: Shape,
    grad_pixel: int,
    taps: Pair,
    stride: Pair,
    dilation: Pair,
    groups: int,
) -> Plan:
    """Plan the gradient for a weight of `taps`; the pixels of the output gradient are `grad_pixel` bytes apart."""
    size, (kh, kw) = dtype.itemsize, taps
    n, _, h, w = grad_shape
    filters, channels = grad_shape[1] // groups, x_shape[1] // groups
    merged = dilation[1] == 1 and channels * size <= MERGED
    more = MORE if kh * kw <= FEW else 1
    chunk = channels if merged else min(channels, more * CHANNELS)
    step = channels * size if merged else pitch(chunk, size)
    runs, length = (kh, kw * chunk) if merged else (kh * kw, chunk)
    # The longer side lies in the vectors: a vector of x costs a load, a broadcast of x one for each of its numbers.
    turned = filters <= vectors.lanes(dtype) and length > filters
    shape = outer_tile(vectors, dtype, *((filters, length) if turned else (length, filters)))
    across, along = (shape.rows, shape.columns) if turned else (shape.columns, shape.rows)
    panels, cells, chunks = -(-filters // across), -(-length // along), -(-channels // chunk)

    cut = blocks(n, (0, h), (0, w), min(max(PATCH // (step * stride[0] * stride[1]), PIXELS), 1024))
    panel_parts = balanced(panels, max(1, more * FILTERS // across))
    count = min(len(cut), max(1, ITEMS // (groups * chunks * len(panel_parts))))
    splits = [(len(cut) * part // count, len(cut) * (part + 1) // count) for part in range(count)]
    table, most_pixels, patch_bytes = [], 0, 0
    for block in cut:
        n0, n1, i0, i1, j0, j1 = block
        rows = (i1 - i0 - 1) * stride[0] + (kh - 1) * dilation[0] + 1
        columns = (j1 - j0 - 1) * stride[1] + (kw - 1) * dilation[1] + 1
        table.append((*block, rows, columns))
        most_pixels = max(most_pixels, (n1 - n0) * (i1 - i0) * (j1 - j0))
        patch_bytes = max(patch_bytes, (n1 - n0) * rows * columns * step + along * size)
    # Gradients far apart share cache sets, and those of a last, partly filled tile end too early: both are copied.
    width = max(end - begin for begin, end in panel_parts) * across
    copied = filters % across != 0 or (w > 1 and grad_pixel != width * size)
    grad_bytes = most_pixels * width * size if copied else 0
    items = [
        (*split, number, group, c, *part)
        for number, split in enumerate(splits)
        for group in range(groups)
        for c in range(chunks)
        for part in panel_parts
    ]
    item_table = np.array(items, np.int64).reshape(-1, ITEM)
    block_table = np.array(table, np.int64).reshape(-1, BLOCK)
    return Plan(
        shape,
        turned,
        item_table,
        block_table,
        (item_table.ctypes.data, block_table.ctypes.data),
        (len(splits), groups * chunks * runs * cells * panels * along * across),
        groups * chunks * runs,
        (channels, filters, chunk, step, cells),
        (most_pixels, grad_bytes),
        (merged, copied),
        16 * most_pixels + grad_bytes + patch_bytes + 4 * LINE,
        2 * n * h * w * grad_shape[1] * channels * kh * kw < SMALL_FLOPS,
    )


def correlate_weight(
    dw: Array, x: Array, grad: Array, *, stride: Pair, padding: Sides, dilation: Pair, groups: int
) -> None:
    """dw[k,c,a,b] = sum over n,i,j of grad[n,k,i,j] x[n, c, i s - pad + a d, j s - pad + b d], all channels-last."""
    if not grad.size or not dw.size:
        dw[...] = 0
        return
    taps = dw.shape[2], dw.shape[3]
    if taps == (1, 1) and padding == ((0, 0), (0, 0)):  # no need to copy the pixels that no window meets
        x, stride = x[:, :, :: stride[0], :: stride[1]], (1, 1)
    made = plan(
        machine.vectors(), x.dtype, x.shape, grad.shape, grad.strides[3], taps, stride, dilation, groups
    )  # fmt: skip
    splits, split_bytes = made.sums[0], made.sums[1] * x.itemsize
    _sums, sums = aligned(splits * split_bytes)
    run(
        compiled(made.shape, made.turned),
        len(made.items),
        *made.addresses,
        strided(x),
        x.shape[2:],
        strided(grad),
        (padding[0][0], padding[1][0]),
        stride,
        dilation,
        taps,
        made.sizes,
        made.room,
        made.flags,
        sums,
        split_bytes,
        scratch=made.scratch,
        small=made.small,
    )
    channels, filters, chunk, _, cells = made.sizes
    run(
        unpack(made.shape, made.turned),
        made.runs,
        sums,
        (splits, split_bytes),
        (channels, filters, chunk, cells),
        taps,
        made.flags[0],
        dw.ctypes.data,
        dw.strides,
        small=splits * split_bytes < SMALL,
    )
