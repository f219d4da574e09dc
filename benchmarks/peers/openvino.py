"""OpenVINO on the CPU in float32, forward only. Importing this needs onnx and openvino."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino
import openvino.preprocess

from ..cases import Call
from . import graphs

TITLE, VERSION = "OpenVINO", openvino.__version__.partition("-")[0]
UNABLE = {"max_unpool2d"}
FORMATS = {"OpenVINO NHWC": True, "OpenVINO NCHW": False}  # channels last; the copy out of it can take longest of all
NHWC, NCHW = (0, 2, 3, 1), (0, 3, 1, 2)

_core = openvino.Core()
_settings: dict[str, Any] = {}


def prepare(threads: int) -> None:
    """Compute with so many threads, in float32 (else bfloat16 where the CPU has it), one request at a time."""
    _settings.update(
        INFERENCE_PRECISION_HINT="f32",
        PERFORMANCE_HINT="LATENCY",
        INFERENCE_NUM_THREADS=threads,
        NUM_STREAMS=1,
    )


def candidates(call: Call) -> dict[str, Callable[[], Any]]:
    """The call as a model of one node, in both formats."""
    graph = None if call.operator in UNABLE else graphs.operator(call)
    return {} if graph is None else {name: _compiled(graph, last) for name, last in FORMATS.items()}


def networks(model: Any, images: np.ndarray, labels: np.ndarray) -> dict[str, tuple[Callable[[], Any], None]]:
    """A U-Net, forward, in both formats."""
    graph = graphs.unet(model, images)
    return {name: (_compiled(graph, last), None) for name, last in FORMATS.items()}


def _compiled(graph: graphs.Graph, channels_last: bool) -> Callable[[], Any]:
    """Runs a model on memory that input and results have for good: nothing is allocated or copied."""
    model, arrays = _core.read_model(graph.model), graph.inputs
    if channels_last:
        model = _with_channels_last(model)
        arrays = {name: np.ascontiguousarray(array.transpose(NHWC)) for name, array in arrays.items()}
    request = _core.compile_model(model, "CPU", _settings).create_infer_request()
    for name, array in arrays.items():
        request.set_tensor(name, openvino.Tensor(array, shared_memory=True))

    def run(memory: Any = arrays) -> Any:  # which nobody else keeps
        request.infer()
        result = request.get_output_tensor(0).data
        return result.transpose(NCHW) if channels_last else result

    return run


def _with_channels_last(model: Any) -> Any:
    """The model with inputs and results in memory as upconv has them; inside, OpenVINO computes as it likes."""
    steps = openvino.preprocess.PrePostProcessor(model)
    ends = [steps.input(i) for i in range(len(model.inputs))] + [steps.output(i) for i in range(len(model.outputs))]
    for end in ends:
        end.tensor().set_layout(openvino.Layout("NHWC"))
        end.model().set_layout(openvino.Layout("NCHW"))
    return steps.build()
