"""How numbers lie in the memory of a GPU, and what that allows to move at once."""

from __future__ import annotations

import numpy as np

from ..layout import Array, Shape
from ..namespace import address, namespace

NUMBERS = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
WIDEST = 16  # bytes that a thread moves at once


def strides(x: Array) -> Shape:
    """Distances of numbers along each axis, in numbers; 0 along an axis of one."""
    return tuple(stride // x.itemsize if length > 1 else 0 for stride, length in zip(x.strides, x.shape, strict=True))


def dense(x: Array | None) -> Array | None:
    """The numbers side by side, in a copy where they are not; None as it is, for a kernel a null pointer."""
    return None if x is None else namespace(x).ascontiguousarray(x)


def neighbours(x: Array, axis: int) -> bool:
    """True where the numbers along an axis lie side by side."""
    return x.shape[axis] == 1 or x.strides[axis] == x.itemsize


def vector_of(x: Array, channels: int, *apart: int) -> int:
    """How many neighbouring numbers can be moved at once: 16 bytes of them, where all begin at a multiple of that.

    channels: how many are neighbours. apart: the distances between such stretches.
    """
    most = WIDEST // x.itemsize
    return most if address(x) % WIDEST == 0 and all(number % most == 0 for number in (channels, *apart)) else 1
