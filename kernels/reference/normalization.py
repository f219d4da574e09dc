"""Softmax and its logarithm, from the definition."""

import numpy as np

from .arrays import Array, float64


def softmax(x: Array) -> Array:
    """p[n,k,i,j] = exp(x[n,k,i,j]) / sum over l of exp(x[n,l,i,j]). Shapes: x and p (N, K, ...)."""
    x = float64(x)
    exponentials = np.exp(x - x.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def softmax_input(y: Array, grad: Array) -> Array:
    """dx[n,k,i,j] = y[n,k,i,j] (grad[n,k,i,j] - sum over l of y[n,l,i,j] grad[n,l,i,j]), y being softmax(x)."""
    y, grad = float64(y), float64(grad)
    return y * (grad - (y * grad).sum(axis=1, keepdims=True))


def log_softmax(x: Array) -> Array:
    """y[n,k,i,j] = x[n,k,i,j] - log(sum over l of exp(x[n,l,i,j])). Shapes: x and y (N, K, ...)."""
    x = float64(x)
    shifted = x - x.max(axis=1, keepdims=True)  # so that exp never overflows and its sum is at least 1
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def log_softmax_input(y: Array, grad: Array) -> Array:
    """dx[n,k,i,j] = grad[n,k,i,j] - exp(y[n,k,i,j]) sum over l of grad[n,l,i,j], y being log_softmax(x)."""
    y, grad = float64(y), float64(grad)
    return grad - np.exp(y) * grad.sum(axis=1, keepdims=True)
