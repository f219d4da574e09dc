"""Operators that look at one pixel, or one pixel's channels, at a time: rules and docstrings."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import reference
from .arguments import Arguments
from .case import Case, Output
from .cpu import pointwise as cpu
from .layout import Array, empty, format_of, joined
from .op import Variant, operator


def _two_maps(check: Arguments, names: tuple[str, str], first: Any, second: Any) -> tuple[Array, Array]:
    first = check.array(names[0], first, "NCHW")
    second = check.array(names[1], second, "NCHW", first.dtype)
    check.shape(names[1], second, first.shape)
    return first, second


def _elementwise(
    checked: tuple[tuple[Array, ...], Output, tuple[int, ...]], algorithm: str, out: Array | None, **parameters: Any
) -> Case:
    arguments, output, maps = checked
    size = arguments[0].size
    return Case(arguments, (output,), parameters, maps, size, algorithm, out, elementwise=True)


@operator(reference=reference.relu_input, variants=[Variant("direct", cpu.relu_input)])
def relu_input(y: Array, grad: Array, *, algorithm: str = "auto", out: Array | None = None) -> Case:
    """dx[n,c,i,j] = 0 where y[n,c,i,j] <= 0, else grad[n,c,i,j] (so also where y is NaN).

    The gradient of `relu`, from its result y. y, grad: (N, C, H, W). Returns the same shape in the format of `grad`;
    out may be `grad` itself.

    Raises ValueError or TypeError naming the argument where one does not fit.
    """
    return _elementwise(Arguments("relu_input").elementwise("grad", y=y, grad=grad), algorithm, out)


@operator(reference=reference.bias_relu_input, variants=[Variant("direct", cpu.bias_relu_input)])
def bias_relu_input(y: Array, grad: Array, *, algorithm: str = "auto", out: Array | None = None) -> Case:
    """dx[n,c,i,j] = 0 where y[n,c,i,j] <= 0, else grad[n,c,i,j]; db[c] = sum over n,i,j of dx[n,c,i,j].

    The gradients of y = relu(x + b), b being one number for each channel: `relu_input` and its `channel_sum` in one
    pass. y, grad: (N, C, H, W). Returns (dx, db), dx in the format of `grad` and db (C,); out, for dx, may be `grad`
    itself.

    Raises ValueError or TypeError naming the argument where one does not fit.
    """
    y, grad = _two_maps(Arguments("bias_relu_input"), ("y", "grad"), y, grad)
    outputs = (Output(grad.shape, grad.dtype, format_of(grad)), Output(grad.shape[1:2], grad.dtype))
    return Case((y, grad), outputs, maps=(0, 1), flops=2 * grad.size, algorithm=algorithm, out=out, elementwise=True)


@operator(reference=reference.add, variants=[Variant("direct", cpu.add)])
def add(x: Array, y: Array, *, algorithm: str = "auto", out: Array | None = None) -> Case:
    """z[n,c,i,j] = x[n,c,i,j] + y[n,c,i,j].

    The sum of two maps, as where two branches of a network meet. x, y: (N, C, H, W), float32 or float64, any strides.
    Returns the same shape in the format of x; out may be x or y itself.

    Raises ValueError or TypeError naming the argument where one does not fit.
    """
    return _elementwise(Arguments("add").elementwise("x", x=x, y=y), algorithm, out)


@operator(reference=reference.relu, variants=[Variant("direct", cpu.relu)], gradients={"x": relu_input})
def relu(x: Array, *, algorithm: str = "auto", out: Array | None = None) -> Case:
    """y[n,c,i,j] = max(x[n,c,i,j], 0); NaN stays NaN.

    Half-wave rectification, as `torch.nn.functional.relu`.

    x: (N, C, H, W), float32 or float64, any strides. Returns the same shape in the format of x; out may be x itself.

    Raises ValueError or TypeError naming the argument where one does not fit.

    Source: Nair & Hinton, "Rectified linear units improve restricted Boltzmann machines" (2010).
    """
    return _elementwise(Arguments("relu").elementwise("x", x=x), algorithm, out)


@operator(reference=reference.channel_sum, variants=[Variant("direct", cpu.channel_sum)])
def channel_sum(x: Array, *, algorithm: str = "auto") -> Case:
    """y[c] = sum over n,i,j of x[n,c,i,j].

    The gradient of a bias. x: (N, C, H, W), float32 or float64. Returns (C,); the partial sums are float64, and their
    order depends on the shape alone.

    Raises ValueError or TypeError naming the argument where it does not fit.
    """
    x = Arguments("channel_sum").array("x", x, "NCHW")
    return Case((x,), (Output(x.shape[1:2], x.dtype),), maps=(0,), flops=x.size, algorithm=algorithm)


@operator(reference=reference.softmax_input, variants=[Variant("direct", cpu.softmax_input)])
def softmax_input(y: Array, grad: Array, *, algorithm: str = "auto") -> Case:
    """dx[n,k,i,j] = y[n,k,i,j] (grad[n,k,i,j] - sum over l of y[n,l,i,j] grad[n,l,i,j]).

    The gradient of `softmax`, from its result y. y, grad: (N, K, H, W). Returns the same shape in the format of `grad`.

    Raises ValueError or TypeError naming the argument where one does not fit.
    """
    y, grad = _two_maps(Arguments("softmax_input"), ("y", "grad"), y, grad)
    outputs = (Output(grad.shape, grad.dtype, format_of(grad)),)
    return Case((y, grad), outputs, maps=(0, 1), flops=4 * grad.size, algorithm=algorithm)


@operator(
    reference=reference.softmax,
    variants=[Variant("direct", cpu.softmax)],
    gradients={"x": softmax_input},
)
def softmax(x: Array, *, algorithm: str = "auto") -> Case:
    """y[n,k,i,j] = exp(x[n,k,i,j]) / sum over l of exp(x[n,l,i,j]).

    Softmax over the channels of each pixel, as `torch.softmax(x, 1)`; the largest channel is subtracted first, so that
    no finite input overflows.

    x: (N, K, H, W), float32 or float64. Returns the same shape in the format of x.

    Raises ValueError or TypeError naming the argument where it does not fit.

    Source: Bridle, "Probabilistic interpretation of feedforward classification network outputs" (1990).
    """
    check = Arguments("softmax")
    x = check.array("x", x, "NKHW")
    return Case((x,), (Output(x.shape, x.dtype, format_of(x)),), maps=(0,), flops=4 * x.size, algorithm=algorithm)


def _reference_concatenate(*xs: Array) -> Array:
    return reference.concatenate(xs)


@operator(reference=_reference_concatenate, variants=[Variant("direct", cpu.concatenate)])
def concatenate(xs: Sequence[Array], *, algorithm: str = "auto", out: Array | None = None) -> Case:
    """y[n, c_0 + ... + c_(m-1) + c, i, j] = xs[m][n,c,i,j].

    Channels side by side, as `torch.cat(xs, 1)`. Where the arrays already lie side by side in one buffer (see
    `channel_slots`) and no `out` is given, that stretch of the buffer is returned and nothing is copied.

    xs: arrays (N, C_m, H, W) that differ in C_m only. Returns (N, sum of C_m, H, W) in the format of the first.

    Raises ValueError or TypeError naming the argument where one does not fit.

    Source: Ronneberger, Fischer & Brox, "U-Net" (2015), section 2 (the skip connections).
    """
    check = Arguments("concatenate")
    if not isinstance(xs, (tuple, list)) or not xs:
        got = "an empty one" if isinstance(xs, (tuple, list)) else type(xs).__name__
        check.fail(f"xs must be a list of at least one array, got {got}", TypeError)
    first = check.array("xs[0]", xs[0], "NCHW")
    arrays = [first]
    for position, each in enumerate(xs[1:], 1):
        x = check.array(f"xs[{position}]", each, "NCHW", first.dtype)
        check.shape(f"xs[{position}]", x, (first.shape[0], x.shape[1], *first.shape[2:]))
        arrays.append(x)
    shape = (first.shape[0], sum(x.shape[1] for x in arrays), *first.shape[2:])
    return Case(
        arguments=tuple(arrays),
        outputs=(Output(shape, first.dtype, format_of(first)),),
        maps=tuple(range(len(arrays))),
        algorithm=algorithm,
        out=out,
        answer=joined(arrays) if out is None and algorithm == "auto" else None,
    )


def channel_slots(shape: Sequence[int], channels: Sequence[int], dtype: Any = np.float32) -> tuple[Array, list[Array]]:
    """buffer[n, c_0 + ... + c_(m-1) + c, i, j] = slots[m][n,c,i,j]: an uninitialised buffer, and views of its channels.

    Give the views as `out=` to the operators whose results are to be concatenated; `concatenate` of them then returns
    the buffer and copies nothing.

    shape: (N, H, W). channels: how many each view has. dtype: float32 or float64.
    Returns (buffer, slots): (N, sum(channels), H, W) in channels-last memory, and a list of (N, channels[m], H, W).

    Raises ValueError or TypeError naming the argument where one does not fit.
    """
    check = Arguments("channel_slots")
    n, h, w = check.shape_of("shape", shape, "NHW")
    if not isinstance(channels, (tuple, list)):
        check.fail(f"channels must be a list of integers, got {type(channels).__name__}", TypeError)
    counts = [check.integer(f"channels[{m}]", count, 0) for m, count in enumerate(channels)]
    buffer = empty((n, sum(counts), h, w), check.dtype("dtype", dtype))
    starts = [sum(counts[:m]) for m in range(len(counts))]
    return buffer, [buffer[:, start : start + count] for start, count in zip(starts, counts, strict=True)]
