"""What the operators on windows share: maps with their channels last, and where a window's taps meet a map."""

from collections.abc import Iterator
from typing import Any

from ..window import Pair

Where = tuple[slice, slice, slice]  # of (N, H, W, C): all images, some rows, some columns


def pixels(x: Any) -> Any:
    """(N, H, W, C): a view of a map (N, C, H, W)."""
    return x.transpose(0, 2, 3, 1)


def planes(x: Any) -> Any:
    """(N, C, H, W): a view of a map (N, H, W, C)."""
    return x.transpose(0, 3, 1, 2)


def meetings(
    size: Pair, count: Pair, kernel: Pair, stride: Pair, before: Pair, dilation: Pair = (1, 1)
) -> Iterator[tuple[int, int, Where, Where]]:
    """(u, v, windows, pixels) for each tap, row by row: the windows whose tap (u, v) is on the map, and its pixels.

    Window i of `count` has its tap u in row i s - before + u d of `size`. Taps that no window has there are left out.
    """
    rows, columns = (
        [(tap, *_along(size[a], count[a], stride[a], tap * dilation[a] - before[a])) for tap in range(kernel[a])]
        for a in (0, 1)
    )
    for u, above, row in rows:
        for v, left, column in columns:
            if above.start < above.stop and left.start < left.stop:
                yield u, v, (slice(None), above, left), (slice(None), row, column)


def _along(size: int, count: int, stride: int, offset: int) -> tuple[slice, slice]:
    """The windows i for which i stride + offset lies in 0..size-1, and these positions."""
    first, end = max(0, -(offset // stride)), min(count, (size - 1 - offset) // stride + 1)
    return slice(first, end), slice(first * stride + offset, (end - 1) * stride + offset + 1, stride)
