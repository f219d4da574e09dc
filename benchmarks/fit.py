"""What `nn.fit` costs over the bare training step: crops, scores, files, the progress bar.

The same U-Net, loss and optimiser take turns of five steps: on one batch in memory, and by `fit` with all it does
between steps, a bar on a terminal included; medians of single steps. Checkpoints are timed apart and counted once in 30
steps, as by default. Evaluations of whole images, which are asked for and no part of a step, are left out; what is done
before the first step and after the last, pictures and the evaluation, stands beside it. Exits with 1 if it is more than
5 %.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from upconv import nn
from upconv.nn.loading import batches
from upconv.nn.progress import Progress

from .cases import Network
from .environment import setting
from .options import positive, table
from .shapes import NETWORKS

ALLOWED = 0.05
EVERY = 5  # steps between checkpoints, so that there are several to time
USUALLY = nn.Settings.steps // 8  # and in a training with the defaults
HEAD = ["network", "bare step ms", "step of fit ms", "checkpoint ms", "more", "before and after s"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=positive, default=5, help="of each (5)")
    parser.add_argument("--steps", type=positive, default=4 * EVERY, help=f"a round, at least 10 ({4 * EVERY})")
    parser.add_argument("--smoke", action="store_true", help="a tiny network: does everything run?")


def bare(network: Network, data: nn.Data, settings: nn.Settings) -> Callable[[], list[float]]:
    """A function that makes EVERY steps and gives the seconds of each."""
    model = nn.UNet(1, 2, network.width, network.depth, rng=0)
    optimizer = nn.Adam(model.parameters(), lr=settings.lr)
    images, labels = next(batches(data.train, settings, np.random.default_rng(0)))

    def run() -> list[float]:
        times = [perf_counter()]
        for _ in range(EVERY):
            loss = nn.cross_entropy(model(images), labels, ignore_index=255)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
            times.append(perf_counter())
        return np.diff(times).tolist()

    return run


def fitted(
    network: Network, data: nn.Data, settings: nn.Settings, between: Callable[[], None]
) -> tuple[list[float], list[float], float]:
    """Seconds of each step of `fit`, of each with a checkpoint, and of what comes before and after them.

    between: called after every EVERY steps, and not timed.
    """
    from rich.console import Console

    model = nn.UNet(1, 2, network.width, network.depth, rng=0)
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    done: list[float] = []
    begun: list[float] = []

    def on_step(step: nn.Step) -> None:
        progress.show(step)
        done.append(perf_counter())
        if step.step % EVERY == 0:
            between()
        begun.append(perf_counter())

    with TemporaryDirectory() as folder, Progress(settings.steps, console) as progress:
        start = perf_counter()
        nn.fit(model, data, folder, settings=settings, on_step=on_step)
        whole = perf_counter() - start
    found = np.subtract(done[1:-1], begun[:-2]).tolist()  # the last step evaluates
    steps = [seconds for number, seconds in enumerate(found, 1) if number % EVERY]
    return steps, found[EVERY - 1 :: EVERY], whole - (done[-2] - done[0]) - (begun[-1] - done[-1])


def run(arguments: argparse.Namespace) -> int:
    network = NETWORKS[0].small() if arguments.smoke else NETWORKS[0]
    steps = max(arguments.steps, 2 * EVERY)
    often = {"evaluate_every": steps, "checkpoint_every": EVERY}
    settings = nn.Settings(steps=steps, batch=network.batch, crop=network.size, **often)
    data = nn.nuclei()
    step = bare(network, data, settings)
    step()  # compiles
    ours, theirs, saving, rest = [], [], [], []
    for _ in range(1 if arguments.smoke else arguments.rounds):
        found = fitted(network, data, settings, lambda: ours.extend(step()))
        theirs += found[0]
        saving += found[1]
        rest.append(found[2])
    a, b = median(ours), median(theirs)
    checkpoint = max(median(saving) - b, 0)
    more = (b + checkpoint / USUALLY) / a - 1
    numbers = [f"{1e3 * a:.1f}", f"{1e3 * b:.1f}", f"{1e3 * checkpoint:.0f}", f"{more:+.1%}", f"{median(rest):.2f}"]
    print(f"{setting()}; medians of {len(ours)} steps\n")
    print(table(HEAD, [[network.label, *numbers]], 1))
    if more > ALLOWED and not arguments.smoke:
        print(f"more than {ALLOWED:.0%}", file=sys.stderr)
        return 1
    return 0
