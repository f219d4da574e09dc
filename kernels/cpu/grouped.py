"""Convolution in groups of few channels, depthwise included, without a loop over the groups."""

from typing import Any

import numpy as np

from ..layout import Array, Shape
from ..window import Pair, Sides, Window
from . import depthwise, depthwise_outer, machine
from .correlation import Again, Cut, Filters, filled_up
from .group_outer import outer
from .group_plan import SMALL_FLOPS, plan
from .group_tile import product
from .packing import packed_panels
from .parallel import run, strided
from .phases import phased, whole

LOADS = 4  # vectors of channels that one vector of filters may see
STRETCH = 16 * 1024  # bytes of the gradient that stay in the level-1 cache while all taps meet them
SPLITS = 16  # partial sums of a weight gradient. It sets the order of the sums, so it must not depend on the threads


def correlate(
    cut: Cut,
    y: Array,
    x: Array,
    weight: Array,
    filters: Filters,
    window: Window,
    groups: int,
    bias: Array | None,
    activation: str | None,
) -> Again:
    """Compute the correlations that `cut` gives for a weight whose `filters` lie as they say."""
    lanes = machine.vectors().lanes(x.dtype)
    made = plan(cut, lanes, x.dtype, x.shape, y.shape, y.strides, filters, weight.shape, window, groups)
    ins, outs = x.shape[1] // groups, y.shape[1] // groups
    one = ins == outs == 1
    kernel = depthwise.product(x.dtype, lanes, depthwise.pixels()) if one else product(x.dtype, lanes, ins, outs)
    count, between = len(made.items), strided(x)[1:]
    packing = made.order, len(made.packing) * made.packed, made.packing, ins, ins, lanes
    flags = int(activation == "relu"), int(made.far), made.apart
    geometry = x.shape[2:], (y.shape[1], x.shape[1]), made.stride, made.dilation, flags
    scratch = max(made.patch, 16 * window.kernel[0] + LOADS * lanes * x.itemsize)

    def again(y: Array, x: Array, weight: Array, bias: Array | None) -> None:
        _weights, weights = packed_panels(weight, *packing)
        biases = made.no_bias if bias is None else filled_up(bias, made.no_bias)
        source = x.ctypes.data, *between
        arguments = *made.addresses, source, y.ctypes.data, weights, made.packed, biases.ctypes.data, *geometry
        run(kernel, count, *arguments, scratch=scratch, small=made.small)

    again(y, x, weight, bias)
    return again


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
    if ins == 1 and filters == groups and (kh, kw) == (depthwise_outer.TAPS,) * 2:
        return depthwise_outer.correlate_weight(dw, x, grad, padding, stride, dilation)
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
        max(8, STRETCH // (filters * x.itemsize)),
        scratch=LOADS * lanes * x.itemsize,
        small=2 * grad.size * ins * kh * kw < SMALL_FLOPS,
    )
    with np.errstate(all="ignore"):  # infinities that cancel or overflow are the caller's, as in the kernel
        total = np.add.reduce(sums, axis=0)
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
) -> Again:
    """conv2d."""
    filters, geometry = Filters(0, weight.strides, 0, weight.shape[0]), Window(weight.shape[2:], **window)
    again = correlate(whole, outputs[0], x, weight, filters, geometry, groups, bias, activation)
    return lambda outputs, x, weight, bias: again(outputs[0], x, weight, bias)


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
) -> Again:
    """conv_transpose2d."""
    per_channel, per_filter, *between = weight.strides
    jump = weight.shape[0] // groups * per_channel  # to the filters of the next group
    filters = Filters(0, (per_filter, per_channel, *between), 0, weight.shape[1], jump)
    geometry = Window(weight.shape[2:], **window)
    again = correlate(phased, outputs[0], x, weight, filters, geometry, groups, bias, activation)
    return lambda outputs, x, weight, bias: again(outputs[0], x, weight, bias)


def convolve_input(outputs: list[Array], shape: Shape, weight: Array, grad: Array, **parameters: Any) -> Again:
    """conv2d_input: the transposed convolution of the gradient."""
    again = transpose(outputs, grad, weight, None, activation=None, **parameters)
    return lambda outputs, shape, weight, grad: again(outputs, grad, weight, None)


def convolve_weight(outputs: list[Array], x: Array, shape: Shape, grad: Array, **parameters: Any) -> None:
    """conv2d_weight."""
    correlate_weight(outputs[0], x, grad, **parameters)


def transpose_input(outputs: list[Array], shape: Shape, weight: Array, grad: Array, **parameters: Any) -> Again:
    """conv_transpose2d_input: the convolution of the gradient."""
    again = convolve(outputs, grad, weight, None, activation=None, **parameters)
    return lambda outputs, shape, weight, grad: again(outputs, grad, weight, None)


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
