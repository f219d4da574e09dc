"""Convolution in groups of few channels, depthwise included, without a loop over the groups."""

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from ..layout import Array, Shape
from ..window import Pair, Sides, Window
from . import depthwise, depthwise_outer, machine
from .correlation import Cut, Filters, Part
from .group_outer import outer
from .group_tile import ITEM, PART, product
from .packing import PACKED, packed_panels
from .parallel import balanced, run, strided
from .phases import phased, whole

LOADS = 4  # vectors of channels that one vector of filters may see
STRETCH = 16 * 1024  # bytes of the gradient that stay in the level-1 cache while all taps meet them
FAR = 16 * 2**20  # bytes of x and y from which on prefetching them gains: a third at 32 MiB, while it cost a tenth at 8
NEAR = 2 * 2**20  # the same for depthwise ones: a tenth at 3 MiB, while it cost as much at 0.4
SMALL_FLOPS = 2_000_000  # that one thread does before a second one helps: about 20 microseconds
ITEMS = 32  # pieces of work to aim at, so that threads finish together
BAND = 8  # rows of a piece of a depthwise convolution, or a multiple: its tiles have several
SHORT = 16  # rows of a map that is not cut in bands: 14 rows took two thirds longer in two
LEAST = 8  # pieces to have of one, if need be by cutting its channels
SPLITS = 16  # partial sums of a weight gradient. It sets the order of the sums, so it must not depend on the threads


@dataclass(frozen=True)
class Plan:
    """How to compute correlations of one geometry."""

    items: Array
    parts: Array
    packing: Array  # a row for each vector of filters
    order: tuple[Any, ...]  # of packed weights: plans in which it is the same pack alike
    addresses: tuple[int, int]  # of items and parts
    stride: Pair
    dilation: Pair
    packed: int  # bytes of a vector of packed filters
    no_bias: Array
    far: bool
    small: bool  # not worth a second thread


@lru_cache(maxsize=1024)
def _plan(
    cut: Cut,
    lanes: int,
    dtype: np.dtype,
    x_shape: Shape,
    y_shape: Shape,
    y_strides: Shape,
    filters: Filters,
    shape: Shape,
    window: Window,
    groups: int,
) -> Plan:
    """Plan the correlations that `cut` gives; filters: where the weights lie, `shape` being theirs."""
    size, (kh, kw) = dtype.itemsize, window.kernel
    outs = y_shape[1] // groups
    ins = x_shape[1] // groups
    step = ins * lanes * size
    parts, stride, dilation = cut(size, y_shape, y_strides, shape, (0, 0, kw * step, step), window, groups)

    def row(part: Part) -> tuple[int, ...]:
        return (
            *(part.shape[3], part.start, *part.strides, *part.origin, *part.taps),
            *(part.filters.start, *part.filters.strides[2:]),
        )

    rows = y_shape[0] * sum(part.shape[2] for part in parts)
    vectors = -(-groups * outs // lanes)
    most, together = max(1, rows // ITEMS), vectors
    if ins == outs == 1:
        most = max(BAND, most // BAND * BAND)
        most = SHORT if max(part.shape[2] for part in parts) <= SHORT else most
        bands = y_shape[0] * sum(-(-part.shape[2] // most) for part in parts)
        together = max(1, vectors * bands // LEAST)
    items = [
        (number, image, *lines, *channels)
        for number, part in enumerate(parts)
        for image in range(part.shape[0])
        for lines in balanced(part.shape[2], most)
        for channels in balanced(vectors, min(vectors, together))
    ]
    items.sort(key=lambda item: (item[1], item[2], item[0]))  # the parts of some rows read the same
    flops = sum(2 * part.shape[0] * part.shape[1] * part.shape[2] * part.shape[3] * window.taps for part in parts)
    packing = [
        (0, 0, vector, vectors, groups * outs, filters.inner, filters.jump, kh, kw, *filters.strides)
        for vector in range(vectors)
    ]
    item_table = np.array(items, np.int64).reshape(-1, ITEM)
    part_table = np.array([row(part) for part in parts], np.int64).reshape(-1, PART)
    packing_table = np.array(packing, np.int64).reshape(-1, PACKED)
    return Plan(
        item_table,
        part_table,
        packing_table,
        ("grouped", lanes, ins, packing_table.tobytes()),
        (item_table.ctypes.data, part_table.ctypes.data),
        stride=stride,
        dilation=dilation,
        packed=kh * kw * step,
        no_bias=np.zeros(vectors * lanes, dtype),
        far=size * (prod(x_shape) + prod(y_shape)) > (NEAR if ins == outs == 1 else FAR),
        small=flops * ins < SMALL_FLOPS,
    )


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
) -> None:
    """Compute the correlations that `cut` gives for a weight whose `filters` lie as they say."""
    if not y.size:
        return
    lanes = machine.vectors().lanes(x.dtype)
    made = _plan(cut, lanes, x.dtype, x.shape, y.shape, y.strides, filters, weight.shape, window, groups)
    ins, outs = x.shape[1] // groups, y.shape[1] // groups
    items, parts = made.addresses
    size = len(made.packing) * made.packed
    _weights, weights = packed_panels(weight, made.order, size, made.packing, ins, ins, lanes)
    biases = made.no_bias
    if bias is not None:
        biases = made.no_bias.copy()
        biases[: bias.size] = bias
    one = ins == outs == 1
    compiled = depthwise.product(x.dtype, lanes, depthwise.pixels()) if one else product(x.dtype, lanes, ins, outs)
    run(
        compiled,
        len(made.items),
        items,
        parts,
        strided(x),
        y.ctypes.data,
        weights,
        made.packed,
        biases.ctypes.data,
        x.shape[2:],
        (y.shape[1], x.shape[1]),
        made.stride,
        made.dilation,
        (int(activation == "relu"), int(made.far)),
        scratch=16 * window.kernel[0] + LOADS * lanes * x.itemsize,
        small=made.small,
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
) -> None:
    """conv2d."""
    filters = Filters(0, weight.strides, 0, weight.shape[0])
    correlate(whole, outputs[0], x, weight, filters, Window(weight.shape[2:], **window), groups, bias, activation)


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
    per_channel, per_filter, *between = weight.strides
    jump = weight.shape[0] // groups * per_channel  # to the filters of the next group
    filters = Filters(0, (per_filter, per_channel, *between), 0, weight.shape[1], jump)
    correlate(phased, outputs[0], x, weight, filters, Window(weight.shape[2:], **window), groups, bias, activation)


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
