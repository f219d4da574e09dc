"""Winograd or the direct sum: both timed over a grid of 3x3 convolutions, and how far "auto" is from the faster.

The measurements behind the rule (`declines` of the variants) are in choice.csv; --write takes them anew, --judge only
looks at those that are there, with the rule as it is now.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from statistics import geometric_mean
from typing import NamedTuple

from upconv import kernels

from .calls import function
from .cases import CONVOLUTION, Call, Layer, calls
from .environment import setting
from .options import positive, table
from .timing import interleaved

FILE = Path(__file__).with_name("choice.csv")
VARIANTS = ("winograd", "direct")
EQUAL = (8, 12, 16, 21, 24, 32, 64, 128, 256, 512)
UNEQUAL = ((3, 64), (16, 64), (64, 16), (64, 1), (64, 2), (64, 8), (64, 256), (256, 64), (512, 256), (16, 2), (32, 8))
SIZES = (
    (1, 4),
    (1, 5),
    (1, 6),
    (1, 8),
    (1, 10),
    (1, 14),
    (1, 16),
    (1, 28),
    (1, 32),
    (1, 64),
    (1, 128),
    (8, 8),
    (8, 16),
    (8, 32),
)
MOST, LEAST = 1.3e9, 1e5  # FLOPs: beyond, Winograd is far ahead; below, the call itself takes all the time
TOLERANCE = 1.05


class Measured(NamedTuple):
    """One call: the layer, and what each variant takes, in microseconds."""

    operator: str
    n: int
    c: int
    k: int
    size: int
    winograd: float
    direct: float

    @property
    def layer(self) -> Layer:
        return Layer(self.n, self.c, self.k, self.size, 3)

    @property
    def chosen(self) -> str:
        """The variant that "auto" takes."""
        call = next(iter(calls([self.layer], [self.operator])))
        return kernels.explain(function(self.operator), **call.arguments).variant

    @property
    def regret(self) -> float:
        """The time of the chosen variant over that of the faster."""
        return float(getattr(self, self.chosen)) / min(self.winograd, self.direct)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--operators", nargs="+", choices=CONVOLUTION, default=CONVOLUTION, metavar="NAME")
    parser.add_argument("--rounds", type=positive, default=3, help="rounds of 3 calls each (3)")
    parser.add_argument(
        "--passes", type=positive, default=3, help="over the whole grid (3), of which each time is the least"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="keep the measurements here")
    parser.add_argument("--judge", type=Path, nargs="?", const=FILE, metavar="FILE", help="take those of this file")
    parser.add_argument("--smoke", action="store_true", help="two layers, one round: does everything run?")


def layers() -> Iterator[Layer]:
    """The grid."""
    for (n, size), (c, k) in product(SIZES, [*((c, c) for c in EQUAL), *UNEQUAL]):
        if LEAST <= 2 * n * size * size * c * k * 9 <= MOST:
            yield Layer(n, c, k, size, 3)


def measure(call: Call, layer: Layer, rounds: int) -> Measured:
    """Time both variants."""
    candidates = [lambda name=name: call(algorithm=name) for name in VARIANTS]
    times = interleaved(candidates, rounds, settle=0.002)
    size, _ = layer.plane
    return Measured(call.operator, layer.n, layer.c, layer.k, size, *(round(1e6 * each, 1) for each in times))


def measured(arguments: argparse.Namespace) -> list[Measured]:
    """The whole grid; what disturbs a pass only adds to its times."""
    grid = list(layers())[: 2 if arguments.smoke else None]
    passes = []
    for number in range(1 if arguments.smoke else arguments.passes):
        print(f"pass {number + 1}: {len(grid)} layers", file=sys.stderr)
        passes.append(
            [measure(call, layer, arguments.rounds) for layer in grid for call in calls([layer], arguments.operators)]
        )
    return [
        each[0]._replace(**{name: min(getattr(one, name) for one in each) for name in VARIANTS})
        for each in zip(*passes, strict=True)
    ]


def read(file: Path) -> list[Measured]:
    """The measurements of a file."""
    with file.open(newline="") as lines:
        return [
            Measured(
                row["operator"],
                *(int(row[name]) for name in ("n", "c", "k", "size")),
                *(float(row[name]) for name in VARIANTS),
            )
            for row in csv.DictReader(line for line in lines if not line.startswith("#"))
        ]


def write(file: Path, rows: list[Measured], said: str) -> None:
    """Keep measurements."""
    with file.open("w", newline="") as lines:
        lines.write(f"# {said}; microseconds\n")
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(Measured._fields)
        writer.writerows(rows)


def run(arguments: argparse.Namespace) -> int:
    rows: list[Measured] = read(arguments.judge) if arguments.judge else measured(arguments)
    if arguments.write:
        write(arguments.write, rows, setting())
    for operator in arguments.operators:
        mine = [row for row in rows if row.operator == operator]
        judged = sorted(((row.regret, row) for row in mine), reverse=True)
        beyond = [(regret, row) for regret, row in judged if regret > TOLERANCE]
        mean = geometric_mean(regret for regret, _ in judged)
        print(f"\n{operator}: {mean:.3f} of the faster variant's time (geometric mean of {len(mine)} calls)")
        print(f"more than {TOLERANCE} of it in {len(beyond)}:\n")
        cells = [
            [row.layer.label, row.chosen, f"{row.winograd:.0f}", f"{row.direct:.0f}", f"{regret:.2f}"]
            for regret, row in beyond
        ]
        print(table(["layer", "chosen", "Winograd us", "direct us", "times the faster"], cells))
    return 0
