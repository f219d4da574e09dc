"""Optimisers' steps, wherever the arrays lie: kernels (`cpu/update.py`, `cuda/update.py`), or the same on whole arrays.

A rule says what becomes of one weight w and its states, from its gradient g and the constants of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .capture import uploaded
from .cpu.update import CONSTANTS
from .cpu.update import update as compiled
from .cuda import update as cuda
from .layout import Array
from .namespace import namespace, on_device

Constants = Sequence[Callable[[], tuple[float, ...]]]


def update(rule: str, rows: Sequence[tuple[Array, ...]], constants: Constants) -> None:
    """Apply a rule in place.

    rows: weights, gradients and states of each parameter, dense, of equal strides and dtype and on one device;
    constants: for each what gives those of its rule for this step, or in a graph, before each launch, for the next.
    """
    if rows and on_device(rows[0][0]):
        cuda.update(rule, rows, constants)
    else:
        compiled(rule, rows, [each() for each in constants])


def plain(rule: str, rows: Sequence[tuple[Array, ...]], constants: Constants) -> None:
    """`update`, an array at a time: NumPy's and CuPy's alike."""
    table = np.zeros((len(rows), CONSTANTS))

    def fill() -> None:
        for row, each in zip(table, constants, strict=True):
            given = each()
            row[: len(given)] = given

    there: Any = table
    if rows and on_device(rows[0][0]):
        there = uploaded(table, fill)
    else:
        fill()
    for number, (w, g, *states) in enumerate(rows):
        after = RULES[rule](namespace(w).sqrt, w, g, *states, there[number].astype(w.dtype))
        for array, value in zip((w, *states), after, strict=True):
            array[...] = value


def sgd(root: Any, w: Array, g: Array, velocity: Array, constants: Array) -> tuple[Array, ...]:
    """v = momentum v + g + decay w;  w -= rate v."""
    rate, momentum, decay = constants[:3]
    velocity = momentum * velocity + (g + decay * w)
    return w - rate * velocity, velocity


def nesterov(root: Any, w: Array, g: Array, velocity: Array, constants: Array) -> tuple[Array, ...]:
    """g += decay w;  v = momentum v + g;  w -= rate (g + momentum v)."""
    rate, momentum, decay = constants[:3]
    g = g + decay * w
    velocity = momentum * velocity + g
    return w - rate * (g + momentum * velocity), velocity


def adagrad(root: Any, w: Array, g: Array, total: Array, constants: Array) -> tuple[Array, ...]:
    """g += decay w;  s += g^2;  w -= rate g / (sqrt(s) + eps)."""
    rate, eps, decay = constants[:3]
    g = g + decay * w
    total = total + g * g
    return w - rate * g / (root(total) + eps), total


def rmsprop(root: Any, w: Array, g: Array, square: Array, velocity: Array, constants: Array) -> tuple[Array, ...]:
    """g += decay w;  s = a s + (1 - a) g^2;  v = momentum v + g / (sqrt(s) + eps);  w -= rate v."""
    rate, alpha, eps, momentum, decay = constants[:5]
    g = g + decay * w
    square = alpha * square + (1 - alpha) * (g * g)
    velocity = momentum * velocity + g / (root(square) + eps)
    return w - rate * velocity, square, velocity


def adam(root: Any, w: Array, g: Array, mean: Array, square: Array, constants: Array) -> tuple[Array, ...]:
    """g += decay w, then `_adam`."""
    return _adam(root, w, g + constants[5] * w, mean, square, constants)


def adamw(root: Any, w: Array, g: Array, mean: Array, square: Array, constants: Array) -> tuple[Array, ...]:
    """w -= decay w, then `_adam`."""
    return _adam(root, w - constants[5] * w, g, mean, square, constants)


def _adam(root: Any, w: Array, g: Array, mean: Array, square: Array, constants: Array) -> tuple[Array, ...]:
    """m = b1 m + (1 - b1) g;  s = b2 s + (1 - b2) g^2;  w -= rate m / (root sqrt(s) + eps).

    rate and scale hold what the mean and the square are divided by at step t: lr / (1 - b1^t), 1 / sqrt(1 - b2^t).
    """
    rate, first, second, scale, eps = constants[:5]
    mean = first * mean + (1 - first) * g
    square = second * square + (1 - second) * (g * g)
    return w - rate * mean / (scale * root(square) + eps), mean, square


RULES: dict[str, Callable[..., tuple[Array, ...]]] = {
    "sgd": sgd,
    "nesterov": nesterov,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adamw,
}
