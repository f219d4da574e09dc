"""The six operators of convolution from two functions: a correlation, turned or not, and the gradient of its weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..layout import Array, Shape, plane
from ..window import Pair, Window

Again = Callable[..., None] | None


@dataclass(frozen=True)
class Sides:
    """The launchers of the six, and what `explain` says of them.

    correlate: (output, x, weight, bias, window, groups, activation, turned=) writes act(b + A x) or, turned,
    act(b + A' x), A being the convolution with `weight`. correlate_weight: (output, x, grad, window, groups) writes the
    gradient of the convolution's weight. Both may return how to do so again, (output, x, weight, bias) and (output, x,
    grad), as `op.Variant` says. describe, describe_weight: of the same with the shape of the output.
    """

    correlate: Callable[..., Again]
    correlate_weight: Callable[..., Again]
    describe: Callable[..., str]
    describe_weight: Callable[..., str]

    def direct(
        self,
        outputs: list[Array],
        x: Array,
        weight: Array,
        bias: Array | None,
        *,
        groups: int,
        activation: str | None,
        **geometry: Any,
    ) -> Again:
        """conv2d."""
        window = Window(weight.shape[2:], **geometry)
        again = self.correlate(outputs[0], x, weight, bias, window, groups, activation, turned=False)
        return again and (lambda outputs, x, weight, bias: again(outputs[0], x, weight, bias))

    def transpose(
        self,
        outputs: list[Array],
        x: Array,
        weight: Array,
        bias: Array | None,
        *,
        groups: int,
        activation: str | None,
        output_padding: Pair = (0, 0),
        **geometry: Any,
    ) -> Again:
        """conv_transpose2d."""
        window = Window(weight.shape[2:], **geometry)
        again = self.correlate(outputs[0], x, weight, bias, window, groups, activation, turned=True)
        return again and (lambda outputs, x, weight, bias: again(outputs[0], x, weight, bias))

    def direct_input(self, outputs: list[Array], shape: Shape, weight: Array, grad: Array, **parameters: Any) -> Again:
        """conv2d_input: the transposed convolution of the gradient."""
        again = self.transpose(outputs, grad, weight, None, activation=None, **parameters)
        return again and (lambda outputs, shape, weight, grad: again(outputs, grad, weight, None))

    def transpose_input(
        self, outputs: list[Array], shape: Shape, weight: Array, grad: Array, **parameters: Any
    ) -> Again:
        """conv_transpose2d_input: the convolution of the gradient."""
        again = self.direct(outputs, grad, weight, None, activation=None, **parameters)
        return again and (lambda outputs, shape, weight, grad: again(outputs, grad, weight, None))

    def direct_weight(
        self, outputs: list[Array], x: Array, shape: Shape, grad: Array, *, groups: int, **geometry: Any
    ) -> Again:
        """conv2d_weight."""
        again = self.correlate_weight(outputs[0], x, grad, Window(plane(shape), **geometry), groups)
        return again and (lambda outputs, x, shape, grad: again(outputs[0], x, grad))

    def transpose_weight(self, outputs: list[Array], x: Array, shape: Shape, grad: Array, **parameters: Any) -> Again:
        """conv_transpose2d_weight: that of the convolution which takes the gradient back to x."""
        again = self.direct_weight(outputs, grad, shape, x, **parameters)
        return again and (lambda outputs, x, shape, grad: again(outputs, grad, shape, x))

    def describe_direct(self, x: Array, weight: Array, *arguments: Any, groups: int, **parameters: Any) -> str:
        """Of conv2d."""
        window = Window(weight.shape[2:], **geometry_of(parameters))
        shape = (x.shape[0], weight.shape[0], *window.output_size(x.shape[2:]))
        return self.describe(shape, x, weight, window, groups, turned=False)

    def describe_transpose(self, x: Array, weight: Array, *arguments: Any, groups: int, **parameters: Any) -> str:
        """Of conv_transpose2d."""
        window = Window(weight.shape[2:], **geometry_of(parameters))
        size = window.transposed_size(x.shape[2:], parameters["output_padding"])
        return self.describe((x.shape[0], weight.shape[1] * groups, *size), x, weight, window, groups, turned=True)

    def describe_direct_input(self, shape: Shape, weight: Array, grad: Array, *, groups: int, **geometry: Any) -> str:
        """Of conv2d_input."""
        return self.describe(shape, grad, weight, Window(weight.shape[2:], **geometry), groups, turned=True)

    def describe_transpose_input(
        self, shape: Shape, weight: Array, grad: Array, *, groups: int, **geometry: Any
    ) -> str:
        """Of conv_transpose2d_input."""
        return self.describe(shape, grad, weight, Window(weight.shape[2:], **geometry), groups, turned=False)

    def describe_direct_weight(self, x: Array, shape: Shape, grad: Array, *, groups: int, **geometry: Any) -> str:
        """Of conv2d_weight."""
        return self.describe_weight(shape, x, grad, groups)

    def describe_transpose_weight(self, x: Array, shape: Shape, grad: Array, *, groups: int, **geometry: Any) -> str:
        """Of conv_transpose2d_weight."""
        return self.describe_weight(shape, grad, x, groups)


def declines_pointwise(first: Any, second: Any, *others: Any, groups: int, **parameters: Any) -> str | None:
    """Why a library's matrix product is better: of a convolution or its gradients, each pixel is a window."""
    shape = second if isinstance(second, tuple) else second.shape
    if groups > 1 or not Window(shape[2:], **geometry_of(parameters)).pointwise:
        return None
    return "each pixel is a window of its own, and the base's matrix product is of the same precision"


def geometry_of(parameters: dict[str, Any]) -> dict[str, Any]:
    """Of a variant's parameters those of its window."""
    return {name: parameters[name] for name in ("stride", "padding", "dilation")}
