"""Batch normalisation, from the definition."""

import numpy as np

from .arrays import Array, float64
from .pointwise import relu


def _each(values: Array) -> Array:
    """One number for each channel, beside maps."""
    return float64(values)[:, None, None]


def _scale(weight: Array | None, variance: Array, eps: float) -> Array:
    """weight[c] / sqrt(variance[c] + eps); NaN below 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = 1 / np.sqrt(float64(variance) + eps)
    return scale if weight is None else scale * float64(weight)


def batch_norm(
    x: Array,
    mean: Array,
    variance: Array,
    weight: Array | None,
    bias: Array | None,
    *,
    eps: float,
    activation: str | None,
) -> Array:
    """y[n,c,i,j] = f((x[n,c,i,j] - mean[c]) / sqrt(variance[c] + eps) weight[c] + bias[c]).

    Shapes: x and y (N, C, H, W), the others (C,); None for 1 and for 0. f: none, or ReLU.
    Source: Ioffe & Szegedy 2015, algorithm 2.
    """
    y = (float64(x) - _each(mean)) * _each(_scale(weight, variance, eps))
    y = y if bias is None else y + _each(bias)
    return relu(y) if activation == "relu" else y


def batch_norm_input(
    x: Array, mean: Array, variance: Array, weight: Array | None, grad: Array, *, eps: float
) -> tuple[Array, Array, Array]:
    """The gradients (dx, dweight, dbias) of `batch_norm` without activation, mean and variance being constants."""
    grad = float64(grad)
    normal = (float64(x) - _each(mean)) * _each(_scale(None, variance, eps))
    return grad * _each(_scale(weight, variance, eps)), (grad * normal).sum(axis=(0, 2, 3)), grad.sum(axis=(0, 2, 3))


def batch_norm_training(
    x: Array, weight: Array | None, bias: Array | None, *, eps: float, activation: str | None
) -> tuple[Array, Array, Array]:
    """(y, mean, variance): `batch_norm` with the mean and the variance of each channel of x, divided by N H W.

    Without pixels both are NaN. Source: Ioffe & Szegedy 2015, algorithm 1.
    """
    x = float64(x)
    count = x.size // x.shape[1] if x.size else 0
    if not count:
        unknown = np.full(x.shape[1], np.nan)
        return np.zeros(x.shape), unknown, unknown.copy()
    mean = x.sum(axis=(0, 2, 3)) / count
    variance = ((x - _each(mean)) ** 2).sum(axis=(0, 2, 3)) / count
    return batch_norm(x, mean, variance, weight, bias, eps=eps, activation=activation), mean, variance


def batch_norm_training_input(
    x: Array, mean: Array, variance: Array, weight: Array | None, grad: Array, *, eps: float
) -> tuple[Array, Array, Array]:
    """The gradients (dx, dweight, dbias) of `batch_norm_training` without activation.

    With r = 1 / sqrt(variance + eps), c = x - mean less its own mean (which is 0 but for rounding), q = c r:
    dbias = sum of grad, dweight = sum of grad q, dx = weight r (grad - dbias / (N H W) - q dweight / (N H W)).
    Source: Ioffe & Szegedy 2015, section 3.
    """
    grad, centred = float64(grad), float64(x) - _each(mean)
    count = max(1, x.size // max(1, x.shape[1]))
    centred = centred - _each(centred.sum(axis=(0, 2, 3)) / count)
    normal = centred * _each(_scale(None, variance, eps))
    dweight, dbias = (grad * normal).sum(axis=(0, 2, 3)), grad.sum(axis=(0, 2, 3))
    dx = _each(_scale(weight, variance, eps)) * (grad - _each(dbias / count) - normal * _each(dweight / count))
    return dx, dweight, dbias
