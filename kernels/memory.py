"""Memory of large results, kept for the next one of about that size.

A new large array costs a page fault for every 4 KiB, as much time as a layer that only moves it; a network asks for the
same sizes again and again. So the memory of an array of 1 MiB or more goes, when the last view of it is gone, to a list
of free blocks instead of the system. At most IDLE bytes wait there, and before the system is asked for more at most
SPARE. It begins on a cache line, so that whole lines can be written past the caches.
"""

from collections import defaultdict
from math import prod
from typing import Any

import numpy as np

from .cpu.machine import LINE

LARGE = 2**20  # bytes from which memory is kept
ALIGNED = 2**16  # bytes from which it begins on a cache line, which takes 1.4 us: vectors that straddle two take longer
IDLE = 2**30  # bytes that may wait to be used again
SPARE = 2**27  # bytes that may still wait when none of them serves
REUSE = 2  # a block may be that many times as large as it need be: with SPARE, a third less memory in a U-Net's step

_free: defaultdict[int, list[np.ndarray]] = defaultdict(list)  # by size; its operations are atomic


def idle() -> int:
    """Bytes that wait to be used again."""
    return sum(size * len(blocks) for size, blocks in list(_free.items()))


def _rounded(size: int) -> int:
    """`size` rounded up by at most an eighth, so that similar sizes share blocks."""
    step = 1 << max(size.bit_length() - 4, 0)
    return -(-size // step) * step


class Block:
    """Memory on loan: NumPy keeps this object as long as it keeps the array made of it."""

    def __init__(self, size: int) -> None:
        """size: bytes; more may be given."""
        wanted = size = _rounded(size)
        while wanted <= REUSE * size:
            blocks = _free.get(wanted)
            if blocks:
                try:
                    self.memory = blocks.pop()
                    return
                except IndexError:  # another thread was faster
                    pass
            wanted = _rounded(wanted + 1)
        if idle() > SPARE:
            _free.clear()
        memory = np.empty(size + LINE, np.uint8)
        start = -memory.ctypes.data % LINE
        self.memory = memory[start : start + size]

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """What NumPy makes an array of."""
        return self.memory.__array_interface__

    def __del__(self) -> None:
        """Give the memory back; where too much waits, let all of that go first."""
        if not hasattr(self, "memory"):  # there was none to be had
            return
        if idle() + self.memory.size > IDLE:
            _free.clear()
        if self.memory.size <= IDLE:
            _free[self.memory.size].append(self.memory)


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """As `numpy.empty`, C-contiguous."""
    size = prod(shape) * dtype.itemsize
    if size < ALIGNED:
        return np.empty(shape, dtype)
    if size < LARGE:
        memory = np.empty(size + LINE, np.uint8)
        return np.ndarray(shape, dtype, memory, -memory.ctypes.data % LINE)
    return np.asarray(Block(size))[:size].view(dtype).reshape(shape)
