"""Operators on the channels of maps: their sums, and maps side by side. Rules and docstrings."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import reference
from .arguments import Arguments
from .case import Case, Output
from .cpu import pointwise, sums
from .cuda import channels as cuda
from .cuda import pointwise as cuda_pointwise
from .layout import Array, empty, format_of, joined
from .namespace import is_array
from .op import Variant, operator
from .planes import planes


@operator(
    reference=reference.channel_sum,
    variants=[Variant("direct", sums.channel_sum), Variant("cuda", cuda.channel_sum, device="cuda")],
)
def channel_sum(x: Array, *, algorithm: str = "auto") -> Case:
    """y[c] = sum over n,i,j of x[n,c,i,j].

    The gradient of a bias. x: (N, C, H, W) or, for one image, (C, H, W), float32 or float64. Returns (C,); the partial
    sums are float64, and their order depends on the shape and the strides alone.

    Raises ValueError or TypeError naming the argument where it does not fit.

    >>> import numpy as np
    >>> from upconv.kernels import channel_sum
    >>> channel_sum(np.array([[[1.0, 2.0]], [[3.0, 4.0]]]))
    array([3., 7.])
    """
    x = Arguments("channel_sum").map("x", x, "NCHW")
    outputs = (Output(x.shape[1:2], x.dtype),)
    dense = planes(x)
    return Case(dense or (x,), outputs, maps=() if dense else (0,), flops=x.size, algorithm=algorithm)


@operator(
    reference=reference.bias_relu_input,
    variants=[Variant("direct", sums.bias_relu_input), Variant("cuda", cuda.bias_relu_input, device="cuda")],
)
def bias_relu_input(y: Array, grad: Array, *, algorithm: str = "auto", out: Array | None = None) -> Case:
    """dx[n,c,i,j] = 0 where y[n,c,i,j] <= 0, else grad[n,c,i,j]; db[c] = sum over n,i,j of dx[n,c,i,j].

    The gradients of y = relu(x + b), b being one number for each channel: `relu_input` and its `channel_sum` in one
    pass. y, grad: (N, C, H, W) or, for one image, (C, H, W). Returns (dx, db), dx in the format of `grad` and db (C,);
    out, for dx, may be `grad` itself.

    Raises ValueError or TypeError naming the argument where one does not fit.

    >>> import numpy as np
    >>> from upconv.kernels import bias_relu_input
    >>> bias_relu_input(np.array([[[0.0, 2.0]]]), np.array([[[5.0, 6.0]]]))
    (array([[[0., 6.]]]), array([6.]))
    """
    check = Arguments("bias_relu_input")
    y = check.map("y", y, "NCHW")
    grad = check.map("grad", grad, "NCHW", y.dtype)
    check.map_fits("grad", grad, y.shape)
    dense = planes(y, grad)
    if dense and is_array(out) and not (out.shape == check.seen(y.shape) and out.flags.c_contiguous):
        dense = None  # a kernel for planes writes planes
    arguments = dense or (y, grad)
    final = check.seen(grad.shape)
    format = "contiguous" if dense else format_of(grad)
    outputs = (Output(arguments[1].shape, grad.dtype, format, final), Output(grad.shape[1:2], grad.dtype))
    maps = () if dense else (0, 1)
    return Case(arguments, outputs, {}, maps, 2 * grad.size, algorithm, out, elementwise=True)


def _reference_concatenate(*xs: Array) -> Array:
    return reference.concatenate(xs)


@operator(
    reference=_reference_concatenate,
    variants=[Variant("direct", pointwise.concatenate), Variant("cuda", cuda_pointwise.concatenate, device="cuda")],
)
def concatenate(xs: Sequence[Array], *, algorithm: str = "auto", out: Array | None = None) -> Case:
    """y[n, c_0 + ... + c_(m-1) + c, i, j] = xs[m][n,c,i,j].

    Channels side by side, as `torch.cat(xs, 1)`. Where the arrays already lie side by side in one buffer (see
    `channel_slots`) and no `out` is given, that stretch of the buffer is returned and nothing is copied.

    xs: arrays (N, C_m, H, W) that differ in C_m only. Returns (N, sum of C_m, H, W) in the format of the first.

    Raises ValueError or TypeError naming the argument where one does not fit.

    Source: Ronneberger, Fischer & Brox, "U-Net" (2015), section 2 (the skip connections).

    >>> import numpy as np
    >>> from upconv.kernels import concatenate
    >>> concatenate([np.zeros((1, 1, 1, 2)), np.ones((1, 2, 1, 2))])
    array([[[[0., 0.]],
    <BLANKLINE>
            [[1., 1.]],
    <BLANKLINE>
            [[1., 1.]]]])
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
    n, h, w = first.shape[0], *first.shape[2:]
    shape, format = (n, sum(x.shape[1] for x in arrays), h, w), format_of(first)
    automatic = isinstance(algorithm, str) and algorithm == "auto"
    answer = joined(arrays) if out is None and automatic else None
    if format == "contiguous" and all(x[:1].flags.c_contiguous for x in arrays):  # each number a channel of its own
        arrays = [x.reshape(n, x.shape[1] * h * w, 1, 1) for x in arrays]
    output = Output((n, sum(x.shape[1] for x in arrays), *arrays[0].shape[2:]), first.dtype, format, shape)
    maps = tuple(range(len(arrays)))
    return Case(tuple(arrays), (output,), maps=maps, algorithm=algorithm, out=out, answer=answer)


def channel_slots(
    shape: Sequence[int], channels: Sequence[int], dtype: Any = np.float32, *, like: Array | None = None
) -> tuple[Array, list[Array]]:
    """buffer[n, c_0 + ... + c_(m-1) + c, i, j] = slots[m][n,c,i,j]: an uninitialised buffer, and views of its channels.

    Give the views as `out=` to the operators whose results are to be concatenated; `concatenate` of them then returns
    the buffer and copies nothing.

    shape: (N, H, W). channels: how many each view has. dtype: float32 or float64. like: an array on whose device the
    buffer is to lie, None for NumPy.
    Returns (buffer, slots): (N, sum(channels), H, W) in channels-last memory, and a list of (N, channels[m], H, W).

    Raises ValueError or TypeError naming the argument where one does not fit.
    """
    check = Arguments("channel_slots")
    n, h, w = check.shape_of("shape", shape, "NHW")
    if not isinstance(channels, (tuple, list)):
        check.fail(f"channels must be a list of integers, got {type(channels).__name__}", TypeError)
    counts = [check.integer(f"channels[{m}]", count, 0) for m, count in enumerate(channels)]
    buffer = empty((n, sum(counts), h, w), check.dtype("dtype", dtype), like)
    starts = [sum(counts[:m]) for m in range(len(counts))]
    return buffer, [buffer[:, start : start + count] for start, count in zip(starts, counts, strict=True)]
