"""Memory formats: what the strides of a logical NCHW array say, and arrays made to order.

As in PyTorch a format is a matter of strides. In channels-last the channels of a pixel lie side by side, which is what
every kernel works on; pixels, rows and images may be any distance apart, so a slice of channels is channels-last too.
"""

from collections.abc import Sequence

import numpy as np

from . import memory

Array = np.ndarray
Shape = tuple[int, ...]


def plane(shape: Shape) -> tuple[int, int]:
    """(H, W) of an NCHW shape."""
    return shape[2], shape[3]


def is_channels_last(x: Array) -> bool:
    """True where the channels of a pixel are neighbours in memory. One channel alone always is."""
    return x.shape[1] <= 1 or x.strides[1] == x.itemsize


def format_of(x: Array) -> str:
    """'contiguous' for NCHW memory with more than one channel and pixel, 'channels_last' for everything else."""
    return "contiguous" if x.flags.c_contiguous and not is_channels_last(x) else "channels_last"


def empty(shape: Shape, dtype: np.dtype) -> Array:
    """An uninitialised array of logical `shape`; four axes are laid out channels-last."""
    if len(shape) != 4:
        return memory.empty(shape, dtype)
    n, c, h, w = shape
    return memory.empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)


def channels_last(x: Array) -> Array:
    """The same values in channels-last memory: `x` itself where it is so already, a copy where not.

    x: (N, C, H, W) of any dtype. Raises TypeError where it is anything else.
    """
    if not isinstance(x, np.ndarray) or x.ndim != 4:
        got = f"shape {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
        raise TypeError(f"channels_last: x must be a NumPy array with the axes NCHW, got {got}")
    if is_channels_last(x):
        return x
    copy = empty(x.shape, x.dtype)
    copy[...] = x
    return copy


def joined(xs: Sequence[Array]) -> Array | None:
    """The stretch of one buffer whose channels the arrays fill side by side, or None where they are not neighbours."""
    first, address = xs[0], xs[0].ctypes.data
    for x in xs:
        if x.base is None or x.base is not first.base or x.strides != first.strides or x.ctypes.data != address:
            return None
        address += x.shape[1] * x.itemsize
    shape = (first.shape[0], sum(x.shape[1] for x in xs), *first.shape[2:])
    apart = [abs(first.strides[axis]) for axis in (0, 2, 3) if shape[axis] > 1]
    if first.strides[1] != first.itemsize or min(apart, default=address) < shape[1] * first.itemsize:
        return None
    return np.lib.stride_tricks.as_strided(first, shape, first.strides)
