"""Operators on one pixel, or one pixel's channels, from the definition."""

import numpy as np

from .arrays import Array, float64


def relu(x: Array) -> Array:
    """y = max(x, 0), elementwise; NaN stays NaN."""
    return np.maximum(float64(x), 0.0)


def leaky_relu(x: Array, *, negative_slope: float) -> Array:
    """y = x where x > 0, else negative_slope x."""
    x = float64(x)
    return np.where(x > 0, x, negative_slope * x)


def leaky_relu_input(x: Array, grad: Array, *, negative_slope: float) -> Array:
    """dx = grad where x > 0, else negative_slope grad: the gradient of `leaky_relu`."""
    grad = float64(grad)
    return np.where(float64(x) > 0, grad, negative_slope * grad)


def sigmoid(x: Array) -> Array:
    """y = 1 / (1 + exp(-x)), with no exponential of a positive number."""
    x = float64(x)
    exponential = np.exp(-abs(x))
    return np.where(x < 0, exponential, 1) / (1 + exponential)


def sigmoid_input(y: Array, grad: Array) -> Array:
    """dx = grad y (1 - y): the gradient of `sigmoid` from its result y."""
    y = float64(y)
    return float64(grad) * y * (1 - y)


def tanh(x: Array) -> Array:
    """y = (exp(x) - exp(-x)) / (exp(x) + exp(-x))."""
    return np.tanh(float64(x))


def tanh_input(y: Array, grad: Array) -> Array:
    """dx = grad (1 - y**2): the gradient of `tanh` from its result y."""
    y = float64(y)
    return float64(grad) * ((1 - y) * (1 + y))


def _mixed(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def dropout(x: Array, *, p: float, seed: int) -> Array:
    """y = x m / (1 - p), with m = 0 where u < p, else 1; u in [0, 1) from a generator, one for each number of x.

    The u are the upper 53 bits of SplitMix64's numbers after mixing the seed, in row-major order of the shape.
    Source: Srivastava et al. 2014; Steele, Lea & Flood, "Fast splittable pseudorandom number generators" (2014).
    """
    key = _mixed(np.array([seed], np.uint64))
    steps = np.arange(1, x.size + 1, dtype=np.uint64)
    numbers = _mixed(key + steps * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(11)
    kept = numbers.reshape(x.shape) / 2.0**53 >= p
    return float64(x) * np.where(kept, 1 / (1 - p) if p < 1 else 0, 0)


def add(x: Array, y: Array) -> Array:
    """z = x + y, elementwise."""
    return float64(x) + float64(y)


def relu_input(y: Array, grad: Array) -> Array:
    """dx = 0 where y <= 0, else grad: the gradient of `relu` from its result y (0 at 0; grad where y is NaN)."""
    return np.where(float64(y) <= 0, 0.0, float64(grad))


def channel_sum(x: Array) -> Array:
    """s[c] = sum over n,i,j of x[n,c,i,j]: the gradient of a bias. Shapes: x (N, C, ...), s (C,)."""
    return float64(x).sum(axis=(0, *range(2, x.ndim)))


def bias_relu_input(y: Array, grad: Array) -> tuple[Array, Array]:
    """dx = relu_input(y, grad) and db[c] = sum over n,i,j of dx[n,c,i,j]: the gradients of y = relu(x + b)."""
    dx = relu_input(y, grad)
    return dx, channel_sum(dx)


def concatenate(xs: list[Array] | tuple[Array, ...]) -> Array:
    """y[n,:,i,j] = (xs[0][n,:,i,j], xs[1][n,:,i,j], ...): along the channels.

    Shapes: each (N, C_k, H, W); y (N, C_0 + C_1 + ..., H, W).
    """
    return np.concatenate([float64(x) for x in xs], axis=1)
