"""Whole U-Nets, forward and one training step, beside the faster of PyTorch's two memory formats.

The same weights, images and labels everywhere; SGD with momentum 0.9 on the cross-entropy. The losses of the first step
must agree before anything is timed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from upconv import kernels, nn

from .cases import NETWORKS, Network
from .layers import table
from .timing import interleaved, setting

LR, MOMENTUM = 1e-3, 0.9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5, help="rounds of 3 calls each (5)")
    parser.add_argument("--smoke", action="store_true", help="a tiny network, one round: does everything run?")


Calls = tuple[Callable[[], Any], Callable[[], float]]


def upconv_calls(model: nn.UNet, images: np.ndarray, labels: np.ndarray) -> Calls:
    """(forward, training step, which returns the loss)."""
    optimizer = nn.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)

    def forward() -> nn.Tensor:
        with nn.no_grad():
            return model(images)

    def step() -> float:
        loss = nn.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return forward, step


def torch_calls(model: nn.UNet, images: np.ndarray, labels: np.ndarray, name: str) -> Calls:
    """The same in PyTorch, in the memory format of this name."""
    import torch

    from . import peers

    memory_format = peers.FORMATS[name]
    twin = peers.like(model).to(memory_format=memory_format)
    optimizer = torch.optim.SGD(twin.parameters(), lr=LR, momentum=MOMENTUM)
    x, target = peers.convert(images, memory_format), torch.from_numpy(labels)

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            return twin(x)

    def step() -> float:
        loss = torch.nn.functional.cross_entropy(twin(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return forward, step


def measure(network: Network, rounds: int) -> list[list[str]]:
    """The two rows of a network."""
    from .peers import FORMATS

    rng = np.random.default_rng(0)
    shape = (network.batch, 1, network.size, network.size)
    images = kernels.channels_last(rng.standard_normal(shape, np.float32))
    labels = rng.integers(0, 2, (network.batch, network.size, network.size))
    model = nn.UNet(1, 2, network.width, network.depth, rng=0)
    theirs = {name: torch_calls(model, images, labels, name) for name in FORMATS}
    candidates = [upconv_calls(model, images, labels), *theirs.values()]
    losses = [step() for _, step in candidates]
    if not np.allclose(losses, losses[0], rtol=1e-5):
        raise AssertionError(f"{network.label}: the losses of the first step differ: {losses}")
    rows = []
    for position, what in enumerate(("forward", "training step")):
        ours, *others = interleaved([candidate[position] for candidate in candidates], rounds)
        best, name = min(zip(others, theirs, strict=True))
        cells = [f"{1e3 * ours:.1f}", f"{1e3 * best:.1f}", name, f"{best / ours:.2f}"]
        rows.append([network.label, what, *cells])
    return rows


def run(arguments: argparse.Namespace) -> int:
    from .peers import VERSION

    print(f"{setting(VERSION)}; medians; ratio above 1: upconv is faster")
    print("A tiny network, one round: these times mean nothing.\n" if arguments.smoke else "")
    rows: list[list[str]] = []
    for network in NETWORKS[: 1 if arguments.smoke else None]:
        small = network.small() if arguments.smoke else network
        rows += measure(small, 1 if arguments.smoke else arguments.rounds)
    print(table(["network", "", "upconv ms", "PyTorch ms", "format", "ratio"], rows))
    return 0
