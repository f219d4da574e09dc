"""What slides a window over a map, as ONNX nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ...kernels.window import Window
from ...kernels.window_arguments import WindowArguments
from .graph import END, Graph
from .trace import Unlike, Value


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
    check, kernel = WindowArguments("conv2d", "weight"), weight.shape[2:]
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
    window = WindowArguments("conv_transpose2d", "weight").window(weight.shape[2:], stride, padding, dilation)
    extra = {minus(size, window.transposed_size(before)) for size, before in zip(y.planes, x.planes, strict=True)}
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
    window = pooling("max_pool2d", kernel_size, stride, padding, dilation)
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
    window = pooling("avg_pool2d", kernel_size, stride, padding)
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


def activated(graph: Graph, name: str, activation: str | None) -> str:
    """Relu where that is the activation."""
    return graph.add("Relu", name) if activation == "relu" else name


def pooling(name: str, kernel_size: Any, stride: Any, padding: Any, dilation: Any = 1) -> Window:
    """The window of a pooling, whose stride is its kernel's size where none is given."""
    return WindowArguments(name).window(kernel_size, kernel_size if stride is None else stride, padding, dilation)


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


def minus(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    """a - b of each axis."""
    return tuple(x - y for x, y in zip(a, b, strict=True))
