"""Convolution, direct: an implicit matrix product in register tiles, for all six sides of the operator.

What `correlate` computes is a correlation with a window that may start anywhere: the convolution itself is one, its
input gradient (and so a transposed convolution) with stride s is s x s small ones, one for each phase of the pixels it
writes; phases of a row that see the same input pixels are filters of one. `correlate_weight` is the gradient with
respect to the weight, of all of them.
"""

from typing import Any

from ..layout import Array, Shape
from ..window import Pair, Window
from . import machine, tile
from .correlation import Again, correlate
from .gradient import correlate_weight
from .phases import phased, whole


def direct(
    outputs: list[Array],
    x: Array,
    weight: Array,
    bias: Array | None,
    *,
    groups: int,
    activation: str | None,
    **window: Any,
) -> Again:
    """conv2d: one correlation."""
    geometry = Window(weight.shape[2:], **window)
    again = correlate(whole, outputs[0], x, weight, geometry, groups, bias, activation)
    return lambda outputs, x, weight, bias: again(outputs[0], x, weight, bias)


def transpose(
    outputs: list[Array],
    x: Array,
    weight: Array,
    bias: Array | None,
    *,
    groups: int,
    activation: str | None,
    output_padding: Pair = (0, 0),
    **window: Any,
) -> Again:
    """conv_transpose2d, the input gradient of a convolution."""
    geometry = Window(weight.shape[2:], **window)
    again = correlate(phased, outputs[0], x, weight, geometry, groups, bias, activation)
    return lambda outputs, x, weight, bias: again(outputs[0], x, weight, bias)


def direct_input(outputs: list[Array], shape: Shape, weight: Array, grad: Array, **parameters: Any) -> Again:
    """conv2d_input: the transposed convolution of the gradient."""
    again = transpose(outputs, grad, weight, None, activation=None, **parameters)
    return lambda outputs, shape, weight, grad: again(outputs, grad, weight, None)


def direct_weight(outputs: list[Array], x: Array, shape: Shape, grad: Array, **parameters: Any) -> None:
    """conv2d_weight."""
    correlate_weight(outputs[0], x, grad, **parameters)


def transpose_input(outputs: list[Array], shape: Shape, weight: Array, grad: Array, **parameters: Any) -> Again:
    """conv_transpose2d_input: the convolution of the gradient."""
    again = direct(outputs, grad, weight, None, activation=None, **parameters)
    return lambda outputs, shape, weight, grad: again(outputs, grad, weight, None)


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
