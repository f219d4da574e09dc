"""The table of operators: what each function of `upconv.nn` is in ONNX.

An entry gets the graph, the call's results and its arguments by name, adds nodes, and returns the names of what they
give, in the order of the results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import resampling, windows
from .graph import Graph
from .trace import Call, Value
from .windows import activated


def _plain(operator: str, **attributes: Any) -> Callable[..., str]:
    """An operator of ONNX that takes the same arrays, and nothing else."""

    def add(graph: Graph, y: Value, *, inputs: Sequence[Any] = (), **arrays: Any) -> str:
        read = [each for each in (*inputs, *arrays.values()) if isinstance(each, (Value, np.ndarray))]
        return graph.add(operator, *map(graph.name, read), **attributes)

    return add


def _leaky_relu(graph: Graph, y: Value, *, x: Value, negative_slope: float = 0.01) -> str:
    return graph.add("LeakyRelu", graph.name(x), alpha=float(negative_slope))


def _linear(graph: Graph, y: Value, *, x: Value, weight: Value, bias: Any = None, activation: str | None = None) -> str:
    if len(x.shape) == 2:
        return activated(graph, graph.add("Gemm", *map(graph.name, (x, weight, bias)), transB=1), activation)
    made = graph.add("MatMul", graph.name(x), graph.add("Transpose", graph.name(weight), perm=[1, 0]))
    return activated(graph, made if bias is None else graph.add("Add", made, graph.name(bias)), activation)


def _batch_norm(
    graph: Graph,
    y: Value,
    *,
    x: Value,
    mean: Value,
    variance: Value,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    activation: str | None = None,
) -> str:
    scale = graph.constant(np.ones(mean.shape), graph.dtype) if weight is None else graph.name(weight)
    shift = graph.constant(np.zeros(mean.shape), graph.dtype) if bias is None else graph.name(bias)
    statistics = map(graph.name, (mean, variance))
    return activated(
        graph, graph.add("BatchNormalization", graph.name(x), scale, shift, *statistics, epsilon=float(eps)), activation
    )


def _reshape(graph: Graph, y: Value, *, inputs: Sequence[Value]) -> str:
    (x,) = inputs
    return graph.reshape(x, y.shapes)


OPERATORS: dict[str, Callable[..., Any]] = {
    "add": _plain("Add"),
    "avg_pool2d": windows.avg_pool2d,
    "batch_norm": _batch_norm,
    "concatenate": _plain("Concat", axis=1),
    "conv2d": windows.conv2d,
    "conv_transpose2d": windows.conv_transpose2d,
    "crop": resampling.crop,
    "flatten": _reshape,
    "global_avg_pool2d": _plain("GlobalAveragePool"),
    "global_max_pool2d": _plain("GlobalMaxPool"),
    "interpolate": resampling.interpolate,
    "leaky_relu": _leaky_relu,
    "linear": _linear,
    "log_softmax": _plain("LogSoftmax", axis=1),
    "max_pool2d": windows.max_pool2d,
    "max_unpool2d": resampling.max_unpool2d,
    "mul": _plain("Mul"),
    "neg": _plain("Neg"),
    "relu": _plain("Relu"),
    "sigmoid": _plain("Sigmoid"),
    "softmax": _plain("Softmax", axis=1),
    "sum": _plain("ReduceSum", keepdims=0),
    "tanh": _plain("Tanh"),
    "unflatten": _reshape,
    "unpool2d": resampling.unpool2d,
}
IMAGES = {  # N C H W in ONNX
    *("avg_pool2d", "conv2d", "conv_transpose2d", "global_avg_pool2d", "global_max_pool2d"),
    *("max_pool2d", "max_unpool2d", "unpool2d"),
}


def add_call(graph: Graph, call: Call) -> None:
    """The nodes of one call. Raises ValueError for what ONNX has no nodes for."""
    if call.name not in OPERATORS:
        raise ValueError(f"{call.name} cannot be exported")
    if call.name in IMAGES and len(call.results[0].shape) != 4:
        raise ValueError(f"{call.name} cannot be exported for an image without N, of shape {call.results[0].shape}")
    if len(call.results) > 1 and call.name != "max_pool2d":
        raise ValueError(f"{call.name} cannot be exported with the indices that it returns")
    made = OPERATORS[call.name](graph, *call.results, **call.arguments)
    for value, name in zip(call.results, made if isinstance(made, tuple) else (made,), strict=True):
        graph.call(value, name)
