"""How far the convolutions count: pixels and their coordinates are C's ints."""

from __future__ import annotations

from math import prod
from typing import Any

from ..window import Pair, Sides, Window

LIMIT = 2**30


def too_far(
    first: Any, second: Any, *others: Any, stride: Pair, padding: Sides, dilation: Pair, **parameters: Any
) -> str | None:
    """Why a convolution of any kind cannot be counted in ints; arguments and parameters as variants get them."""
    shapes = [each if isinstance(each, tuple) else each.shape for each in (first, second, *others) if each is not None]
    maps = [shape for shape in (shapes[0], *shapes[2:]) if len(shape) == 4]
    window = Window(shapes[1][2:], stride, padding, dilation)
    sizes = [(each[0], *each[2:]) for each in maps]
    if "output_padding" in parameters:  # the result alone is larger than what comes
        sizes.append((maps[0][0], *window.transposed_size(maps[0][2:], parameters["output_padding"])))
    around = [sum(sides) for sides in padding]
    pixels = max(n * (h + around[0]) * (w + around[1]) for n, h, w in sizes)
    far = max(pixels, prod(window.extent), *stride) >= LIMIT
    return "its maps or its window cover 2**30 pixels or more" if far else None
