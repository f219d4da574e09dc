"""Operators on the channels of maps, channels-last ones (N, C, H, W) and planes (N, C, P) alike."""

from typing import Any

from ..namespace import namespace
from .pointwise import relu_input


def channel_sum(x: Any) -> Any:
    """y[c] = sum over n and the pixels of x[n,c,...], in float64."""
    return x.sum(axis=(0, *range(2, x.ndim)), dtype="float64").astype(x.dtype)


def bias_relu_input(y: Any, grad: Any) -> tuple[Any, Any]:
    """dx = relu_input(y, grad), and its sums over all but the channels."""
    dx = relu_input(y, grad)
    return dx, channel_sum(dx)


def concatenate(*xs: Any) -> Any:
    """Channels side by side."""
    return namespace(xs[0]).concatenate(xs, axis=1)
