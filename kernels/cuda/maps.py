"""What launchers of kernels over channels-last maps share: strides, how much a thread moves, how many threads."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layout import Array
from ..namespace import address
from .module import kernel
from .strides import WIDEST

THREADS = 256  # of a block, as maps.cuh has it


def strides(x: Array) -> tuple[np.int64, np.int64, np.int64]:
    """Elements from one image, row and pixel to the next."""
    n, h, w = (np.int64(x.strides[axis] // x.itemsize) for axis in (0, 2, 3))
    return n, h, w


def lanes(x: Array, *others: Array) -> int:
    """Channels that a thread takes at once: 16 bytes of `x`, if each map allows it, else half of it and so on."""
    count = WIDEST // x.itemsize
    while count > 1 and not all(_divides(count, each) for each in (x, *others)):
        count //= 2
    return count


def _divides(count: int, x: Array) -> bool:
    """True where every pixel is a whole number of vectors, each of which begins at a multiple of its size."""
    apart = [x.strides[axis] for axis in (0, 2, 3) if x.shape[axis] > 1]
    return x.shape[1] % count == 0 and not any(each % (count * x.itemsize) for each in (address(x), *apart))


def start(source: str, name: str, items: int, *arguments: Any, each: int = 1, **defines: Any) -> None:
    """Start a kernel over so many items: it gets their number, then the arguments, tuples one by one, ints as C's int.

    each: items of a thread.
    """
    if items:
        wide = items >= 2**32 - THREADS * each
        given: list[Any] = [np.uint64(items) if wide else np.uint32(items)]
        for argument in arguments:
            given += argument if isinstance(argument, (tuple, list)) else [argument]
        given = [np.int32(argument) if isinstance(argument, int) else argument for argument in given]
        grid = -(-items // (THREADS * each))
        kernel(source, name, INDEX="u64" if wide else "u32", **defines)(grid, THREADS, *given)


def blocks(length: int, step: int) -> int:
    """How many steps cover a length."""
    return -(-length // step)
