"""Maps whose planes are dense, for the operators that have kernels for both memory formats."""

from math import prod

from .layout import Array


def planes(*maps: Array) -> tuple[Array, ...] | None:
    """Views (N, C, P) of maps (N, C, ...) of one shape, P being the pixels of a plane.

    None where one channel or one pixel makes the formats the same, where not every map has dense planes, and where the
    last, whose format the result has, is not contiguous.
    """
    n, c, *size = maps[0].shape
    pixels = prod(size)
    if c < 2 or pixels < 2 or not maps[-1].flags.c_contiguous:
        return None
    if not all(each[:1, :1].flags.c_contiguous for each in maps):
        return None
    return tuple(each.reshape(n, c, pixels) for each in maps)
