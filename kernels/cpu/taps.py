"""What an interpolated pixel is made of: each axis as a sparse matrix, computed once for each pair of sizes."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from ..layout import Array

MOST = 8  # taps of columns that are taken as regular
REPEATS = 8  # at least
GAP = 256  # bytes of a row of x that are summed for nothing rather than begin another run


@dataclass(frozen=True, eq=False)
class Taps:
    """One axis: output i is the sum of weight[t] * input[index[t]] over first[i] <= t < first[i + 1]."""

    first: Array
    index: Array
    weight: Array

    @cached_property
    def addresses(self) -> tuple[int, ...]:
        """Of the three, for a kernel."""
        return tuple(each.ctypes.data for each in (self.first, self.index, self.weight))

    def transposed(self, inputs: int) -> "Taps":
        """The gradient's: the taps of each input, in the order of the outputs."""
        order = np.argsort(self.index, kind="stable")
        outputs = np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))
        first = np.searchsorted(self.index[order], np.arange(inputs + 1))
        return Taps(first, outputs[order], self.weight[order])


@lru_cache(maxsize=256)
def taps(inputs: int, outputs: int, scale: float | None, mode: str, align_corners: bool, dtype: np.dtype) -> Taps:
    """The taps of one axis. Taps beyond the border repeat its pixel; none is left out, though its weight be 0."""
    if mode == "nearest":
        index = _nearest(inputs, outputs, scale)[:, None]
        weight = np.ones((outputs, 1))
    elif mode == "bilinear" and inputs == outputs:
        index = np.repeat(np.arange(outputs), 2).reshape(-1, 2)
        weight = np.tile((1.0, 0.0), (outputs, 1))
    else:
        at = _positions(inputs, outputs, scale, align_corners, dtype)
        at = np.maximum(at, 0) if mode == "bilinear" else at
        left = np.minimum(np.floor(at.astype(np.float32)).astype(np.int64), inputs - 1)
        t = np.clip(at - left.astype(dtype), 0, 1).astype(np.float64)
        offsets = np.arange(2) if mode == "bilinear" else np.arange(-1, 3)
        index = np.clip(left[:, None] + offsets, 0, inputs - 1)
        weight = np.stack([1 - t, t], axis=1) if mode == "bilinear" else _cubic(t)
    first = np.arange(outputs + 1) * index.shape[1]
    return Taps(first, index.ravel(), weight.astype(dtype).ravel())


@lru_cache(maxsize=256)
def transposed_taps(inputs: int, *axis: Any) -> Taps:
    """The transpose of `taps` of the same arguments."""
    return taps(inputs, *axis).transposed(inputs)


def _nearest(inputs: int, outputs: int, scale: float | None) -> Array:
    """The input that each output copies: PyTorch's, for which these two are special and the step is float32."""
    i = np.arange(outputs)
    if outputs in (inputs, 2 * inputs):
        return i * inputs // outputs
    step = np.float32(1 / scale) if scale else np.float32(inputs) / np.float32(outputs)
    return np.minimum(np.floor(i.astype(np.float32) * step).astype(np.int64), inputs - 1)


def _positions(inputs: int, outputs: int, scale: float | None, align_corners: bool, dtype: np.dtype) -> Array:
    """Where each output lies among the inputs, in `dtype` and rounded as PyTorch does it, a fused multiply-add."""
    i = np.arange(outputs).astype(dtype)
    if align_corners:
        return i * (dtype.type(inputs - 1) / dtype.type(outputs - 1) if outputs > 1 else dtype.type(0))
    step = dtype.type(1 / scale) if scale else dtype.type(inputs) / dtype.type(outputs)
    return ((i + dtype.type(0.5)) * np.float64(step) - 0.5).astype(dtype)


def _cubic(t: Array) -> Array:
    """Keys' kernel with a = -0.75 at distances 1 + t, t, 1 - t, 2 - t."""
    a = -0.75
    near = [((a + 2) * d - (a + 3)) * d * d + 1 for d in (t, 1 - t)]
    return np.stack([a * t * (1 - t) ** 2, *near, a * (1 - t) * t**2], axis=1)


@dataclass(frozen=True, eq=False)
class Pieces:
    """How a row of the result is cut, and the runs of columns of x that a piece needs, put side by side.

    columns: where each piece begins, and the end; runs: where the runs of each begin, and the end; starts, counts: of
    each run, in columns of x; place: of each tap among its piece's columns; width, most: columns of the result in the
    widest piece, and of x in the one that needs most.
    """

    columns: Array
    runs: Array
    starts: Array
    counts: Array
    place: Array
    width: int
    most: int

    @cached_property
    def addresses(self) -> tuple[int, ...]:
        """Of the cuts, for a kernel."""
        return tuple(each.ctypes.data for each in (self.columns, self.runs, self.starts, self.counts))


@lru_cache(maxsize=256)
def pieces(plan: Taps, width: int, pixel: int) -> Pieces:
    """Pieces of `width` columns of `pixel` bytes."""
    outputs = len(plan.first) - 1
    width = min(width, outputs)
    columns = np.append(np.arange(0, outputs, width), outputs)
    place, starts, counts, runs, most = np.empty_like(plan.index), [], [], [0], 0
    for a, b in pairwise(columns):
        span = slice(plan.first[a], plan.first[b])
        needed = np.unique(plan.index[span])
        breaks = np.flatnonzero(np.diff(needed, prepend=-GAP) > 1 + GAP // pixel)
        start, end = needed[breaks], needed[np.append(breaks[1:], len(needed))[: len(breaks)] - 1] + 1
        before = np.cumsum(end - start) - (end - start)
        run = np.searchsorted(start, plan.index[span], side="right") - 1
        place[span] = plan.index[span] - start[run] + before[run]
        starts.append(start)
        counts.append(end - start)
        runs.append(runs[-1] + len(start))
        most = max(most, int((end - start).sum()))
    return Pieces(columns, np.array(runs), np.concatenate(starts), np.concatenate(counts), place, width, most)


@lru_cache(maxsize=64)
def numbers(plan: Taps, channels: int) -> Array:
    """Which number of a row of x each number of a row of the result copies, where there is one tap a column."""
    return (plan.index[:, np.newaxis] * channels + np.arange(channels)).ravel()


@dataclass(frozen=True, eq=False)
class Regular:
    """Columns whose taps repeat: column begin + k phases + f is sum over t of weight[f,t] x[offset[f] + k step + t].

    That holds for k < count; the columns before and after are irregular. weight: (phases, MOST), 0 beyond the taps.
    """

    phases: int
    step: int
    taps: int
    begin: int
    count: int
    offset: Array
    weight: Array


@lru_cache(maxsize=64)
def regular(plan: Taps) -> Regular | None:
    """How the columns repeat where their number is twice or half that of the inputs, and most of them do so."""
    length = np.diff(plan.first)
    outputs = len(length)
    for phases, step in ((1, 2), (2, 1)):
        middle = outputs // 2 // phases * phases
        taps = int(length[middle])
        if middle + phases > outputs or length[middle + phases - 1] != taps or not 1 <= taps <= MOST:
            continue
        alike = length == taps
        tap = np.minimum(plan.first[:-1, np.newaxis] + np.arange(taps), len(plan.index) - 1)
        first = plan.index[tap[:, 0]] - np.arange(outputs) // phases * step
        phase = middle + np.arange(outputs) % phases  # the column of the middle that has the same phase
        alike &= first == first[phase]
        alike &= (plan.index[tap] - plan.index[tap[:, :1]] == np.arange(taps)).all(axis=1)
        alike &= (plan.weight[tap] == plan.weight[tap[phase]]).all(axis=1)
        repeated = alike[: outputs // phases * phases].reshape(-1, phases).all(axis=1)
        others = np.flatnonzero(~repeated)
        begin = int(others[others < middle // phases].max(initial=-1)) + 1
        end = int(others[others >= middle // phases].min(initial=len(repeated)))
        if end - begin >= max(REPEATS, len(repeated) / 2):
            tap = tap[begin * phases : (begin + 1) * phases]
            weight = np.pad(plan.weight[tap], ((0, 0), (0, MOST - taps)))
            return Regular(phases, step, taps, begin * phases, end - begin, plan.index[tap[:, 0]], weight)
    return None
