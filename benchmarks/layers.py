"""Single layers: conv2d and its two gradients, beside every peer that is installed.

Prints a Markdown table, losses first, and the geometric mean of the ratios to the fastest peer. Every result is checked
against float64 before it is timed.
"""

from __future__ import annotations

import argparse
import sys
from statistics import geometric_mean

from .cases import CONVOLUTION, TRANSPOSED, calls
from .environment import setting
from .measure import measure
from .options import add_measuring, chosen_peers, table
from .results import Measurement
from .shapes import LAYERS, UPSAMPLING


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--operators",
        nargs="+",
        choices=(*CONVOLUTION, *TRANSPOSED),
        default=CONVOLUTION,
        metavar="NAME",
        help=f"what to time, of {', '.join((*CONVOLUTION, *TRANSPOSED))} (default: {' '.join(CONVOLUTION)})",
    )
    add_measuring(parser)


def cells(row: Measurement) -> list[str]:
    """A row of the table."""

    def both(seconds: float) -> list[str]:
        return [f"{1e3 * seconds:.2f}", f"{row.flops / seconds / 1e9:.0f}"]

    start = [row.case, row.operator, *both(row.ours)]
    if row.fastest is None:
        return start
    name, seconds = row.fastest
    return [*start, *both(seconds), name, f"{row.ratio:.2f}"]


def run(arguments: argparse.Namespace) -> int:
    peers, missing = chosen_peers(arguments)
    head = ["layer", "operator", "upconv ms", "GFLOP/s"]
    head += ["fastest peer ms", "GFLOP/s", "which", "ratio"] if peers else []
    rows: list[Measurement] = []
    for call in calls((*LAYERS, *UPSAMPLING), arguments.operators, small=arguments.smoke):
        print(f"{call.operator}: {call.label}", file=sys.stderr)
        rows.append(measure("layers", call, peers, 1 if arguments.smoke else arguments.rounds))
        missing += rows[-1].wrong
    print("\n".join([f"{setting(peers)}; medians{'; ratio above 1: upconv is faster' if peers else ''}", *missing]))
    print("Tiny shapes, one round: these times mean nothing.\n" if arguments.smoke else "")
    print(table(head, (cells(row) for row in sorted(rows, key=lambda row: row.ratio))))
    if peers:
        print()
        for operator in arguments.operators:
            mean = geometric_mean(row.ratio for row in rows if row.operator == operator)
            print(f"{operator}: {mean:.2f} (geometric mean of the ratios)")
    return 0
