"""The types of the definitions, and the one conversion they all begin with."""

import numpy as np

Array = np.ndarray
Shape = tuple[int, ...]
Pair = tuple[int, int]
Sides = tuple[Pair, Pair]


def float64(array: Array) -> Array:
    """A C-contiguous float64 array of the same values."""
    return np.ascontiguousarray(array, dtype=np.float64)
