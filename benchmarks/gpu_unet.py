"""A U-Net's training step on a GPU, kernel by kernel and as a CUDA graph, beside PyTorch in both ways."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np

from upconv import nn

from .cases import LR, MOMENTUM, Network, error
from .device import Gpu
from .gpu_results import GRAPH, THEIRS, Found, Row
from .results import OURS
from .unet import cost, exact, prepare

NETWORK = Network(32, 4, 8, 256)
WARM = 3  # steps before PyTorch's is captured, as its documentation asks

Step = Callable[[], Any]  # gives the loss, which stays on the device


def measure(network: Network, tolerance: float, gpu: Gpu, row: Row, found: Found, peer: Any, rounds: int) -> None:
    """Check the scores against float64 and the losses of the first steps against upconv's, then time the steps.

    Raises AssertionError where upconv's scores are wrong.
    """
    model, images, labels = prepare(network)
    with nn.no_grad():
        scores = deepcopy(model).to("cuda")(gpu.place(images)).data.get()
    row.errors[OURS] = error(scores, exact(model, images), f"{network.label} by {OURS}", tolerance)
    steps: dict[str, Step] = {OURS: ours(gpu, model, images, labels)}
    known = float(steps[OURS]())
    spent = cost(steps[OURS])
    row.flops, row.bytes = spent.flops, spent.bytes
    row.ceiling = found.least(row.flops, row.bytes, row.precision)
    others = {OURS + GRAPH: lambda: ours_captured(gpu, model, images, labels)}
    if peer is not None:
        others[THEIRS] = lambda: peer.network(model, images, labels, THEIRS, "cuda")[1]
        others[THEIRS + GRAPH] = lambda: theirs_captured(peer, model, images, labels)
    for name, make in others.items():
        try:
            step = make()
            loss = float(step())
            if not abs(loss / known - 1) <= tolerance:
                raise AssertionError(f"the loss of the first step is {loss}, not {known}")
            steps[name] = step
        except Exception as failure:
            row.told(failure, name)
    row.seconds = dict(zip(steps, gpu.times([(step,) for step in steps.values()], rounds), strict=True))


def ours(gpu: Gpu, model: Any, images: np.ndarray, labels: np.ndarray) -> Step:
    """A step of upconv's; the model is copied."""
    step, *batch = _ours(gpu, model, images, labels)
    return lambda: step(*batch).data


def ours_captured(gpu: Gpu, model: Any, images: np.ndarray, labels: np.ndarray) -> Step:
    """The same as a CUDA graph."""
    step, *batch = _ours(gpu, model, images, labels)
    captured = nn.capture(step, warmup=1)
    return lambda: captured(*batch).data


def _ours(gpu: Gpu, model: Any, images: np.ndarray, labels: np.ndarray) -> tuple[Any, ...]:
    model = deepcopy(model).to("cuda")
    optimizer = nn.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)

    def step(images: Any, labels: Any) -> Any:
        loss = nn.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step, gpu.place(images), gpu.place(labels)


def theirs_captured(peer: Any, model: Any, images: np.ndarray, labels: np.ndarray) -> Step:
    """PyTorch's step as a CUDA graph; its first call gives the loss of the first step after those that warm it up."""
    torch = peer.torch
    _, step = peer.network(model, images, labels, THEIRS, "cuda")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        losses = [step() for _ in range(WARM)]
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()

    def launch() -> Any:
        graph.replay()
        return losses.pop(0) if losses else loss

    return launch
