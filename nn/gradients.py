"""Arrays of gradients: whose they are, and how they are added up. All of it works on NumPy's and CuPy's arrays.

Who may write into one is told by `may_write`. One that may be written belongs to its receiver alone, who may overwrite
it or add into it; another is shared with somebody, and is copied before it is kept or changed.
"""

from __future__ import annotations

import numpy as np

from .. import kernels
from ..kernels.namespace import namespace, on_device
from .device import kept
from .modes import mode

Array = np.ndarray


def may_write(array: Array) -> bool:
    """Whether a gradient belongs to its receiver alone, who may write into it.

    A NumPy array's writeable flag says so. CuPy's arrays have no such flag: there only an array that is no view is its
    receiver's alone, which costs a copy of views that could be written and is wrong of none that is shared.
    """
    return array.base is None if on_device(array) else array.flags.writeable


def is_one(grad: Array) -> bool:
    """Whether the gradient of a number is known to be 1. On a GPU that is what `backward` began with: none is read."""
    return grad is mode.ones if on_device(grad) else bool(grad == 1)


def summed(a: Array, b: Array) -> Array:
    """a + b, in whichever of the two may be written."""
    out = next((each for each in (a, b) if may_write(each)), None)
    if a.ndim == 4 and a.dtype in (np.float32, np.float64):
        return kernels.add(a, b, out=out)
    return kept(a + b) if out is None else namespace(a).add(a, b, out=out)


def both(function: str, a: Array, b: Array) -> Array:
    """A sum or product in the memory format of a, which on a GPU has to be asked for."""
    xp = namespace(a)
    like = xp.empty_like(a) if on_device(a) and a.shape == b.shape else None
    return getattr(xp, function)(a, b, out=like)


def borrowed(array: Array) -> Array:
    """A view that may not be written: whoever gets it must copy first."""
    view = array.view()
    if not on_device(array):
        view.flags.writeable = False
    return view


def unbroadcast(grad: Array, shape: tuple[int, ...]) -> Array:
    """The sum of grad over the axes along which an operand of this shape was broadcast."""
    if grad.shape == shape:
        return kept(grad)
    if grad.ndim > len(shape):
        grad = kept(grad.sum(axis=tuple(range(grad.ndim - len(shape)))))
    stretched = tuple(axis for axis, size in enumerate(shape) if size == 1 and grad.shape[axis] != 1)
    return kept(grad.sum(axis=stretched, keepdims=True) if stretched else grad)
