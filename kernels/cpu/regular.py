"""Columns of one channel whose taps repeat (`taps.regular`): sums of neighbours, which vectorise as they are."""

from functools import cache
from typing import Any

import numba
import numpy as np

from .jit import VIEWS, inlined, integers
from .taps import MOST

UNIT = 16  # columns, or pairs of them, that are computed for nothing rather than one by one
SPARE = 2 * UNIT + MOST


@cache
def sum_regular_columns(dtype: np.dtype, phases: int, step: int, taps: int) -> Any:
    """A function (target, source, columns, outputs, begin, count, offset, weight), all but the counts addresses.

    target[begin + k phases + f] = sum over t < taps of weight[f, t] * source[offset[f] + k step + t] for k < count, and
    the columns before and after by their own taps. There must be SPARE numbers after the source and after the target.
    """
    view, size, zero = VIEWS[dtype.name], dtype.itemsize, dtype.type(0)
    place = numba.uintp  # unsigned, or each index is asked whether it counts from the end, and nothing vectorises

    @numba.njit(inline="always")
    def dot(x, at, w):  # type: ignore[no-untyped-def]
        total = w[0] * x[place(at)]
        if taps > 1:  # known when this is compiled
            total += w[1] * x[place(at + 1)]
        if taps > 2:
            total += w[2] * x[place(at + 2)]
        if taps > 3:
            total += w[3] * x[place(at + 3)]
        if taps > 4:
            total += w[4] * x[place(at + 4)]
        if taps > 5:
            total += w[5] * x[place(at + 5)]
        if taps > 6:
            total += w[6] * x[place(at + 6)]
        if taps > 7:
            total += w[7] * x[place(at + 7)]
        return total

    @numba.njit(inline="always")
    def irregular(result, source, columns, start, stop):  # type: ignore[no-untyped-def]
        for j in range(start, stop):
            first, end = integers(columns[0] + j * 8, 2)
            total = zero
            for t in range(first, end):
                at = integers(columns[1] + t * 8, 1)[0]
                total += view(columns[2] + t * size, 1)[0] * view(source + at * size, 1)[0]
            result[j] = total

    @inlined
    def sum_columns(target, source, columns, outputs, begin, count, offset, weight):  # type: ignore[no-untyped-def]
        result = view(target, outputs)
        irregular(result, source, columns, 0, begin)
        whole = (count + UNIT - 1) // UNIT * UNIT  # what comes after them is written again below
        y = view(target + begin * size, whole * phases)
        first, last = integers(offset, phases)[0], integers(offset, phases)[phases - 1]
        length = (whole - 1) * step + taps
        x, z = view(source + first * size, length), view(source + last * size, length)
        w = view(weight, MOST)
        v = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]
        if phases == 2:
            w = view(weight + MOST * size, MOST)
            u = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]
            for k in range(whole):
                y[2 * k] = dot(x, k * step, v)
                y[2 * k + 1] = dot(z, k * step, u)
        else:
            for k in range(whole):
                y[k] = dot(x, k * step, v)
        irregular(result, source, columns, begin + count * phases, outputs)

    return sum_columns
