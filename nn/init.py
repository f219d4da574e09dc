"""Random initial weights: where they come from, and how large they are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from .device import moved, where
from .tensor import Array, Tensor

Seed = np.random.Generator | int | None

_generator = np.random.default_rng(0)
_left = math.inf  # weights that may yet be drawn


def manual_seed(seed: int) -> None:
    """Restart the generator that initialisers draw from where they are given no `rng`. At import its seed is 0."""
    global _generator
    _generator = np.random.default_rng(seed)


def generator(rng: Seed = None) -> np.random.Generator:
    """`rng` itself, a new generator for an integer seed, or for None the one that `manual_seed` restarts."""
    return _generator if rng is None else np.random.default_rng(rng)


@contextmanager
def at_most(weights: int) -> Iterator[None]:
    """Within it, ValueError where more weights than these are drawn: before they take memory."""
    global _left
    before, _left = _left, weights
    try:
        yield
    finally:
        _left = before


def _count(weights: int) -> None:
    global _left
    if weights > _left:
        raise ValueError("it would have more weights than there are")
    _left -= weights


@contextmanager
def drawing(rng: np.random.Generator) -> Iterator[None]:
    """Within it, `rng` takes the place of the generator that `manual_seed` restarts."""
    global _generator
    before, _generator = _generator, rng
    try:
        yield
    finally:
        _generator = before


def he_normal_(weight: Tensor | Array, fan_in: float | None = None, rng: Seed = None) -> None:
    """w ~ N(0, 2 / fan_in), drawn in logical index order and written into `weight`, of any memory format or dtype.

    fan_in: how many inputs reach one output; by default that of a convolution's O I H W weight, I H W. With it the
    variance of the signal is kept through layers of ReLU: He, Zhang, Ren & Sun 2015, "Delving deep into rectifiers",
    equation 10.
    """
    array = weight.data if isinstance(weight, Tensor) else weight
    fan_in = math.prod(array.shape[1:]) if fan_in is None else fan_in
    if not fan_in > 0:
        raise ValueError(f"he_normal_: fan_in is {fan_in}; it must be positive (weight has shape {array.shape})")
    _count(array.size)
    rng, deviation = generator(rng), math.sqrt(2 / fan_in)
    for number in range(len(array)):  # one filter at a time: no copy of large weights in float64
        array[number] = moved(rng.standard_normal(array.shape[1:]) * deviation, where(array))
