"""The operators of `upconv.kernels` on tensors: each computes, and says how its gradient is sent back.

Arguments, shapes and errors are those of the kernel of the same name. Images and labels may be arrays or `Tensor`s.
Convolutions bring their input into channels-last memory, and everything after them stays in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .. import kernels
from .tensor import Array, Tensor, as_tensor, record, recording

Input = Tensor | npt.NDArray[Any]


def conv2d(
    x: Input,
    weight: Input,
    bias: Input | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    activation: str | None = None,
    out: Array | None = None,
) -> Tensor:
    """y[n,k,i,j] = f(b[k] + sum over c,u,v of w[k,c,u,v] x[n, c, i s - p + u d, j s - p + v d]), as `kernels.conv2d`.

    activation="relu" is computed in the same pass. out: an array the result is written into (a slot of a buffer that
    `concatenate` will join); the tensor keeps that array.
    """
    return _convolve("conv2d", x, weight, bias, activation, {"out": out}, _window(stride, padding, dilation, groups))


def conv_transpose2d(
    x: Input,
    weight: Input,
    bias: Input | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    output_size: Any = None,
    groups: int = 1,
    dilation: Any = 1,
    activation: str | None = None,
    out: Array | None = None,
) -> Tensor:
    """The transpose of the linear map conv2d, plus bias, as `kernels.conv_transpose2d`; weight is I O H W.

    activation and out as in `conv2d`.
    """
    size = {"output_padding": output_padding, "output_size": output_size, "out": out}
    return _convolve("conv_transpose2d", x, weight, bias, activation, size, _window(stride, padding, dilation, groups))


def _window(stride: Any, padding: Any, dilation: Any, groups: int) -> dict[str, Any]:
    return {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def _convolve(
    name: str,
    x: Input,
    weight: Input,
    bias: Input | None,
    activation: str | None,
    size: dict[str, Any],
    window: dict[str, Any],
) -> Tensor:
    """conv2d or conv_transpose2d: they differ in the kernels they call and in what sets the result's size."""
    function = getattr(kernels, name)
    input_gradient, weight_gradient = getattr(kernels, f"{name}_input"), getattr(kernels, f"{name}_weight")
    inputs = [as_tensor(t) for t in (x, weight, bias) if t is not None]
    a, w, *b = (t.data for t in inputs)
    a = kernels.channels_last(a) if a.ndim == 4 else a
    y = function(a, w, *b, activation=activation, **size, **window)
    needs_x, needs_w, *needs_b = (t.requires_grad for t in inputs)

    def backward(grad: Array) -> Sequence[Array | None]:
        sums: Array | None = None
        if activation == "relu":
            grad, sums = kernels.bias_relu_input(y, grad, out=grad if grad.flags.writeable else None)
        elif any(needs_b):
            sums = kernels.channel_sum(grad)
        return [
            input_gradient(a.shape, w, grad, **window) if needs_x else None,
            weight_gradient(a, w.shape, grad, **window) if needs_w else None,
            *(sums if needed else None for needed in needs_b),
        ]

    return record(name, y, inputs, backward)


def max_pool2d(
    x: Input,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """y[n,c,i,j] = max over u,v of x[n, c, i s - p + u d, j s - p + v d], as `kernels.max_pool2d`.

    Returns a Tensor, or with return_indices=True the pair (y, indices): int64, flat in H W, what `max_unpool2d` takes.
    """
    x = as_tensor(x)
    window = {"stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode}
    indices: Array | None = None
    if recording(x):  # keeps the winner's place in its window, one byte, and makes indices only for who asks
        y, offsets = kernels.max_pool2d_offsets(x.data, kernel_size, **window)
        if return_indices:
            indices = kernels.max_pool2d_indices(x.shape, offsets, kernel_size, **window)
    elif return_indices:
        y, indices = kernels.max_pool2d(x.data, kernel_size, return_indices=True, **window)
    else:
        y = kernels.max_pool2d(x.data, kernel_size, **window)
    shape = x.shape

    def backward(grad: Array) -> Sequence[Array]:
        return [kernels.max_pool2d_input(shape, offsets, grad, kernel_size, **window)]

    result = record("max_pool2d", y, [x], backward)
    return result if indices is None else (result, Tensor(indices))


def max_unpool2d(
    x: Input, indices: Input, kernel_size: Any, *, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """y = 0 except y[n, c, indices[n,c,i,j]] = x[n,c,i,j], as `kernels.max_unpool2d`."""
    x, where = as_tensor(x), as_tensor(indices).data
    y = kernels.max_unpool2d(x.data, where, kernel_size, stride=stride, padding=padding, output_size=output_size)
    return record("max_unpool2d", y, [x], lambda grad: [kernels.max_unpool2d_input(grad, where)])


def relu(x: Input) -> Tensor:
    """y = max(x, 0)."""
    x = as_tensor(x)
    y = kernels.relu(x.data)

    def backward(grad: Array) -> Sequence[Array]:
        return [kernels.relu_input(y, grad, out=grad if grad.flags.writeable else None)]

    return record("relu", y, [x], backward)


def softmax(x: Input) -> Tensor:
    """y[n,k,i,j] = exp x[n,k,i,j] / sum over l of exp x[n,l,i,j]: the classes' probabilities at each pixel."""
    x = as_tensor(x)
    y = kernels.softmax(x.data)

    def backward(grad: Array) -> Sequence[Array]:
        return [kernels.softmax_input(y, grad)]

    return record("softmax", y, [x], backward)


def cross_entropy(
    logits: Input, labels: Input, *, ignore_index: int = -100, reduction: Literal["mean", "sum"] = "mean"
) -> Tensor:
    """L = - mean (or sum) over the pixels n,i,j with label != ignore_index of log softmax(logits)[n, label, i, j].

    logits: N K H W; labels: N H W, integers 0..K-1 or ignore_index (IndexError otherwise).
    """
    x, labels = as_tensor(logits), as_tensor(labels).data
    loss = kernels.cross_entropy(x.data, labels, ignore_index=ignore_index, reduction=reduction)
    scores = x.data

    def backward(grad: Array) -> Sequence[Array]:
        part = kernels.cross_entropy_input(scores, labels, ignore_index=ignore_index, reduction=reduction)
        if grad != 1:
            part *= grad
        return [part]

    return record("cross_entropy", loss, [x], backward)


def concatenate(xs: Sequence[Input]) -> Tensor:
    """y = the channels of every x, one after the other; no copy where they already are neighbours in one buffer.

    `kernels.channel_slots` makes such a buffer. The gradients are slices of the result's gradient, not copies.
    """
    inputs = [as_tensor(x) for x in xs]
    y = kernels.concatenate([x.data for x in inputs])
    ends = np.cumsum([0, *(x.shape[1] for x in inputs)])

    def backward(grad: Array) -> Sequence[Array]:
        return [grad[:, start:end] for start, end in pairwise(ends)]

    return record("concatenate", y, inputs, backward)


def crop(x: Input, size: tuple[int, int]) -> Tensor:
    """The middle `size` = (height, width) of every plane, as a view; of odd margins the larger is last."""
    x = as_tensor(x)
    window = centre(x.shape, size)
    if window == (slice(None),) * 4:
        return x
    shape = x.shape

    def backward(grad: Array) -> Sequence[Array]:
        n, c, h, w = shape
        whole = np.zeros((n, h, w, c), grad.dtype).transpose(0, 3, 1, 2)
        whole[window] = grad
        return [whole]

    return record("crop", x.data[window], [x], backward)


def centre(shape: Sequence[int], size: tuple[int, int]) -> tuple[slice, ...]:
    """The index that cuts the middle `size` out of an array of this N C H W shape."""
    margins = [have - want for have, want in zip(shape[-2:], size, strict=True)]
    if len(shape) != 4 or min(margins) < 0:
        raise ValueError(f"crop: {tuple(size)} does not fit into the height and width of shape {tuple(shape)}")
    cuts = [slice(m // 2, m // 2 + want) if m else slice(None) for m, want in zip(margins, size, strict=True)]
    return (slice(None), slice(None), *cuts)
