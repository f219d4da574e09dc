"""What the kernels of pixels.cuh are told: how the classes of a pixel are shared among threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..layout import Array
from .matrix import WARP, Steps, counted, lines, merged, steps_of
from .module import kernel

FEW = 32  # classes that one thread holds, at most
COLUMN = 16  # threads that share the classes of a pixel of dense planes
HELD = 64  # words of registers for the classes of a thread, at most
TOGETHER = 128  # pixels of a block, each of a thread of its own: several blocks compute while others read
TEAM = 256  # threads of a block of warps that have a pixel each


def too_many(x: Array, held: int = 1) -> str | None:
    """The refusal of more classes than registers hold. held: numbers of a class that a thread has at once."""
    classes, group = x.shape[1], COLUMN if x.ndim == 3 else WARP
    most = HELD * 4 // (x.itemsize * held) * group
    return f"it takes at most {most} channels, and there are {classes}" if classes > most else None


@dataclass(frozen=True)
class Pixels:
    """Some maps, (N, C, H, W) channels-last or (N, C, P) of dense planes, as the kernels see them."""

    dtype: np.dtype
    images: int
    rows: int
    classes: int
    size: tuple[int, int]
    steps: tuple[Steps, ...]
    planes: bool
    flat: int

    @property
    def group(self) -> int:
        """Threads that share a pixel."""
        return 1 if self.classes <= FEW else COLUMN if self.planes else WARP

    @property
    def together(self) -> int:
        """Pixels of a block."""
        return TOGETHER if self.group == 1 else WARP if self.planes else TEAM // WARP

    @property
    def block(self) -> tuple[int, int]:
        """Threads of a block."""
        return (self.group, self.together) if self.group == WARP else (self.together, self.group)

    @property
    def blocks(self) -> int:
        """Blocks for all pixels, or for the pixels of a plane."""
        return -(-self.rows // self.together)

    @property
    def defines(self) -> dict[str, Any]:
        """What the kernels are compiled for."""
        numbers = {"CLASSES": self.classes, "GROUP": self.group, "PIXELS": self.together}
        return {**counted(self.dtype, self.rows, self.flat), "PLANES": int(self.planes), **numbers}

    def start(
        self, source: str, name: str, maps: Sequence[Array | None], *more: Any, blocks: int, **defines: Any
    ) -> None:
        """Start a kernel with so many blocks."""
        given = [each for x, steps in zip(maps, self.steps, strict=True) for each in (x, *map(np.int64, steps))]
        sizes = map(np.int32, (0, self.classes, self.classes, *lines(self.size, self.flat)))
        function = kernel(source, name, **self.defines, **defines)
        function(blocks, self.block, np.int64(self.rows), *sizes, *given, *more)


def pixels(*maps: Array) -> Pixels:
    """Maps of one shape, as the kernels see them."""
    x = maps[0]
    if x.ndim == 3:
        apart = tuple((each.strides[0] // each.itemsize, each.strides[1] // each.itemsize, 1) for each in maps)
        return Pixels(x.dtype, x.shape[0], x.shape[2], x.shape[1], (1, 1), apart, True, 1)
    n, classes, h, w = x.shape
    sizes, steps = merged((n, h, w), [steps_of(each) for each in maps])
    flat = int(sizes[:2] == (1, 1))
    dense = flat and all(step[2] == classes or sizes[2] == 1 for step in steps)
    return Pixels(x.dtype, 1, n * h * w, classes, sizes[1:], tuple(steps), False, flat + dense)
