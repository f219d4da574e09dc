"""The fully connected layer and its adjoints, from the definition."""

import numpy as np

from .arrays import Array, float64
from .pointwise import relu


def linear(x: Array, weight: Array, bias: Array | None, *, activation: str | None) -> Array:
    """y[m,k] = bias[k] + sum over c of weight[k,c] x[m,c]. Shapes: x (M, C), weight (K, C), bias (K,) or None."""
    y = np.einsum("mc,kc->mk", float64(x), float64(weight))
    y = y if bias is None else y + float64(bias)
    return relu(y) if activation == "relu" else y


def linear_input(weight: Array, grad: Array) -> Array:
    """dx[m,c] = sum over k of weight[k,c] grad[m,k]: the adjoint of `linear` in x."""
    return np.einsum("kc,mk->mc", float64(weight), float64(grad))


def linear_weight(x: Array, grad: Array) -> Array:
    """dweight[k,c] = sum over m of grad[m,k] x[m,c]: the adjoint of `linear` in its weight."""
    return np.einsum("mk,mc->kc", float64(grad), float64(x))


def linear_bias(grad: Array) -> Array:
    """dbias[k] = sum over m of grad[m,k]."""
    return float64(grad).sum(axis=0)
