"""What moves the pixels of a map or changes its size, as ONNX nodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...kernels.arguments import Arguments
from .graph import END, Graph
from .trace import Unlike, Value, Varying
from .windows import minus, pooling

PER_PLANE = (0, 0, -1)  # N C H W -> N C (H W)


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
    window = pooling("max_unpool2d", kernel_size, stride, padding)
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
        scales = np.array(factors, np.float32)
        for before, after in zip(x.planes, y.planes, strict=True):
            if any(_differs(mode, *each) for each in zip(before, after, scales, strict=True)):
                raise Unlike(f"interpolate with mode={mode!r} and scale_factor={scale_factor} is another in ONNX")
        return graph.add("Resize", graph.name(x), "", graph.constant([1, 1, *scales], np.float32), **attributes)
    sizes = graph.add("Concat", graph.shape(x, 0, 2), graph.plane(y.planes, x), axis=0)
    return graph.add("Resize", graph.name(x), "", "", sizes, **attributes)


def crop(graph: Graph, y: Value, *, inputs: Sequence[Value], start: Any) -> str:
    """Slice, counted from whichever end stays the same."""
    (x,) = inputs
    if any(isinstance(each, Varying) for each in start):
        raise Unlike("the corner of a crop does not follow from the input's size")
    rests = [minus(minus(before, after), start) for before, after in zip(x.planes, y.planes, strict=True)]
    if {*rests, start} == {(0, 0)}:
        return graph.name(x)
    if len({*rests}) == 1:
        stop = graph.constant([-rest or END for rest in rests[0]])
    else:
        stop = graph.add("Add", graph.plane(y.planes, x), graph.constant(start))
    return graph.add("Slice", graph.name(x), graph.constant(start), stop, graph.constant([2, 3]))


def _differs(mode: str, before: int, after: int, scale: float) -> bool:
    """Whether ONNX gives another length, for its scale is float32, or does not copy or double where "nearest" does."""
    if math.floor(scale * before) != after:
        return True
    whole = mode == "nearest" and after in (before, 2 * before)
    return whole and any(math.floor(i / scale) != i * before // after for i in range(after))


def _full(graph: Graph, shape: str, value: int, dtype: Any) -> str:
    return graph.add("ConstantOfShape", shape, value=graph.tensor(value, dtype))
