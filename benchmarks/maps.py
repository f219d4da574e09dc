"""Operators bound by memory: their bytes per second beside a copy's, and beside PyTorch in the faster of its formats.

Prints a Markdown table, losses first. Bytes are those of the arguments and results, each once, and a copy's are those
read and those written; it takes its turns with the others, since the bandwidth of a shared machine changes within
minutes. Every result is checked against PyTorch's before it is timed, or with --alone against the reference.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, NamedTuple

import numpy as np

from upconv import kernels

from .cases import LARGE, MAPS, Call, calls
from .layers import table
from .timing import interleaved, setting

OPERATORS = tuple(dict.fromkeys(operator for case in MAPS for operator in case.operators))
GOAL = 0.7  # of a copy's bytes per second
RANDOM = ("dropout", "dropout_input")  # PyTorch drops other numbers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--operators",
        nargs="+",
        choices=OPERATORS,
        default=OPERATORS,
        metavar="NAME",
        help=f"what to time, of {', '.join(OPERATORS)} (default: all)",
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of 3 calls each (5)")
    parser.add_argument("--alone", action="store_true", help="without PyTorch")
    parser.add_argument("--smoke", action="store_true", help="tiny maps, one round: does everything run?")


class Row(NamedTuple):
    """Seconds that one call took; bytes that were copied in one; seconds that PyTorch took in its faster format."""

    call: Call
    ours: float
    copied: float
    theirs: float | None = None
    format: str = ""

    @property
    def ratio(self) -> float:
        """How many times faster than PyTorch; 1 where there is nothing to compare with."""
        return (self.theirs or self.ours) / self.ours

    @property
    def share(self) -> float:
        """Of a copy's bytes per second."""
        return self.call.cost.bytes / self.ours / self.copied

    def cells(self, beside: int) -> list[str]:
        """A row of the table. beside: how many cells there are for PyTorch."""
        speed = f"{self.call.cost.bytes / self.ours / 1e9:.0f}"
        cells = [self.call.label, self.call.operator, f"{1e3 * self.ours:.2f}", speed, f"{self.share:.2f}"]
        if self.theirs is None:
            return [*cells, *[""] * beside]
        return [*cells, f"{1e3 * self.theirs:.2f}", self.format, f"{self.ratio:.2f}"]


class Copy:
    """A copy from memory to memory, past the caches."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.x = kernels.channels_last(np.ones(shape, np.float32))
        self.y = kernels.channels_last(np.empty(shape, np.float32))

    def __call__(self) -> Any:
        """Make it."""
        return kernels.concatenate([self.x], out=self.y)


def measure(call: Call, copy: Copy, rounds: int, alone: bool) -> Row:
    """Check one call, then time it."""
    others = {}
    if not alone:
        from . import peers

        others = peers.candidates(call)
    if not others or call.operator in RANDOM:
        call.check(call(algorithm="reference"))
    for other in others.values() if call.operator not in RANDOM else ():
        call.check(peers.arrays(other()))
    ours, copied, *theirs = interleaved([call, copy, *others.values()], rounds)
    return Row(call, ours, 2 * copy.x.nbytes / copied, *min(zip(theirs, others, strict=True), default=()))


def run(arguments: argparse.Namespace) -> int:
    """Measure, and print the table."""
    versions, head = [], ["maps", "operator", "upconv ms", "GB/s", "of a copy's"]
    if not arguments.alone:
        from .peers import VERSION

        versions, head = [VERSION], [*head, "PyTorch ms", "format", "ratio"]
    copy = Copy((2, 5, 12, 12) if arguments.smoke else LARGE)
    rows = []
    for call in calls(MAPS, arguments.operators, small=arguments.smoke):
        print(f"{call.operator}: {call.label}", file=sys.stderr)
        rows.append(measure(call, copy, 1 if arguments.smoke else arguments.rounds, arguments.alone))
    print(f"{setting(*versions)}; medians{'' if arguments.alone else '; ratio above 1: upconv is faster'}")
    print("Tiny maps, one round: these times mean nothing.\n" if arguments.smoke else "")
    print(table(head, (row.cells(len(head) - 5) for row in sorted(rows, key=lambda row: (row.ratio, row.share)))))
    reached = sum(row.share >= GOAL for row in rows)
    print(f"\n{reached} of {len(rows)} reach {GOAL:.0%} of a copy's bytes per second.")
    if not arguments.alone:
        compared = [row.ratio for row in rows if row.theirs is not None]
        print(f"{sum(ratio >= 1 for ratio in compared)} of {len(compared)} are at least as fast as PyTorch.")
    return 0
