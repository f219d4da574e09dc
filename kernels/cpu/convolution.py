"""Convolution, direct: an implicit matrix product in register tiles, for all six sides of the operator.

What `correlate` computes is a correlation with a window that may start anywhere: the convolution itself is one, its
input gradient (and so a transposed convolution) with stride s is s x s small ones, one for each phase of the pixels it
writes. `correlate_weight` is the gradient with respect to the weight, of all of them.
"""

from math import gcd
from typing import Any

from ..layout import Array, Shape
from ..window import Pair, Sides
from . import machine, tile
from .correlation import Correlation, correlate
from .gradient import correlate_weight


def _phase(residue: int, kernel: int, stride: int, before: int, dilation: int) -> tuple[slice, int]:
    """The taps that reach output rows residue, residue + stride, ..., last tap first, and the input row of the first.

    Row residue + i * stride gets tap u from input row (residue + i * stride + before - u * dilation) / stride, where
    that is whole. Going up by stride / gcd taps goes down by dilation / gcd input rows: the taps are taken backwards.
    """
    step = stride // gcd(stride, dilation)
    taps = [u for u in range(kernel) if (residue + before - u * dilation) % stride == 0]
    if not taps:
        return slice(0, 0), 0
    last = taps[-1]
    return slice(last, None, -step), (residue + before - last * dilation) // stride


def direct(
    outputs: list[Array],
    x: Array,
    weight: Array,
    bias: Array | None,
    *,
    stride: Pair,
    padding: Sides,
    dilation: Pair,
    groups: int,
    activation: str | None,
) -> None:
    """conv2d: one correlation."""
    origin = (-padding[0][0], -padding[1][0])
    correlate([Correlation(outputs[0], weight, origin)], outputs[0], x, stride, dilation, groups, bias, activation)


def transpose(
    outputs: list[Array],
    x: Array,
    weight: Array,
    bias: Array | None,
    *,
    stride: Pair,
    padding: Sides,
    dilation: Pair,
    groups: int,
    activation: str | None,
    output_padding: Pair = (0, 0),
) -> None:
    """conv_transpose2d, the input gradient of a convolution: a correlation for each phase of the output."""
    filters, per_group, *kernel = weight.shape
    # (in, out / groups) -> (out, in / groups)
    turned = weight.reshape(groups, filters // groups, per_group, *kernel).swapaxes(1, 2)
    turned = turned.reshape(groups * per_group, filters // groups, *kernel)
    phases = []
    for a in range(min(stride[0], outputs[0].shape[2])):
        rows, top = _phase(a, kernel[0], stride[0], padding[0][0], dilation[0])
        for b in range(min(stride[1], outputs[0].shape[3])):
            columns, left = _phase(b, kernel[1], stride[1], padding[1][0], dilation[1])
            y = outputs[0][:, :, a :: stride[0], b :: stride[1]]
            start = a * outputs[0].strides[2] + b * outputs[0].strides[3]
            phases.append(Correlation(y, turned[:, :, rows, columns], (top, left), start))
    step = dilation[0] // gcd(stride[0], dilation[0]), dilation[1] // gcd(stride[1], dilation[1])
    correlate(phases, outputs[0], x, (1, 1), step, groups, bias, activation)


def direct_input(outputs: list[Array], shape: Shape, weight: Array, grad: Array, **parameters: Any) -> None:
    """conv2d_input: the transposed convolution of the gradient."""
    transpose(outputs, grad, weight, None, activation=None, **parameters)


def direct_weight(outputs: list[Array], x: Array, shape: Shape, grad: Array, **parameters: Any) -> None:
    """conv2d_weight."""
    correlate_weight(outputs[0], x, grad, **parameters)


def transpose_input(outputs: list[Array], shape: Shape, weight: Array, grad: Array, **parameters: Any) -> None:
    """conv_transpose2d_input: the convolution of the gradient."""
    direct(outputs, grad, weight, None, activation=None, **parameters)


def transpose_weight(outputs: list[Array], x: Array, shape: Shape, grad: Array, **parameters: Any) -> None:
    """conv_transpose2d_weight: that of the convolution which takes the gradient back to x."""
    correlate_weight(outputs[0], grad, x, **parameters)


def describe(first: Any, weight: Array, *arguments: Any, groups: int, **parameters: Any) -> str:
    """What `explain` says of a convolution."""
    vectors = machine.vectors()
    shape = tile.product_tile(vectors, weight.dtype, weight.shape[0] // groups)
    return f"in tiles of {shape.rows} pixels x {shape.columns} filters ({vectors.name}, {weight.dtype})"


def describe_turned(first: Any, weight: Array, *arguments: Any, groups: int, **parameters: Any) -> str:
    """What `explain` says of a transposed convolution."""
    (kh, kw), (vertical, horizontal) = weight.shape[2:], parameters["stride"]
    phases = f"{vertical} x {horizontal} correlations with parts of the {kh} x {kw} kernel"
    return f"{phases}, {describe(first, weight.swapaxes(0, 1), groups=1)}"


def describe_sums(x: Array, *arguments: Any, **parameters: Any) -> str:
    """What `explain` says of a weight gradient."""
    return f"in sums of outer products ({machine.vectors().name}, {x.dtype}), the pixels in splits added in order"
