"""Optimisers' steps: all parameters of a model in one pass over memory.

A rule says what becomes of one weight w and its state, from its gradient g. Of every parameter the weights, gradients
and states lie in the same order; a table has a row of addresses for each, and threads claim chunks of them.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numba
import numpy as np

from ..layout import Array
from .jit import VIEWS, claim, integers, kernel
from .parallel import SMALL, run

CHUNK = 16384  # numbers
COLUMNS = 6  # of the table: addresses of weights, gradients and two states, numbers, chunks before
CONSTANTS = 6  # of a rule, at most


@numba.njit(inline="always")
def sgd(w, g, velocity, unused, constants):  # type: ignore[no-untyped-def]
    """v = momentum v + g + decay w;  w -= rate v."""
    rate, momentum, decay = constants[0], constants[1], constants[2]
    velocity = momentum * velocity + (g + decay * w)
    return w - rate * velocity, velocity, unused


@numba.njit(inline="always")
def nesterov(w, g, velocity, unused, constants):  # type: ignore[no-untyped-def]
    """g += decay w;  v = momentum v + g;  w -= rate (g + momentum v)."""
    rate, momentum, decay = constants[0], constants[1], constants[2]
    g = g + decay * w
    velocity = momentum * velocity + g
    return w - rate * (g + momentum * velocity), velocity, unused


@numba.njit(inline="always")
def adagrad(w, g, total, unused, constants):  # type: ignore[no-untyped-def]
    """g += decay w;  s += g^2;  w -= rate g / (sqrt(s) + eps)."""
    rate, eps, decay = constants[0], constants[1], constants[2]
    g = g + decay * w
    total = total + g * g
    return w - rate * g / (np.sqrt(total) + eps), total, unused


@numba.njit(inline="always")
def rmsprop(w, g, square, velocity, constants):  # type: ignore[no-untyped-def]
    """g += decay w;  s = a s + (1 - a) g^2;  v = momentum v + g / (sqrt(s) + eps);  w -= rate v."""
    rate, alpha, eps, momentum, decay = constants[0], constants[1], constants[2], constants[3], constants[4]
    g = g + decay * w
    square = alpha * square + (1 - alpha) * (g * g)
    velocity = momentum * velocity + g / (np.sqrt(square) + eps)
    return w - rate * velocity, square, velocity


@numba.njit(inline="always")
def adam(w, g, mean, square, constants):  # type: ignore[no-untyped-def]
    """g += decay w, then `_adam`."""
    return _adam(w, g + constants[5] * w, mean, square, constants)


@numba.njit(inline="always")
def adamw(w, g, mean, square, constants):  # type: ignore[no-untyped-def]
    """w -= decay w, then `_adam`."""
    return _adam(w - constants[5] * w, g, mean, square, constants)


@numba.njit(inline="always")
def _adam(w, g, mean, square, constants):  # type: ignore[no-untyped-def]
    """m = b1 m + (1 - b1) g;  s = b2 s + (1 - b2) g^2;  w -= rate m / (root sqrt(s) + eps).

    rate and root hold what the mean and the square are divided by at step t: lr / (1 - b1^t), 1 / sqrt(1 - b2^t).
    """
    rate, first, second, root, eps = constants[0], constants[1], constants[2], constants[3], constants[4]
    mean = first * mean + (1 - first) * g
    square = second * square + (1 - second) * (g * g)
    return w - rate * mean / (root * np.sqrt(square) + eps), mean, square


RULES: dict[str, tuple[Callable[..., Any], int]] = {  # and the states each has
    "sgd": (sgd, 1),
    "nesterov": (nesterov, 1),
    "adagrad": (adagrad, 1),
    "rmsprop": (rmsprop, 2),
    "adam": (adam, 2),
    "adamw": (adamw, 2),
}


def update(rule: str, rows: Sequence[tuple[Array, ...]], constants: Sequence[tuple[float, ...]]) -> None:
    """Apply a rule in place. rows: weights, gradients and states of each parameter, dense and of equal strides and
    dtype; constants: of its rule.
    """
    states = RULES[rule][1]
    for dtype in {row[0].dtype for row in rows}:
        mine = [number for number, row in enumerate(rows) if row[0].dtype == dtype and row[0].size]
        table = np.zeros((len(mine), COLUMNS), np.int64)
        values = np.zeros((len(mine), CONSTANTS), dtype)
        chunks = 0
        for at, number in enumerate(mine):
            row = rows[number]
            table[at, : 2 + states] = [each.ctypes.data for each in row]
            table[at, 4:] = row[0].size, chunks
            values[at, : len(constants[number])] = constants[number]
            chunks += -(-row[0].size // CHUNK)
        small = int(table[:, 4].sum()) * dtype.itemsize < SMALL
        run(_compiled(rule, dtype), chunks, table.ctypes.data, len(mine), values.ctypes.data, small=small)


@cache
def _compiled(rule: str, dtype: np.dtype) -> Any:
    step, states = RULES[rule]
    view, SIZE, TWO = VIEWS[dtype.name], dtype.itemsize, states > 1

    @kernel(f"update_{rule}-{dtype}")
    def update(work, scratch, count, table, rows, constants):  # type: ignore[no-untyped-def]
        row = 0
        chunk = claim(work)
        while chunk < count:
            while row + 1 < rows and integers(table + (row + 1) * 8 * COLUMNS, COLUMNS)[5] <= chunk:
                row += 1  # a thread's chunks only grow
            of = integers(table + row * 8 * COLUMNS, COLUMNS)
            first = (chunk - of[5]) * CHUNK
            some = min(CHUNK, of[4] - first)
            c = view(constants + row * CONSTANTS * SIZE, CONSTANTS)
            values = (c[0], c[1], c[2], c[3], c[4], c[5])
            w, g = view(of[0] + first * SIZE, some), view(of[1] + first * SIZE, some)
            a = view(of[2] + first * SIZE, some)
            if TWO:
                b = view(of[3] + first * SIZE, some)
                for i in range(some):
                    w[i], a[i], b[i] = step(w[i], g[i], a[i], b[i], values)
            else:
                for i in range(some):
                    w[i], a[i], _ = step(w[i], g[i], a[i], a[i], values)
            chunk = claim(work)

    return update
