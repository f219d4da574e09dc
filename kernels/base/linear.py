"""The fully connected layer: products of matrices, which CuPy hands to cuBLAS."""

from typing import Any

from .pointwise import relu
from .products import matmul


def linear(x: Any, weight: Any, bias: Any, *, activation: str | None) -> Any:
    """y = f(x weight' + bias)."""
    return finished(matmul(x, weight.T), bias, activation)


def linear_input(weight: Any, grad: Any) -> Any:
    """dx = grad weight."""
    return matmul(grad, weight)


def linear_weight(x: Any, grad: Any) -> Any:
    """dweight = grad' x."""
    return matmul(grad.T, x)


def linear_bias(grad: Any) -> Any:
    """dbias[k] = sum over m of grad[m,k], in float64."""
    return grad.sum(axis=0, dtype="float64").astype(grad.dtype)


def finished(y: Any, bias: Any, activation: str | None) -> Any:
    """f(y + bias), the channels of y on its last axis; y may be overwritten."""
    if bias is not None:
        y += bias
    return relu(y) if activation == "relu" else y
