"""Losses that compare two arrays number by number; differences, losses and sums are float64."""

from typing import Any

from ..namespace import namespace


def l1_loss(x: Any, target: Any, *, reduction: str) -> Any:
    """Sum, or mean, of |x - target|."""
    return _reduced(abs(_difference(x, target)), reduction, x.dtype)


def l1_loss_input(x: Any, target: Any, *, reduction: str) -> Any:
    """dx = sign(x - target), over the count for the mean; 0 for NaN."""
    return ((x > target).astype(x.dtype) - (x < target).astype(x.dtype)) / _count(x, reduction)


def mse_loss(x: Any, target: Any, *, reduction: str) -> Any:
    """Sum, or mean, of (x - target)^2."""
    difference = _difference(x, target)
    return _reduced(difference * difference, reduction, x.dtype)


def mse_loss_input(x: Any, target: Any, *, reduction: str) -> Any:
    """dx = 2 (x - target), over the count for the mean."""
    return (_difference(x, target) * (2 / _count(x, reduction))).astype(x.dtype)


def binary_cross_entropy_with_logits(x: Any, target: Any, weight: Any, pos_weight: Any, *, reduction: str) -> Any:
    """Sum, or mean, of weight ((1 - t) log(1 + exp(x)) + pos_weight t log(1 + exp(-x))), t being target."""
    xp, wide = namespace(x), x.astype("float64")
    no, yes = _weighted(target, weight, pos_weight)
    tail = xp.log1p(xp.exp(-abs(wide)))
    return _reduced(no * (xp.maximum(wide, 0) + tail) + yes * (xp.maximum(-wide, 0) + tail), reduction, x.dtype)


def binary_cross_entropy_with_logits_input(x: Any, target: Any, weight: Any, pos_weight: Any, *, reduction: str) -> Any:
    """dx = weight ((1 - t) s(x) - pos_weight t s(-x)), over the count for the mean."""
    xp = namespace(x)
    no, yes = _weighted(target, weight, pos_weight)
    small = xp.exp(-abs(x.astype("float64")))
    large = 1 / (1 + small)
    small *= large
    gradient = no * xp.where(x < 0, small, large) - yes * xp.where(x < 0, large, small)
    return (gradient / _count(x, reduction)).astype(x.dtype)


def _difference(x: Any, target: Any) -> Any:
    return namespace(x).subtract(x, target, dtype="float64")


def _count(x: Any, reduction: str) -> int:
    return max(1, x.size) if reduction == "mean" else 1


def _reduced(losses: Any, reduction: str, dtype: Any) -> Any:
    total = losses.sum()
    return (total / losses.size if reduction == "mean" else total).astype(dtype)


def _weighted(target: Any, weight: Any, pos_weight: Any) -> tuple[Any, Any]:
    """What the loss costs per unit of log(1 + exp(x)) and of log(1 + exp(-x))."""
    target = target.astype("float64")
    no, yes = 1 - target, target if pos_weight is None else target * pos_weight
    return (no, yes) if weight is None else (no * weight, yes * weight)
