"""Interpolation: along one axis after the other, the sum over taps of the pixels gathered for each, times its weight.

The gradient gathers too, from the transposed table: every pixel sums, in the order of the table, what its neighbours of
the result hold for it. A product with the matrix of an axis would be one call, but its zeros times inf would be NaN.
"""

from functools import cache
from typing import Any

import numpy as np

from ..cpu.taps import taps, transposed_taps
from ..layout import Shape
from ..namespace import namespace, on_device
from ..window import Pair
from .maps import pixels, planes

Scales = tuple[float | None, float | None]


def interpolate(x: Any, *, output_size: Pair, scales: Scales, mode: str, align_corners: bool) -> Any:
    """y[n,c,i,j] = sum over p,q of R[i,p] C[j,q] x[n,c,p,q]."""
    sizes = x.shape[2:], output_size, scales
    return _resampled(x, False, [(*axis, mode, align_corners) for axis in zip(*sizes, strict=True)])


def interpolate_input(input_shape: Shape, grad: Any, *, scales: Scales, mode: str, align_corners: bool) -> Any:
    """dx[n,c,p,q] = sum over i,j of R[i,p] C[j,q] grad[n,c,i,j]."""
    sizes = input_shape[2:], grad.shape[2:], scales
    return _resampled(grad, True, [(*axis, mode, align_corners) for axis in zip(*sizes, strict=True)])


def _resampled(x: Any, transposed: bool, axes: list[tuple[Any, ...]]) -> Any:
    """The sums over rows, then over columns, of the pixels that the columns of `_table` name."""
    y, xp = pixels(x), namespace(x)
    device = x.device.id if on_device(x) else None
    for axis, options in enumerate(axes, start=1):
        shape, total = (-1, *(1,) * (3 - axis)), None
        for index, weight, there in _table(xp, device, transposed, *options, x.dtype):
            value = xp.take(y, index, axis=axis)
            if weight is not None:
                value *= weight.reshape(shape)
            if there is not None:
                value = xp.where(there.reshape(shape), value, x.dtype.type(0))
            total = value if total is None else total + value
        y = total
    return planes(y)


@cache
def _table(xp: Any, device: int | None, transposed: bool, *options: Any) -> list[tuple[Any, Any, Any]]:
    """(index, weight, there) for each tap: the pixel that each number of the result takes, and times what.

    there: which of them have so many taps, None where all have; weight: None where all are 1. The arrays, a few
    thousand bytes, stay on their device: a CUDA graph that was captured reads them again.
    """
    plan = (transposed_taps if transposed else taps)(*options)
    counts = np.diff(plan.first)
    table = []
    for tap in range(counts.max()):
        there, at = counts > tap, np.minimum(plan.first[:-1] + tap, len(plan.index) - 1)
        weight = plan.weight[at]
        ones, full = (weight == 1).all(), there.all()
        weights, theirs = None if ones else xp.asarray(weight), None if full else xp.asarray(there)
        table.append((xp.asarray(plan.index[at]), weights, theirs))
    return table
