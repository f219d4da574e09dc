"""Calls of operators, and whole U-Nets, as ONNX models: NCHW, weights as constants. Importing this needs onnx."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from upconv import kernels, nn

from ..cases import Call

OPSET, IR = 18, 10  # of 2022 and 2024: what every runtime of today reads


@dataclass
class Node:
    """One operator of ONNX, the arrays that it gets when it runs, its constants, and its attributes.

    An input of None is left out.
    """

    name: str
    inputs: dict[str, np.ndarray]
    constants: dict[str, np.ndarray | None]
    attributes: dict[str, Any]


@dataclass
class Graph:
    """A model, serialised, and what goes in, NCHW; the first result is "result"."""

    model: bytes
    inputs: dict[str, np.ndarray]


def _two(value: Any) -> list[int]:
    return list(value) if isinstance(value, (tuple, list)) else [value, value]


def _window(kernel: Any, stride: Any, padding: Any, **more: Any) -> dict[str, Any]:
    return {"kernel_shape": _two(kernel), "strides": _two(stride), "pads": _two(padding) * 2, **more}


def _convolution(name: str) -> Callable[..., Node]:
    def make(
        x: Any, weight: Any, bias: Any, *, stride: Any, padding: Any, dilation: Any, groups: int, **_: Any
    ) -> Node:
        window = _window(weight.shape[2:], stride, padding, dilations=_two(dilation), group=groups)
        return Node(name, {"x": x}, {"w": weight, "b": bias}, window)

    return make


def _max_pool(
    x: Any, kernel_size: Any, *, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, return_indices: bool
) -> Node:
    stride = kernel_size if stride is None else stride
    window = _window(kernel_size, stride, padding, dilations=_two(dilation), ceil_mode=int(ceil_mode))
    return Node("MaxPool", {"x": x}, {}, window | {"outputs": 1 + return_indices})


def _average_pool(
    x: Any, kernel_size: Any, *, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool, **_: Any
) -> Node:
    stride = kernel_size if stride is None else stride
    more = {"ceil_mode": int(ceil_mode), "count_include_pad": int(count_include_pad)}
    return Node("AveragePool", {"x": x}, {}, _window(kernel_size, stride, padding, **more))


def _max_unpool(x: Any, indices: Any, kernel_size: Any, *, stride: Any, padding: Any, **_: Any) -> Node:
    stride = kernel_size if stride is None else stride
    size = [side * step for side, step in zip(x.shape[2:], _two(stride), strict=True)]
    places = kernels.indices_to_onnx(indices, (*x.shape[:2], *size))
    return Node("MaxUnpool", {"x": x, "indices": places}, {}, _window(kernel_size, stride, padding))


def _resize(x: Any, *, scale_factor: Any, mode: str, **_: Any) -> Node:
    modes: dict[str, dict[str, Any]] = {
        "nearest": {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        "bilinear": {"mode": "linear"},
        "bicubic": {"mode": "cubic", "cubic_coeff_a": -0.75},
    }
    scales = np.array([1, 1, *_two(scale_factor)], np.float32)
    return Node("Resize", {"x": x}, {"roi": None, "scales": scales}, modes[mode])


def _batch_norm(x: Any, mean: Any, variance: Any, weight: Any, bias: Any, *, eps: float, **_: Any) -> Node:
    weight = np.ones_like(mean) if weight is None else weight
    bias = np.zeros_like(mean) if bias is None else bias
    constants = {"weight": weight, "bias": bias, "mean": mean, "variance": variance}
    return Node("BatchNormalization", {"x": x}, constants, {"epsilon": eps})


def _plain(name: str, **attributes: Any) -> Callable[..., Node]:
    """An operator that only gets arrays."""

    def make(x: Any, **others: Any) -> Node:
        arrays = {key: value for key, value in others.items() if isinstance(value, np.ndarray)}
        return Node(name, {"x": x, **arrays}, {}, attributes)

    return make


OPERATORS: dict[str, Callable[..., Node]] = {
    "add": _plain("Add"),
    "avg_pool2d": _average_pool,
    "batch_norm": _batch_norm,
    "concatenate": lambda xs: Node("Concat", {f"x{i}": x for i, x in enumerate(xs)}, {}, {"axis": 1}),
    "conv2d": _convolution("Conv"),
    "conv_transpose2d": _convolution("ConvTranspose"),
    "global_avg_pool2d": _plain("GlobalAveragePool"),
    "global_max_pool2d": _plain("GlobalMaxPool"),
    "interpolate": _resize,
    "leaky_relu": lambda x, *, negative_slope: Node("LeakyRelu", {"x": x}, {}, {"alpha": negative_slope}),
    "log_softmax": _plain("LogSoftmax", axis=1),
    "max_pool2d": _max_pool,
    "max_unpool2d": _max_unpool,
    "relu": _plain("Relu"),
    "sigmoid": _plain("Sigmoid"),
    "softmax": _plain("Softmax", axis=1),
    "tanh": _plain("Tanh"),
}


def operator(call: Call) -> Graph | None:
    """The model of one call; None where ONNX has no such operator."""
    if call.operator not in OPERATORS:
        return None
    node = OPERATORS[call.operator](**call.arguments)
    inputs = {name: np.ascontiguousarray(value) for name, value in node.inputs.items()}
    constants = {name: value for name, value in node.constants.items() if value is not None}
    names = [*inputs, *(name if name in constants else "" for name in node.constants)]
    outputs = ["result", "further"][: node.attributes.pop("outputs", 1)]
    made = helper.make_node(node.name, names, outputs, **node.attributes)
    return Graph(_model(made, inputs, constants), inputs)


def unet(model: Any, images: np.ndarray) -> Graph:
    """The model of an `upconv.nn.UNet`, for images of this very shape."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "unet.onnx"
        nn.export_onnx(model, path, images.shape, opset=OPSET, dynamic=False)
        return Graph(path.read_bytes(), {"input": np.ascontiguousarray(images)})


def _model(node: Any, inputs: dict[str, np.ndarray], constants: dict[str, np.ndarray]) -> bytes:
    def value(name: str, array: np.ndarray | None) -> Any:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(np.float32) if array is None else array.dtype)
        return helper.make_tensor_value_info(name, kind, None if array is None else array.shape)

    results = [value("result", None)]
    if "further" in node.output:
        results.append(helper.make_tensor_value_info("further", onnx.TensorProto.INT64, None))
    given = [value(name, array) for name, array in inputs.items()]
    kept = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph([node], "benchmark", given, results, kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    return model.SerializeToString()
