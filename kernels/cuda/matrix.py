"""Maps as matrices whose columns are channels: what the kernels of matrix.cuh are told, and how many blocks run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gcd
from typing import Any

import numpy as np

from ..layout import Array
from ..namespace import address, namespace
from .module import kernel
from .strides import NUMBERS, WIDEST

THREADS = 256  # of a block, as matrix.cuh has it
FINISHERS = 512  # of a block that adds up what the others have summed, as reduction.cuh has it
WARP = 32
ACROSS = 64  # vectors along a row that a block takes, at most
SHARE = 16 * 1024  # bytes of a map that a block takes, at least
ROWS = 64  # of one block, at least: what it writes of its sums is little beside what it reads
MOST = 1188  # blocks at most: thrice what an H100 runs at once. It sets the order of sums, so it asks no device
NEIGHBOURS = 8  # channels that a block of the second kernel adds up, at most

COUNTED = 2**32  # rows

Steps = tuple[int, int, int]


@dataclass(frozen=True)
class Matrix:
    """Some maps as matrices of one size. steps: elements from one image, row and pixel to the next, of each map."""

    dtype: np.dtype
    rows: int
    rest: int
    width: int
    channels: int
    size: tuple[int, int]
    steps: tuple[Steps, ...]
    lanes: int
    flat: bool

    @property
    def arguments(self) -> tuple[Any, ...]:
        """MATRIX."""
        return np.int64(self.rows), *map(np.int32, (self.rest, self.width, self.channels, *lines(self.size, self.flat)))

    @property
    def defines(self) -> dict[str, Any]:
        """What the kernels are compiled for."""
        return {**counted(self.dtype, self.rows, self.flat), "LANES": self.lanes}

    @cached_property
    def block(self) -> tuple[int, int]:
        """Threads along the columns, and along the rows: an even number, so that every block begins with a sector."""
        vectors = self.width // self.lanes
        across = -(-vectors // -(-vectors // ACROSS))
        if across < vectors:
            across = -(-across // 8) * 8
        wanted = -(-self.rows // WARP) * WARP
        return across, max(2, min(THREADS // across // 2 * 2, wanted))

    @cached_property
    def columns(self) -> int:
        """Blocks along the columns."""
        return -(-self.width // (self.lanes * self.block[0]))

    def parts(self, images: int = 1) -> int:
        """Blocks along the rows, of each of so many images."""
        share = self.rows * self.width * self.dtype.itemsize // SHARE
        most = min(share, MOST // (self.columns * images), self.rows // max(ROWS, self.block[1]))
        return max(1, most)

    def start(self, source: str, name: str, maps: Sequence[Array], *more: Any, blocks: int, **defines: Any) -> None:
        """Start a kernel with so many blocks along the rows."""
        given = [each for x, steps in zip(maps, self.steps, strict=True) for each in (x, *map(np.int64, steps))]
        function = kernel(source, name, **self.defines, **defines)
        function((blocks, self.columns), self.block, *self.arguments, *given, *more)


def matrix(*maps: Array, images: bool = False) -> Matrix:
    """Channels-last maps of one shape as matrices. images: each image is one; its step is then the map's.

    A row is a pixel; where all maps are dense, so many neighbouring pixels that vectors of 16 bytes fill it.
    """
    x = maps[0]
    n, channels, h, w = x.shape
    steps = [steps_of(each) for each in maps]
    sizes, joined = merged((1 if images else n, h, w), steps)
    wide = max(each.itemsize for each in maps)
    flat = sizes[0] == sizes[1] == 1
    pixels = sizes[0] * sizes[1] * sizes[2]
    if pixels == 1:
        joined = [(0, 0, channels)] * len(maps)
    apart = [step[0] for step in steps if images and n > 1]  # vectors must begin in every image
    if flat and all(step[2] == channels for step in joined):
        lanes = _lanes(maps, wide, apart)
        fold = lanes // gcd(channels, lanes)
        width, total = fold * channels, pixels * channels
        rows, rest = divmod(total, width)
        joined = [(0, 0, width)] * len(maps)
    else:
        steps_of_rows = [step for each in joined for step, size in zip(each, sizes, strict=True) if size > 1]
        lanes = _lanes(maps, wide, [channels, *steps_of_rows, *apart])
        width, rows, rest = channels, pixels, 0
    if images:
        joined = [(step[0], *each[1:]) for step, each in zip(steps, joined, strict=True)]
    return Matrix(x.dtype, rows, rest, width, channels, sizes[1:], tuple(joined), lanes, flat)


def counted(dtype: np.dtype, rows: int, flat: int) -> dict[str, Any]:
    """The type of the numbers, and how rows are counted: where they must be divided in 32 bits, if those hold them."""
    return {"NUMBER": NUMBERS[dtype], "FLAT": int(flat), "INDEX": "u32" if flat or rows < COUNTED else "u64"}


def lines(size: tuple[int, int], flat: int) -> tuple[int, int]:
    """The height and the breadth of images; 0 where no row is looked for by them, as they may be no ints then."""
    return (0, 0) if flat else size


def plane(*maps: Array) -> Matrix:
    """A plane of maps (N, C, P) whose planes are dense; the steps are those of images and channels."""
    x = maps[0]
    steps = [(each.strides[0] // each.itemsize, each.strides[1] // each.itemsize) for each in maps]
    apart = [step for each in steps for step, size in zip(each, x.shape, strict=False) if size > 1]
    lanes = _lanes(maps, x.itemsize, apart)
    rows, rest = divmod(x.shape[2], lanes)
    return Matrix(
        x.dtype, rows, rest, lanes, 1, (1, 1), tuple((image, channel, lanes) for image, channel in steps), lanes, True
    )


def _lanes(maps: Sequence[Array], wide: int, steps: Sequence[int]) -> int:
    """Numbers that a thread takes at once: as many as 16 bytes hold, or as all addresses allow."""
    lanes = WIDEST // wide
    while lanes > 1 and (any(s % lanes for s in steps) or any(address(x) % (lanes * x.itemsize) for x in maps)):
        lanes //= 2
    return lanes


def steps_of(x: Array) -> Steps:
    """Elements from one image, row and pixel to the next."""
    n, h, w = (x.strides[axis] // x.itemsize for axis in (0, 2, 3))
    return n, h, w


def merged(shape: tuple[int, int, int], steps: Sequence[tuple[int, ...]]) -> tuple[Any, list[Any]]:
    """The shape and the steps of pixels, three axes, of which those that all maps step through alike are made one."""
    sizes: list[int] = []
    apart: list[list[int]] = [[] for _ in steps]
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        if sizes and all(each[-1] == size * step[axis] for each, step in zip(apart, steps, strict=True)):
            sizes[-1] *= size
            for each, step in zip(apart, steps, strict=True):
                each[-1] = step[axis]
        else:
            sizes.append(size)
            for each, step in zip(apart, steps, strict=True):
                each.append(step[axis])
    missing = 3 - len(sizes)
    return (1,) * missing + tuple(sizes), [(0,) * missing + tuple(each) for each in apart]


def partial(like: Array, parts: int, sums: int, width: int) -> Array:
    """Room for the sums of each part."""
    return namespace(like).empty(parts * sums * width, "float64")


def finish(
    source: str,
    name: str,
    sums: Array,
    parts: int,
    width: int,
    channels: int,
    *more: Any,
    images: int = 1,
    **defines: Any,
) -> None:
    """Start a kernel that adds up the sums of each channel over all parts, and goes on from there."""
    across = min(NEIGHBOURS, 1 << (channels - 1).bit_length())
    function = kernel(source, name, **defines)
    sizes = map(np.int32, (parts, width, channels))
    function(images * -(-channels // across), (across, FINISHERS // across), sums, *sizes, *more)
