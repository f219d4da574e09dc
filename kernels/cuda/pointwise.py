"""Operators that look at one number at a time, on a GPU: one kernel over memory, whatever format maps have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..cpu.elementwise import Runs, runs
from ..cpu.pointwise import mix
from ..layout import Array
from ..namespace import address
from .maps import start
from .strides import NUMBERS, WIDEST

SOURCE = "pointwise.cu"
FULL = 2**17  # vectors from which threads take several: fewer would leave some of a GPU's processors without any
UNROLL = {False: 4, True: 2}  # vectors of a thread, with one input and with two


def relu(outputs: list[Array], x: Array) -> None:
    """relu."""
    _apply("relu", outputs[0], [x])


def relu_input(outputs: list[Array], y: Array, grad: Array) -> None:
    """relu_input."""
    _apply("relu_input", outputs[0], [y, grad])


def leaky_relu(outputs: list[Array], x: Array, *, negative_slope: float) -> None:
    """leaky_relu."""
    _apply("leaky_relu", outputs[0], [x], negative_slope)


def leaky_relu_input(outputs: list[Array], x: Array, grad: Array, *, negative_slope: float) -> None:
    """leaky_relu_input."""
    _apply("leaky_relu_input", outputs[0], [x, grad], negative_slope)


def sigmoid(outputs: list[Array], x: Array) -> None:
    """sigmoid."""
    _apply("sigmoid", outputs[0], [x])


def sigmoid_input(outputs: list[Array], y: Array, grad: Array) -> None:
    """sigmoid_input."""
    _apply("sigmoid_input", outputs[0], [y, grad])


def tanh(outputs: list[Array], x: Array) -> None:
    """tanh."""
    _apply("tanh_of", outputs[0], [x])


def tanh_input(outputs: list[Array], y: Array, grad: Array) -> None:
    """tanh_input."""
    _apply("tanh_input", outputs[0], [y, grad])


def add(outputs: list[Array], x: Array, y: Array) -> None:
    """add."""
    _apply("add", outputs[0], [x, y])


def copy(y: Array, x: Array) -> None:
    """y[...] = x[...], channels-last maps of one shape."""
    _apply("copy", y, [x])


def concatenate(outputs: list[Array], *xs: Array) -> None:
    """concatenate: copy each input into its channels."""
    start = 0
    for x in xs:
        if x.size:
            copy(outputs[0][:, start : start + x.shape[1]], x)
        start += x.shape[1]


def _apply(name: str, y: Array, xs: list[Array], parameter: float = 0.0) -> None:
    """Every number of y from those of one or two maps in its place; y may be one of them."""
    arrays = [y, xs[0], xs[-1]]
    each = runs(arrays)
    flat = each.count == 1
    wide = _lanes(each, arrays, ragged=flat)
    vectors = each.count * each.length // wide
    unroll = UNROLL[len(xs) > 1] if vectors >= FULL else 1
    start(
        SOURCE,
        "apply",
        vectors,
        *arrays,
        y.dtype.type(parameter),
        each.count * each.length % wide,
        *(() if flat else _steps(each, wide, arrays)),
        each=unroll,
        NUMBER=NUMBERS[y.dtype],
        LANES=wide,
        APPLY=name,
        BINARY=len(xs) - 1,
        RUNS=int(not flat),
        UNROLL=unroll,
    )


def dropout(outputs: list[Array], x: Array, *, p: float, seed: int) -> None:
    """dropout, and its gradient: a number is kept where the upper 53 bits of its random number reach p 2**53."""
    channels, pixels = x.shape[1], x.shape[2] * x.shape[3]
    scattered = channels > 1 and pixels > 1  # neighbours in memory are `pixels` apart in the logical array
    arrays = [outputs[0], x]
    each, flat = runs(arrays, pixels=scattered), runs(arrays).count == 1
    wide = _lanes(each, arrays)
    length, *others = _steps(each, wide, arrays)
    start(
        SOURCE,
        "dropout",
        each.count * each.length // wide,
        *arrays,
        x.dtype.type(1 / (1 - p) if p < 1 else 0),
        np.uint64(mix(seed)),
        np.int64(-int(-p * 2**53 // 1)),
        np.int64(pixels if scattered else 1),
        length,
        *(() if flat else others),
        NUMBER=NUMBERS[x.dtype],
        LANES=wide,
        APPLY="copy",
        BINARY=0,
        RUNS=int(not flat),
        UNROLL=1,
    )


def _lanes(each: Runs, arrays: Sequence[Array], *, ragged: bool = False) -> int:
    """Numbers that a thread takes at once; ragged: the last of a run may be fewer."""
    count = WIDEST // arrays[0].itemsize
    apart = {step for steps in each.steps for step in steps} | {address(array) for array in arrays}
    while (
        count > each.length
        or (each.length % count and not ragged)
        or any(a % (count * arrays[0].itemsize) for a in apart)
    ):
        count //= 2
    return count


def _steps(each: Runs, wide: int, arrays: Sequence[Array]) -> tuple[Any, ...]:
    """Vectors of a run, runs on the last two axes, and the elements from one to the next, by array and axis."""
    size = arrays[0].itemsize
    elements = [step // size for steps in each.steps for step in steps]
    return tuple(np.int64(value) for value in (each.length // wide, *each.counts[1:], *elements))
