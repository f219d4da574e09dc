"""Softmax over axis 1, its logarithm, and their gradients; the sums are float64."""

from typing import Any

from ..namespace import namespace


def softmax(x: Any) -> Any:
    """y = exp(x) / sum of exp(x)."""
    powers = namespace(x).exp(x - x.max(axis=1, keepdims=True))
    return powers * (1 / _total(powers)).astype(x.dtype)


def softmax_input(y: Any, grad: Any) -> Any:
    """dx = y (grad - sum of y grad)."""
    products = namespace(y).multiply(y, grad, dtype="float64")
    return y * (grad - _total(products).astype(y.dtype))


def log_softmax(x: Any) -> Any:
    """y = x - log(sum of exp(x))."""
    xp = namespace(x)
    below = x - x.max(axis=1, keepdims=True)
    return below - xp.log(_total(xp.exp(below))).astype(x.dtype)


def log_softmax_input(y: Any, grad: Any) -> Any:
    """dx = grad - exp(y) sum of grad."""
    return grad - namespace(y).exp(y) * _total(grad).astype(y.dtype)


def _total(values: Any) -> Any:
    return values.sum(axis=1, keepdims=True, dtype="float64")
