"""Operators bound by memory: their bytes per second beside a copy's, and beside every peer that is installed.

Prints a Markdown table, losses first. Bytes are those of the arguments and results, each once, and a copy's are those
read and those written; it takes its turns with the others, since the bandwidth of a shared machine changes within
minutes. Every result is checked against float64 before it is timed.
"""

from __future__ import annotations

import argparse
import sys

from .cases import calls
from .environment import setting
from .measure import measure
from .options import add_measuring, chosen_peers, table
from .peaks import Copy
from .results import Measurement
from .shapes import LARGE, MAPS

OPERATORS = tuple(dict.fromkeys(operator for case in MAPS for operator in case.operators))
GOAL = 0.7  # of a copy's bytes per second


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--operators",
        nargs="+",
        choices=OPERATORS,
        default=OPERATORS,
        metavar="NAME",
        help=f"what to time, of {', '.join(OPERATORS)} (default: all)",
    )
    add_measuring(parser)


def cells(row: Measurement, beside: int) -> list[str]:
    """A row of the table. beside: how many cells there are for the fastest peer."""
    start = [row.case, row.operator, f"{1e3 * row.ours:.2f}", f"{row.bytes / row.ours / 1e9:.0f}", f"{row.share:.2f}"]
    if row.fastest is None:
        return [*start, *[""] * beside]
    name, seconds = row.fastest
    return [*start, f"{1e3 * seconds:.2f}", name, f"{row.ratio:.2f}"]


def run(arguments: argparse.Namespace) -> int:
    """Measure, and print the table."""
    peers, missing = chosen_peers(arguments)
    head = ["maps", "operator", "upconv ms", "GB/s", "of a copy's"]
    head += ["fastest peer ms", "which", "ratio"] if peers else []
    copy = Copy((2, 5, 12, 12) if arguments.smoke else LARGE)
    rows: list[Measurement] = []
    for call in calls(MAPS, arguments.operators, small=arguments.smoke):
        print(f"{call.operator}: {call.label}", file=sys.stderr)
        rows.append(measure("maps", call, peers, 1 if arguments.smoke else arguments.rounds, copy=copy))
        missing += rows[-1].wrong
    print("\n".join([f"{setting(peers)}; medians{'; ratio above 1: upconv is faster' if peers else ''}", *missing]))
    print("Tiny maps, one round: these times mean nothing.\n" if arguments.smoke else "")
    print(table(head, (cells(row, len(head) - 5) for row in sorted(rows, key=lambda row: (row.ratio, row.share)))))
    reached = sum(row.share >= GOAL for row in rows)
    print(f"\n{reached} of {len(rows)} reach {GOAL:.0%} of a copy's bytes per second.")
    if peers:
        compared = [row.ratio for row in rows if row.fastest]
        print(f"{sum(ratio >= 1 for ratio in compared)} of {len(compared)} are at least as fast as the fastest peer.")
    return 0
