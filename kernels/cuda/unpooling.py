"""Unpooling on a GPU.

Where every index lies in a block of its own, as pooling with a stride no less than the kernel leaves them, that block
is written at once. Else every number of the result first learns its owner, the last that names it: integer maxima,
which are the same in any order. No index is followed that points outside.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layout import Array, empty
from ..namespace import host, namespace, readable
from ..window import Pair
from .maps import blocks, lanes, start, strides
from .matrix import NUMBERS
from .pointwise import copy

SOURCE = "unpooling.cu"
BLOCK = 16  # pixels of a block, at most: a thread takes all of one
SURVEYED = 8  # vectors of indices that a thread looks at, at least


def _block(indices: Array, size: Pair) -> Pair:
    """(rows, columns) of the blocks that would divide a plane of `size` among the indices, (0, 0) if too large."""
    rows, columns = round(size[0] / max(1, indices.shape[2])), round(size[1] / max(1, indices.shape[3]))
    return (rows, columns) if rows * columns <= BLOCK else (0, 0)


def survey(indices: Array, size: Pair) -> np.ndarray:
    """(1, 1, 3), in the computer's memory: a bound of the indices below and above, 0 and the largest where none is less
    than 0, and 1 where all lie in their own blocks.

    Where indices are not to be looked at nothing is known: 0, 0, 0. indices: int64, channels-last. size: of the planes
    they point into.
    """
    result = np.zeros((1, 1, 3), np.int64)
    if indices.size and readable(indices):
        _, c, h, w = indices.shape
        found = namespace(indices).zeros(3, np.uint64)
        wide = lanes(indices)
        arguments = found, indices, strides(indices), h, w, c // wide, size[1]
        block = _block(indices, size)
        _start("survey", indices.size // wide, *arguments, each=SURVEYED, like=indices, wide=wide, block=block)
        below, most, near = (int(value) for value in host(found))
        result[...] = -below, most, near == indices.size
    return result


def max_unpool(outputs: list[Array], x: Array, indices: Array, found: Array, *, output_size: Pair) -> None:
    """max_unpool2d."""
    y = outputs[0]
    n, c, h, w = x.shape
    height, width = output_size
    wide = lanes(y, x, indices)
    if found[..., 2].all():
        block = _block(indices, output_size)
        rows, columns = (blocks(length, step) for length, step in zip(output_size, block, strict=True))
        items = n * rows * columns * c // wide
        near = y, x, strides(x), indices, strides(indices), height, width, h, w, c // wide, rows, columns
        _start("max_unpool_near", items, *near, like=x, wide=wide, block=block)
        return
    owner = "int" if y.itemsize == 4 else "i64"  # y itself has room for them
    items = n * height * width * c // wide
    _own(y, indices, height * width, wide, owner)
    arguments = y, x, strides(x), np.int64(height * width), w, c // wide
    _start("max_unpool", items, *arguments, like=x, wide=wide, owner=owner)


def planes_too_large(x: Array, indices: Array, found: Array, **parameters: Any) -> str | None:
    """The refusal of planes whose pixels an int does not count."""
    size = parameters.get("output_size", x.shape[2:])
    large = max(size[0] * size[1], indices.shape[2] * indices.shape[3]) >= 2**31
    return "a plane has 2**31 pixels or more" if large else None


def max_unpool_input(outputs: list[Array], grad: Array, indices: Array, found: Array) -> None:
    """max_unpool2d_input."""
    n, c, h, w = indices.shape
    height, width = grad.shape[2:]
    wide = lanes(grad, outputs[0], indices)
    items = n * h * w * c // wide
    maps = outputs[0], grad, strides(grad), indices, strides(indices)
    if found[..., 2].all():
        block = _block(indices, (height, width))
        _start("max_unpool_input_near", items, *maps, height, width, h, w, c // wide, like=grad, wide=wide, block=block)
        return
    owners = empty(grad.shape, np.dtype(np.int32), grad)
    _own(owners, indices, height * width, wide, "int")
    arguments = *maps, owners, np.int64(height * width), width, h, w, c // wide
    _start("max_unpool_input", items, *arguments, like=grad, wide=wide)


def _own(owners: Array, indices: Array, pixels: int, wide: int, owner: str) -> None:
    """Let every number of the result know its owner, or -1."""
    _, c, h, w = indices.shape
    _start("disown", owners.size // wide, owners, like=owners, wide=wide, owner=owner)
    arguments = owners, indices, strides(indices), np.int64(pixels), h, w, c // wide
    _start("own", indices.size // wide, *arguments, like=owners, wide=wide, owner=owner)


def unpool(outputs: list[Array], x: Array, *, kernel_size: Pair) -> None:
    """unpool2d."""
    n, c, h, w = outputs[0].shape
    wide = lanes(x, outputs[0])
    _start("unpool", n * h * w * c // wide, outputs[0], x, strides(x), h, w, c // wide, kernel_size, like=x, wide=wide)


def unpool_input(outputs: list[Array], grad: Array, *, kernel_size: Pair) -> None:
    """unpool2d_input: a copy of every kh-th row and kw-th column."""
    copy(outputs[0], grad[:, :, :: kernel_size[0], :: kernel_size[1]])


def _start(
    name: str,
    items: int,
    *arguments: Any,
    like: Array,
    wide: int,
    block: Pair = (1, 1),
    owner: str = "int",
    each: int = 1,
) -> None:
    number = NUMBERS.get(like.dtype, "float")
    rows, columns = block
    start(SOURCE, name, items, *arguments, each=each, NUMBER=number, LANES=wide, BH=rows, BW=columns, OWNER=owner)
