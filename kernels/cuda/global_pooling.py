"""Pooling of whole planes, and its gradients, on a GPU: each part of a plane by itself, then the parts in order."""

from __future__ import annotations

import numpy as np

from ..layout import Array, Shape
from ..namespace import namespace
from .matrix import finish, matrix, partial

SOURCE = "global_pooling.cu"


def global_avg_pool(outputs: list[Array], x: Array) -> None:
    """global_avg_pool2d: float64 sums."""
    n, c, h, w = x.shape
    of = matrix(x, images=True)
    parts = of.parts(n)
    room = partial(x, n * parts, 1, of.width)
    of.start(SOURCE, "plane_sums", [x], room, np.int32(parts), blocks=n * parts)
    finish(SOURCE, "average", room, parts, of.width, c, np.float64(h * w), outputs[0], images=n, **of.defines)


def global_max_pool(outputs: list[Array], x: Array, *, return_indices: bool) -> None:
    """global_max_pool2d."""
    n, c, *_ = x.shape
    of = matrix(x, images=True)
    parts, xp = of.parts(n), namespace(x)
    values, places = (xp.empty(n * parts * of.width, dtype) for dtype in (x.dtype, "int64"))
    of.start(SOURCE, "plane_winners", [x], values, places, np.int32(parts), blocks=n * parts)
    indices = outputs[1] if return_indices else None
    finish(SOURCE, "largest", values, parts, of.width, c, places, outputs[0], indices, images=n, **of.defines)


def global_avg_pool_input(outputs: list[Array], shape: Shape, grad: Array) -> None:
    """global_avg_pool2d_input."""
    of = matrix(outputs[0], images=True)
    parts = of.parts(shape[0])
    given = grad, _image(grad), np.float64(shape[2] * shape[3]), np.int32(parts)
    of.start(SOURCE, "average_input", outputs, *given, blocks=shape[0] * parts)


def global_max_pool_input(outputs: list[Array], shape: Shape, indices: Array, grad: Array) -> None:
    """global_max_pool2d_input: each plane is written once, an index outside it nowhere."""
    of = matrix(outputs[0], images=True)
    parts = of.parts(shape[0])
    given = indices, _image(indices), grad, _image(grad), np.int32(parts)
    of.start(SOURCE, "largest_input", outputs, *given, blocks=shape[0] * parts)


def _image(x: Array) -> np.int64:
    """Numbers from one image to the next."""
    return np.int64(x.strides[0] // x.itemsize)
