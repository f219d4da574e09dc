"""The correlations that a convolution, or its transpose, is made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, product
from math import gcd

import numpy as np

from ..layout import Shape
from ..window import Pair, Window
from . import machine, tile
from .correlation import Filters, Part


def whole(
    size: int, y_shape: Shape, y_strides: Shape, shape: Shape, strides: Shape, window: Window, groups: int
) -> tuple[Sequence[Part], Pair, Pair]:
    """A convolution: one correlation."""
    filters = shape[0] // groups
    weights = Filters(0, strides, filters * strides[0], filters)
    (top, _), (left, _) = window.padding
    between = y_strides[0], *y_strides[2:]
    return [Part(0, y_shape, between, window.kernel, (-top, -left), weights)], window.stride, window.dilation


@dataclass(frozen=True)
class Phase:
    """Outputs first, first + stride, ... along one axis, each with the `width` - 1 after it.

    The same input pixels reach all of them: `origin` and the next ones for output `first`, by the taps last, last -
    step, ..., and the outputs after it by the taps after these.
    """

    first: int
    count: int
    width: int
    taps: int
    last: int
    origin: int


def _phases(window: Window, axis: int, length: int, joined: bool) -> list[Phase]:
    """The phases of an output of `length`: `joined` as far as their taps allow.

    Output q has residue r and quotient j of (q + padding) / stride, and gets tap u from input j - (u d - r) / stride,
    where that is whole. Going up by stride / gcd(stride, d) taps goes down by d / gcd input pixels: they are taken
    backwards.
    """
    kernel, stride, dilation = window.kernel[axis], window.stride[axis], window.dilation[axis]
    before = window.padding[axis][0]

    def taps(residue: int) -> list[int]:
        return [u for u in range(kernel) if (u * dilation - residue) % stride == 0]

    runs: list[Phase] = []
    for quotient in range((length - 1 + before) // stride + 1):
        start = quotient * stride - before
        residues = range(max(0, -start), min(stride, length - start))
        # Taps of neighbours are neighbours only where there is no gap between taps.
        alike = groupby(residues, lambda r: len(taps(r)) if joined and dilation == 1 else r)
        for _, each in alike:
            residue, *others = each
            reached = taps(residue)
            last = reached[-1] if reached else 0
            runs.append(
                Phase(
                    start + residue,
                    1,
                    1 + len(others),
                    len(reached),
                    last,
                    quotient - (last * dilation - residue) // stride if reached else 0,
                )
            )
    phases: list[Phase] = []
    kind = lambda run: (run.width, run.taps, run.last, (run.first + before) % stride)  # noqa: E731
    for _, same in groupby(sorted(runs, key=lambda run: (*kind(run), run.first)), kind):
        first, *more = same
        phases.append(Phase(first.first, 1 + len(more), first.width, first.taps, first.last, first.origin))
    return phases


def phased(
    size: int, y_shape: Shape, y_strides: Shape, shape: Shape, strides: Shape, window: Window, groups: int
) -> tuple[Sequence[Part], Pair, Pair]:
    """A transposed convolution: a correlation for each phase of the output."""
    channels, filters = shape[0] // groups, shape[1]
    pixel = y_strides[3]
    dense = pixel == filters * size
    panel = tile.product_tile(machine.vectors(), np.dtype(f"float{8 * size}"), filters).columns
    whole_panels = filters % panel == 0  # or their filters would be torn apart
    joined = groups == 1 and (dense or (whole_panels and 0 < pixel <= 4 * filters * size))
    common = [gcd(s, d) for s, d in zip(window.stride, window.dilation, strict=True)]
    steps = [s // g for s, g in zip(window.stride, common, strict=True)]
    parts = []
    for rows, columns in product(_phases(window, 0, y_shape[2], False), _phases(window, 1, y_shape[3], joined)):
        weights = Filters(
            start=rows.last * strides[2] + columns.last * strides[3],
            strides=(strides[1], strides[0], -steps[0] * strides[2], -steps[1] * strides[3]),
            group=channels * strides[0],
            inner=filters,
            jump=strides[3],
            output_jump=pixel,
        )
        part = Part(
            start=rows.first * y_strides[2] + columns.first * pixel,
            shape=(y_shape[0], groups * columns.width * filters, rows.count, columns.count),
            strides=(y_strides[0], window.stride[0] * y_strides[2], window.stride[1] * pixel),
            taps=(rows.taps, columns.taps),
            origin=(rows.origin, columns.origin),
            filters=weights,
        )
        parts.append(part)
    return parts, (1, 1), (window.dilation[0] // common[0], window.dilation[1] // common[1])
