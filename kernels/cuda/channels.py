"""Sums over all pixels of each channel on a GPU: of each block's pixels in one kernel, of the blocks in another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..layout import Array
from .matrix import finish, matrix, partial, plane

SOURCE = "channels.cu"


def channel_sum(outputs: list[Array], x: Array) -> None:
    """channel_sum."""
    _summed("channel_sum", outputs[0], [x])


def bias_relu_input(outputs: list[Array], y: Array, grad: Array) -> None:
    """bias_relu_input: relu_input, and the channel sums of what it writes, in one pass."""
    _summed("bias_relu_input", outputs[1], [y, grad, outputs[0]])


def _summed(name: str, sums: Array, maps: Sequence[Array]) -> None:
    x = maps[0]
    channels = x.shape[1]
    if not x.size:
        sums.fill(0)
        return
    if x.ndim == 3:
        of = plane(*maps)
        pieces = of.parts(x.shape[0] * channels)
        parts, width = x.shape[0] * pieces, of.lanes * channels
        room = partial(x, parts, 1, width)
        blocks = parts * channels
        of.start(SOURCE, f"{name}_planes", maps, room, np.int32(channels), np.int32(pieces), blocks=blocks)
    else:
        of = matrix(*maps)
        parts, width = of.parts(), of.width
        room = partial(x, parts, 1, width)
        of.start(SOURCE, name, maps, room, blocks=parts)
    finish(SOURCE, "finish", room, parts, width, channels, sums, **of.defines)
