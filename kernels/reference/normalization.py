"""Softmax and what else makes the numbers of a map comparable, from the definition."""

import numpy as np

from .arrays import Array, float64


def softmax(x: Array) -> Array:
    """p[n,k,i,j] = exp(x[n,k,i,j]) / sum over l of exp(x[n,l,i,j]). Shapes: x and p (N, K, H, W)."""
    x = float64(x)
    exponentials = np.exp(x - x.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def softmax_input(y: Array, grad: Array) -> Array:
    """dx[n,k,i,j] = y[n,k,i,j] (grad[n,k,i,j] - sum over l of y[n,l,i,j] grad[n,l,i,j]), y being softmax(x)."""
    y, grad = float64(y), float64(grad)
    return y * (grad - (y * grad).sum(axis=1, keepdims=True))
