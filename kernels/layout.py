"""Memory formats: what the strides of a logical NCHW array say, and arrays made to order.

As in PyTorch a format is a matter of strides. In channels-last the channels of a pixel lie side by side, which is what
every kernel works on; pixels, rows and images may be any distance apart, so a slice of channels is channels-last too.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import memory
from .cuda import layout as cuda
from .namespace import address, is_array, namespace, on_device

Array = np.ndarray  # or CuPy's, which has the same attributes but for a few (`namespace.py`)
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


def empty(shape: Shape, dtype: np.dtype, like: Array | None = None) -> Array:
    """An uninitialised array of logical `shape`, on the device of `like`; four axes are laid out channels-last."""
    if on_device(like):
        return _empty_on_device(namespace(like), shape, np.dtype(dtype))
    if len(shape) != 4:
        return memory.empty(shape, dtype)
    n, c, h, w = shape
    return memory.empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)


def _empty_on_device(xp: Any, shape: Shape, dtype: np.dtype) -> Array:
    """Its base is None also where it is channels-last, by which `upconv.nn` knows that nobody else has it."""
    if len(shape) != 4:
        return xp.empty(shape, dtype)
    n, c, h, w = shape
    size = dtype.itemsize
    strides = h * w * c * size, size, w * c * size, c * size
    return xp.ndarray(shape, dtype, memptr=xp.cuda.alloc(n * c * h * w * size), strides=strides)


def channels_last(x: Array) -> Array:
    """The same values in channels-last memory: `x` itself where it is so already, a copy where not.

    x: (N, C, H, W) of any dtype. Raises TypeError where it is anything else.
    """
    if not is_array(x) or x.ndim != 4:
        kind, got = "CuPy" if on_device(x) else "NumPy", f"shape {x.shape}" if is_array(x) else type(x).__name__
        raise TypeError(f"channels_last: x must be a {kind} array with the axes NCHW, got {got}")
    if is_channels_last(x):
        return x
    copy = empty(x.shape, x.dtype, x)
    assign(copy, x)
    return copy


def contiguous(x: Array) -> Array:
    """The same values in contiguous memory: `x` itself where it is so already, a copy where not."""
    if not on_device(x):
        return np.ascontiguousarray(x)
    if x.flags.c_contiguous:
        return x
    copy = namespace(x).empty(x.shape, x.dtype)
    assign(copy, x)
    return copy


def assign(out: Array, x: Array) -> None:
    """out[...] = x, for arrays of one shape and dtype that share no memory."""
    if on_device(out) and out.ndim == 4:
        cuda.assign(out, x)
    else:
        out[...] = x


def joined(xs: Sequence[Array]) -> Array | None:
    """The stretch of one buffer whose channels the arrays fill side by side, or None where they are not neighbours."""
    first, end = xs[0], address(xs[0])
    for x in xs:
        if x.base is None or x.base is not first.base or x.strides != first.strides or address(x) != end:
            return None
        end += x.shape[1] * x.itemsize
    shape = (first.shape[0], sum(x.shape[1] for x in xs), *first.shape[2:])
    apart = [abs(first.strides[axis]) for axis in (0, 2, 3) if shape[axis] > 1]
    if first.strides[1] != first.itemsize or min(apart, default=end) < shape[1] * first.itemsize:
        return None
    return namespace(first).lib.stride_tricks.as_strided(first, shape, first.strides).view()  # CuPy's has no base
