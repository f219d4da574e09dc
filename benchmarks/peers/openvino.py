"""OpenVINO on the CPU in float32, forward only. Importing this needs onnx and openvino."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino

from ..cases import Call
from . import graphs

TITLE, VERSION = "OpenVINO", openvino.__version__.partition("-")[0]
UNABLE = {"max_unpool2d"}

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
    """The call as a model of one node."""
    graph = None if call.operator in UNABLE else graphs.operator(call)
    return {} if graph is None else {TITLE: _compiled(graph)}


def networks(model: Any, images: np.ndarray, labels: np.ndarray) -> dict[str, tuple[Callable[[], Any], None]]:
    """A U-Net, forward."""
    return {TITLE: (_compiled(graphs.unet(model, images)), None)}


def _compiled(graph: graphs.Graph) -> Callable[[], Any]:
    """Runs a model on memory that input and results have for good: nothing is allocated or copied."""
    inputs = {name: openvino.Tensor(array, shared_memory=True) for name, array in graph.inputs.items()}
    request = _core.compile_model(_core.read_model(graph.model), "CPU", _settings).create_infer_request()
    for name, tensor in inputs.items():
        request.set_tensor(name, tensor)

    def run(memory: Any = graph.inputs) -> Any:  # which nobody else keeps
        request.infer()
        return request.get_output_tensor(0).data

    return run
