"""Operators on one pixel, or one pixel's channels, from the definition."""

import numpy as np

from .arrays import Array, float64


def relu(x: Array) -> Array:
    """y = max(x, 0), elementwise; NaN stays NaN."""
    return np.maximum(float64(x), 0.0)


def add(x: Array, y: Array) -> Array:
    """z = x + y, elementwise."""
    return float64(x) + float64(y)


def relu_input(y: Array, grad: Array) -> Array:
    """dx = 0 where y <= 0, else grad: the gradient of `relu` from its result y (0 at 0; grad where y is NaN)."""
    return np.where(float64(y) <= 0, 0.0, float64(grad))


def channel_sum(x: Array) -> Array:
    """s[c] = sum over n,i,j of x[n,c,i,j]: the gradient of a bias. Shapes: x (N, C, H, W), s (C,)."""
    return float64(x).sum(axis=(0, 2, 3))


def bias_relu_input(y: Array, grad: Array) -> tuple[Array, Array]:
    """dx = relu_input(y, grad) and db[c] = sum over n,i,j of dx[n,c,i,j]: the gradients of y = relu(x + b)."""
    dx = relu_input(y, grad)
    return dx, channel_sum(dx)


def concatenate(xs: list[Array] | tuple[Array, ...]) -> Array:
    """y[n,:,i,j] = (xs[0][n,:,i,j], xs[1][n,:,i,j], ...): along the channels.

    Shapes: each (N, C_k, H, W); y (N, C_0 + C_1 + ..., H, W).
    """
    return np.concatenate([float64(x) for x in xs], axis=1)
