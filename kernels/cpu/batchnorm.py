"""Batch normalisation: sums over the pixels of each channel in float64, then one pass that scales and shifts."""

from typing import Any

import numpy as np

from ..layout import Array
from .channelwise import combine, sums


def batch_norm(
    outputs: list[Array],
    x: Array,
    mean: Array,
    variance: Array,
    weight: Array | None,
    bias: Array | None,
    *,
    eps: float,
    activation: str | None,
) -> None:
    """batch_norm."""
    with np.errstate(all="ignore"):  # what is not finite is the caller's, here and below
        _normalise(outputs[0], x, _double(mean), _scale(weight, variance, eps), bias, activation)


def batch_norm_training(
    outputs: list[Array], x: Array, weight: Array | None, bias: Array | None, *, eps: float, activation: str | None
) -> None:
    """batch_norm_training."""
    y, mean, variance = outputs
    if not x.size:
        mean[...] = variance[...] = np.nan
        return
    count = x.size // x.shape[1]
    # Sums of the distances from one of the numbers. It is at most sqrt(count variance) away from the mean, so the
    # difference below loses a factor of count at most, out of float64, however large the mean is.
    near = _double(x[0, :, 0, 0])
    near = np.where(np.isfinite(near), near, 0)
    with np.errstate(all="ignore"):
        total, squares = sums("moments", [x], [near])
        distance = total / count
        exact, spread = near + distance, np.maximum(squares / count - distance * distance, 0)
        mean[...], variance[...] = exact, spread
        _normalise(y, x, exact, _scale(weight, spread, eps), bias, activation)


def batch_norm_input(
    outputs: list[Array], x: Array, mean: Array, variance: Array, weight: Array | None, grad: Array, *, eps: float
) -> None:
    """batch_norm_input."""
    dx, dweight, dbias = outputs
    dweight[...] = dbias[...] = 0
    if not x.size:
        return
    with np.errstate(all="ignore"):
        constants = [_double(mean), _scale(weight, variance, eps)]
        total, products, _ = sums("scaled_products", [x, grad, dx], constants)
        dweight[...], dbias[...] = products * _scale(None, variance, eps), total


def batch_norm_training_input(
    outputs: list[Array], x: Array, mean: Array, variance: Array, weight: Array | None, grad: Array, *, eps: float
) -> None:
    """batch_norm_training_input: dx = a grad + b (x - mean) + c for each channel."""
    dx, dweight, dbias = outputs
    dweight[...] = dbias[...] = 0
    if not x.size:
        return
    count = x.size // x.shape[1]
    with np.errstate(all="ignore"):
        total, products, distances = sums("products", [x, grad], [_double(mean)])
        offset = distances / count  # of the true mean from the rounded one
        products -= offset * total
        inverse, a = _scale(None, variance, eps), _scale(weight, variance, eps)
        dweight[...], dbias[...] = products * inverse, total
        b = -a * inverse * inverse * products / count
        combine("gradient", [dx, x, grad], [a, b, _double(mean), -b * offset - a * total / count])


def _double(values: Array) -> Array:
    return values.astype(np.float64)


def _scale(weight: Array | None, variance: Array, eps: float) -> Array:
    """weight / sqrt(variance + eps), in float64."""
    scale = 1 / np.sqrt(_double(variance) + eps)
    return scale if weight is None else scale * weight


def _normalise(y: Array, x: Array, mean: Array, scale: Array, bias: Any, activation: str | None) -> None:
    """y = f((x - mean) scale + bias); what `mean` loses when it is rounded goes into the bias."""
    rounded = mean.astype(x.dtype)
    lost = np.where(rounded == mean, 0, (mean - rounded) * scale)
    combine(
        "affine",
        [y, x],
        [rounded, scale, (0 if bias is None else bias) - lost],
        rectified=activation == "relu",
    )
