"""Optimisers' steps, wherever the arrays lie: kernels in `cpu/update.py` and `cuda/update.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

from .cpu import update as cpu
from .cuda import update as cuda
from .layout import Array
from .namespace import elsewhere, on_device

Constants = Sequence[Callable[[], tuple[float, ...]]]


def update(rule: str, rows: Sequence[tuple[Array, ...]], constants: Constants) -> None:
    """Apply a rule in place.

    rows: weights, gradients and states of each parameter, dense, of equal strides and dtype and on one device;
    constants: for each what gives those of its rule for this step, or in a graph, before each launch, for the next.
    """
    if rows and on_device(rows[0][0]):
        with elsewhere(rows[0]) or nullcontext():
            cuda.update(rule, rows, constants)
    else:
        cpu.update(rule, rows, [each() for each in constants])
