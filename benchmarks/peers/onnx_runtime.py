"""ONNX Runtime on the CPU, forward only. Importing this needs onnx and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime

from ..cases import Call
from . import graphs

TITLE, VERSION = "ONNX Runtime", onnxruntime.__version__

_options = onnxruntime.SessionOptions()


def prepare(threads: int) -> None:
    """Compute with so many threads, one operator after the other."""
    _options.intra_op_num_threads, _options.inter_op_num_threads = threads, 1
    _options.log_severity_level = 3  # errors alone


def candidates(call: Call) -> dict[str, Callable[[], Any]]:
    """The call as a model of one node."""
    graph = graphs.operator(call)
    return {} if graph is None else {TITLE: _bound(graph)}


def networks(model: Any, images: np.ndarray, labels: np.ndarray) -> dict[str, tuple[Callable[[], Any], None]]:
    """A U-Net, forward."""
    return {TITLE: (_bound(graphs.unet(model, images)), None)}


def _bound(graph: graphs.Graph) -> Callable[[], Any]:
    """Runs a model on memory that input and results have for good: nothing is allocated or copied."""
    session = onnxruntime.InferenceSession(graph.model, _options, providers=["CPUExecutionProvider"])
    values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in graph.inputs.items()}
    names = [output.name for output in session.get_outputs()]
    results = [onnxruntime.OrtValue.ortvalue_from_numpy(each) for each in session.run(names, {**graph.inputs})]
    binding = session.io_binding()
    for name, value in values.items():
        binding.bind_ortvalue_input(name, value)
    for name, value in zip(names, results, strict=True):
        binding.bind_ortvalue_output(name, value)

    def run() -> Any:
        session.run_with_iobinding(binding)
        return results[0].numpy()

    return run
