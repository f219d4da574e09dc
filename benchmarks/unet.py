"""Whole U-Nets, forward and one training step, beside every peer that is installed.

The same weights, images and labels everywhere; SGD with momentum 0.9 on the cross-entropy. Before anything is timed,
the scores are checked against float64, and the losses of the first step against upconv's.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import numpy as np

from upconv import kernels, nn
from upconv.kernels import op
from upconv.kernels.case import Cost

from .cases import LR, MOMENTUM, Network, error
from .environment import setting
from .measure import one_thread
from .options import add_measuring, chosen_peers, table
from .results import OURS, Measurement
from .shapes import NETWORKS
from .timing import interleaved

PARTS = ("forward", "training step")
LOSSES = 1e-5  # by which the losses of the first step may differ, relative


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_measuring(parser)


def prepare(network: Network) -> tuple[nn.UNet, np.ndarray, np.ndarray]:
    """(a U-Net, images, labels), always the same."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((network.batch, 1, network.size, network.size), np.float32)
    model = nn.UNet(1, 2, network.width, network.depth, network.padded, rng=0)
    size = model.output_size(network.size, network.size)
    return model, kernels.channels_last(images), rng.integers(0, 2, (network.batch, *size))


def upconv_calls(
    model: nn.UNet, images: np.ndarray, labels: np.ndarray
) -> tuple[Callable[[], Any], Callable[[], float]]:
    """(forward, training step, which returns the loss)."""
    optimizer = nn.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)
    still = nn.inference_mode()  # peers that compile a graph look at the weights once as well

    def forward() -> np.ndarray:
        with still:
            return model(images).data

    def step() -> float:
        loss = nn.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return forward, step


def exact(model: nn.UNet, images: np.ndarray) -> np.ndarray:
    """The scores, computed in float64."""
    with nn.no_grad():
        return deepcopy(model).to(np.float64)(images.astype(np.float64)).data


def cost(run: Callable[[], Any]) -> Cost:
    """The sum of the costs of all operators that run."""
    costs: list[Cost] = []

    def hook(operator: Any, variant: Any, case: Any, outputs: Any) -> None:
        costs.append(case.cost)

    op.trace.append(hook)
    try:
        run()
    finally:
        op.trace.remove(hook)
    return Cost(sum(each.flops for each in costs), sum(each.bytes for each in costs))


def measure(
    group: str, network: Network, peers: Sequence[Any], rounds: int, budget: float = float("inf")
) -> list[Measurement]:
    """The forward pass and the training step of a network, checked and timed. Raises AssertionError as `error` does."""
    model, images, labels = prepare(network)
    scores = exact(model, images)
    calls: dict[str, tuple[Callable[[], Any], Callable[[], float] | None]] = {}
    for peer in peers:
        calls |= peer.networks(model, images, labels)
    calls = {OURS: upconv_calls(model, images, labels), **calls}
    whats = {name: f"{network.label} by {name}" for name in calls}
    errors = {name: error(np.asarray(forward()), scores, whats[name]) for name, (forward, _) in calls.items()}
    losses = {name: float(step()) for name, (_, step) in calls.items() if step}
    differing = {name: loss for name, loss in losses.items() if not abs(loss / losses[OURS] - 1) <= LOSSES}
    if differing:
        raise AssertionError(f"{network.label}: the losses of the first step differ: {losses}")
    made = []
    for position, what in enumerate(PARTS):
        running = {name: run for name, each in calls.items() if (run := each[position])}
        ours = running[OURS]
        spent = cost(ours)
        *times, alone = interleaved([*running.values(), one_thread(ours)], rounds, budget=budget)
        made.append(
            Measurement(
                group,
                what,
                network.label,
                spent.flops,
                spent.bytes,
                "",
                dict(zip(running, times, strict=True)),
                errors if position == 0 else {},
                one_thread=alone,
            )
        )
    return made


def cells(row: Measurement) -> list[str]:
    """A row of the table."""
    alone = row.one_thread or row.ours
    start = [row.case, row.operator, f"{1e3 * row.ours:.1f}", f"{alone / row.ours:.2f}"]
    if row.fastest is None:
        return start
    name, seconds = row.fastest
    return [*start, f"{1e3 * seconds:.1f}", name, f"{row.ratio:.2f}"]


def run(arguments: argparse.Namespace) -> int:
    peers, missing = chosen_peers(arguments)
    head = ["network", "", "upconv ms", "times faster than with 1 thread"]
    head += ["fastest peer ms", "which", "ratio"] if peers else []
    print("\n".join([f"{setting(peers)}; medians{'; ratio above 1: upconv is faster' if peers else ''}", *missing]))
    print("A tiny network, one round: these times mean nothing.\n" if arguments.smoke else "")
    rows: list[Measurement] = []
    for network in NETWORKS[: 1 if arguments.smoke else None]:
        small = network.small() if arguments.smoke else network
        rows += measure("networks", small, peers, 1 if arguments.smoke else arguments.rounds)
    print(table(head, map(cells, rows)))
    return 0
