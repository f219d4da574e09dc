"""Networks as ONNX files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ... import __version__
from ..._extras import require
from ..device import home, moved
from ..files import Pathlike, write
from ..layers import positive
from ..module import Module, evaluating
from .graph import Graph
from .nodes import add_call
from .trace import Run, Shape, Unlike, Value, follow, merged

OLDEST = 18  # of ONNX's operator sets: the first in which ScatterElements can keep a maximum
LARGEST = (1 << 31) - (1 << 20)  # bytes of weights: a file of protobuf has fewer than 2 GiB
STEPS = (1, 2, 4, 8, 16, 32, 64, 128)  # pixels by which heights and widths that a network takes may differ
FURTHEST = 64  # pixels that another image has more, or two steps


def export_onnx(
    model: Module, path: Pathlike, input_shape: Sequence[int], *, opset: int = OLDEST, dynamic: bool = True
) -> None:
    """Write `model`, as it computes in evaluation mode, to an ONNX file.

    The model runs on images of this shape, N C H W, and of a few others, and what it calls becomes the graph: functions
    and layers of `upconv.nn` and the operators of tensors. Its input is "input", its output "output" (or "output_0",
    "output_1", ...), of the model's dtype (ONNX Runtime convolves in float32 alone); weights have their names in
    `state_dict`; the metadata say upconv.model and upconv.config. `onnx.checker` has looked at the file before it
    appears, complete or not at all.

    opset: the version of ONNX's operators, 18 or newer. dynamic: the graph runs for other N, H and W too, all that the
    network takes: how sizes follow from the input's is read off those runs. For other N alone where the network takes
    one size, or where some size follows a rule that cannot be seen (worked out in `forward`, say). False: for this
    shape alone.

    `max_unpool2d` is ScatterElements; of equal indices, as windows that overlap give them, the last wins as it does
    here. Not for several threads at once.

    Raises ValueError naming the operator that cannot be exported (losses, dropout and batch normalisation of a batch's
    own statistics, anything that reads `.data` and computes with it), for weights of 2 GiB, and what the model raises
    for such an input; FileNotFoundError where there is no such folder; ImportError without onnx
    (`pip install 'upconv[onnx]'`).

    >>> from upconv import nn
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2))
    >>> nn.export_onnx(model, "small.onnx", (1, 1, 16, 16))  # doctest: +SKIP
    """
    path, onnx = Path(path), require("onnx", extra="onnx")
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST <= opset <= newest:
        raise ValueError(f"export_onnx: opset is {opset}; {OLDEST} to {newest} are possible")
    shape = tuple(positive(f"export_onnx: input_shape[{i}]", length) for i, length in enumerate(input_shape))
    if not path.parent.is_dir():
        raise FileNotFoundError(f"export_onnx: there is no folder {path.parent}")
    try:
        with evaluating(model):
            graph, run = _made(model, shape, dynamic)
    except ValueError as error:
        raise ValueError(f"export_onnx: {error}") from error
    size = sum(each.nbytes for each in graph.constants.values())
    if size >= LARGEST:
        raise ValueError(f"export_onnx: the weights take {size} bytes; an ONNX file holds fewer than {LARGEST}")
    content = _model(model, graph, run, opset)
    onnx.checker.check_model(content, full_check=True)
    write(path, content.SerializeToString())


def _made(model: Module, shape: Shape, dynamic: bool) -> tuple[Graph, Run]:
    """The graph of the freest shapes that it can be made for."""
    rng, weights = np.random.default_rng(0), model.state_dict()
    dtype = next((each.dtype for each in model.parameters()), np.dtype(np.float32))

    def run(shape: Shape) -> Run:
        return follow(model, moved(rng.standard_normal(shape).astype(dtype), home(model)))

    first, problem = run(shape), None
    for others in _others(shape) if dynamic else [[shape]]:
        if problem and len(others) > 1:
            continue  # sizes that it takes follow no rule
        try:
            runs = [first, *map(run, others)]
        except (ValueError, IndexError):
            if others == [shape]:
                raise
            continue  # the network does not take these
        try:
            whole = merged(runs)
            graph = Graph(whole, weights)
            for call in whole.calls:
                add_call(graph, call)
            return graph, whole
        except Unlike as error:
            problem = str(error)
    raise ValueError(f"{type(model).__name__} cannot be exported: {problem}")


def _others(shape: Shape) -> Iterator[list[Shape]]:
    """Shapes to try beside the first, from all that may vary to nothing."""
    n, *rest = shape
    if len(shape) == 4:
        channels, height, width = rest
        for step in STEPS:
            # With 1, 2, 4, ... pixels more every halving rounds up in one run and not in another.
            more = [step << i for i in range(7) if step << i <= max(FURTHEST, 2 * step)]
            turned = more[len(more) // 2 :] + more[: len(more) // 2]
            yield [(n + 1, channels, height + a, width + b) for a, b in zip(more, turned, strict=True)]
    yield [(n + 1, *rest)]
    yield [shape]


def _model(model: Module, graph: Graph, run: Run, opset: int) -> Any:
    helper, numpy_helper = require("onnx.helper", extra="onnx"), require("onnx.numpy_helper", extra="onnx")
    names = ["output"] if len(run.outputs) == 1 else [f"output_{i}" for i in range(len(run.outputs))]
    known = dict(zip(zip(*run.input.shapes, strict=True), "NCHW", strict=False))
    ends = [helper.make_node("Identity", [graph.name(y)], [name]) for y, name in zip(run.outputs, names, strict=True)]

    def info(name: str, value: Value) -> Any:
        lengths = enumerate(zip(*value.shapes, strict=True))
        dims = [each[0] if len({*each}) == 1 else known.get(each, f"{name}_{axis}") for axis, each in lengths]
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), dims)

    made = helper.make_graph(
        [*graph.nodes, *ends],
        type(model).__name__,
        [info("input", run.input)],
        [info(name, value) for name, value in zip(names, run.outputs, strict=True)],
        [numpy_helper.from_array(array, name) for name, array in graph.constants.items()],
    )
    sets = [helper.make_opsetid("", opset)]
    content = helper.make_model(
        made,
        opset_imports=sets,
        ir_version=helper.find_min_ir_version_for(sets),
        producer_name="upconv",
        producer_version=__version__,
    )
    about = {"upconv.model": type(model).__name__, "upconv.config": json.dumps(model.config)}
    helper.set_model_props(content, about)
    return content
