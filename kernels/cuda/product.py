"""Products of matrices where cuBLAS cannot be called: CuPy refuses it in a stream that is captured as a graph."""

from __future__ import annotations

import numpy as np

from ..layout import Array
from ..namespace import namespace
from .module import kernel
from .strides import NUMBERS

TILE, THREADS = 64, 256  # as product.cu has them
BLOCKS = 256  # that fill a GPU: sums are split into parts until there are as many, if they are long enough
SHORTEST, LONGEST = 512, 4096  # numbers of a part


def product(a: Array, b: Array) -> Array:
    """y[s,i,j] = sum over k of a[s,i,k] b[s,k,j], of stacks of matrices of any strides, in their own dtype.

    Long sums are of parts, which are added in an order that depends on the shapes alone.
    """
    xp, (stack, rows, inner), columns = namespace(a), a.shape, b.shape[2]
    tiles = stack * -(-rows // TILE) * -(-columns // TILE)
    if not tiles:
        return xp.empty((stack, rows, columns), a.dtype)
    parts = max(min(-(-BLOCKS // tiles), inner // SHORTEST), -(-inner // LONGEST), 1)
    y = xp.empty((stack, parts, rows, columns), a.dtype)
    lengths = [np.int32(each) for each in (rows, columns, inner, parts, -(-inner // parts))]
    apart = [np.int64(step // x.itemsize) for x in (a, b) for step in x.strides]
    kernel("product.cu", "product", NUMBER=NUMBERS[a.dtype])(tiles * parts, THREADS, y, a, b, *lengths, *apart)
    return y[:, 0] if parts == 1 else y.sum(axis=1)
