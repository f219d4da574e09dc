"""Positions of pooled pixels: what they may be, and how ONNX counts them."""

from math import prod
from typing import Any

import numpy as np

from .arguments import Arguments
from .layout import Array, Shape
from .namespace import host, namespace, readable

INDEX = np.dtype(np.int64)


def within(check: Arguments, name: str, values: Array, end: int) -> None:
    """`values` must lie in 0..end-1."""
    if values.size and readable(values):
        low, high = host(namespace(values).stack([values.min(), values.max()])).tolist()
        if low < 0 or high >= end:
            check.fail(f"{name} must be in 0..{end - 1}, got {low if low < 0 else high}", IndexError)


def indices_to_onnx(indices: Array, input_shape: Shape, *, storage_order: int = 0) -> Array:
    """o[n,c,i,j] = (n C + c) H W + indices[n,c,i,j], or (n C + c) H W + column H + row with storage_order 1.

    From positions in a plane, row W + column, as `max_pool2d(return_indices=True)` and PyTorch give them, to positions
    in the whole tensor, as ONNX's MaxPool gives and its MaxUnpool takes them.

    indices: integers (N, C, Ho, Wo), or (C, Ho, Wo) for one image. input_shape: (N, C, H, W) or (C, H, W) of what was
    pooled. storage_order: as the attribute of ONNX's MaxPool, 0 for row-major and 1 for column-major planes. Returns
    int64 of the shape and in the format of `indices`.

    Raises ValueError, TypeError, or IndexError for an index outside 0..H*W-1.

    Source: ONNX operators, MaxPool-12, output Indices and attribute storage_order.

    >>> import numpy as np
    >>> from upconv.kernels import indices_to_onnx
    >>> indices_to_onnx(np.array([[[[5, 2]], [[12, 15]]]]), (1, 2, 4, 4))
    array([[[[ 5,  2]],
    <BLANKLINE>
            [[28, 31]]]])
    """
    check = Arguments("indices_to_onnx")
    shape, indices, order = _checked(check, indices, input_shape, storage_order)
    pixels = shape[2] * shape[3]
    within(check, "indices", indices, pixels)
    places = indices.astype(INDEX)
    if order:
        rows, columns = namespace(places).divmod(places, max(1, shape[3]))
        places = columns * shape[2] + rows
    places += _starts(shape, namespace(places))
    return places[0] if check.unbatched else places


def indices_from_onnx(indices: Array, input_shape: Shape, *, storage_order: int = 0) -> Array:
    """o[n,c,i,j] = indices[n,c,i,j] - (n C + c) H W, counted row W + column whatever the storage order.

    The inverse of `indices_to_onnx`: what `max_unpool2d` takes, from ONNX's positions in the whole tensor.

    indices: integers (N, C, Ho, Wo), or (C, Ho, Wo) for one image; the rest as for `indices_to_onnx`. Returns int64 of
    the shape and in the format of `indices`.

    Raises ValueError, TypeError, or IndexError for an index outside its own plane.

    Source: ONNX operators, MaxPool-12, output Indices and attribute storage_order.

    >>> import numpy as np
    >>> from upconv.kernels import indices_from_onnx
    >>> indices_from_onnx(np.array([[[[5, 2]], [[28, 31]]]]), (1, 2, 4, 4))
    array([[[[ 5,  2]],
    <BLANKLINE>
            [[12, 15]]]])
    """
    check = Arguments("indices_from_onnx")
    shape, indices, order = _checked(check, indices, input_shape, storage_order)
    pixels = shape[2] * shape[3]
    within(check, "indices", indices, prod(shape))
    places = indices.astype(INDEX)
    xp = namespace(places)
    places -= _starts(shape, xp)
    if readable(places) and bool(((places < 0) | (places >= pixels)).any()):
        n, c = host(xp.argwhere((places < 0) | (places >= pixels)))[0][:2].tolist()
        first = (n * shape[1] + c) * pixels
        bad = host(indices[n, c][(places[n, c] < 0) | (places[n, c] >= pixels)])[0]
        check.fail(f"indices must be in {first}..{first + pixels - 1} in plane ({n}, {c}), got {bad}", IndexError)
    if order:
        columns, rows = xp.divmod(places, max(1, shape[2]))
        places = rows * shape[3] + columns
    return places[0] if check.unbatched else places


def _checked(check: Arguments, indices: Any, input_shape: Any, storage_order: Any) -> tuple[Shape, Array, int]:
    shape = check.map_shape("input_shape", input_shape, "NCHW")
    if prod(shape) >= 2**63:
        check.fail(f"input_shape must have fewer than 2**63 entries, got {check.seen(shape)}")
    order = check.integer("storage_order", storage_order, 0, 1)
    size = getattr(indices, "shape", ())[-2:] if getattr(indices, "ndim", 0) >= 3 else (1, 1)
    return shape, check.integers("indices", indices, (*shape[:2], *size)), order


def _starts(shape: Shape, xp: Any) -> Array:
    """The position of each plane's first pixel in the whole tensor, (N, C, 1, 1)."""
    n, c, h, w = shape
    return (xp.arange(n * c, dtype=INDEX) * (h * w)).reshape(n, c, 1, 1)
