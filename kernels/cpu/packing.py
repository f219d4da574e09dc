"""Weights in the order in which the tiles read them, and back."""

from functools import cache
from typing import Any

import numpy as np

from ..layout import Array
from ..memory import empty
from .jit import VIEWS, claim, kernel
from .parallel import LINE, SMALL, run


def aligned(size: int) -> tuple[Array, int]:
    """Memory of at least `size` bytes, and the address on a cache line at which they begin."""
    memory = empty((size + LINE,), np.dtype(np.uint8))
    return memory, -(-memory.ctypes.data // LINE) * LINE


def pack(packed: int, weight: Array, groups: int, chunk: int, columns: int) -> None:
    """Write (group, chunk of channels, panel of filters, kh, kw, channel, filter), a last panel filled up with zeros.

    packed: address to write to. weight: (K, C / groups, kh, kw), any strides. columns: filters in a panel.
    """
    filters, channels, kh, kw = weight.shape
    filters //= groups
    panels = -(-filters // columns)
    run(
        _pack(weight.dtype),
        groups * panels * kh if weight.size else 0,
        weight.ctypes.data,
        weight.strides,
        (filters, channels, kh, kw),
        (panels, columns, chunk),
        packed,
        small=weight.nbytes < SMALL,
    )


@cache
def _pack(dtype: np.dtype) -> Any:
    view, size = VIEWS[dtype.name], dtype.itemsize

    @kernel(f"pack-{dtype}")
    def pack(work, scratch, count, weight, strides, shape, panelling, packed):  # type: ignore[no-untyped-def]
        filters, channels, kh, kw = shape
        panels, columns, chunk = panelling
        item = claim(work)
        while item < count:
            group, panel, u = item // (panels * kh), item // kh % panels, item % kh
            first = panel * columns
            valid = min(columns, filters - first)
            for v in range(kw):
                taken = weight + (group * filters + first) * strides[0] + u * strides[2] + v * strides[3]
                for begin in range(0, channels, chunk):
                    now = min(chunk, channels - begin)
                    at = begin * panels * kh * kw + ((panel * kh + u) * kw + v) * now
                    rows = packed + (group * panels * channels * kh * kw + at) * columns * size
                    source = taken + begin * strides[1]
                    if strides[1] < strides[0]:  # in the order of the source's memory
                        for k in range(valid):
                            for c in range(now):
                                view(rows + (c * columns + k) * size, 1)[0] = view(
                                    source + k * strides[0] + c * strides[1], 1
                                )[0]
                    else:
                        for c in range(now):
                            row = view(rows + c * columns * size, columns)
                            for k in range(valid):
                                row[k] = view(source + k * strides[0] + c * strides[1], 1)[0]
                    for c in range(now if valid < columns else 0):
                        row = view(rows + c * columns * size, columns)
                        for k in range(valid, columns):
                            row[k] = 0
            item = claim(work)

    return pack
