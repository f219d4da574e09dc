"""Cross-entropy and the negative log-likelihood of labelled pixels, and their gradients."""

from functools import cache
from typing import Any

import numba
import numpy as np

from ..layout import Array
from . import mathematics
from .blocks import FURTHER, LANES, Blocks, Kind, exponentials, loading, look_up, unloading
from .elementwise import apply
from .elementwise_loss import adding
from .interleave import pixels
from .jit import VIEWS, claim, integers, kernel
from .stream import streams, write

WIDTH = 16  # running sums, for all vectors alike
double = VIEWS["float64"]


def _weights(weight: Array | None, scores: Array) -> Array:
    return np.ones(scores.shape[1], scores.dtype) if weight is None else np.ascontiguousarray(weight)


def nll_loss(
    outputs: list[Array],
    log_probabilities: Array,
    labels: Array,
    weight: Array | None,
    *,
    ignore_index: int,
    reduction: str,
) -> None:
    """nll_loss."""
    _loss(_nll, outputs[0], log_probabilities, labels, weight, ignore_index, reduction)


def cross_entropy(
    outputs: list[Array], logits: Array, labels: Array, weight: Array | None, *, ignore_index: int, reduction: str
) -> None:
    """cross_entropy."""
    _loss(_cross_entropy, outputs[0], logits, labels, weight, ignore_index, reduction)


def _loss(
    make: Any, loss: Array, scores: Array, labels: Array, weight: Array | None, ignore_index: int, reduction: str
) -> None:
    weights = _weights(weight, scores)
    sums = Blocks(scores, labels, ignore_index).sums(make, 2 * WIDTH, weights.ctypes.data)
    with np.errstate(all="ignore"):
        total, count = sums.reshape(2, WIDTH).sum(axis=1)
        loss[...] = total / count if reduction == "mean" else total


def nll_loss_input(
    outputs: list[Array],
    log_probabilities: Array,
    labels: Array,
    weight: Array | None,
    *,
    ignore_index: int,
    reduction: str,
) -> None:
    """nll_loss_input."""
    _gradient(_nll_input, outputs[0], log_probabilities, labels, weight, ignore_index, reduction)


def cross_entropy_input(
    outputs: list[Array], logits: Array, labels: Array, weight: Array | None, *, ignore_index: int, reduction: str
) -> None:
    """cross_entropy_input."""
    _gradient(_cross_entropy_input, outputs[0], logits, labels, weight, ignore_index, reduction)


def _gradient(
    make: Any, result: Array, scores: Array, labels: Array, weight: Array | None, ignore_index: int, reduction: str
) -> None:
    blocks, weights = Blocks(scores, labels, ignore_index), _weights(weight, scores)
    if reduction == "mean":
        parts = blocks.counted() if weight is None else blocks.sums(_counted, 1, weights.ctypes.data)[0]
        with np.errstate(all="ignore"):
            weights = (weights / np.float64(parts)).astype(scores.dtype)
    if 0 <= ignore_index < len(weights):
        weights = weights.copy()
        weights[ignore_index] = 0
    blocks.run(make, result.ctypes.data, weights.ctypes.data, int(streams(result.nbytes)))


def _log(words: Any, parameters: Any, x: Any, again: Any) -> Any:
    return mathematics.log(words, x)


@cache
def _counted(kind: Kind) -> Any:
    """A kernel: the sum of the weights of the pixels that count."""
    dtype, *_ = kind
    view = VIEWS[dtype.name]

    @kernel(f"labels_counted-{dtype}")
    def counted(work, scratch, count, partial, room, items, place, labels, shape, weights):  # type: ignore[no-untyped-def]
        _, columns, classes, most, _, ignored = shape
        per_row, weight = (columns + most - 1) // most, view(weights, classes)
        split = claim(work)
        while split < count:
            total = 0.0
            for item in range(split * items // count, (split + 1) * items // count):
                first = item % per_row * most
                some = min(most, columns - first)
                label = integers(labels + (item // per_row * columns + first) * 8, some)
                for j in range(some):
                    if label[j] != ignored:
                        total += weight[label[j]]
            double(partial + 8 * split, 1)[0] = total
            split = claim(work)

    return counted


@cache
def _nll(kind: Kind) -> Any:
    """A kernel: the sums of the weighted losses, and of the weights."""
    dtype, *_ = kind
    view = VIEWS[dtype.name]

    @kernel(f"nll_loss-{dtype}")
    def nll(work, scratch, count, partial, room, items, place, labels, shape, weights):  # type: ignore[no-untyped-def]
        rows, columns, classes, most, _, ignored = shape
        per_row, weight = (columns + most - 1) // most, view(weights, classes)
        split = claim(work)
        while split < count:
            total, parts = (
                double(partial + 8 * room * split, WIDTH),
                double(partial + 8 * (room * split + WIDTH), WIDTH),
            )
            for item in range(split * items // count, (split + 1) * items // count):
                row, first = item // per_row, item % per_row * most
                some = min(most, columns - first)
                label = integers(labels + (row * columns + first) * 8, some)
                at = place[0] + row // rows * place[1] + row % rows * place[2] + first * place[3]
                for j in range(some):
                    if label[j] != ignored:
                        own = numba.float64(weight[label[j]])
                        total[j % WIDTH] -= own * view(at + j * place[3], classes)[label[j]]
                        parts[j % WIDTH] += own
            split = claim(work)

    return nll


@cache
def _cross_entropy(kind: Kind) -> Any:
    """A kernel: the same of the logarithm of softmax."""
    dtype, lanes, few = kind
    view, size = VIEWS[dtype.name], dtype.itemsize
    load, exponents, add = loading(kind), exponentials(kind, stored=False), adding("product", dtype)
    logarithms = apply(_log, dtype, lanes)

    @kernel(f"cross_entropy-{dtype}x{lanes}-{few}")
    def cross_entropy(work, scratch, count, partial, room, items, place, labels, shape, weights):  # type: ignore[no-untyped-def]
        rows, columns, classes, most, pitch, ignored = shape
        per_row, weight = (columns + most - 1) // most, view(weights, classes)
        largest = scratch + max(classes, lanes) * pitch * size
        totals, owns, ones = largest + pitch * size, largest + 2 * pitch * size, largest + 3 * pitch * size
        stage = scratch + (max(classes, lanes) + FURTHER) * pitch * size
        view(ones, most)[:] = 1
        split = claim(work)
        while split < count:
            total, parts = partial + 8 * room * split, partial + 8 * (room * split + WIDTH)
            for item in range(split * items // count, (split + 1) * items // count):
                row, first = item // per_row, item % per_row * most
                some = min(most, columns - first)
                padded = (some + LANES - 1) // LANES * LANES
                label = integers(labels + (row * columns + first) * 8, some)
                at = place[0] + row // rows * place[1] + row % rows * place[2] + first * place[3]
                load(scratch, stage, at, place[3], label, ignored, some, classes, pitch)
                exponents(scratch, classes, pitch * size, padded, largest, totals)
                logarithms(totals, totals, totals, (), 0, 0, padded, 0)
                loss, logarithm, own = view(largest, padded), view(totals, padded), view(owns, padded)
                look_up(own, weight, label, ignored, some)
                own[some:] = 0
                for j in range(some):
                    k = label[j] if label[j] != ignored else 0
                    loss[j] -= view(scratch + (k * pitch + j) * size, 1)[0]
                for j in range(padded):
                    loss[j] += logarithm[j]
                add(total, largest, owns, padded)
                add(parts, owns, ones, padded)
            split = claim(work)

    return cross_entropy


@cache
def _nll_input(kind: Kind) -> Any:
    """A kernel: the gradient, from weights that are divided already."""
    dtype, lanes, few = kind
    view, size, put = VIEWS[dtype.name], dtype.itemsize, write(dtype)
    put_together = pixels(dtype, lanes, few)

    @kernel(f"nll_loss_input-{dtype}x{lanes}-{few}")
    def nll_input(work, scratch, count, place, labels, shape, result, weights, stream):  # type: ignore[no-untyped-def]
        _, columns, classes, most, pitch, ignored = shape
        per_row, weight = (columns + most - 1) // most, view(weights, classes)
        stage = scratch + few * pitch * size
        block = view(stage, most * classes)
        item = claim(work)
        while item < count:
            row, first = item // per_row, item % per_row * most
            some = min(most, columns - first)
            start = row * columns + first
            label = integers(labels + start * 8, some)
            for k in range(few):  # numbers written one by one would not be there yet when vectors of them are read
                plane, own = view(scratch + k * pitch * size, some), weight[k]
                for j in range(some):
                    plane[j] = -own if label[j] == k else 0
            if few:
                put_together(stage, scratch, pitch * size, classes, some)
            else:
                block[:] = 0
                for j in range(some):
                    if label[j] != ignored:
                        block[j * classes + label[j]] = -weight[label[j]]
            put(result + start * classes * size, stage, some * classes, stream)
            item = claim(work)

    return nll_input


@cache
def _cross_entropy_input(kind: Kind) -> Any:
    """A kernel: the gradient, from weights that are divided already."""
    dtype, lanes, few = kind
    view, size, put = VIEWS[dtype.name], dtype.itemsize, write(dtype)
    load, unload, exponents = loading(kind), unloading(kind), exponentials(kind, stored=True)

    @kernel(f"cross_entropy_input-{dtype}x{lanes}-{few}")
    def cross_entropy_input(work, scratch, count, place, labels, shape, result, weights, stream):  # type: ignore[no-untyped-def]
        rows, columns, classes, most, pitch, ignored = shape
        per_row, weight = (columns + most - 1) // most, view(weights, classes)
        largest = scratch + max(classes, lanes) * pitch * size
        totals, stage = largest + pitch * size, scratch + (max(classes, lanes) + FURTHER) * pitch * size
        item = claim(work)
        while item < count:
            row, first = item // per_row, item % per_row * most
            some = min(most, columns - first)
            start = row * columns + first
            label = integers(labels + start * 8, some)
            at = place[0] + row // rows * place[1] + row % rows * place[2] + first * place[3]
            load(scratch, stage, at, place[3], label, ignored, some, classes, pitch)
            exponents(scratch, classes, pitch * size, some, largest, totals)
            own, factor = view(largest, some), view(totals, some)
            look_up(own, weight, label, ignored, some)
            for j in range(some):
                factor[j] = own[j] / factor[j]
            for k in range(classes):
                value = view(scratch + k * pitch * size, some)
                for j in range(some):
                    value[j] = value[j] * factor[j] - (own[j] if label[j] == k else 0)
            unload(scratch, stage, label, ignored, some, classes, pitch)
            put(result + start * classes * size, stage, some * classes, stream)
            item = claim(work)

    return cross_entropy_input
