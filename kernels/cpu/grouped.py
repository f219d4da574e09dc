"""Convolution in groups of few channels, depthwise included, without a loop over the groups."""

from functools import lru_cache
from typing import Any

import numpy as np

from ..layout import Array, Shape
from ..window import Pair, Sides, Window
from . import machine
from .correlation import Cut, Part
from .group_tile import ITEM, PIXELS, outer, product
from .parallel import SMALL_FLOPS, balanced, run, strided
from .phases import phased, whole

LOADS = 4  # vectors of channels that one vector of filters may see
SEGMENT = 32 * 1024  # bytes of x under a row of kernels that stay in the level-1 cache for the next row
ITEMS = 32  # pieces of work to aim at, so that threads finish together
SPLITS = 16  # partial sums of a weight gradient. It sets the order of the sums, so it must not depend on the threads


@lru_cache(maxsize=1024)
def _plan(
    cut: Cut, size: int, y_shape: Shape, y_strides: Shape, shape: Shape, strides: Shape, window: Window, groups: int
) -> tuple[Array, Array, Pair, Pair, int, bool]:
    """Items and parts as the kernel reads them, stride and dilation, the most taps; is one thread enough?"""
    parts, stride, dilation = cut(size, y_shape, y_strides, shape, strides, window, groups)

    def row(part: Part) -> tuple[int, ...]:
        return (
            *(part.shape[3], part.start, *part.strides, *part.origin, *part.taps),
            *(part.filters.start, *part.filters.strides[2:]),
        )

    rows = y_shape[0] * sum(part.shape[2] for part in parts)
    items = [
        (number, image, *lines)
        for number, part in enumerate(parts)
        for image in range(part.shape[0])
        for lines in balanced(part.shape[2], max(1, rows // ITEMS))
    ]
    flops = sum(2 * part.shape[0] * part.shape[1] * part.shape[2] * part.shape[3] * window.taps for part in parts)
    tables = np.array(items, np.int64).reshape(-1, ITEM), np.array([row(part) for part in parts], np.int64)
    return (*tables, stride, dilation, window.taps, flops < SMALL_FLOPS)


def correlate(
    cut: Cut,
    y: Array,
    x: Array,
    shape: Shape,
    packed: Array,
    window: Window,
    groups: int,
    bias: Array | None,
    activation: str | None,
) -> None:
    """Compute the correlations that `cut` gives for a weight of `shape`.

    packed: the weights as (kh, kw, inputs of a group, filters).
    """
    if not y.size:
        return
    kh, kw, ins, filters = packed.shape
    outs = filters // groups
    lanes = machine.vectors().lanes(x.dtype)
    padded = -(-filters // lanes) * lanes
    weights = np.zeros((kh, kw, ins, padded), x.dtype)
    weights[..., :filters] = packed
    biases = np.zeros(padded, x.dtype)
    if bias is not None:
        biases[:filters] = bias
    strides = 0, 0, weights.strides[0], weights.strides[1]
    items, parts, stride, dilation, taps, small = _plan(
        cut, x.itemsize, y.shape, y.strides, shape, strides, window, groups
    )
    run(
        product(x.dtype, lanes, ins, outs),
        len(items),
        items.ctypes.data,
        parts.ctypes.data,
        strided(x),
        y.ctypes.data,
        weights.ctypes.data,
        weights.strides[2],
        biases.ctypes.data,
        x.shape[2:],
        (filters, x.shape[1]),
        PIXELS * max(1, SEGMENT // (kh * stride[1] * PIXELS * x.shape[1] * x.itemsize)),
        stride,
        dilation,
        activation == "relu",
        scratch=16 * max(taps, 1),
        small=small,
    )


def correlate_weight(
    dw: Array, x: Array, grad: Array, *, stride: Pair, padding: Sides, dilation: Pair, groups: int
) -> None:
    """dw[k,c,a,b] = sum over n,i,j of grad[n,k,i,j] x[n, c, i s - pad + a d, j s - pad + b d], all channels-last."""
    if not grad.size or not dw.size:
        dw[...] = 0
        return
    filters, ins, kh, kw = dw.shape
    n, _, height, width = grad.shape
    lanes = machine.vectors().lanes(x.dtype)
    sums = np.empty((min(SPLITS, n * height), kh, kw, ins, -(-filters // lanes) * lanes), x.dtype)
    run(
        outer(x.dtype, lanes, ins, filters // groups),
        len(sums),
        strided(x),
        x.shape[2:],
        strided(grad),
        (n, height, width),
        sums.ctypes.data,
        sums.strides[3],
        (filters, x.shape[1]),
        (padding[0][0], padding[1][0]),
        stride,
        dilation,
        (kh, kw),
        small=2 * grad.size * ins * kh * kw < SMALL_FLOPS,
    )
    total: Any = sums[0]
    with np.errstate(all="ignore"):  # infinities that cancel or overflow are the caller's, as in the kernel
        for part in sums[1:]:
            total += part
    dw[...] = total[..., :filters].transpose(3, 2, 0, 1)


def convolve(
    outputs: list[Array],
    x: Array,
    weight: Array,
    bias: Array | None,
    *,
    groups: int,
    activation: str | None,
    **window: Any,
) -> None:
    """conv2d."""
    geometry = Window(weight.shape[2:], **window)
    correlate(whole, outputs[0], x, weight.shape, weight.transpose(2, 3, 1, 0), geometry, groups, bias, activation)


def transpose(
    outputs: list[Array],
    x: Array,
    weight: Array,
    bias: Array | None,
    *,
    groups: int,
    activation: str | None,
    output_padding: Pair = (0, 0),
    **window: Any,
) -> None:
    """conv_transpose2d."""
    ins, (outs, kh, kw) = x.shape[1] // groups, weight.shape[1:]
    packed = weight.reshape(groups, ins, outs, kh, kw).transpose(3, 4, 1, 0, 2).reshape(kh, kw, ins, groups * outs)
    geometry = Window((kh, kw), **window)
    correlate(phased, outputs[0], x, weight.shape, packed, geometry, groups, bias, activation)


def convolve_input(outputs: list[Array], shape: Shape, weight: Array, grad: Array, **parameters: Any) -> None:
    """conv2d_input: the transposed convolution of the gradient."""
    transpose(outputs, grad, weight, None, activation=None, **parameters)


def convolve_weight(outputs: list[Array], x: Array, shape: Shape, grad: Array, **parameters: Any) -> None:
    """conv2d_weight."""
    correlate_weight(outputs[0], x, grad, **parameters)


def transpose_input(outputs: list[Array], shape: Shape, weight: Array, grad: Array, **parameters: Any) -> None:
    """conv_transpose2d_input: the convolution of the gradient."""
    convolve(outputs, grad, weight, None, activation=None, **parameters)


def transpose_weight(outputs: list[Array], x: Array, shape: Shape, grad: Array, **parameters: Any) -> None:
    """conv_transpose2d_weight: that of the convolution which takes the gradient back to x."""
    correlate_weight(outputs[0], grad, x, **parameters)


def _refuses(dtype: np.dtype, shape: Shape, groups: int, turned: bool) -> str | None:
    """Why a weight of `shape` does not come here; turned: its first axis has the channels that are summed."""
    ins, outs = shape[1], shape[0] // groups
    if turned:
        ins, outs = outs, ins
    lanes = machine.vectors().lanes(dtype)
    if groups == 1:
        return "there is one group only"
    if not outs or lanes % outs or outs == lanes:
        return f"{outs} filters in a group are no proper divisor of the {lanes} numbers in a vector"
    if not 0 < ins <= LOADS * outs:
        return f"{ins} channels in a group are too many for {outs} filters"
    return None


def refuses(x: Any, weight: Array, *arguments: Any, groups: int, **parameters: Any) -> str | None:
    """Of `convolve` and `transpose_input`."""
    return _refuses(weight.dtype, weight.shape, groups, turned=False)


def refuses_turned(x: Any, weight: Array, *arguments: Any, groups: int, **parameters: Any) -> str | None:
    """Of `transpose` and `convolve_input`."""
    return _refuses(weight.dtype, weight.shape, groups, turned=True)


def refuses_sums(x: Array, shape: Shape, grad: Array, *, groups: int, **parameters: Any) -> str | None:
    """Of the weight gradients."""
    return _refuses(x.dtype, shape, groups, turned=False)


def describe(*arguments: Any, **parameters: Any) -> str:
    """What `explain` says of them all."""
    return f"the filters of several groups side by side in a vector ({machine.vectors().name})"
