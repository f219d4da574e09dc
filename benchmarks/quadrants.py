"""Training on the embedded nuclei, each quadrant held out once, beside the best threshold.

Exits with 1 unless the U-Net's Dice beats the threshold's on all four.
"""

import argparse
from pathlib import Path
from time import perf_counter

from upconv import kernels
from upconv.nn import metrics
from upconv.nn.configured import build
from upconv.nn.data import nuclei
from upconv.nn.training import fit
from upconv.settings import Network, Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=Settings.steps, help=f"({Settings.steps})")
    parser.add_argument("--seed", type=int, default=Settings.seed, help=f"({Settings.seed})")
    parser.add_argument("--output", type=Path, default=Path("runs/quadrants"), help="(runs/quadrants)")


def run(arguments: argparse.Namespace) -> int:
    """Train four times and print the table, row by row."""
    settings, network = Settings(steps=arguments.steps, seed=arguments.seed), Network()

    print(f"U-Net of width {network.width} and depth {network.depth}, {settings.steps} steps, seed {settings.seed},")
    print(f"{kernels.get_num_threads()} threads; time from the first step to the last picture, compilation included.\n")
    print("| held out | U-Net Dice | threshold Dice | U-Net IoU | threshold IoU | seconds |")
    print("|---|---|---|---|---|---|")
    beaten = 0
    for quadrant in range(4):
        start = perf_counter()
        data = nuclei(quadrant)
        model = build(data, network, settings.seed)
        result = fit(model, data, arguments.output / str(quadrant), settings=settings)
        if result.interrupted:
            return 130
        assert result.counts is not None and result.baseline is not None
        dice, iou = (metrics.headline(score(result.counts)) for score in (metrics.dice, metrics.iou))
        best = result.baseline
        beaten += dice > best.dice
        row = f"| {quadrant} | **{dice:.4f}** | {best.dice:.4f} | **{iou:.4f}** | {best.iou:.4f} |"
        print(f"{row} {perf_counter() - start:.1f} |", flush=True)
    print(f"\nThe U-Net beats the best threshold on {beaten} of 4.")
    return 0 if beaten == 4 else 1
