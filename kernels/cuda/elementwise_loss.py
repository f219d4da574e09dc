"""Losses that compare two arrays number by number, and their gradients, on a GPU: one pass each."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layout import Array
from .matrix import finish, matrix, partial

SOURCE = "elementwise_loss.cu"


def l1_loss(outputs: list[Array], x: Array, target: Array, *, reduction: str) -> None:
    """l1_loss."""
    _loss("Absolute", outputs[0], [x, target], reduction)


def l1_loss_input(outputs: list[Array], x: Array, target: Array, *, reduction: str) -> None:
    """l1_loss_input."""
    _gradient("Absolute", outputs[0], [x, target], reduction)


def mse_loss(outputs: list[Array], x: Array, target: Array, *, reduction: str) -> None:
    """mse_loss."""
    _loss("Squared", outputs[0], [x, target], reduction)


def mse_loss_input(outputs: list[Array], x: Array, target: Array, *, reduction: str) -> None:
    """mse_loss_input."""
    _gradient("Squared", outputs[0], [x, target], reduction)


def binary_cross_entropy_with_logits(
    outputs: list[Array], x: Array, target: Array, weight: Array | None, pos_weight: Array | None, *, reduction: str
) -> None:
    """binary_cross_entropy_with_logits."""
    _loss("Binary", outputs[0], [x, target, weight, pos_weight], reduction)


def binary_cross_entropy_with_logits_input(
    outputs: list[Array], x: Array, target: Array, weight: Array | None, pos_weight: Array | None, *, reduction: str
) -> None:
    """binary_cross_entropy_with_logits_input."""
    _gradient("Binary", outputs[0], [x, target, weight, pos_weight], reduction)


def _loss(name: str, loss: Array, arrays: list[Array | None], reduction: str) -> None:
    maps, flags = _given(name, arrays)
    count = maps[0].size if reduction == "mean" else 1
    if not maps[0].size:
        loss.fill(0 if count else np.nan)
        return
    of = matrix(*maps)
    parts, room = of.parts(), partial(loss, of.parts(), 1, of.width)
    of.start(SOURCE, "losses", maps, room, blocks=parts, **flags)
    finish(SOURCE, "finish", room, parts, of.width, 1, np.float64(count), loss, **of.defines, **flags)


def _gradient(name: str, dx: Array, arrays: list[Array | None], reduction: str) -> None:
    maps, flags = _given(name, arrays)
    share = np.float64(1 / dx.size if reduction == "mean" else 1)
    of = matrix(*maps, dx)
    of.start(SOURCE, "slopes", [*maps, dx], share, blocks=of.parts(), **flags)


def _given(name: str, arrays: list[Array | None]) -> tuple[list[Array], dict[str, Any]]:
    """The arrays that are there, and what the kernels are told of them."""
    weight, positive = (int(len(arrays) > k and arrays[k] is not None) for k in (2, 3))
    maps = [each for each in arrays if each is not None]
    return maps, {"LOSS": name, "READS": len(maps), "WEIGHT": weight, "POSITIVE": positive}
