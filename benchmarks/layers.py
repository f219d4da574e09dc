"""Single layers: conv2d and its two gradients, beside the faster of PyTorch's two memory formats.

Prints a Markdown table, losses first, and the geometric mean of the ratios. Every result is checked before it is timed:
against PyTorch's, or with --alone against the reference, which takes a while.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from statistics import geometric_mean
from typing import NamedTuple

from .cases import CONVOLUTION, LAYERS, TRANSPOSED, UPSAMPLING, Call, calls
from .timing import interleaved, setting


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--operators",
        nargs="+",
        choices=(*CONVOLUTION, *TRANSPOSED),
        default=CONVOLUTION,
        metavar="NAME",
        help=f"what to time, of {', '.join((*CONVOLUTION, *TRANSPOSED))} (default: {' '.join(CONVOLUTION)})",
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of 3 calls each (5)")
    parser.add_argument("--alone", action="store_true", help="without PyTorch")
    parser.add_argument("--smoke", action="store_true", help="tiny shapes, one round: does everything run?")


class Row(NamedTuple):
    """What one call took, in seconds; theirs: of the faster format, whose name is `format`."""

    call: Call
    ours: float
    theirs: float | None = None
    format: str = ""

    @property
    def ratio(self) -> float:
        return (self.theirs or self.ours) / self.ours

    def cells(self) -> list[str]:
        def both(seconds: float) -> list[str]:
            return [f"{1e3 * seconds:.2f}", f"{self.call.cost.flops / seconds / 1e9:.0f}"]

        cells = [self.call.label, self.call.operator, *both(self.ours)]
        return cells if self.theirs is None else [*cells, *both(self.theirs), self.format, f"{self.ratio:.2f}"]


def measure(call: Call, rounds: int, alone: bool) -> Row:
    """Check one call, then time it."""
    if alone:
        call.check(call(algorithm="reference"))
        return Row(call, *interleaved([call], rounds))
    from . import peers

    others = peers.candidates(call)
    for other in others.values():
        call.check(peers.arrays(other()))
    ours, *theirs = interleaved([call, *others.values()], rounds)
    best, name = min(zip(theirs, others, strict=True))
    return Row(call, ours, best, name)


def run(arguments: argparse.Namespace) -> int:
    versions, head = [], ["layer", "operator", "upconv ms", "GFLOP/s"]
    if not arguments.alone:
        from .peers import VERSION

        versions, head = [VERSION], [*head, "PyTorch ms", "GFLOP/s", "format", "ratio"]
    rounds = 1 if arguments.smoke else arguments.rounds
    rows = []
    for call in calls((*LAYERS, *UPSAMPLING), arguments.operators, small=arguments.smoke):
        print(f"{call.operator}: {call.label}", file=sys.stderr)
        rows.append(measure(call, rounds, arguments.alone))
    print(f"{setting(*versions)}; medians{'' if arguments.alone else '; ratio above 1: upconv is faster'}")
    print("Tiny shapes, one round: these times mean nothing.\n" if arguments.smoke else "")
    print(table(head, (row.cells() for row in sorted(rows, key=lambda row: row.ratio))))
    if not arguments.alone:
        print()
        for operator in arguments.operators:
            mean = geometric_mean(row.ratio for row in rows if row.call.operator == operator)
            print(f"{operator}: {mean:.2f} (geometric mean of the ratios)")
    return 0


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """A Markdown table; what follows the first two columns is set to the right."""
    lines = [head, ["---", "---", *["--:"] * (len(head) - 2)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
