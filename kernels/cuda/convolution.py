"""Convolution on tensor cores: an implicit matrix product, for all six sides of the operator.

A convolution, and the input gradient of a transposed one, is one correlation; a transposed convolution, and the input
gradient of one, is a correlation for each phase of the pixels it writes (`convolution.cu`). The gradient with respect
to the weight is a product over pixels, in splits (`convolution_weight.cu`).

products: 1 for TF32; 3 for float32, each number being two of TF32 (an infinite one gives NaN).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import ceil, gcd, prod
from typing import Any

import numpy as np

from ..layout import Array, Shape, channels_last
from ..namespace import namespace
from ..window import Window
from .blocking import DEPTH, Plan, plan
from .device import no_tensor_cores, shared_memory
from .module import kernel
from .reach import too_far
from .sides import Sides
from .splits import add_splits
from .strides import dense, neighbours, strides, vector_of

LARGEST = 2**31
TYPES = {np.int32: "int", np.int64: "i64"}


def refuses(first: Any, second: Any, *others: Any, **window: Any) -> str | None:
    """Why tensor cores cannot serve."""
    dtype = next(each.dtype for each in (first, second) if hasattr(each, "dtype"))
    if dtype != np.float32:
        return f"its products are of float32, not of {dtype}"
    return no_tensor_cores() or too_far(first, second, *others, **window)


@dataclass(frozen=True)
class Correlation:
    """A correlation's product: the pixels of a phase, at most, the phases of all groups, and how it is computed."""

    pixels: int
    phases: int
    across: int  # 1 where the filters' numbers of one tap and channel lie side by side
    vector: int
    plan: Plan


def correlation(
    output: Shape, x: Array, weight: Array, window: Window, groups: int, turned: bool, products: int
) -> Correlation:
    """What the arrays allow, and what was chosen."""
    stride = window.stride if turned else (1, 1)
    channels, filters = x.shape[1] // groups, output[1] // groups
    across = int(not neighbours(weight, 0 if turned else 1))
    x_apart, apart = strides(x), strides(weight)
    group = weight.shape[0] // groups * apart[0]
    inner = int(turned) ^ 1 ^ across  # the axis of the weight whose numbers are copied together
    vector = min(
        vector_of(x, channels, x_apart[0], *x_apart[2:]),
        vector_of(weight, filters if across else channels, group, apart[1 - inner], *apart[2:]),
    )
    pixels = output[0] * ceil(output[2] / stride[0]) * ceil(output[3] / stride[1])
    skips = [step // gcd(step, dilation) for step, dilation in zip(stride, window.dilation, strict=True)]
    taps = ceil(weight.shape[2] / skips[0]) * ceil(weight.shape[3] / skips[1])  # of a phase, at most
    phases = prod(stride) * groups
    chosen = plan(pixels, filters, taps * channels, phases, products, vector)
    return Correlation(pixels, phases, across, vector, chosen.within(shared_memory()))


def offsets_of(window: Window, *maps: Array) -> Any:
    """The type of distances within the maps and their padding."""
    around = [sum(sides) + extent for sides, extent in zip(window.padding, window.extent, strict=True)]
    for each in maps:
        lengths = [length + more for length, more in zip(each.shape, (0, 0, *around), strict=True)]
        if sum(abs(apart) * length for apart, length in zip(strides(each), lengths, strict=True)) >= LARGEST:
            return np.int64
    return np.int32


def correlate(
    output: Array,
    x: Array,
    weight: Array,
    bias: Array | None,
    window: Window,
    groups: int,
    activation: str | None,
    *,
    turned: bool,
    products: int,
) -> Callable[..., None]:
    """y = act(b + A x) or, `turned`, act(b + A' x), A being the convolution with `weight`. Gives back how to do so."""
    xp, shape = namespace(x), output.shape
    arranged = neighbours(weight, 0) or neighbours(weight, 1)
    weight = weight if arranged else channels_last(weight)
    chosen = correlation(shape, x, weight, window, groups, turned, products)
    tile, splits = chosen.plan.tile, chosen.plan.splits
    n, k, rows, columns = shape
    channels, filters = x.shape[1] // groups, k // groups
    parts = output if splits == 1 else xp.empty((n, rows, columns, k), output.dtype).transpose(0, 3, 1, 2)
    x_apart, apart, y_apart = strides(x), strides(weight), strides(parts)
    filter_apart, channel_apart = (apart[1], apart[0]) if turned else apart[:2]
    offset = offsets_of(window, x, weight, parts)
    run = kernel(
        "convolution.cu",
        "correlate",
        **tile.defines,
        PRODUCTS=products,
        VECTOR=chosen.vector,
        TURNED=chosen.across,
        PHASED=int(turned),
        WHOLE=int(channels % DEPTH == 0 and chosen.vector > 1),
        OFFSET=TYPES[offset],
    )
    blocks = chosen.plan.blocks(chosen.pixels, filters, chosen.phases)
    numbers = [
        *map(offset, (x_apart[0], *x_apart[2:])),
        *map(offset, (filter_apart, channel_apart, *apart[2:], weight.shape[0] // groups * apart[0])),
        *map(offset, (y_apart[0], *y_apart[2:])),
        np.int64(prod(shape)),
        *map(np.int32, (n, *x.shape[2:], rows, columns, channels, filters, groups)),
        *geometry(window),
        *map(np.int32, (ceil(chosen.pixels / tile.rows), chosen.plan.steps)),
        *map(np.int32, (bias is not None and splits == 1, activation == "relu" and splits == 1)),
        np.int32(vector_of(parts, filters, y_apart[0], *y_apart[2:]) > 1),
    ]

    def again(output: Array, x: Array, weight: Array, bias: Array | None) -> None:
        weight = weight if arranged else channels_last(weight)
        parts = output if splits == 1 else xp.empty((splits, *shape), output.dtype)
        run(blocks, tile.threads, x, weight, dense(bias), parts, *numbers, shared=tile.shared)
        if splits > 1:
            add_splits(output, parts, bias, activation, splits)

    again(output, x, weight, bias)
    return again


def geometry(window: Window) -> list[np.int32]:
    """What a kernel is told of a window."""
    (top, _), (left, _) = window.padding
    return [np.int32(number) for number in (*window.kernel, *window.stride, *window.dilation, top, left)]


def divisor(number: int) -> tuple[np.uint32, np.int32]:
    """By what a kernel multiplies and shifts to divide by a number: `Divisor` of order.cuh."""
    shift = (number - 1).bit_length()
    return np.uint32(-(-(1 << 31 + shift) // number)), np.int32(shift)


@dataclass(frozen=True)
class Sums:
    """A weight gradient's product: how its maps are copied, and how it is computed."""

    x_vector: int
    grad_vector: int
    plan: Plan


def sums(shape: Shape, x: Array, grad: Array, groups: int, products: int) -> Sums:
    """What the arrays allow, and what was chosen."""
    x_apart, grad_apart = strides(x), strides(grad)
    x_vector = vector_of(x, shape[1], x_apart[0], *x_apart[2:])
    grad_vector = vector_of(grad, shape[0] // groups, grad_apart[0], *grad_apart[2:])
    pixels = grad.shape[0] * prod(grad.shape[2:])
    chosen = plan(shape[0] // groups, prod(shape[1:]), pixels, groups, products, min(x_vector, grad_vector))
    return Sums(x_vector, grad_vector, chosen.within(shared_memory()))


def correlate_weight(
    output: Array, x: Array, grad: Array, window: Window, groups: int, *, products: int
) -> Callable[..., None]:
    """dw[k,c,u,v] = sum over n,i,j of grad[n,k,i,j] x[n, c, i s - pad + u d, j s - pad + v d]. As `correlate`."""
    xp = namespace(x)
    chosen = sums(output.shape, x, grad, groups, products)
    tile, splits = chosen.plan.tile, chosen.plan.splits
    filters, channels, rows, columns = output.shape
    numbers = prod(output.shape[1:])
    apart, x_apart, grad_apart = strides(output), strides(x), strides(grad)
    side_by_side = neighbours(output, 1) and apart[2:] == (columns * channels * (rows > 1), channels * (columns > 1))
    straight = splits == 1 and side_by_side
    filter_apart = apart[0] if straight else numbers
    vectors = numbers % 4 == 0 and (not straight or vector_of(output, numbers, filter_apart) > 1)
    offset = offsets_of(window, x, grad)
    run = kernel(
        "convolution_weight.cu",
        "correlate_weight",
        **tile.defines,
        PRODUCTS=products,
        VECTOR_X=chosen.x_vector,
        VECTOR_G=chosen.grad_vector,
        OFFSET=TYPES[offset],
    )
    blocks = chosen.plan.blocks(filters // groups, numbers, groups)
    values = [
        *map(offset, (x_apart[0], *x_apart[2:], grad_apart[0], *grad_apart[2:])),
        *map(np.int64, (filter_apart, filters * numbers)),
        *map(np.int32, (grad.shape[0], *x.shape[2:], *grad.shape[2:], channels, filters // groups, groups)),
        *geometry(window),
        *divisor(grad.shape[3]),
        *divisor(prod(grad.shape[2:])),
        *map(np.int32, (chosen.plan.steps * DEPTH, vectors)),
    ]

    def again(output: Array, x: Array, grad: Array) -> None:
        parts = output if straight else xp.empty((splits, filters, numbers), output.dtype)
        run(blocks, tile.threads, x, grad, parts, *values, shared=tile.shared)
        if not straight:
            add_splits(output, parts, None, None, splits)

    again(output, x, grad)
    return again


def describe(
    output: Shape, x: Array, weight: Array, window: Window, groups: int, *, turned: bool, products: int
) -> str:
    """What `explain` says of a correlation."""
    chosen = correlation(output, x, weight, window, groups, turned, products)
    phases = chosen.phases // groups
    return f"{_products(products)}, {chosen.plan}" + f", {phases} phases" * (phases > 1)


def describe_weight(shape: Shape, x: Array, grad: Array, groups: int, *, products: int) -> str:
    """What `explain` says of the weight's gradient."""
    return f"{_products(products)}, {sums(shape, x, grad, groups, products).plan}"


def _products(products: int) -> str:
    return "products of TF32" if products == 1 else f"{products} products of TF32 for one of float32"


def _sides(products: int) -> Sides:
    functions: list[Any] = [correlate, correlate_weight, describe, describe_weight]
    return Sides(*(partial(function, products=products) for function in functions))


tf32, fp32x3 = _sides(1), _sides(3)
