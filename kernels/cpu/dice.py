"""The soft Dice loss of labelled pixels and its gradient: two passes, as every pixel's depends on sums over all."""

from functools import cache
from typing import Any

import numba
import numpy as np

from ..layout import Array
from .blocks import FURTHER, LANES, Blocks, Kind, exponentials, loading, unloading
from .elementwise_loss import adding
from .jit import VIEWS, claim, integers, kernel
from .machine import LINE
from .stream import streams, write

double = VIEWS["float64"]


def dice_loss(
    outputs: list[Array], logits: Array, labels: Array, *, ignore_index: int, smooth: float, squared: bool
) -> None:
    """dice_loss."""
    above, below = _overlaps(Blocks(logits, labels, ignore_index), smooth, squared)
    with np.errstate(all="ignore"):
        outputs[0][...] = 1 - (above / below).sum() / np.float64(len(above))


def dice_loss_input(
    outputs: list[Array], logits: Array, labels: Array, *, ignore_index: int, smooth: float, squared: bool
) -> None:
    """dice_loss_input."""
    blocks = Blocks(logits, labels, ignore_index)
    above, below = _overlaps(blocks, smooth, squared)
    with np.errstate(all="ignore"):
        second = 2 / (below * len(above))
        constants = np.array([above / below * second / (1 if squared else 2), second]).astype(logits.dtype)
    result = outputs[0]
    blocks.run(_gradient, result.ctypes.data, constants.ctypes.data, (int(squared), int(streams(result.nbytes))))


def _overlaps(blocks: Blocks, smooth: float, squared: bool) -> tuple[Array, Array]:
    """The numerator and the denominator of each class's quotient."""
    k, lanes = blocks.classes, LINE // blocks.dtype.itemsize
    sums = blocks.sums(_squared_sizes if squared else _sizes, (lanes + 2) * k)
    hits, counts = sums[lanes * k : -k or None], sums[len(sums) - k :]
    return 2 * hits + smooth, sums[: lanes * k].reshape(k, lanes).sum(axis=1) + counts + smooth


@cache
def _sizes(kind: Kind) -> Any:
    """A kernel: the sums of each class's p, a line's worth for each, of p g, and of g."""
    return _sums("product", kind)


@cache
def _squared_sizes(kind: Kind) -> Any:
    """A kernel: the same with p^2."""
    return _sums("squared_product", kind)


def _sums(name: str, kind: Kind) -> Any:
    dtype, lanes, few = kind
    view, size, width = VIEWS[dtype.name], dtype.itemsize, LINE // dtype.itemsize
    load, exponents, add = loading(kind), exponentials(kind, stored=True), adding(name, dtype)

    @kernel(f"dice_sums-{name}-{dtype}x{lanes}-{few}")
    def sums(work, scratch, count, partial, room, items, place, labels, shape):  # type: ignore[no-untyped-def]
        rows, columns, classes, most, pitch, ignored = shape
        per_row = (columns + most - 1) // most
        largest = scratch + max(classes, lanes) * pitch * size
        totals, stage = largest + pitch * size, scratch + (max(classes, lanes) + FURTHER) * pitch * size
        split = claim(work)
        while split < count:
            sizes = partial + 8 * room * split
            hits = double(sizes + 8 * width * classes, classes)
            counts = double(sizes + 8 * (width + 1) * classes, classes)
            for item in range(split * items // count, (split + 1) * items // count):
                row, first = item // per_row, item % per_row * most
                some = min(most, columns - first)
                padded = (some + LANES - 1) // LANES * LANES
                label = integers(labels + (row * columns + first) * 8, some)
                at = place[0] + row // rows * place[1] + row % rows * place[2] + first * place[3]
                load(scratch, stage, at, place[3], label, ignored, some, classes, pitch)
                exponents(scratch, classes, pitch * size, padded, largest, totals)
                inverse = view(totals, padded)
                for j in range(padded):
                    inverse[j] = 1 / inverse[j]
                inverse[some:] = 0
                for j in range(some):
                    if label[j] == ignored:
                        inverse[j] = 0
                    else:
                        own = view(scratch + (label[j] * pitch + j) * size, 1)[0]
                        hits[label[j]] += numba.float64(own) * inverse[j]
                        counts[label[j]] += 1
                for k in range(classes):
                    add(sizes + 8 * width * k, scratch + k * pitch * size, totals, padded)
            split = claim(work)

    return sums


@cache
def _gradient(kind: Kind) -> Any:
    """A kernel: p_k (d_k - sum of p_l d_l), d_k = a_k (p_k if squared) - b_k [k = label]."""
    dtype, lanes, few = kind
    view, size, put = VIEWS[dtype.name], dtype.itemsize, write(dtype)
    load, unload, exponents = loading(kind), unloading(kind), exponentials(kind, stored=True)

    @kernel(f"dice_loss_input-{dtype}x{lanes}-{few}")
    def gradient(work, scratch, count, place, labels, shape, result, constants, options):  # type: ignore[no-untyped-def]
        rows, columns, classes, most, pitch, ignored = shape
        squared, stream = options
        per_row = (columns + most - 1) // most
        a, b = view(constants, classes), view(constants + size * classes, classes)
        largest = scratch + max(classes, lanes) * pitch * size
        totals, means, owns = largest + pitch * size, largest + 2 * pitch * size, largest + 3 * pitch * size
        stage = scratch + (max(classes, lanes) + FURTHER) * pitch * size
        item = claim(work)
        while item < count:
            row, first = item // per_row, item % per_row * most
            some = min(most, columns - first)
            start = row * columns + first
            label = integers(labels + start * 8, some)
            at = place[0] + row // rows * place[1] + row % rows * place[2] + first * place[3]
            load(scratch, stage, at, place[3], label, ignored, some, classes, pitch)
            exponents(scratch, classes, pitch * size, some, largest, totals)
            total, mean, own = view(totals, some), view(means, some), view(owns, some)
            mean[:] = 0
            for k in range(classes):
                p = view(scratch + k * pitch * size, some)
                for j in range(some):
                    p[j] /= total[j]
                    mean[j] += a[k] * (p[j] * p[j] if squared else p[j])
            for j in range(some):
                if label[j] != ignored:
                    own[j] = b[label[j]] * view(scratch + (label[j] * pitch + j) * size, 1)[0]
                    mean[j] -= own[j]
            for k in range(classes):
                p = view(scratch + k * pitch * size, some)
                for j in range(some):
                    p[j] *= a[k] * (p[j] if squared else 1) - mean[j]
            for j in range(some):
                if label[j] != ignored:
                    view(scratch + (label[j] * pitch + j) * size, 1)[0] -= own[j]
            unload(scratch, stage, label, ignored, some, classes, pitch)
            put(result + start * classes * size, stage, some * classes, stream)
            item = claim(work)

    return gradient
