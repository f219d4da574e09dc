"""Softmax and cross-entropy over channels-last maps, in one pass over the logits."""

from functools import cache
from math import exp, log
from typing import Any

import numpy as np

from ..layout import Array
from .jit import VIEWS, claim, integers, kernel
from .parallel import run, strided

SPLITS = 16  # partial sums of the loss. It sets the order of the sums, so it must not depend on the threads


def _labels(labels: Array, ignore_index: int) -> Array:
    """(N, H, W) int64, with -1 for every pixel to ignore."""
    clean = labels.astype(np.int64, order="C")
    clean[labels == ignore_index] = -1
    return clean


def cross_entropy(outputs: list[Array], logits: Array, labels: Array, *, ignore_index: int, reduction: str) -> None:
    """cross_entropy: SPLITS float64 partial sums, added in order."""
    n, k, h, w = logits.shape
    partial = np.zeros((SPLITS, 2))
    clean = _labels(labels, ignore_index)
    run(
        _cross_entropy(logits.dtype),
        SPLITS if logits.size else 0,
        partial.ctypes.data,
        strided(logits),
        clean.ctypes.data,
        (n, k, h, w),
    )
    total, count = 0.0, 0.0
    for split in partial:
        total, count = total + split[0], count + split[1]
    if reduction == "mean":
        total = total / count if count else np.nan
    outputs[0][...] = total


def cross_entropy_input(
    outputs: list[Array], logits: Array, labels: Array, *, ignore_index: int, reduction: str
) -> None:
    """cross_entropy_input."""
    n, k, h, w = logits.shape
    clean = _labels(labels, ignore_index)
    counted = max(1, int(np.count_nonzero(clean >= 0))) if reduction == "mean" else 1
    run(
        _cross_entropy_input(logits.dtype),
        n * h if k else 0,
        strided(outputs[0]),
        strided(logits),
        clean.ctypes.data,
        (k, h, w),
        1.0 / counted,
    )


@cache
def _cross_entropy(dtype: np.dtype) -> Any:
    view, sums = VIEWS[dtype.name], VIEWS["float64"]

    @kernel(f"cross_entropy-{dtype}")
    def cross_entropy(work, scratch, count, partial, logits, labels, shape):  # type: ignore[no-untyped-def]
        images, classes, rows, columns = shape
        split = claim(work)
        while split < count:
            total, pixels = 0.0, 0
            for row in range(split * images * rows // count, (split + 1) * images * rows // count):
                n, i = row // rows, row % rows
                label = integers(labels + row * columns * 8, columns)
                for j in range(columns):
                    if label[j] < 0:
                        continue
                    z = view(logits[0] + n * logits[1] + i * logits[2] + j * logits[3], classes)
                    largest = z[0]
                    for k in range(classes):
                        largest = max(largest, z[k])
                    denominator = 0.0
                    for k in range(classes):
                        denominator += exp(z[k] - largest)
                    total += log(denominator) - (z[label[j]] - largest)
                    pixels += 1
            result = sums(partial + 16 * split, 2)
            result[0], result[1] = total, pixels
            split = claim(work)

    return cross_entropy


@cache
def _cross_entropy_input(dtype: np.dtype) -> Any:
    view = VIEWS[dtype.name]

    @kernel(f"cross_entropy_input-{dtype}")
    def cross_entropy_input(work, scratch, count, grad, logits, labels, shape, scale):  # type: ignore[no-untyped-def]
        classes, rows, columns = shape
        row = claim(work)
        while row < count:
            n, i = row // rows, row % rows
            label = integers(labels + row * columns * 8, columns)
            for j in range(columns):
                z = view(logits[0] + n * logits[1] + i * logits[2] + j * logits[3], classes)
                result = view(grad[0] + n * grad[1] + i * grad[2] + j * grad[3], classes)
                if label[j] < 0:
                    for k in range(classes):
                        result[k] = 0
                    continue
                largest = z[0]
                for k in range(classes):
                    largest = max(largest, z[k])
                denominator = 0.0
                for k in range(classes):
                    result[k] = exp(z[k] - largest)
                    denominator += result[k]
                for k in range(classes):
                    result[k] = (result[k] / denominator - (1 if k == label[j] else 0)) * scale
            row = claim(work)

    return cross_entropy_input
