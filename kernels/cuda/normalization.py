"""Softmax over the channels, its logarithm, and their gradients, on a GPU: each number is read once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..layout import Array
from .pixels import pixels, too_many

SOURCE = "softmax.cu"


def one_held(x: Array) -> str | None:
    """Why a kernel that holds one number for each class cannot serve."""
    return too_many(x)


def two_held(x: Array, *more: Array) -> str | None:
    """Why one that holds two cannot."""
    return too_many(x, held=2)


def softmax(outputs: list[Array], x: Array) -> None:
    """softmax."""
    _per_pixel("softmax", [x, outputs[0]])


def softmax_input(outputs: list[Array], y: Array, grad: Array) -> None:
    """softmax_input."""
    _per_pixel("softmax_input", [y, grad, outputs[0]])


def log_softmax(outputs: list[Array], x: Array) -> None:
    """log_softmax."""
    _per_pixel("log_softmax", [x, outputs[0]])


def log_softmax_input(outputs: list[Array], y: Array, grad: Array) -> None:
    """log_softmax_input."""
    _per_pixel("log_softmax_input", [y, grad, outputs[0]])


def _per_pixel(name: str, maps: Sequence[Array]) -> None:
    of = pixels(*maps)
    of.start(SOURCE, name, maps, np.int32(of.blocks), blocks=of.images * of.blocks)
