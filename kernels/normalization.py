"""Softmax over the channels, and its logarithm: rules and docstrings."""

from typing import Any

from . import reference
from .arguments import Arguments
from .case import Case, Output
from .cpu import softmax as cpu
from .cuda import normalization as cuda
from .layout import Array, format_of
from .op import Variant, operator
from .planes import planes


def _per_pixel(check: Arguments, flops: int, algorithm: str, **values: Any) -> Case:
    """One or two arrays of one shape, (N, K) or (N, K, ...); the result has the format of the last."""
    given = list(values.values())
    maps: list[Array] = []
    for name, value in values.items():
        check.array(name, value, "...", maps[0].dtype if maps else None)
        check.shape(name, value, given[0].shape)
        maps.append(check.per_class(name, value))
    shape, dtype = given[0].shape, maps[0].dtype
    flops *= maps[0].size
    dense = planes(*maps)
    if dense is not None:
        return Case(dense, (Output(dense[0].shape, dtype, final=shape),), flops=flops, algorithm=algorithm)
    output = Output(maps[-1].shape, dtype, format_of(maps[-1]), shape)
    return Case(tuple(maps), (output,), maps=tuple(range(len(maps))), flops=flops, algorithm=algorithm)


@operator(
    reference=reference.softmax_input,
    variants=[
        Variant("direct", cpu.softmax_input),
        Variant("cuda", cuda.softmax_input, device="cuda", refuses=cuda.two_held),
    ],
)
def softmax_input(y: Array, grad: Array, *, algorithm: str = "auto") -> Case:
    """dx[n,k,...] = y[n,k,...] (grad[n,k,...] - sum over l of y[n,l,...] grad[n,l,...]).

    The gradient of `softmax`, from its result y. The sum is float64.

    y, grad: (N, K) or (N, K, ...). Returns the same shape in the format of `grad`.

    Raises ValueError or TypeError naming the argument where one does not fit.
    """
    return _per_pixel(Arguments("softmax_input"), 4, algorithm, y=y, grad=grad)


@operator(
    reference=reference.softmax,
    variants=[Variant("direct", cpu.softmax), Variant("cuda", cuda.softmax, device="cuda", refuses=cuda.one_held)],
    gradients={"x": softmax_input},
)
def softmax(x: Array, *, algorithm: str = "auto") -> Case:
    """y[n,k,...] = exp(x[n,k,...]) / sum over l of exp(x[n,l,...]).

    Softmax over axis 1, the classes, as `torch.softmax(x, 1)`; the largest number is subtracted first, so that no
    finite input overflows. The sum is float64. Where x holds NaN or inf, or -inf alone, the pixel's result is NaN.

    x: (N, K) or (N, K, ...) as (N, K, H, W), float32 or float64. Returns the same shape in the format of x.

    Raises ValueError or TypeError naming the argument where it does not fit.

    Source: Bridle, "Probabilistic interpretation of feedforward classification network outputs" (1990).

    >>> import numpy as np
    >>> from upconv.kernels import softmax
    >>> softmax(np.array([[0.0, 0.0], [0.0, 1e4]]))
    array([[0.5, 0.5],
           [0. , 1. ]])
    """
    return _per_pixel(Arguments("softmax"), 4, algorithm, x=x)


@operator(
    reference=reference.log_softmax_input,
    variants=[
        Variant("direct", cpu.log_softmax_input),
        Variant("cuda", cuda.log_softmax_input, device="cuda", refuses=cuda.two_held),
    ],
)
def log_softmax_input(y: Array, grad: Array, *, algorithm: str = "auto") -> Case:
    """dx[n,k,...] = grad[n,k,...] - exp(y[n,k,...]) sum over l of grad[n,l,...].

    The gradient of `log_softmax`, from its result y. The sum is float64.

    y, grad: (N, K) or (N, K, ...). Returns the same shape in the format of `grad`.

    Raises ValueError or TypeError naming the argument where one does not fit.
    """
    return _per_pixel(Arguments("log_softmax_input"), 4, algorithm, y=y, grad=grad)


@operator(
    reference=reference.log_softmax,
    variants=[
        Variant("direct", cpu.log_softmax),
        Variant("cuda", cuda.log_softmax, device="cuda", refuses=cuda.two_held),
    ],
    gradients={"x": log_softmax_input},
)
def log_softmax(x: Array, *, algorithm: str = "auto") -> Case:
    """y[n,k,...] = x[n,k,...] - log(sum over l of exp(x[n,l,...])).

    The logarithm of `softmax`, as `torch.log_softmax(x, 1)`, finite for every finite input: the largest number is
    subtracted first. The sum is float64.

    x: (N, K) or (N, K, ...) as (N, K, H, W), float32 or float64. Returns the same shape in the format of x.

    Raises ValueError or TypeError naming the argument where it does not fit.

    >>> import numpy as np
    >>> from upconv.kernels import log_softmax
    >>> log_softmax(np.array([[0.0, 1e4]]))
    array([[-10000.,      0.]])
    """
    return _per_pixel(Arguments("log_softmax"), 4, algorithm, x=x)
