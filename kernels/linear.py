"""The fully connected layer with its gradients: rules and docstrings."""

from math import prod
from typing import Any

import numpy as np

from . import reference
from .arguments import Arguments
from .case import Case, Output
from .convolution import ACTIVATIONS
from .cpu import linear as cpu
from .layout import Array
from .namespace import namespace
from .op import Variant, operator


def _rows(check: Arguments, name: str, value: Any, dtype: np.dtype | None = None) -> Array:
    """(..., C) numbers, one axis at least, as (M, C) in C-contiguous memory."""
    array = check.array(name, value, "...", dtype)
    if array.ndim < 1:
        check.fail(f"{name} must have the axes MC or any others before C, got shape {array.shape}")
    return namespace(array).ascontiguousarray(array).reshape(prod(array.shape[:-1]), array.shape[-1])


def _two_rows(check: Arguments, x: Any, grad: Any) -> tuple[Array, Array]:
    x = check.array("x", x, "...")
    rows, grads = _rows(check, "x", x), check.array("grad", grad, "...", x.dtype)
    if grads.shape[:-1] != x.shape[:-1] or not grads.ndim:
        check.fail(f"grad must have shape {(*x.shape[:-1], 'K')} for x {x.shape}, got {grads.shape}")
    return rows, _rows(check, "grad", grads)


@operator(reference=reference.linear_input, variants=[Variant("direct", cpu.linear_input)])
def linear_input(weight: Array, grad: Array, *, algorithm: str = "auto") -> Case:
    """dx[m,c] = sum over k of w[k,c] grad[m,k].

    The gradient of `linear` with respect to its input. weight: (K, C). grad: (N, K), or with any axes before K.
    Returns the shape of `grad` with C in place of K.

    Raises ValueError or TypeError naming the argument where one does not fit.
    """
    check = Arguments("linear_input")
    weight = check.array("weight", weight, "KC")
    rows = _rows(check, "grad", grad, weight.dtype)
    if rows.shape[1] != weight.shape[0]:
        check.fail(
            f"grad must have {weight.shape[0]} numbers on its last axis, as weight on its first, got {grad.shape}"
        )
    outputs = (Output((len(rows), weight.shape[1]), rows.dtype, final=(*grad.shape[:-1], weight.shape[1])),)
    return Case((weight, rows), outputs, flops=2 * len(rows) * weight.size, algorithm=algorithm)


@operator(reference=reference.linear_weight, variants=[Variant("direct", cpu.linear_weight)])
def linear_weight(x: Array, grad: Array, *, algorithm: str = "auto") -> Case:
    """dw[k,c] = sum over m of grad[m,k] x[m,c].

    The gradient of `linear` with respect to its weight. x: (N, C), or with any axes before C. grad: the same with K in
    place of C. Returns (K, C).

    Raises ValueError or TypeError naming the argument where one does not fit.
    """
    rows, grads = _two_rows(Arguments("linear_weight"), x, grad)
    outputs = (Output((grads.shape[1], rows.shape[1]), rows.dtype),)
    return Case((rows, grads), outputs, flops=2 * rows.size * grads.shape[1], algorithm=algorithm)


@operator(reference=reference.linear_bias, variants=[Variant("direct", cpu.linear_bias)])
def linear_bias(grad: Array, *, algorithm: str = "auto") -> Case:
    """db[k] = sum over m of grad[m,k].

    The gradient of `linear` with respect to its bias. grad: (N, K), or with any axes before K. Returns (K,); the
    partial sums are float64, and their order depends on the shape alone.

    Raises ValueError or TypeError naming the argument where it does not fit.
    """
    rows = _rows(Arguments("linear_bias"), "grad", grad)
    return Case((rows,), (Output(rows.shape[1:], rows.dtype),), flops=rows.size, algorithm=algorithm)


@operator(
    reference=reference.linear,
    variants=[Variant("direct", cpu.linear)],
    gradients={"x": linear_input, "weight": linear_weight, "bias": linear_bias},
)
def linear(
    x: Array, weight: Array, bias: Array | None = None, *, activation: str | None = None, algorithm: str = "auto"
) -> Case:
    """y[m,k] = f(b[k] + sum over c of w[k,c] x[m,c]).

    The fully connected layer, as `torch.nn.functional.linear`.

    x: (N, C), or with any axes before C. weight: (K, C). bias: (K,) or None. All float32 or all float64.
    activation: None, or "relu" for f(a) = max(a, 0), NaN staying NaN.

    Returns the shape of x with K in place of C.

    Raises ValueError or TypeError naming the argument where one does not fit.

    >>> import numpy as np
    >>> from upconv.kernels import linear
    >>> linear(np.array([[1.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 3.0], [2.0, 0.0]]))
    array([[3., 6., 2.]])
    """
    check = Arguments("linear")
    rows = _rows(check, "x", x)
    weight = check.array("weight", weight, "KC", rows.dtype)
    if rows.shape[1] != weight.shape[1]:
        check.fail(f"weight must be (out, in) with {rows.shape[1]} inputs, as x on its last axis, got {weight.shape}")
    outputs = (Output((len(rows), len(weight)), rows.dtype, final=(*x.shape[:-1], len(weight))),)
    parameters = {"activation": check.choice("activation", activation, ACTIVATIONS)}
    arguments = (rows, weight, check.bias(bias, len(weight), rows))
    return Case(arguments, outputs, parameters, flops=2 * len(rows) * weight.size, algorithm=algorithm)
