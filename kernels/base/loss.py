"""Losses of scores (N, K, H, W) for classes, given labels (N, H, W); the sums are float64."""

from typing import Any

from ..namespace import namespace
from .normalization import softmax

SUMS = (0, 2, 3)  # over all pixels of a class


def nll_loss(scores: Any, labels: Any, weight: Any, *, ignore_index: int, reduction: str) -> Any:
    """Sum, or mean, of -weight[l] scores[n,l,i,j] over the pixels that count."""
    counted, classes = _targets(scores, labels, ignore_index)
    return _reduced(-_picked(scores, classes), counted, _weights(weight, counted, classes), reduction, scores.dtype)


def nll_loss_input(scores: Any, labels: Any, weight: Any, *, ignore_index: int, reduction: str) -> Any:
    """d[n,k,i,j] = -weight[k] [k = l], over the sum of the weights for the mean."""
    xp = namespace(scores)
    counted, classes = _targets(scores, labels, ignore_index)
    shares = -_shares(_weights(weight, counted, classes), reduction).astype(scores.dtype)
    return xp.where(_wanted(scores, counted, classes), shares[:, None], scores.dtype.type(0))


def cross_entropy(logits: Any, labels: Any, weight: Any, *, ignore_index: int, reduction: str) -> Any:
    """Sum, or mean, of weight[l] (log(sum over k of exp z[n,k,i,j]) - z[n,l,i,j]) over the pixels that count."""
    xp = namespace(logits)
    counted, classes = _targets(logits, labels, ignore_index)
    if logits.size:
        largest = logits.max(axis=1, keepdims=True)
        total = xp.exp(logits - largest).sum(axis=1, dtype="float64")
        values = xp.log(total) + xp.subtract(largest[:, 0], _picked(logits, classes), dtype="float64")
    else:
        values = xp.zeros(labels.shape)
    return _reduced(values, counted, _weights(weight, counted, classes), reduction, logits.dtype)


def cross_entropy_input(logits: Any, labels: Any, weight: Any, *, ignore_index: int, reduction: str) -> Any:
    """dz[n,k,i,j] = weight[l] (softmax(z)[n,k,i,j] - [k = l]), over the sum of the weights for the mean."""
    xp = namespace(logits)
    counted, classes = _targets(logits, labels, ignore_index)
    shares = _shares(_weights(weight, counted, classes), reduction).astype(logits.dtype)
    gradient = (softmax(logits) - _wanted(logits, counted, classes)) * shares[:, None]
    return xp.where(counted[:, None], gradient, logits.dtype.type(0))


def dice_loss(logits: Any, labels: Any, *, ignore_index: int, smooth: float, squared: bool) -> Any:
    """1 - mean over the classes of (2 sum of p g + smooth) / (sum of p + sum of g + smooth)."""
    *_, above, below = _overlaps(logits, labels, ignore_index, smooth, squared)
    return (1 - (above / below).sum() / logits.shape[1]).astype(logits.dtype)


def dice_loss_input(logits: Any, labels: Any, *, ignore_index: int, smooth: float, squared: bool) -> Any:
    """dz = p (d - sum over l of p_l d_l), d_k = (A_k / B_k (1, or 2 p_k if squared) - 2 g_k) / (K B_k)."""
    xp = namespace(logits)
    counted, p, wanted, above, below = _overlaps(logits, labels, ignore_index, smooth, squared)
    each = 1 / (below * logits.shape[1])
    overlap, step = ((a[:, None, None]).astype(logits.dtype) for a in (above / below * each, 2 * each))
    d = (overlap * (2 * p) if squared else overlap) - step * wanted
    total = xp.multiply(p, d, dtype="float64").sum(axis=1, keepdims=True).astype(logits.dtype)
    return xp.where(counted[:, None], p * (d - total), logits.dtype.type(0))


def _targets(scores: Any, labels: Any, ignore_index: int) -> tuple[Any, Any]:
    """Which pixels count, and their classes; 0 where they do not."""
    xp = namespace(scores)
    classes = labels.astype("int64")  # an unsigned label beyond it is no class, and negative then
    counted = (classes >= 0) & (classes < scores.shape[1]) & (classes != ignore_index)
    return counted, xp.where(counted, classes, 0)


def _wanted(scores: Any, counted: Any, classes: Any) -> Any:
    """Where k is the label of a pixel that counts: (N, K, H, W)."""
    each = namespace(scores).arange(scores.shape[1])[:, None, None]
    return (each == classes[:, None]) & counted[:, None]


def _picked(scores: Any, classes: Any) -> Any:
    """The score of each pixel's class."""
    xp = namespace(scores)
    if not scores.size:
        return xp.zeros(classes.shape, scores.dtype)
    return xp.take_along_axis(scores, classes[:, None], axis=1)[:, 0]


def _weights(weight: Any, counted: Any, classes: Any) -> Any:
    """What each pixel counts, in float64."""
    if weight is None or not weight.size:
        return counted.astype("float64")
    return namespace(counted).where(counted, weight.astype("float64")[classes], 0.0)


def _shares(weights: Any, reduction: str) -> Any:
    return weights / weights.sum() if reduction == "mean" else weights


def _reduced(values: Any, counted: Any, weights: Any, reduction: str, dtype: Any) -> Any:
    total = namespace(values).where(counted, values * weights, 0.0).sum(dtype="float64")
    return (total / weights.sum() if reduction == "mean" else total).astype(dtype)


def _overlaps(
    logits: Any, labels: Any, ignore_index: int, smooth: float, squared: bool
) -> tuple[Any, Any, Any, Any, Any]:
    """Which pixels count, p and g, 0 where they do not, and the two parts of each class's overlap."""
    xp = namespace(logits)
    counted, classes = _targets(logits, labels, ignore_index)
    p = xp.where(counted[:, None], softmax(logits), logits.dtype.type(0)) if logits.size else logits
    wanted = _wanted(logits, counted, classes)
    sizes = xp.multiply(p, p if squared else 1, dtype="float64").sum(axis=SUMS) + wanted.sum(axis=SUMS)
    common = (p * wanted).sum(axis=SUMS, dtype="float64")
    return counted, p, wanted, 2 * common + smooth, sizes + smooth
