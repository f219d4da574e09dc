"""Batch normalisation: statistics, differences from the mean and sums are float64."""

from typing import Any

from ..namespace import namespace
from .pointwise import relu

PIXELS = (0, 2, 3)  # the axes of sums


def batch_norm(x: Any, mean: Any, variance: Any, weight: Any, bias: Any, *, eps: float, activation: str | None) -> Any:
    """y = f((x - mean) weight / sqrt(variance + eps) + bias)."""
    return _affine(x - _each(mean), _scale(weight, variance, eps), bias, activation).astype(x.dtype)


def batch_norm_input(x: Any, mean: Any, variance: Any, weight: Any, grad: Any, *, eps: float) -> tuple[Any, Any, Any]:
    """dx, dweight and dbias of `batch_norm`."""
    dbias = grad.sum(axis=PIXELS, dtype="float64")
    normal = (x - _each(mean)) * _each(_scale(None, variance, eps))
    dweight = (grad * normal).sum(axis=PIXELS)
    dx = grad * _each(_scale(weight, variance, eps))
    return dx.astype(x.dtype), dweight.astype(x.dtype), dbias.astype(x.dtype)


def batch_norm_training(x: Any, weight: Any, bias: Any, *, eps: float, activation: str | None) -> tuple[Any, Any, Any]:
    """y, mean and variance, from distances from the first number of each channel."""
    xp = namespace(x)
    if not x.size:
        unknown = xp.full(x.shape[1], xp.nan, x.dtype)
        return xp.zeros_like(x), unknown, unknown
    near = x[0, :, 0, 0].astype("float64")
    near = xp.where(xp.isfinite(near), near, 0.0)
    distances = x - _each(near)
    mean = distances.mean(axis=PIXELS)
    distances -= _each(mean)
    variance = (distances * distances).mean(axis=PIXELS)
    y = _affine(distances, _scale(weight, variance, eps), bias, activation)
    return y.astype(x.dtype), (near + mean).astype(x.dtype), variance.astype(x.dtype)


def batch_norm_training_input(
    x: Any, mean: Any, variance: Any, weight: Any, grad: Any, *, eps: float
) -> tuple[Any, Any, Any]:
    """dx, dweight and dbias of `batch_norm_training`; x - mean is taken less its own mean."""
    dbias, count = grad.sum(axis=PIXELS, dtype="float64"), max(1, x.size // max(1, x.shape[1]))
    normal = x - _each(mean)
    normal -= _each(normal.sum(axis=PIXELS) / count)
    normal *= _each(_scale(None, variance, eps))
    dweight = (grad * normal).sum(axis=PIXELS)
    dx = grad - normal * _each(dweight / count) - _each(dbias / count)
    dx *= _each(_scale(weight, variance, eps))
    return dx.astype(x.dtype), dweight.astype(x.dtype), dbias.astype(x.dtype)


def _each(values: Any) -> Any:
    """One float64 number for each channel, beside maps."""
    return values.astype("float64")[:, None, None]


def _scale(weight: Any, variance: Any, eps: float) -> Any:
    """weight / sqrt(variance + eps), in float64."""
    scale = 1 / namespace(variance).sqrt(variance.astype("float64") + eps)
    return scale if weight is None else scale * weight


def _affine(centred: Any, scale: Any, bias: Any, activation: str | None) -> Any:
    y = centred * _each(scale)
    if bias is not None:
        y += _each(bias)
    return relu(y) if activation == "relu" else y
