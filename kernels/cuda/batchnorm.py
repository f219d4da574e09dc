"""Batch normalisation on a GPU: sums over the pixels of each channel, what follows for each, and a pass with that."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layout import Array
from ..namespace import namespace
from .matrix import finish, matrix, partial
from .strides import dense

SOURCE = "batchnorm.cu"


def batch_norm(
    outputs: list[Array],
    x: Array,
    mean: Array,
    variance: Array,
    weight: Array | None,
    bias: Array | None,
    *,
    eps: float,
    activation: str | None,
) -> None:
    """batch_norm."""
    of = matrix(x, outputs[0])
    constants = (*map(dense, (mean, variance, weight, bias)), np.float64(eps))
    of.start(SOURCE, "batch_norm", [x, outputs[0]], *constants, blocks=of.parts(), RELU=_relu(activation))


def batch_norm_training(
    outputs: list[Array], x: Array, weight: Array | None, bias: Array | None, *, eps: float, activation: str | None
) -> None:
    """batch_norm_training: x is read twice."""
    y, mean, variance = outputs
    if not x.size:
        mean.fill(np.nan)
        variance.fill(np.nan)
        return
    channels = x.shape[1]
    of = matrix(x)
    parts, flags = of.parts(), of.defines | {"RELU": _relu(activation)}
    room, constants = partial(x, parts, 2, of.width), namespace(x).empty(3 * channels, x.dtype)
    of.start(SOURCE, "moments", [x], room, blocks=parts, RELU=0)
    given = np.float64(x.size // channels), dense(weight), dense(bias), np.float64(eps)
    finish(SOURCE, "statistics", room, parts, of.width, channels, x, *given, mean, variance, constants, **flags)
    of = matrix(x, y)
    of.start(SOURCE, "affine", [x, y], constants, blocks=of.parts(), RELU=flags["RELU"])


def batch_norm_input(
    outputs: list[Array], x: Array, mean: Array, variance: Array, weight: Array | None, grad: Array, *, eps: float
) -> None:
    """batch_norm_input: in one pass."""
    dx, dweight, dbias = outputs
    if not x.size:
        dweight.fill(0)
        dbias.fill(0)
        return
    of = matrix(x, grad, dx)
    parts, maps = of.parts(), [x, grad, dx]
    room = partial(x, parts, 3, of.width)
    given = dense(variance), dense(weight), np.float64(eps)
    of.start(SOURCE, "scaled_products", maps, dense(mean), *given, room, blocks=parts, RELU=0)
    _slopes(of, room, parts, x, *given, dweight, dbias, None)


def batch_norm_training_input(
    outputs: list[Array], x: Array, mean: Array, variance: Array, weight: Array | None, grad: Array, *, eps: float
) -> None:
    """batch_norm_training_input: x and grad are read twice."""
    dx, dweight, dbias = outputs
    if not x.size:
        dweight.fill(0)
        dbias.fill(0)
        return
    of = matrix(x, grad)
    parts, centre = of.parts(), dense(mean)
    room, constants = partial(x, parts, 3, of.width), namespace(x).empty(3 * x.shape[1], x.dtype)
    of.start(SOURCE, "products", [x, grad], centre, room, blocks=parts, RELU=0)
    _slopes(of, room, parts, x, dense(variance), dense(weight), np.float64(eps), dweight, dbias, constants)
    of = matrix(x, grad, dx)
    of.start(SOURCE, "gradient", [x, grad, dx], centre, constants, blocks=of.parts(), RELU=0)


def _slopes(of: Any, room: Array, parts: int, x: Array, *more: Any) -> None:
    channels = x.shape[1]
    count = np.float64(x.size // channels)
    finish(SOURCE, "slopes", room, parts, of.width, channels, count, *more, **of.defines, RELU=0)


def _relu(activation: str | None) -> int:
    return int(activation == "relu")
