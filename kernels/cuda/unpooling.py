"""Unpooling on a GPU.

Where every index lies in a block of its own, as pooling with a stride no less than the kernel leaves them, that block
is written at once. Else every number of the result first learns its owner, the last that names it: integer maxima,
which are the same in any order. No index is followed that points outside. Where nobody may look at the indices, as in a
graph, blocks are tried, and the kernels for all others wait whether that fails.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layout import Array, empty
from ..namespace import host, namespace, readable
from ..window import Pair
from .maps import THREADS, blocks, lanes, start, strides
from .pointwise import copy
from .strides import NUMBERS

SOURCE = "unpooling.cu"
BLOCK = 16  # pixels of a block, at most: a thread takes all of one
BLOCKS = 2048  # of threads, at most, where each goes on to further numbers: soon done where there is nothing to do
NEAR, FAR, UNKNOWN = 1, 0, -1
SURVEYED = 8  # vectors of indices that a thread looks at, at least

Flag = tuple[Array, int]


def _block(indices: Array, size: Pair) -> Pair:
    """(rows, columns) of the blocks that would divide a plane of `size` among the indices, (0, 0) if too large."""
    rows, columns = round(size[0] / max(1, indices.shape[2])), round(size[1] / max(1, indices.shape[3]))
    return (rows, columns) if rows * columns <= BLOCK else (0, 0)


def survey(indices: Array, size: Pair) -> np.ndarray:
    """(1, 1, 3), in the computer's memory: a bound of the indices below and above, 0 and the largest where none is less
    than 0, and NEAR where all lie in their own blocks, else FAR.

    Where indices are not to be looked at: 0, 0 and UNKNOWN. indices: int64, channels-last. size: of the planes they
    point into.
    """
    result = np.array([[[0, 0, UNKNOWN if indices.size else FAR]]])
    if indices.size and readable(indices):
        _, c, h, w = indices.shape
        found = namespace(indices).zeros(3, np.uint64)
        wide = lanes(indices)
        arguments = found, indices, strides(indices), h, w, c // wide, size[1]
        block = _block(indices, size)
        _go_on("survey", indices.size // wide, *arguments, least=SURVEYED, like=indices, wide=wide, block=block)
        below, most, near = (int(value) for value in host(found))
        result[...] = -below, most, NEAR if near == indices.size else FAR
    return result


def max_unpool(outputs: list[Array], x: Array, indices: Array, found: Array, *, output_size: Pair) -> None:
    """max_unpool2d."""
    y = outputs[0]
    n, c, h, w = x.shape
    height, width = output_size
    wide = lanes(y, x, indices)
    block, far = _block(indices, output_size), _flag(indices, found, output_size)
    if found[0, 0, 2] == NEAR or far[1]:
        rows, columns = (blocks(length, step) for length, step in zip(output_size, block, strict=True))
        near = y, x, strides(x), indices, strides(indices), height, width, h, w, c // wide, rows, columns, far
        _start("max_unpool_near", n * rows * columns * c // wide, *near, like=x, wide=wide, block=block)
    if found[0, 0, 2] != NEAR:
        owner = "int" if y.itemsize == 4 else "i64"  # y itself has room for them
        _own(y, indices, height * width, wide, owner, far)
        rest = y, x, strides(x), np.int64(height * width), w, c // wide, far
        _go_on("max_unpool", y.size // wide, *rest, like=x, wide=wide, owner=owner)


def planes_too_large(x: Array, indices: Array, found: Array, **parameters: Any) -> str | None:
    """The refusal of planes whose pixels an int does not count."""
    size = parameters.get("output_size", x.shape[2:])
    large = max(size[0] * size[1], indices.shape[2] * indices.shape[3]) >= 2**30
    return "a plane has 2**30 pixels or more" if large else None


def max_unpool_input(outputs: list[Array], grad: Array, indices: Array, found: Array) -> None:
    """max_unpool2d_input."""
    n, c, h, w = indices.shape
    height, width = grad.shape[2:]
    wide = lanes(grad, outputs[0], indices)
    items = n * h * w * c // wide
    maps = outputs[0], grad, strides(grad), indices, strides(indices)
    block, far = _block(indices, (height, width)), _flag(indices, found, (height, width))
    if found[0, 0, 2] == NEAR or far[1]:
        near = height, width, h, w, c // wide, far
        _start("max_unpool_input_near", items, *maps, *near, like=grad, wide=wide, block=block)
    if found[0, 0, 2] != NEAR:
        owners = empty(grad.shape, np.dtype(np.int32), grad)
        _own(owners, indices, height * width, wide, "int", far)
        rest = owners, np.int64(height * width), width, h, w, c // wide, far
        _go_on("max_unpool_input", items, *maps, *rest, like=grad, wide=wide)


def _flag(indices: Array, found: Array, size: Pair) -> Flag:
    """What says whether indices are far, once blocks have been tried; and 1 where they are to be, as it is unknown."""
    if found[0, 0, 2] != UNKNOWN or not _block(indices, size)[0]:
        return indices, 0  # any array: CuPy has no null pointers
    flag = empty((1,), np.dtype(np.int32), indices)
    _start("disown", 1, flag, flag, 0, like=indices, wide=1)
    return flag, 1


def _own(owners: Array, indices: Array, pixels: int, wide: int, owner: str, far: Flag) -> None:
    """Let every number of the result know its owner, or -1."""
    _, c, h, w = indices.shape
    _go_on("disown", owners.size // wide, owners, far, like=owners, wide=wide, owner=owner)
    arguments = owners, indices, strides(indices), np.int64(pixels), h, w, c // wide, far
    _go_on("own", indices.size // wide, *arguments, like=owners, wide=wide, owner=owner)


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


def _go_on(name: str, items: int, *arguments: Any, least: int = 1, **options: Any) -> None:
    """Start a kernel of at most BLOCKS blocks, whose threads go on to further numbers: to `least` of them, or more.

    With more blocks the step to the next one would carry 32 bits around, back to the first.
    """
    _start(name, items, *arguments, each=max(least, blocks(items, BLOCKS * THREADS)), **options)
