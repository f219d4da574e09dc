"""What slides over a map, moves its pixels or changes its size, as ONNX nodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...kernels.arguments import Arguments
from ...kernels.window import Window
from .graph import END, Graph
from .trace import Unlike, Value, Varying

PER_PLANE = (0, 0, -1)  # N C H W -> N C (H W)


def conv2d(
    graph: Graph,
    y: Value,
    *,
    x: Value,
    weight: Value,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    activation: str | None = None,
) -> str:
    """Conv, and Relu."""
    check, kernel = Arguments("conv2d", "weight"), weight.shape[2:]
    windows = [check.window(kernel, stride, padding, dilation, plane) for plane in x.planes]
    given, window = graph.name(x), windows[0]
    if len({*windows}) > 1:  # "same"
        given, window = _same(graph, x, window), replace(window, padding=((0, 0), (0, 0)))
    attributes = _window(window) | {"dilations": window.dilation, "group": groups}
    return activated(graph, graph.add("Conv", given, graph.name(weight), graph.name(bias), **attributes), activation)


def conv_transpose2d(
    graph: Graph,
    y: Value,
    *,
    x: Value,
    weight: Value,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    output_size: Any = None,
    groups: int = 1,
    dilation: Any = 1,
    activation: str | None = None,
) -> str:
    """ConvTranspose, and Relu."""
    window = Arguments("conv_transpose2d", "weight").window(weight.shape[2:], stride, padding, dilation)
    extra = {_minus(size, window.transposed_size(before)) for size, before in zip(y.planes, x.planes, strict=True)}
    if len(extra) > 1:
        raise Unlike("the output_size of conv_transpose2d does not follow from its input's size")
    attributes = _window(window) | {"dilations": window.dilation, "group": groups, "output_padding": extra.pop()}
    made = graph.add("ConvTranspose", *map(graph.name, (x, weight, bias)), **attributes)
    return activated(graph, made, activation)


def max_pool2d(
    graph: Graph,
    y: Value,
    indices: Value | None = None,
    *,
    x: Value,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Any:
    """MaxPool; its indices count the pixels of the whole array, ours those of a plane."""
    window = _pooling("max_pool2d", kernel_size, stride, padding, dilation)
    attributes = _window(window) | {"dilations": window.dilation, "ceil_mode": int(ceil_mode)}
    if indices is None:
        return graph.add("MaxPool", graph.name(x), **attributes)
    largest, places = graph.add("MaxPool", graph.name(x), outputs=2, **attributes)
    if all(s >= reach for s, reach in zip(window.stride, window.extent, strict=True)):
        graph.distinct.add(indices.name)
    pixels = graph.add("ReduceProd", graph.shape(x, 2), keepdims=1)
    return largest, graph.add("Mod", places, pixels)


def avg_pool2d(
    graph: Graph,
    y: Value,
    *,
    x: Value,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> str:
    """AveragePool; a divisor of one's own corrects means over a border of zeros, cut to as many."""
    window = _pooling("avg_pool2d", kernel_size, stride, padding, 1)
    more = {"ceil_mode": int(ceil_mode), "count_include_pad": int(count_include_pad)}
    mean = graph.add("AveragePool", graph.name(x), **_window(window), **more)
    if divisor_override is None:
        return mean
    (top, bottom), (left, right) = window.padding
    down, across = window.stride if ceil_mode else (1, 1)
    pads = graph.constant([0, 0, top, left, 0, 0, bottom + down - 1, right + across - 1])
    factor = graph.constant(window.taps / divisor_override, graph.dtype)
    whole = graph.add("Mul", graph.add("Pad", graph.name(x), pads), factor)  # ONNX Runtime cannot pool right after Pad
    sums = graph.add("AveragePool", whole, **_window(replace(window, padding=((0, 0), (0, 0)))))
    size = graph.add("Slice", graph.add("Shape", mean), graph.constant([2]), graph.constant([END]))
    return graph.add("Slice", sums, graph.constant([0, 0]), size, graph.constant([2, 3]))


def max_unpool2d(
    graph: Graph,
    y: Value,
    *,
    x: Value,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> str:
    """ScatterElements into zeros. Of equal indices the last has to win, which it leaves open: then the places of the
    values are scattered, of which the largest stays, and the values gathered from there."""
    window = _pooling("max_unpool2d", kernel_size, stride, padding, 1)
    planes, plane = graph.shape(x, 0, 2), graph.plane(y.planes, x, window.stride)
    whole = graph.add("Concat", planes, graph.add("ReduceProd", plane, keepdims=1), axis=0)
    flat = graph.constant(PER_PLANE)
    values, places = (graph.add("Reshape", graph.name(each), flat) for each in (x, indices))
    if isinstance(indices, Value) and indices.name in graph.distinct:
        filled = graph.add("ScatterElements", _full(graph, whole, 0, graph.dtype), places, values, axis=2)
    else:
        one = graph.constant(1)
        count = graph.add("Squeeze", graph.add("ReduceProd", graph.shape(x, 2), keepdims=1))
        order = graph.add("Expand", graph.add("Range", graph.constant(0), count, one), graph.add("Shape", places))
        last = graph.add("ScatterElements", _full(graph, whole, -1, np.int64), places, order, axis=2, reduction="max")
        nothing = graph.constant(0)
        found = graph.add("GatherElements", values, graph.add("Max", last, nothing), axis=2)
        filled = graph.add("Where", graph.add("Less", last, nothing), graph.constant(0, graph.dtype), found)
    return graph.add("Reshape", filled, graph.add("Concat", planes, plane, axis=0))


def unpool2d(graph: Graph, y: Value, *, x: Value, kernel_size: Any) -> str:
    """Zeros after every row and every column, as axes of their own: Unsqueeze, Pad, Reshape."""
    rows, columns = Arguments("unpool2d").pair("kernel_size", kernel_size, 1)
    apart = graph.add("Unsqueeze", graph.name(x), graph.constant([3, 5]))
    after = graph.constant([0] * 9 + [rows - 1, 0, columns - 1])
    size = graph.add("Mul", graph.shape(x, 0), graph.constant([1, 1, rows, columns]))
    return graph.add("Reshape", graph.add("Pad", apart, after), size)


def interpolate(
    graph: Graph,
    y: Value,
    *,
    x: Value,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool = False,
) -> str:
    """Resize."""
    modes: dict[str, dict[str, Any]] = {
        "nearest": {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"},
        "bilinear": {"mode": "linear"},
        "bicubic": {"mode": "cubic", "cubic_coeff_a": -0.75},
    }
    attributes = modes[mode]
    if align_corners:
        attributes["coordinate_transformation_mode"] = "align_corners"
    if scale_factor is not None:
        factors = scale_factor if isinstance(scale_factor, tuple) else (scale_factor, scale_factor)
        scales = np.array([1, 1, *factors], np.float32)
        for before, after in zip(x.planes, y.planes, strict=True):
            if tuple(math.floor(s * n) for s, n in zip(scales[2:], before, strict=True)) != after:
                raise Unlike(f"a scale_factor of {scale_factor} gives another size in float32, which ONNX has")
        return graph.add("Resize", graph.name(x), "", graph.constant(scales, np.float32), **attributes)
    sizes = graph.add("Concat", graph.shape(x, 0, 2), graph.plane(y.planes, x), axis=0)
    return graph.add("Resize", graph.name(x), "", "", sizes, **attributes)


def crop(graph: Graph, y: Value, *, inputs: Sequence[Value], start: Any) -> str:
    """Slice, counted from whichever end stays the same."""
    (x,) = inputs
    if any(isinstance(each, Varying) for each in start):
        raise Unlike("the corner of a crop does not follow from the input's size")
    rests = [_minus(_minus(before, after), start) for before, after in zip(x.planes, y.planes, strict=True)]
    if {*rests, start} == {(0, 0)}:
        return graph.name(x)
    if len({*rests}) == 1:
        stop = graph.constant([-rest or END for rest in rests[0]])
    else:
        stop = graph.add("Add", graph.plane(y.planes, x), graph.constant(start))
    return graph.add("Slice", graph.name(x), graph.constant(start), stop, graph.constant([2, 3]))


def activated(graph: Graph, name: str, activation: str | None) -> str:
    """Relu where that is the activation."""
    return graph.add("Relu", name) if activation == "relu" else name


def _pooling(name: str, kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> Window:
    return Arguments(name).window(kernel_size, kernel_size if stride is None else stride, padding, dilation)


def _window(window: Window) -> dict[str, Any]:
    (top, bottom), (left, right) = window.padding
    return {"kernel_shape": window.kernel, "strides": window.stride, "pads": [top, left, bottom, right]}


def _same(graph: Graph, x: Value, window: Window) -> str:
    """The map with a border that gives ceil(size / stride) windows: (that - 1) stride + extent - size, no less than 0.

    `auto_pad` means the same, but ONNX Runtime refuses it with dilation.
    """
    size, stride, two = graph.shape(x, 2), graph.constant(window.stride), graph.constant([2, 2])
    above = graph.add("Add", size, graph.constant([step - 1 for step in window.stride]))
    last = graph.add("Mul", graph.add("Sub", graph.add("Div", above, stride), graph.constant([1, 1])), stride)
    lacking = graph.add("Sub", graph.add("Add", last, graph.constant(window.extent)), size)
    border, nothing = graph.add("Max", lacking, graph.constant([0, 0])), graph.constant([0, 0])
    before = graph.add("Div", border, two)
    pads = graph.add("Concat", nothing, before, nothing, graph.add("Sub", border, before), axis=0)
    return graph.add("Pad", graph.name(x), pads)


def _full(graph: Graph, shape: str, value: int, dtype: Any) -> str:
    return graph.add("ConstantOfShape", shape, value=graph.tensor(value, dtype))


def _minus(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    return tuple(x - y for x, y in zip(a, b, strict=True))
