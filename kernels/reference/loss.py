"""Losses, from the definition."""

import numpy as np

from .arrays import Array, float64
from .normalization import softmax


def _log_softmax(x: Array) -> Array:
    # the maximum is subtracted so that exp never overflows and its sum is at least 1
    shifted = x - x.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _targets(function: str, labels: Array, classes: int, ignore_index: int) -> tuple[Array, Array]:
    """Which pixels count, and their classes (0 where ignored); both (N, 1, H, W)."""
    counted = labels != ignore_index
    outside = counted & ((labels < 0) | (labels >= classes))
    if outside.any():
        allowed = f"lie in 0..{classes - 1} or be ignore_index={ignore_index}"
        raise IndexError(f"{function}: labels must {allowed}, got {labels[outside][0]}")
    return counted[:, None], np.where(counted, labels, 0).astype(np.int64)[:, None]


def cross_entropy(logits: Array, labels: Array, *, ignore_index: int, reduction: str) -> Array:
    """loss = sum, or mean, over the counted pixels of -log softmax(logits)[n, labels[n,i,j], i, j].

    Pixels labelled `ignore_index` do not count. With none counted the sum is 0 and the mean 0/0 = NaN, as in PyTorch.

    Shapes: logits (N, K, H, W), labels (N, H, W) of any integer dtype; a 0-d array. `reduction` is "mean" or "sum".
    Raises IndexError for a label that is neither in 0..K-1 nor `ignore_index`.
    Source: Long, Shelhamer & Darrell 2015, section 4.
    """
    counted, classes = _targets("cross_entropy", labels, logits.shape[1], ignore_index)
    losses = -np.take_along_axis(_log_softmax(float64(logits)), classes, axis=1)
    total = losses[counted].sum()
    if reduction == "mean":
        total = total / counted.sum() if counted.any() else np.nan
    return np.asarray(total)


def cross_entropy_input(logits: Array, labels: Array, *, ignore_index: int, reduction: str) -> Array:
    """dlogits[n,k,i,j] = softmax(logits)[n,k,i,j] - [k = labels[n,i,j]], divided by the count of pixels for the mean.

    The gradient of `cross_entropy`. Ignored pixels get exactly 0; so, as in PyTorch, where none counts all of it is 0,
    although the mean is NaN. Shapes and errors: as there; dlogits (N, K, H, W).
    """
    counted, classes = _targets("cross_entropy_input", labels, logits.shape[1], ignore_index)
    one_hot = np.arange(logits.shape[1])[:, None, None] == classes
    gradient = np.where(counted, softmax(logits) - one_hot, 0.0)
    return gradient / max(counted.sum(), 1) if reduction == "mean" else gradient
